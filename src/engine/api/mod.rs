//! The Docker Engine API on a unix socket: decode, call a service, encode. It holds no state and
//! decides nothing; HTTP is known here and nowhere else in the engine.
//!
//! ```text
//! accept → hyper (h1 with upgrades, h2c) → version prefix → router → handler → service
//! ```

pub(crate) mod archive;
pub(crate) mod build;
pub(crate) mod commit;
pub(crate) mod container_body;
pub(crate) mod container_view;
pub(crate) mod containers;
pub(crate) mod distribution;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod grpc;
pub(crate) mod hijack;
pub(crate) mod image_view;
pub(crate) mod images;
pub(crate) mod networks;
pub(crate) mod progress_stream;
pub(crate) mod query;
pub(crate) mod respond;
pub(crate) mod stats_view;
pub(crate) mod system;
pub(crate) mod system_info;
pub(crate) mod volumes;

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{HeaderName, HeaderValue, LOCATION, SERVER};
use http::{StatusCode, Uri};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use crate::engine::api::respond::ApiError;
use crate::engine::base::{Error, EventBus, Paths, Result};
use crate::engine::build::Builder;
use crate::engine::containers::Containers;
use crate::engine::images::Images;
use crate::engine::networks::Networks;
use crate::engine::volumes::Volumes;

/// The newest version spoken, as `1.<minor>`.
pub(crate) const API_MINOR: u32 = 51;
/// The oldest version spoken.
pub(crate) const MIN_API_MINOR: u32 = 24;
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(60);
/// A refusal of the router's own is a sentence.
const MAX_REFUSAL_BYTES: usize = 4 << 10;
/// How long accept waits for descriptors to come free when there are none.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

/// The API version of a request: the minor number of `1.x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(pub(crate) u32);

/// Everything a handler can call.
pub(crate) struct Services {
    pub(crate) paths: Paths,
    pub(crate) events: Arc<EventBus>,
    pub(crate) images: Arc<Images>,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) networks: Arc<Networks>,
    pub(crate) containers: Arc<Containers>,
    pub(crate) builder: Arc<Builder>,
    pub(crate) grpc: Arc<grpc::Grpc>,
    pub(crate) clients: Clients,
}

/// The router's state: a shared handle on the services.
#[derive(Clone)]
pub(crate) struct ApiState(Arc<Services>);

impl ApiState {
    pub(crate) fn new(services: Services) -> Self {
        ApiState(Arc::new(services))
    }

    /// Counts as a client while it lives: for connections that outlive their HTTP exchange.
    pub(crate) fn client_guard(&self) -> ClientGuard {
        ClientGuard::new(self)
    }
}

impl Deref for ApiState {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

/// How many connections are open; the daemon ends when there has been none for a while.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    open: AtomicUsize,
    pub(crate) changed: Notify,
}

impl Clients {
    pub(crate) fn count(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// One client that is there.
pub(crate) struct ClientGuard(ApiState);

impl ClientGuard {
    fn new(state: &ApiState) -> Self {
        state.clients.open.fetch_add(1, Ordering::SeqCst);
        ClientGuard(state.clone())
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.0.clients.open.fetch_sub(1, Ordering::SeqCst);
        self.0.clients.changed.notify_one();
    }
}

/// All routes, one file an area.
pub(crate) fn router(state: ApiState) -> Router {
    Router::new()
        .merge(system::routes())
        .merge(system_info::routes())
        .merge(events::routes())
        .merge(build::routes())
        .merge(grpc::routes())
        .merge(distribution::routes())
        .merge(images::routes())
        .merge(volumes::routes())
        .merge(networks::routes())
        .merge(containers::routes())
        .merge(exec::routes())
        .merge(archive::routes())
        .merge(commit::routes())
        .method_not_allowed_fallback(page_not_found)
        .fallback(page_not_found)
        .with_state(state)
}

/// Runs a service's blocking call off the threads that serve connections.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(call)
        .await
        .unwrap_or_else(|error| Err(Error::system(format!("internal error: {error}"))))
}

async fn page_not_found() -> Response {
    ApiError(Error::not_found("page not found")).into_response()
}

/// Accepts until `stopped` is notified. Open connections live on in their own tasks.
pub(crate) async fn serve(listener: UnixListener, state: ApiState, stopped: Arc<Notify>) {
    let router = router(state.clone());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped.notified() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let guard = ClientGuard::new(&state);
                tokio::spawn(serve_connection(stream, router.clone(), guard));
            }
            Err(error) => {
                // Out of descriptors, most likely: the queue keeps the clients, some descriptor
                // comes free, and nothing is gained by asking at once.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
}

async fn serve_connection(stream: UnixStream, router: Router, guard: ClientGuard) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move { Ok::<_, Infallible>(answer(router, request.map(axum::body::Body::new)).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .half_close(true);
    let served = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(error = %error, "connection");
    }
    drop(guard);
}

async fn answer(router: Router, mut request: Request) -> Response {
    let mut response = match strip_version(request.uri()) {
        Ok((version, uri)) => {
            if request.uri().path().contains("//") {
                redirect_to_clean_path(request.uri())
            } else {
                *request.uri_mut() = uri;
                request.extensions_mut().insert(version);
                match router.oneshot(request).await {
                    Ok(response) => in_json(response).await,
                    Err(never) => match never {},
                }
            }
        }
        Err(response) => *response,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        ("api-version", "1.51"),
        ("docker-experimental", "false"),
        ("ostype", "linux"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers.insert(
        SERVER,
        HeaderValue::from_static(concat!("hoist/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
    response
}

/// What the router itself refuses (a path that is not UTF-8) comes as plain text: clients want JSON.
async fn in_json(response: Response) -> Response {
    let is_text = respond::header(response.headers(), "content-type").starts_with("text/plain");
    if !response.status().is_client_error() || !is_text {
        return response;
    }
    let body = axum::body::to_bytes(response.into_body(), MAX_REFUSAL_BYTES).await;
    let text = body.map_or_else(
        |_| "bad request".to_owned(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    );
    ApiError(Error::invalid(text)).into_response()
}

/// The version of `/v1.x/…` and the path without it; no prefix means the newest.
fn strip_version(uri: &Uri) -> Result<(ApiVersion, Uri), Box<Response>> {
    let path = uri.path();
    let Some((minor, rest)) = version_prefix(path) else {
        return Ok((ApiVersion(API_MINOR), uri.clone()));
    };
    let given = &path[2..path.len() - rest.len()];
    if minor > API_MINOR {
        let text = format!(
            "client version {given} is too new. Maximum supported API version is 1.{API_MINOR}"
        );
        return Err(Box::new(ApiError(Error::invalid(text)).into_response()));
    }
    if minor < MIN_API_MINOR {
        let text = format!(
            "client version {given} is too old. Minimum supported API version is \
             1.{MIN_API_MINOR}, please upgrade your client to a newer version"
        );
        return Err(Box::new(ApiError(Error::invalid(text)).into_response()));
    }
    let rest = match uri.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    match rest.parse() {
        Ok(uri) => Ok((ApiVersion(minor), uri)),
        Err(_) => Err(Box::new(
            ApiError(Error::not_found("page not found")).into_response(),
        )),
    }
}

/// `/v1.43/rest` → `(43, "/rest")`. A major version other than 1 counts as too new or too old.
fn version_prefix(path: &str) -> Option<(u32, &str)> {
    let after = path.strip_prefix("/v")?;
    let end = after.find('/').unwrap_or(after.len());
    let (major, minor) = after[..end].split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(major) || !digits(minor) {
        return None;
    }
    let minor = match major.parse::<u32>() {
        Ok(0) => 0,
        Ok(1) => minor.parse().unwrap_or(u32::MAX),
        _ => u32::MAX,
    };
    Some((minor, &after[end..]))
}

fn redirect_to_clean_path(uri: &Uri) -> Response {
    let mut path = String::with_capacity(uri.path().len());
    for character in uri.path().chars() {
        if character != '/' || !path.ends_with('/') {
            path.push(character);
        }
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut response = respond::empty(StatusCode::MOVED_PERMANENTLY);
    if let Ok(location) = HeaderValue::from_str(&path) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_prefix_is_taken_off() {
        let (version, uri) =
            strip_version(&"/v1.43/containers/json?all=1".parse().unwrap()).unwrap();
        assert_eq!(version, ApiVersion(43));
        assert_eq!(uri, "/containers/json?all=1");
        let (version, uri) = strip_version(&"/version".parse().unwrap()).unwrap();
        assert_eq!(version, ApiVersion(API_MINOR));
        assert_eq!(uri, "/version");
        let refused = strip_version(&"/v1.99/info".parse().unwrap()).unwrap_err();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let refused = strip_version(&"/v1.20/info".parse().unwrap()).unwrap_err();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    }
}
