//! The image endpoints: list, inspect, load, save, pull, push, tag, remove, prune. Names have slashes and are not
//! escaped, so one fallback splits them from the action.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use futures_util::TryStreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use tokio_util::io::{StreamReader, SyncIoBridge};
use tokio_util::sync::CancellationToken;

use crate::engine::api::ApiState;
use crate::engine::api::image_view;
use crate::engine::api::progress_stream::{blocking, no_code, stream_progress, stream_writer};
use crate::engine::api::query::{self, JsonBody, Params, split_image_path};
use crate::engine::api::respond::{self, ApiError, ApiResult};
use crate::engine::base::{Error, Filters, Result};
use crate::engine::images::registry::{Access, Registry};
use crate::engine::images::{
    Image, ImageFilters, Images, ImportOptions, ProgressMessage, RegistryAuth,
};
use crate::oci::{Digest, Platform, Reference};

const LIST_FILTERS: &[&str] = &[
    "before",
    "dangling",
    "label",
    "label!",
    "reference",
    "since",
    "until",
];
const PRUNE_FILTERS: &[&str] = &["dangling", "label", "label!", "until"];
/// base64 of a registry's credentials; tokens are a few KiB.
const AUTH_MAX_BYTES: usize = 64 << 10;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/images/json", get(list))
        .route("/images/create", post(create))
        .route("/images/load", post(load))
        .route("/images/get", get(save_many))
        .route("/images/prune", post(prune))
        .route("/images/search", get(search))
        .route("/images/{*path}", get(named).post(named).delete(named))
        .route("/auth", post(auth))
}

/// The credentials of `X-Registry-Auth`: base64 (either alphabet) of JSON; absent or empty is none.
pub(crate) fn registry_auth(headers: &HeaderMap) -> Result<RegistryAuth> {
    let text = respond::header(headers, "x-registry-auth");
    if text.is_empty() {
        return Ok(RegistryAuth::default());
    }
    decode_json_header(text, "X-Registry-Auth")
}

/// A header that is base64 of JSON.
pub(crate) fn decode_json_header<T: serde::de::DeserializeOwned + Default>(
    text: &str,
    name: &str,
) -> Result<T> {
    if text.len() > AUTH_MAX_BYTES {
        return Err(Error::invalid(format!("{name} header is too large")));
    }
    let invalid = |what: &str| Error::invalid(format!("invalid {name} header: {what}"));
    let standard: String = text
        .trim_end_matches('=')
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(standard)
        .map_err(|_| invalid("it is not base64"))?;
    let value: Option<T> = serde_json::from_slice(&bytes).map_err(|_| invalid("it is not JSON"))?;
    Ok(value.unwrap_or_default())
}

pub(crate) fn platform_param(params: &Params) -> Result<Option<Platform>> {
    let Some(text) = params.given("platform") else {
        return Ok(None);
    };
    // Newer clients send the platform as JSON.
    if text.starts_with('{') {
        return serde_json::from_str::<Platform>(text)
            .map(|p| Some(Platform::new(&p.os, &p.architecture, p.variant.as_deref())))
            .map_err(|error| Error::invalid(format!("invalid platform: {error}")));
    }
    Platform::parse(text)
        .map(Some)
        .map_err(|error| Error::invalid(error.to_string()))
}

fn image_filters(filters: &Filters) -> Result<ImageFilters> {
    let until = filters
        .get("until")
        .iter()
        .map(|text| until_seconds(text))
        .collect::<Result<Vec<_>>>()?;
    Ok(ImageFilters {
        all: false,
        dangling: filters.boolean("dangling")?,
        labels: filters.get("label").to_vec(),
        labels_not: filters.get("label!").to_vec(),
        references: filters.get("reference").to_vec(),
        before: filters.get("before").to_vec(),
        since: filters.get("since").to_vec(),
        until: until.into_iter().min(),
    })
}

/// A time as seconds, as RFC 3339, or how long ago (`24h`, `10m`).
pub(crate) fn until_seconds(text: &str) -> Result<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok(seconds as i64);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_second());
    }
    if let Ok(ago) = crate::units::Duration::parse(text) {
        return Ok(jiff::Timestamp::now()
            .as_second()
            .saturating_sub(ago.as_secs()));
    }
    Err(Error::invalid(format!("invalid filter 'until={text}'")))
}

async fn list(State(state): State<ApiState>, params: Params) -> ApiResult {
    let filters = params.filters()?;
    filters.check(LIST_FILTERS)?;
    let wanted = ImageFilters {
        all: params.flag("all"),
        ..image_filters(&filters)?
    };
    let images = state.images.list(&wanted)?;
    let shared = params
        .flag("shared-size")
        .then(|| shared_sizes(&state.images, &images));
    let views: Vec<_> = images
        .into_iter()
        .map(|image| {
            let size = match &shared {
                Some(shared) => shared.get(&image.id).copied().unwrap_or(0).cast_signed(),
                None => -1,
            };
            image_view::summary(image, -1, size)
        })
        .collect();
    Ok(respond::ok(&views))
}

/// Bytes of each image in layers that another one has as well.
pub(crate) fn shared_sizes(images: &Images, list: &[Image]) -> HashMap<Digest, u64> {
    let mut users: HashMap<&Digest, usize> = HashMap::new();
    for image in list {
        for layer in &image.chain {
            *users.entry(layer).or_default() += 1;
        }
    }
    let shared = |image: &Image| {
        image
            .chain
            .iter()
            .filter(|layer| users.get(layer).is_some_and(|count| *count > 1))
            .filter_map(|layer| images.layers().get(layer))
            .map(|layer| layer.size)
            .sum()
    };
    list.iter()
        .map(|image| (image.id.clone(), shared(image)))
        .collect()
}

/// `/images/<name>[/<action>]`
async fn named(
    State(state): State<ApiState>,
    method: Method,
    Path(path): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> ApiResult {
    let Some(target) = split_image_path(&method, &path) else {
        return Err(ApiError(Error::not_found("page not found")));
    };
    let name = target.name.to_owned();
    match (&method, target.action) {
        (&Method::GET, "json") => inspect(&state, &name),
        (&Method::GET, "history") => {
            let entries = state.images.history(&name)?;
            Ok(respond::ok(
                &entries.iter().map(image_view::history).collect::<Vec<_>>(),
            ))
        }
        (&Method::GET, "get") => save(&state, vec![name]),
        (&Method::POST, "tag") => tag(&state, &name, &params),
        (&Method::POST, "push") => push(state, name, &params, &headers).await,
        (&Method::DELETE, _) => {
            let (force, noprune) = (params.flag("force"), params.flag("noprune"));
            let images = Arc::clone(&state.images);
            let done = blocking(move || images.remove(&name, force, noprune)).await?;
            Ok(respond::ok(&image_view::deletions(&done)))
        }
        _ => Err(ApiError(Error::not_found("page not found"))),
    }
}

fn inspect(state: &ApiState, name: &str) -> ApiResult {
    let image = state.images.resolve(name)?;
    let lowers = state.images.layers().lowers(image.chain.last())?;
    Ok(respond::ok(&image_view::inspect(&image, &lowers)))
}

/// A repository and a tag as separate parameters, as tag and commit have them.
pub(crate) fn repo_and_tag(params: &Params) -> Result<Option<Reference>> {
    let Some(repo) = params.given("repo") else {
        return Ok(None);
    };
    let reference = Reference::parse(repo).map_err(|error| Error::invalid(error.to_string()))?;
    match params.given("tag") {
        Some(tag) => reference
            .with_tag(tag)
            .map(Some)
            .map_err(|error| Error::invalid(error.to_string())),
        None => Ok(Some(reference.or_latest())),
    }
}

fn tag(state: &ApiState, name: &str, params: &Params) -> ApiResult {
    let target = repo_and_tag(params)?
        .ok_or_else(|| Error::invalid("invalid reference format: repo is empty"))?;
    state.images.tag(name, &target)?;
    Ok(respond::empty(StatusCode::CREATED))
}

fn reader_of(body: Body) -> impl std::io::Read + Send + 'static {
    let stream = body.into_data_stream().map_err(std::io::Error::other);
    SyncIoBridge::new(StreamReader::new(stream))
}

async fn load(State(state): State<ApiState>, _params: Params, body: Body) -> ApiResult {
    let images = Arc::clone(&state.images);
    let mut reader = reader_of(body);
    stream_progress(
        move |progress, cancel| {
            blocking(move || {
                let loaded = images.load(&mut reader, &progress, &cancel);
                query::drain(&mut reader);
                loaded.map(drop)
            })
        },
        no_code,
    )
    .await
}

fn save(state: &ApiState, names: Vec<String>) -> ApiResult {
    let selected = state.images.select(&names)?;
    let images = Arc::clone(&state.images);
    let body = stream_writer(move |out| images.save(&selected, out, &CancellationToken::new()));
    Ok(respond::stream("application/x-tar", body))
}

async fn save_many(State(state): State<ApiState>, params: Params) -> ApiResult {
    let names = params.all("names");
    if names.is_empty() {
        return Err(ApiError(Error::invalid(
            "names of images to save are missing",
        )));
    }
    save(&state, names)
}

async fn prune(State(state): State<ApiState>, params: Params) -> ApiResult {
    let filters = params.filters()?;
    filters.check(PRUNE_FILTERS)?;
    let wanted = image_filters(&filters)?;
    let images = Arc::clone(&state.images);
    let (done, freed) = blocking(move || images.prune(&wanted)).await?;
    let deleted = image_view::deletions(&done);
    Ok(respond::ok(&serde_json::json!({
        "ImagesDeleted": if deleted.is_empty() { None } else { Some(deleted) },
        "SpaceReclaimed": freed,
    })))
}

/// Pull (`fromImage`) or import (`fromSrc`).
async fn create(
    State(state): State<ApiState>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> ApiResult {
    let platform = platform_param(&params)?;
    if let Some(source) = params.given("fromSrc") {
        return import(state, source.to_owned(), &params, platform, body).await;
    }
    let name = params
        .given("fromImage")
        .ok_or_else(|| Error::invalid("fromImage or fromSrc is missing"))?;
    let mut reference =
        Reference::parse(name).map_err(|error| Error::invalid(error.to_string()))?;
    if let Some(tag) = params.given("tag") {
        reference = match Digest::parse(tag) {
            Ok(digest) => reference.with_digest(digest),
            Err(_) => reference
                .with_tag(tag)
                .map_err(|error| Error::invalid(error.to_string()))?,
        };
    }
    let reference = reference.or_latest();
    let auth = registry_auth(&headers)?;
    let images = Arc::clone(&state.images);
    stream_progress(
        move |progress, cancel| async move {
            tokio::select! {
                pulled = images.pull(&reference, platform.as_ref(), &auth, progress) => pulled.map(drop),
                () = cancel.cancelled() => Err(Error::system("the client went away")),
            }
        },
        no_code,
    )
    .await
}

async fn import(
    state: ApiState,
    source: String,
    params: &Params,
    platform: Option<Platform>,
    body: Body,
) -> ApiResult {
    if source != "-" {
        return Err(ApiError(Error::not_implemented(format!(
            "importing an image from {source} is not supported yet: send the archive itself"
        ))));
    }
    let mut config = crate::oci::RunConfig::default();
    crate::engine::build::apply_changes(&mut config, &params.all("changes"))?;
    let options = ImportOptions {
        config,
        reference: repo_and_tag(params)?,
        message: params.text("message").to_owned(),
        platform,
    };
    let images = Arc::clone(&state.images);
    let mut reader = reader_of(body);
    stream_progress(
        move |progress, cancel| {
            blocking(move || {
                let imported = images.import(&mut reader, options, &cancel);
                query::drain(&mut reader);
                let image = imported?;
                // Nobody listening: the image is there all the same.
                let _ = progress.blocking_send(ProgressMessage::status(image.id.to_string()));
                Ok(())
            })
        },
        no_code,
    )
    .await
}

async fn push(state: ApiState, name: String, params: &Params, headers: &HeaderMap) -> ApiResult {
    let mut reference =
        Reference::parse(&name).map_err(|error| Error::invalid(error.to_string()))?;
    if let Some(tag) = params.given("tag") {
        reference = reference
            .with_tag(tag)
            .map_err(|error| Error::invalid(error.to_string()))?;
    }
    let auth = registry_auth(headers)?;
    let images = Arc::clone(&state.images);
    stream_progress(
        move |progress, cancel| async move {
            // Docker answers 200 and says in the stream what is wrong.
            let first = ProgressMessage::default();
            let _ = progress.send(first).await;
            for reference in
                images.pushed_references(&reference.clone().or_latest(), reference.tag.is_none())?
            {
                tokio::select! {
                    pushed = images.push(&reference, &auth, &progress, &cancel) => pushed?,
                    () = cancel.cancelled() => return Err(Error::system("the client went away")),
                }
            }
            Ok(())
        },
        no_code,
    )
    .await
}

async fn search(params: Params) -> ApiResult {
    let term = params.text("term");
    Err(ApiError(Error::not_implemented(format!(
        "searching a registry for {term:?} is not supported"
    ))))
}

/// `docker login`: whether a registry takes the credentials.
async fn auth(body: JsonBody<RegistryAuth>) -> ApiResult<Response> {
    let auth = body.0;
    let domain = match auth.serveraddress.as_str() {
        "" | "https://index.docker.io/v1/" => "docker.io".to_owned(),
        address => {
            let rest = address
                .trim_start_matches("https://")
                .trim_start_matches("http://");
            rest.split('/').next().unwrap_or(rest).to_owned()
        }
    };
    let reference = Reference::parse(&format!("{domain}/login/check"))
        .map_err(|error| Error::invalid(format!("invalid registry address {domain:?}: {error}")))?;
    let registry = Registry::connect(&reference, &auth, Access::Pull).await?;
    registry.check_login().await?;
    Ok(respond::ok(
        &serde_json::json!({"IdentityToken": "", "Status": "Login Succeeded"}),
    ))
}
