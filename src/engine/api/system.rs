//! What the engine is: ping, version, and the answers of an engine that is no swarm manager and has
//! no plugins. `info` and `df` are in `system_info`.

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, PRAGMA};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::engine::api::respond::{self, ApiError};
use crate::engine::api::{API_MINOR, ApiState, MIN_API_MINOR};
use crate::engine::base::Error;

/// The release of Docker whose API this engine speaks; hoist's own version is its build metadata.
/// Clients compare this number.
pub(crate) const SERVER_VERSION: &str = concat!("28.5.2+hoist.", env!("CARGO_PKG_VERSION"));

const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm \
                        join\" to connect this node to swarm and try again.";

pub(crate) fn routes() -> Router<ApiState> {
    let mut router = Router::new()
        .route("/_ping", get(ping))
        .route("/version", get(version))
        .route("/plugins", get(plugins))
        .route("/plugins/{*rest}", any(no_plugins))
        .route("/swarm/{*rest}", any(no_swarm_mode));
    for object in ["swarm", "nodes", "services", "tasks", "secrets", "configs"] {
        router = router.route(&format!("/{object}"), get(no_swarm));
        if object != "swarm" {
            router = router.route(&format!("/{object}/{{*rest}}"), any(no_swarm));
        }
    }
    router
}

async fn ping(method: Method) -> Response {
    let body = if method == Method::HEAD { "" } else { "OK" };
    let mut response = respond::with_type(StatusCode::OK, "text/plain; charset=utf-8", body.into());
    let headers = response.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    for (name, value) in [("builder-version", "2"), ("swarm", "inactive")] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    if method == Method::HEAD {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

async fn version() -> Response {
    let api_version = format!("1.{API_MINOR}");
    let min_api_version = format!("1.{MIN_API_MINOR}");
    let kernel = kernel_version();
    let details = json!({
        "ApiVersion": api_version,
        "Arch": go_arch(),
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": kernel,
        "MinAPIVersion": min_api_version,
        "Os": "linux",
    });
    respond::ok(&json!({
        "Platform": { "Name": "hoist" },
        "Version": SERVER_VERSION,
        "ApiVersion": api_version,
        "MinAPIVersion": min_api_version,
        "Os": "linux",
        "Arch": go_arch(),
        "KernelVersion": kernel,
        "GitCommit": "",
        "GoVersion": "",
        "BuildTime": "",
        "Components": [
            { "Name": "Engine", "Version": SERVER_VERSION, "Details": details },
            { "Name": "hoist", "Version": env!("CARGO_PKG_VERSION"), "Details": Value::Null },
        ],
    }))
}

/// The machine's architecture by the name that images use.
pub(crate) fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// `uname -r`.
pub(crate) fn kernel_version() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

async fn no_swarm() -> Response {
    ApiError(Error::unavailable(NO_SWARM)).into_response()
}

async fn no_swarm_mode(method: Method, uri: http::Uri) -> Response {
    let unsupported =
        method == Method::POST && (uri.path().ends_with("/init") || uri.path().ends_with("/join"));
    if unsupported {
        let text = "swarm mode is not supported by hoist's engine";
        return ApiError(Error::not_implemented(text)).into_response();
    }
    no_swarm().await
}

async fn plugins() -> Response {
    respond::ok(&json!([]))
}

async fn no_plugins(method: Method, uri: http::Uri) -> Response {
    let name = uri
        .path()
        .trim_start_matches("/plugins/")
        .trim_end_matches("/json")
        .to_owned();
    if method == Method::GET && uri.path().ends_with("/json") || method == Method::DELETE {
        return ApiError(Error::not_found(format!("plugin \"{name}\" not found"))).into_response();
    }
    let text = "managed plugins are not supported by hoist's engine";
    ApiError(Error::not_implemented(text)).into_response()
}
