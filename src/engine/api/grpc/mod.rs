//! BuildKit's API on the engine's socket: `/grpc`, where a client calls the engine, and `/session`, where the engine
//! calls the client. This is what `docker build`, `docker buildx` and `docker compose build` speak.

use std::convert::Infallible;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::engine::api::ApiState;
use crate::engine::api::hijack::hijack;
use crate::engine::api::query::wants_upgrade;
use crate::engine::api::respond::{self, ApiError, ApiResult};
use crate::engine::base::Error;

mod builds;
mod control;
mod filesync;
mod proto;
mod session;
mod wire;

use proto::{Message, Writer};
use wire::{Messages, framed};

const SESSION_ID: &str = "x-docker-expose-session-uuid";
const BUILD_ID: &str = "buildkit-controlapi-buildid";
const PIPE_BYTES: usize = 256 << 10;

/// What BuildKit's clients share.
#[derive(Debug, Default)]
pub(crate) struct Grpc {
    sessions: session::Sessions,
    builds: builds::Builds,
}

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/grpc", post(grpc))
        .route("/session", post(open_session))
}

async fn grpc(State(state): State<ApiState>, request: Request) -> ApiResult<Response> {
    let (mut parts, _) = request.into_parts();
    if !wants_upgrade(&parts) {
        return Err(ApiError(Error::invalid(
            "no upgrade requested: /grpc needs Upgrade: h2c",
        )));
    }
    Ok(hijack(
        &mut parts,
        None,
        "application/grpc",
        move |input, output| async move {
            let io = TokioIo::new(tokio::io::join(input, output));
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(call(state, request).await) }
            });
            let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a BuildKit client went away");
            }
        },
    ))
}

async fn open_session(State(state): State<ApiState>, request: Request) -> ApiResult<Response> {
    let (mut parts, _) = request.into_parts();
    let id = respond::header(&parts.headers, SESSION_ID).to_owned();
    if !wants_upgrade(&parts) || id.is_empty() {
        return Err(ApiError(Error::invalid(
            "no upgrade requested: /session needs Upgrade: h2c and a session id",
        )));
    }
    Ok(hijack(
        &mut parts,
        None,
        "application/grpc",
        move |input, output| async move {
            state
                .grpc
                .sessions
                .serve(id, tokio::io::join(input, output))
                .await;
        },
    ))
}

async fn call(state: ApiState, request: hyper::Request<Incoming>) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let mut messages = Messages::new(body);
    if path == "/moby.buildkit.v1.Control/Session" {
        return tunnel(state, &parts.headers, messages);
    }
    let first = match messages.next().await {
        Ok(message) => message.unwrap_or_default(),
        Err(error) => return wire::unary(Err(error)),
    };
    dispatch(state, &path, &parts.headers, &first).await
}

async fn dispatch(state: ApiState, path: &str, headers: &HeaderMap, message: &Bytes) -> Response {
    let build = || {
        let id = respond::header(headers, BUILD_ID);
        state.grpc.builds.entry(id)
    };
    match path {
        "/moby.buildkit.v1.Control/ListWorkers" => wire::unary(Ok(control::list_workers())),
        "/moby.buildkit.v1.Control/Info" => wire::unary(Ok(control::info())),
        "/moby.buildkit.v1.Control/DiskUsage" => wire::unary(Ok(control::disk_usage(&state))),
        "/moby.buildkit.v1.Control/Solve" => {
            wire::unary(control::solve(state.clone(), message).await)
        }
        "/moby.buildkit.v1.Control/Status" => match Message::parse(message) {
            Ok(request) => {
                wire::streaming(control::status(state.grpc.builds.entry(&request.text(1))))
            }
            Err(error) => wire::unary(Err(error)),
        },
        "/moby.buildkit.v1.Control/Prune" => match control::prune(state.clone(), message).await {
            Ok(records) => wire::streaming(stream::iter(records).map(|record| Ok(framed(&record)))),
            Err(error) => wire::unary(Err(error)),
        },
        "/moby.buildkit.v1.frontend.LLBBridge/Ping" => wire::unary(Ok(control::ping())),
        "/moby.buildkit.v1.frontend.LLBBridge/Solve" => {
            wire::unary(control::bridge_solve(state.clone(), build(), message).await)
        }
        "/moby.buildkit.v1.frontend.LLBBridge/Return" => {
            wire::unary(control::bridge_return(&build(), message))
        }
        "/moby.buildkit.v1.frontend.LLBBridge/Evaluate" => wire::unary(Ok(Vec::new())),
        "/grpc.health.v1.Health/Check" => wire::unary(Ok(Writer::new().number(1, 1).done())),
        other => wire::unary(Err(Error::not_implemented(format!(
            "unknown method {other}"
        )))),
    }
}

/// `Control.Session`: a session's connection inside of a call.
fn tunnel(state: ApiState, headers: &HeaderMap, mut messages: Messages<Incoming>) -> Response {
    let id = respond::header(headers, SESSION_ID).to_owned();
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let (reader, mut writer) = tokio::io::split(ours);
    tokio::spawn(async move { state.grpc.sessions.serve(id, theirs).await });
    tokio::spawn(async move {
        while let Ok(Some(message)) = messages.next().await {
            let Ok(message) = Message::parse(&message) else {
                break;
            };
            if writer
                .write_all(message.bytes(1).unwrap_or_default())
                .await
                .is_err()
            {
                break;
            }
        }
    });
    wire::streaming(stream::unfold(reader, |mut reader| async move {
        let mut buffer = vec![0; 32 << 10];
        match reader.read(&mut buffer).await {
            Ok(count) if count > 0 => {
                let message = Writer::new().bytes(1, &buffer[..count]).done();
                Some((Ok::<_, Error>(framed(&message)), reader))
            }
            _ => None,
        }
    }))
}
