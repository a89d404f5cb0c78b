//! The calls of BuildKit clients: workers, solve, status, and the frontend's own bridge. `buildx` asks for the frontend
//! `dockerfile.v0`, which is the engine's builder; no other frontend exists, and no graph of low-level operations is
//! ever executed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

use crate::engine::api::ApiState;
use crate::engine::api::grpc::builds::{Asked, BuildEntry};
use crate::engine::api::grpc::filesync::{self, Wanted};
use crate::engine::api::grpc::proto::{Message, Writer};
use crate::engine::api::grpc::session::Session;
use crate::engine::api::grpc::wire::framed;
use crate::engine::api::progress_stream::blocking;
use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Result};
use crate::engine::build::{self, BuildRequest, context};
use crate::engine::images::{Image, RegistryAuth};
use crate::oci::dockerignore;
use crate::oci::{Platform, Reference};

const FRONTEND: &str = "dockerfile.v0";
const QUEUED_EVENTS: usize = 256;
/// How long a finished build is remembered.
const KEPT: std::time::Duration = std::time::Duration::from_secs(30);

/// `Control.ListWorkers`: this engine.
pub(crate) fn list_workers() -> Vec<u8> {
    Writer::new().message(1, worker()).done()
}

fn version() -> Writer {
    Writer::new()
        .text(1, "github.com/moby/buildkit")
        .text(2, concat!("v", env!("CARGO_PKG_VERSION"), "+hoist"))
}

fn worker() -> Writer {
    let host = Platform::host();
    let platform = Writer::new().text(1, &host.architecture).text(2, &host.os);
    let labels = BTreeMap::from([
        (
            "org.mobyproject.buildkit.worker.executor".to_owned(),
            "hoist".to_owned(),
        ),
        (
            "org.mobyproject.buildkit.worker.moby.host-gateway-ip".to_owned(),
            "172.17.0.1".to_owned(),
        ),
    ]);
    Writer::new()
        .text(1, "hoist")
        .map(2, &labels)
        .message(3, platform)
        .message(5, version())
}

/// `Control.Info`
pub(crate) fn info() -> Vec<u8> {
    Writer::new().message(1, version()).done()
}

/// `LLBBridge.Ping`: what a frontend may use.
pub(crate) fn ping() -> Vec<u8> {
    const CAPABILITIES: [&str; 15] = [
        "solve.base",
        "solve.inlinereturn",
        "resolveimage",
        "resolveimage.resolvemode",
        "readfile",
        "return",
        "returnmap",
        "readdir",
        "statfile",
        "importcaches",
        "proto.refarray",
        "reference.output",
        "frontend.inputs",
        "gateway.solve.metadata",
        "gateway.evaluate",
    ];
    let mut pong = Writer::new();
    for capability in CAPABILITIES {
        pong = pong.message(1, Writer::new().text(1, capability).flag(2, true));
    }
    for capability in [
        "source.local",
        "source.image",
        "exec.meta.base",
        "constraints",
        "platform",
    ] {
        pong = pong.message(2, Writer::new().text(1, capability).flag(2, true));
    }
    pong.message(3, worker()).done()
}

/// `Control.DiskUsage`: the build cache.
pub(crate) fn disk_usage(state: &ApiState) -> Vec<u8> {
    let mut answer = Writer::new();
    for entry in state.builder.cache().list() {
        let size = entry
            .layer
            .as_ref()
            .filter(|_| entry.has_layer)
            .and_then(|layer| state.images.layers().get(layer))
            .map_or(0, |layer| layer.size);
        answer = answer.message(
            1,
            Writer::new()
                .text(1, &entry.key.hex()[..25])
                .number(4, size)
                .message(6, time_of(&entry.created))
                .message(7, time_of(&entry.last_used))
                .number(8, entry.uses)
                .text(9, &entry.description)
                .text(10, "regular"),
        );
    }
    answer.done()
}

fn time_of(text: &str) -> Writer {
    let seconds = crate::engine::images::listing::unix_seconds(text);
    Writer::new().number(1, seconds.cast_unsigned())
}

/// `Control.Prune`: one record for each cache entry that went.
pub(crate) async fn prune(state: ApiState, request: &[u8]) -> Result<Vec<Vec<u8>>> {
    let keep_nanoseconds = Message::parse(request)?.number(3).cast_signed();
    let until = (keep_nanoseconds > 0)
        .then(|| jiff::Timestamp::now().as_second() - keep_nanoseconds / 1_000_000_000);
    let (gone, freed) = blocking(move || state.builder.cache().prune(until)).await?;
    let mut records: Vec<Vec<u8>> = gone
        .iter()
        .map(|key| {
            Writer::new()
                .text(1, &key.hex()[..25])
                .text(10, "regular")
                .done()
        })
        .collect();
    if freed > 0 {
        records.push(
            Writer::new()
                .text(1, "layers")
                .number(4, freed)
                .text(10, "regular")
                .done(),
        );
    }
    Ok(records)
}

/// `Control.Status`: everything the build reported and reports.
pub(crate) fn status(build: Arc<BuildEntry>) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::unfold(
        (build, 0usize, Vec::<Bytes>::new()),
        |(build, mut sent, mut ready)| async move {
            loop {
                if let Some(message) = ready.pop() {
                    return Some((Ok(framed(&message)), (build, sent, ready)));
                }
                let mut logged = build.logged.subscribe();
                let mut over = build.over.subscribe();
                let more = build.messages(sent);
                if !more.is_empty() {
                    sent += more.len();
                    ready = more;
                    ready.reverse();
                    continue;
                }
                if *over.borrow_and_update() {
                    return None;
                }
                tokio::select! {
                    changed = logged.wait_for(|count| *count > sent) => drop(changed),
                    changed = over.changed() => drop(changed),
                }
            }
        },
    )
}

/// `Control.Solve`: registers the build and waits until its frontend returns.
pub(crate) async fn solve(state: ApiState, request: &[u8]) -> Result<Vec<u8>> {
    let message = Message::parse(request)?;
    let build_ref = message.text(1);
    let mut exporters = Vec::new();
    for exporter in message.all(13) {
        let exporter = Message::parse(exporter)?;
        exporters.push((exporter.text(1), exporter.map(2)?));
    }
    if exporters.is_empty() && !message.text(3).is_empty() {
        exporters.push((message.text(3), message.map(4)?));
    }
    let asked = Asked {
        session: message.text(5),
        frontend: message.text(6),
        attributes: message.map(7)?,
        exporters,
    };
    let build = state.grpc.builds.entry(&build_ref);
    let frontend = asked.frontend.clone();
    build.asked.send_replace(Some(asked.clone()));
    // A client that leaves drops this future: the build goes with it.
    let guard = build.cancel.clone().drop_guard();
    let result = match frontend.as_str() {
        "" => {
            let mut returned = build.returned.subscribe();
            match returned.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
                Err(_) => Err(Error::system("the build was cancelled")),
            }
        }
        FRONTEND => run(&state, &build, &asked, &asked.attributes.clone()).await,
        other => Err(Error::not_implemented(format!(
            "the frontend {other} is not supported: only {FRONTEND} is"
        ))),
    };
    drop(guard);
    let response = lock(&build.response).clone();
    let (builds, entry) = (Arc::clone(&state.grpc), Arc::clone(&build));
    tokio::spawn(async move {
        // The answer goes first: a client whose status ended before thinks that the build was lost.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        entry.over.send_replace(true);
        // A status that is asked for late still finds the build, and that it is over.
        tokio::time::sleep(KEPT).await;
        builds.builds.forget(&build_ref);
    });
    result.map(|()| Writer::new().map(1, &response).done())
}

/// `LLBBridge.Solve`: runs the builder.
pub(crate) async fn bridge_solve(
    state: ApiState,
    build: Arc<BuildEntry>,
    request: &[u8],
) -> Result<Vec<u8>> {
    let message = Message::parse(request)?;
    let frontend = message.text(2);
    let options = message.map(3)?;
    if frontend.is_empty() {
        // An evaluation of something that is there already.
        return Ok(Writer::new().message(3, Writer::new()).done());
    }
    if frontend != FRONTEND {
        return Err(Error::not_implemented(format!(
            "the frontend {frontend} is not supported: only {FRONTEND} is"
        )));
    }
    let asked = build.asked().await?;
    run(&state, &build, &asked, &options).await?;
    let id = lock(&build.response)
        .get("containerimage.digest")
        .cloned()
        .unwrap_or_default();
    // A definition that names the result; nobody executes it.
    let source = Writer::new().text(1, &format!("hoist://{id}"));
    let operation = Writer::new().message(3, source).done();
    let definition = Writer::new().raw(1, &operation);
    let reference = Writer::new().text(1, &id).message(2, definition);
    let result = Writer::new().message(3, reference);
    Ok(Writer::new().message(3, result).done())
}

/// `LLBBridge.Return`: the frontend is done, well or not.
pub(crate) fn bridge_return(build: &BuildEntry, request: &[u8]) -> Result<Vec<u8>> {
    let message = Message::parse(request)?;
    let outcome = match message.bytes(2) {
        None => Ok(()),
        Some(status) => {
            let status = Message::parse(status)?;
            match status.number(1) {
                0 => Ok(()),
                _ => Err(Error::system(status.text(2))),
            }
        }
    };
    build.returned.send_replace(Some(outcome));
    Ok(Vec::new())
}

async fn run(
    state: &ApiState,
    build: &Arc<BuildEntry>,
    asked: &Asked,
    options: &BTreeMap<String, String>,
) -> Result<()> {
    for (kind, _) in &asked.exporters {
        if !matches!(kind.as_str(), "moby" | "image") {
            return Err(Error::not_implemented(format!(
                "the output {kind:?} is not supported yet: images only"
            )));
        }
    }
    let session = state.grpc.sessions.get(&asked.session).await?;
    let folder = build::context_folder(&state.images)?;
    let result = prepare_and_build(state, build, &session, asked, options, folder.path()).await;
    blocking(move || Ok(folder.close()?)).await?;
    let image = result?;
    let mut response = BTreeMap::from([
        ("containerimage.digest".to_owned(), image.id.to_string()),
        (
            "containerimage.config.digest".to_owned(),
            image.id.to_string(),
        ),
    ]);
    let names = names_of(asked);
    if !names.is_empty() {
        response.insert("image.name".to_owned(), names.join(","));
    }
    push(state, asked, &names, build).await?;
    *lock(&build.response) = response;
    Ok(())
}

fn names_of(asked: &Asked) -> Vec<String> {
    asked
        .exporters
        .iter()
        .filter_map(|(_, attributes)| attributes.get("name"))
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

async fn push(state: &ApiState, asked: &Asked, names: &[String], build: &BuildEntry) -> Result<()> {
    let wanted = asked
        .exporters
        .iter()
        .any(|(_, attributes)| attributes.get("push").is_some_and(|value| value == "true"));
    if !wanted {
        return Ok(());
    }
    let (progress, mut messages) = mpsc::channel(16);
    let pushing = async {
        for name in names {
            let reference = Reference::parse(name)
                .map_err(|error| Error::invalid(error.to_string()))?
                .or_latest();
            state
                .images
                .push(
                    &reference,
                    &RegistryAuth::default(),
                    &progress,
                    &build.cancel,
                )
                .await?;
        }
        drop(progress);
        Ok(())
    };
    let (pushed, ()) = tokio::join!(pushing, async { while messages.recv().await.is_some() {} });
    pushed
}

async fn prepare_and_build(
    state: &ApiState,
    build: &Arc<BuildEntry>,
    session: &Session,
    asked: &Asked,
    options: &BTreeMap<String, String>,
    folder: &Path,
) -> Result<Image> {
    let mut request = request_of(options)?;
    request.tags = names_of(asked);
    let dockerfile = match options.get("filename").map(String::as_str) {
        None | Some("") => "Dockerfile".to_owned(),
        Some(name) => name.to_owned(),
    };
    let (definition, files) = (folder.join("dockerfile"), folder.join("context"));
    std::fs::create_dir(&definition)?;
    std::fs::create_dir(&files)?;
    let ignore_name = format!("{dockerfile}.dockerignore");
    let key = |name: &str, default: &str| {
        options
            .get(name)
            .cloned()
            .unwrap_or_else(|| default.to_owned())
    };
    let follow = [
        dockerfile.clone(),
        ignore_name.clone(),
        "dockerfile".to_owned(),
    ];
    let wanted = Wanted {
        name: &key("dockerfilekey", "dockerfile"),
        follow: &follow,
        exclude: &[],
    };
    filesync::receive(session, &wanted, &definition).await?;
    let text = context::read_dockerfile(&definition, &dockerfile)?;
    if let Some(remote) = options.get("context").filter(|text| text.contains("://")) {
        return Err(Error::not_implemented(format!(
            "building from the remote context {remote} is not supported yet"
        )));
    }
    let ignored = ignore_patterns(
        session,
        &definition,
        &ignore_name,
        &key("contextkey", "context"),
    )
    .await?;
    let wanted = Wanted {
        name: &key("contextkey", "context"),
        follow: &[],
        exclude: &ignored,
    };
    filesync::receive(session, &wanted, &files).await?;
    for (name, target) in options
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("context:")?, value)))
    {
        named_context(session, &mut request, name, target, folder).await?;
    }
    for id in build::secret_ids(&text) {
        if let Some(secret) = session.secret(&id).await? {
            request.secrets.insert(id, secret);
        }
    }
    request.context = files;
    request.dockerfile_text = Some(text);
    let (events, mut reported) = mpsc::channel(QUEUED_EVENTS);
    let building = state
        .builder
        .build(request, events, build.cancel.child_token());
    let reporting = async {
        while let Some(event) = reported.recv().await {
            build.report(event);
        }
    };
    let (image, ()) = tokio::join!(building, reporting);
    image.map_err(|failed| match failed.code {
        Some(code) => in_buildkits_words(failed.error, code),
        None => failed.error,
    })
}

/// A command that failed, as clients of BuildKit know it.
fn in_buildkits_words(error: Error, code: i32) -> Error {
    let command = error
        .message
        .split_once("The command '")
        .and_then(|(_, rest)| rest.rsplit_once("' returned a non-zero code"));
    match command {
        Some((command, _)) => Error::invalid(format!(
            "process {command:?} did not complete successfully: exit code: {code}"
        )),
        None => error,
    }
}

/// The patterns of `<Dockerfile>.dockerignore` beside the Dockerfile, or of the context's `.dockerignore`.
async fn ignore_patterns(
    session: &Session,
    definition: &Path,
    own_name: &str,
    context_name: &str,
) -> Result<Vec<String>> {
    let own = definition.join(own_name);
    if let Ok(text) = std::fs::read_to_string(&own) {
        return Ok(dockerignore::parse(&text));
    }
    let folder = definition.join(".ignore-file");
    std::fs::create_dir(&folder)?;
    let wanted = Wanted {
        name: context_name,
        follow: &[".dockerignore".to_owned()],
        exclude: &[],
    };
    filesync::receive(session, &wanted, &folder).await?;
    match std::fs::read_to_string(folder.join(".dockerignore")) {
        Ok(text) => Ok(dockerignore::parse(&text)),
        Err(_) => Ok(Vec::new()),
    }
}

/// `--build-context name=…`: a directory of the client, or an image.
async fn named_context(
    session: &Session,
    request: &mut BuildRequest,
    name: &str,
    target: &str,
    folder: &Path,
) -> Result<()> {
    // A platform may follow the name.
    let name = name.split("::").next().unwrap_or(name);
    if let Some(image) = target.strip_prefix("docker-image://") {
        request
            .image_contexts
            .insert(name.to_owned(), image.to_owned());
        return Ok(());
    }
    let Some(local) = target.strip_prefix("local:") else {
        return Err(Error::not_implemented(format!(
            "the build context {name}={target} is not supported yet"
        )));
    };
    let place = folder.join(format!("named-{}", request.contexts.len()));
    std::fs::create_dir(&place)?;
    let wanted = Wanted {
        name: local,
        ..Wanted::default()
    };
    filesync::receive(session, &wanted, &place).await?;
    request.contexts.insert(name.to_owned(), place);
    Ok(())
}

/// The options of the Dockerfile frontend.
fn request_of(options: &BTreeMap<String, String>) -> Result<BuildRequest> {
    let prefixed = |prefix: &str| -> BTreeMap<String, String> {
        options
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone())))
            .collect()
    };
    let text = |name: &str| options.get(name).cloned().unwrap_or_default();
    let platform = match options.get("platform").map(String::as_str) {
        None | Some("") => None,
        Some(many) if many.contains(',') => {
            return Err(Error::not_implemented(format!(
                "building for several platforms at once ({many}) is not supported yet"
            )));
        }
        Some(one) => Some(Platform::parse(one).map_err(|error| Error::invalid(error.to_string()))?),
    };
    Ok(BuildRequest {
        build_args: prefixed("build-arg:")
            .into_iter()
            .map(|(name, value)| (name, Some(value)))
            .collect(),
        target: text("target"),
        labels: prefixed("label:"),
        no_cache: options.contains_key("no-cache"),
        pull: text("image-resolve-mode") == "pull",
        platform,
        network_mode: match text("force-network-mode").as_str() {
            "sandbox" => String::new(),
            other => other.to_owned(),
        },
        extra_hosts: text("add-hosts")
            .split(',')
            .filter(|host| !host.is_empty())
            .map(|host| host.replacen('=', ":", 1))
            .collect(),
        shm_size: text("shm-size").parse().ok().filter(|size| *size > 0),
        ..BuildRequest::default()
    })
}
