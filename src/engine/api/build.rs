//! `POST /build` of the classic builder's API, over the one builder there is: the context comes as a tar, progress
//! goes as the lines docker always printed. Also the build cache's prune.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use futures_util::TryStreamExt as _;
use http::HeaderMap;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tokio_util::sync::CancellationToken;

use crate::engine::api::ApiState;
use crate::engine::api::images::{decode_json_header, platform_param, until_seconds};
use crate::engine::api::progress_stream::{blocking, failure_line};
use crate::engine::api::query::{self, Params};
use crate::engine::api::respond::{self, ApiError, ApiResult};
use crate::engine::base::{Error, Result};
use crate::engine::build::event::{BuildError, BuildEvent};
use crate::engine::build::{self, BuildRequest, context};
use crate::engine::images::{Image, ProgressMessage, RegistryAuth};

const QUEUED_EVENTS: usize = 256;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/build", post(start))
        .route("/build/prune", post(prune))
        .route("/build/cancel", post(cancel))
}

fn json_param<T: serde::de::DeserializeOwned + Default>(params: &Params, name: &str) -> Result<T> {
    match params.given(name) {
        None => Ok(T::default()),
        Some(text) => serde_json::from_str::<Option<T>>(text)
            .map(Option::unwrap_or_default)
            .map_err(|error| {
                Error::invalid(format!("error reading build param {name:?}: {error}"))
            }),
    }
}

/// Everything but the context.
fn request(params: &Params, headers: &HeaderMap) -> Result<BuildRequest> {
    if let Some(remote) = params.given("remote") {
        return Err(Error::not_implemented(format!(
            "building from the remote context {remote} is not supported yet"
        )));
    }
    if let Some(isolation) = params.given("isolation").filter(|text| *text != "default") {
        return Err(Error::invalid(format!("invalid isolation: {isolation:?}")));
    }
    if params.flag("squash") {
        return Err(Error::invalid(
            "squash is only supported with experimental mode",
        ));
    }
    let auth: BTreeMap<String, RegistryAuth> = decode_json_header(
        respond::header(headers, "x-registry-config"),
        "X-Registry-Config",
    )?;
    Ok(BuildRequest {
        dockerfile: params.text("dockerfile").to_owned(),
        build_args: json_param(params, "buildargs")?,
        target: params.text("target").to_owned(),
        tags: params
            .all("t")
            .into_iter()
            .filter(|tag| !tag.is_empty())
            .collect(),
        labels: json_param(params, "labels")?,
        no_cache: params.flag("nocache"),
        pull: params.flag("pull"),
        platform: platform_param(params)?,
        network_mode: params.text("networkmode").to_owned(),
        extra_hosts: extra_hosts(params)?,
        shm_size: params
            .integer("shmsize")?
            .filter(|size| *size > 0)
            .map(i64::cast_unsigned),
        auth,
        ..BuildRequest::default()
    })
}

/// A list separated by commas, given once or several times, or as JSON.
fn extra_hosts(params: &Params) -> Result<Vec<String>> {
    let mut hosts = Vec::new();
    for text in params.all("extrahosts") {
        if text.starts_with('[') {
            let list: Vec<String> = serde_json::from_str(&text).map_err(|error| {
                Error::invalid(format!("error reading build param \"extrahosts\": {error}"))
            })?;
            hosts.extend(list);
        } else {
            hosts.extend(
                text.split(',')
                    .filter(|host| !host.is_empty())
                    .map(str::to_owned),
            );
        }
    }
    Ok(hosts)
}

async fn start(
    State(state): State<ApiState>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> ApiResult {
    if params.text("version") == "2" {
        return Err(ApiError(Error::not_implemented(
            "BuildKit builds over /build?version=2 are not supported yet: use /grpc or the classic builder",
        )));
    }
    let mut request = request(&params, &headers)?;
    let quiet = params.flag("q");
    let folder = build::context_folder(&state.images)?;
    let stream = body.into_data_stream().map_err(io::Error::other);
    let mut reader = SyncIoBridge::new(StreamReader::new(stream));
    let cancel = CancellationToken::new();
    let guard = cancel.clone().drop_guard();
    let (token, dockerfile) = (cancel.clone(), request.dockerfile.clone());
    let (folder, text) = blocking(move || {
        let unpacked = context::unpack_context(&mut reader, folder.path(), &token);
        query::drain(&mut reader);
        unpacked?;
        let text = context::read_dockerfile(folder.path(), &dockerfile)?;
        context::apply_ignore_file(folder.path(), &dockerfile)?;
        Ok((folder, text))
    })
    .await?;
    request.context = folder.path().to_owned();
    request.dockerfile_text = Some(text);
    state.builder.check(&request)?;
    let (lines, received) = mpsc::channel::<bytes::Bytes>(QUEUED_EVENTS);
    let builder = Arc::clone(&state.builder);
    tokio::spawn(async move {
        let tags = request.tags.clone();
        let (events, mut reported) = mpsc::channel(QUEUED_EVENTS);
        let mut printer = ClassicPrinter::new(quiet);
        let building = builder.build(request, events, cancel);
        let printing = async {
            while let Some(event) = reported.recv().await {
                for message in printer.messages(event) {
                    if lines.send(respond::json_line(&message)).await.is_err() {
                        return;
                    }
                }
            }
        };
        let (result, ()) = tokio::join!(building, printing);
        let last = match result {
            Ok(image) => printer.success(&image, &tags),
            Err(BuildError { error, code }) => vec![failure_line(&error, code)],
        };
        for line in last {
            // The client may have left.
            let _ = lines.send(line).await;
        }
        if let Err(error) = blocking(move || Ok(folder.close()?)).await {
            tracing::warn!(%error, "remove a build context");
        }
    });
    let body = futures_util::stream::unfold((received, guard), |(mut received, guard)| async {
        received
            .recv()
            .await
            .map(|line| (Ok(line), (received, guard)))
    });
    Ok(respond::stream("application/json", body))
}

/// Turns events into what `docker build` without BuildKit prints.
struct ClassicPrinter {
    quiet: bool,
    /// Steps that came from the cache.
    cached: HashMap<usize, bool>,
}

impl ClassicPrinter {
    fn new(quiet: bool) -> Self {
        ClassicPrinter {
            quiet,
            cached: HashMap::new(),
        }
    }

    fn messages(&mut self, event: BuildEvent) -> Vec<ProgressMessage> {
        if self.quiet {
            return Vec::new();
        }
        let line = |text: String| vec![ProgressMessage::stream(text)];
        match event {
            BuildEvent::Started {
                step, total, name, ..
            } => {
                self.cached.insert(step, false);
                line(format!("Step {}/{total} : {name}\n", step + 1))
            }
            BuildEvent::Cached { step } => {
                self.cached.insert(step, true);
                line(" ---> Using cache\n".to_owned())
            }
            BuildEvent::Output { bytes, .. } => line(String::from_utf8_lossy(&bytes).into_owned()),
            BuildEvent::Pull { message, .. } => vec![message],
            BuildEvent::Warning(text) => line(format!("{text}\n")),
            BuildEvent::Done { .. } | BuildEvent::Failed { .. } => Vec::new(),
        }
    }

    fn success(&self, image: &Image, tags: &[String]) -> Vec<bytes::Bytes> {
        let mut messages = vec![ProgressMessage::aux(json!({"ID": image.id.as_str()}))];
        if self.quiet {
            messages.push(ProgressMessage::stream(format!("{}\n", image.id)));
        } else {
            messages.push(ProgressMessage::stream(format!(
                "Successfully built {}\n",
                image.id.short()
            )));
            for tag in tags {
                if let Ok(name) = crate::oci::Reference::parse(tag) {
                    let shown = name.or_latest().familiar();
                    messages.push(ProgressMessage::stream(format!(
                        "Successfully tagged {shown}\n"
                    )));
                }
            }
        }
        messages.iter().map(respond::json_line).collect()
    }
}

async fn prune(State(state): State<ApiState>, params: Params) -> ApiResult {
    let filters = params.filters()?;
    filters.check(&[
        "all",
        "id",
        "until",
        "unused-for",
        "inuse",
        "parent",
        "type",
        "description",
        "shared",
        "private",
    ])?;
    let until = match filters
        .get("until")
        .first()
        .or_else(|| filters.get("unused-for").first())
    {
        Some(text) => Some(until_seconds(text)?),
        None => None,
    };
    let builder = Arc::clone(&state.builder);
    let (gone, freed) = blocking(move || builder.cache().prune(until)).await?;
    Ok(respond::ok(&json!({
        "CachesDeleted": gone.iter().map(|key| key.hex()[..25].to_owned()).collect::<Vec<_>>(),
        "SpaceReclaimed": freed,
    })))
}

async fn cancel() -> ApiResult {
    // A build ends when its client does; there is no other way to name one here.
    Ok(respond::no_content())
}
