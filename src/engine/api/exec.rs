//! Streams of containers: attach, logs, stats, and execs from create to inspect.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest as _, Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::engine::api::container_body::{ExecBody, ExecStartBody, resize_of};
use crate::engine::api::events::parse_time;
use crate::engine::api::hijack::{self, MULTIPLEXED, RAW};
use crate::engine::api::query::{JsonBody, OptionalJson, Params};
use crate::engine::api::respond::{self, ApiError, ApiResult};
use crate::engine::api::{ApiState, ApiVersion};
use crate::engine::base::{Error, Result};
use crate::engine::containers::actor::Message;
use crate::engine::containers::attach::{self, AttachOptions, CopyEnd, DetachKeys};
use crate::engine::containers::exec::{Exec, ExecProcess};
use crate::engine::containers::logs::LogsOptions;
use crate::engine::containers::state::{self, Admission, Request as Asked};

/// Since this version the content type says whether the stream has frames.
const MULTIPLEXED_SINCE: ApiVersion = ApiVersion(42);

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/containers/{id}/attach", post(attach_container))
        .route("/containers/{id}/attach/ws", get(no_websocket))
        .route("/containers/{id}/logs", get(logs))
        .route("/containers/{id}/exec", post(create_exec))
        .route("/exec/{id}/start", post(start_exec))
        .route("/exec/{id}/resize", post(resize_exec))
        .route("/exec/{id}/json", get(inspect_exec))
}

/// The content type of output from a container with or without a tty.
fn stream_type(version: ApiVersion, tty: bool) -> &'static str {
    if !tty && version >= MULTIPLEXED_SINCE {
        MULTIPLEXED
    } else {
        RAW
    }
}

async fn no_websocket() -> Response {
    ApiError(Error::not_implemented(
        "attaching by websocket is not supported by hoist's engine",
    ))
    .into_response()
}

async fn attach_container(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    axum::Extension(version): axum::Extension<ApiVersion>,
    params: Params,
    request: Request,
) -> ApiResult {
    let keys = DetachKeys::parse(params.text("detachKeys"))?;
    let container = state.containers.get(&id)?;
    let view = container.view();
    if let Admission::Denied(denied) = state::admit(view.run.state, Asked::Attach) {
        return Err(denied
            .to_error(Asked::Attach, view.id(), &view.record.name)
            .into());
    }
    let config = &view.record.config;
    let (tty, open_stdin) = (config.tty, config.open_stdin);
    let options = AttachOptions {
        stdin: params.flag("stdin") && open_stdin,
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
    };
    // Asked now, answered with the next start at the latest: nothing of the output is missed even when
    // the client starts the container right after our answer.
    let attached = params
        .flag("stream")
        .then(|| container.send(|reply| Message::Attach(options, reply)));
    let past = if params.flag("logs") {
        let query = LogsOptions {
            follow: false,
            stdout: options.stdout,
            stderr: options.stderr,
            timestamps: false,
            details: false,
            tail: None,
            since: None,
            until: None,
            framed: !tty,
        };
        Some(state.containers.logs(&container, query)?)
    } else {
        None
    };
    state.containers.deps.publish(&view.record, "attach", &[]);
    let (mut parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    let deps = Arc::clone(&state.containers.deps);
    let guard = state.client_guard();
    let follower = container.followers.enter();
    Ok(hijack::hijack(
        &mut parts,
        Some(body),
        stream_type(version, tty),
        move |input, mut output| async move {
            let _guard = guard;
            hijack::let_head_arrive(&headers).await;
            if let Some(mut past) = past {
                while let Some(Ok(bytes)) = past.recv().await {
                    if !hijack::write(&mut output, &bytes).await {
                        return;
                    }
                }
            }
            // No answer: the container was removed before it ever ran.
            if let Some(attached) = attached
                && let Ok(Ok(attached)) = attached.await
            {
                let keys = tty.then_some(keys);
                let end = attach::copy(attached, input, &mut output, !tty, keys).await;
                if end == CopyEnd::Detached {
                    deps.publish(&view.record, "detach", &[]);
                }
            }
            // The client may be gone already.
            let _ = output.shutdown().await;
            drop(follower);
        },
    ))
}

fn logs_options(params: &Params, tty: bool) -> Result<LogsOptions> {
    let (stdout, stderr) = (params.flag("stdout"), params.flag("stderr"));
    if !stdout && !stderr {
        return Err(Error::invalid(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let time = |name: &str| -> Result<Option<i64>> {
        match params.given(name) {
            None | Some("0") => Ok(None),
            Some(text) => parse_time(text).map(Some),
        }
    };
    let tail = match params.text("tail") {
        "" | "all" => None,
        // Docker takes what is no number, and negative ones, for "all".
        text => text
            .parse::<i64>()
            .ok()
            .and_then(|count| u64::try_from(count).ok()),
    };
    Ok(LogsOptions {
        follow: params.flag("follow"),
        stdout,
        stderr,
        timestamps: params.flag("timestamps"),
        details: params.flag("details"),
        tail,
        since: time("since")?,
        until: time("until")?,
        framed: !tty,
    })
}

async fn logs(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    axum::Extension(version): axum::Extension<ApiVersion>,
    params: Params,
) -> ApiResult {
    let container = state.containers.get(&id)?;
    let tty = container.view().record.config.tty;
    let options = logs_options(&params, tty)?;
    let chunks = state.containers.logs(&container, options)?;
    Ok(respond::with_type(
        StatusCode::OK,
        stream_type(version, tty),
        Body::from_stream(ReceiverStream::new(chunks)),
    ))
}

async fn create_exec(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ExecBody>,
) -> ApiResult {
    let config = body.into_config();
    if let Some(keys) = &config.detach_keys {
        DetachKeys::parse(keys)?;
    }
    let exec_id = state.containers.create_exec(&id, config)?;
    Ok(respond::json(
        StatusCode::CREATED,
        &json!({ "Id": exec_id }),
    ))
}

async fn start_exec(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    axum::Extension(version): axum::Extension<ApiVersion>,
    request: Request,
) -> ApiResult {
    let exec = state.containers.exec(&id)?;
    let (mut parts, body) = request.into_parts();
    let body_request = Request::from_parts(
        {
            let mut copy = http::Request::new(()).into_parts().0;
            copy.headers.clone_from(&parts.headers);
            copy
        },
        body,
    );
    let OptionalJson(start) =
        OptionalJson::<ExecStartBody>::from_request(body_request, &()).await?;
    let start = start.unwrap_or_default();
    if start.detach {
        let nothing = AttachOptions {
            stdin: false,
            stdout: false,
            stderr: false,
        };
        state.containers.start_exec(&exec, nothing).await?;
        return Ok(respond::empty(StatusCode::OK));
    }
    if let Some(size) = start.console_size() {
        exec.resize(size).await?;
    }
    let config = &exec.config;
    let options = AttachOptions {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
    };
    let tty = config.tty;
    let keys = match (&config.detach_keys, tty) {
        (Some(keys), true) => Some(DetachKeys::parse(keys)?),
        (None, true) => Some(DetachKeys::parse("")?),
        (_, false) => None,
    };
    let containers = Arc::clone(&state.containers);
    containers.check_exec(&exec)?;
    let guard = state.client_guard();
    let headers = parts.headers.clone();
    Ok(hijack::hijack(
        &mut parts,
        None,
        stream_type(version, tty),
        move |input, mut output| async move {
            let _guard = guard;
            hijack::let_head_arrive(&headers).await;
            match containers.start_exec(&exec, options).await {
                Ok(started) => {
                    if let Some(attached) = started.attached {
                        let end = attach::copy(attached, input, &mut output, !tty, keys).await;
                        if end == CopyEnd::Finished {
                            // The client reads the exit code as soon as the stream ends.
                            wait_until_ended(&exec, &started.process).await;
                        }
                    }
                }
                // Clients show what comes on the stream, and take the exit code from inspect.
                Err(error) => {
                    let text = format!("{error}\r\n");
                    let bytes = if tty {
                        text.into()
                    } else {
                        hijack::frame(1, text.as_bytes())
                    };
                    hijack::write(&mut output, &bytes).await;
                }
            }
            let _ = output.shutdown().await;
        },
    ))
}

async fn wait_until_ended(exec: &Exec, process: &ExecProcess) {
    let code = process.wait().await;
    exec.note_end(code, process.pid);
}

async fn resize_exec(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult {
    let size = resize_of(params.text("h"), params.text("w"))?;
    state.containers.exec(&id)?.resize(size).await?;
    Ok(respond::empty(StatusCode::OK))
}

async fn inspect_exec(State(state): State<ApiState>, Path(id): Path<String>) -> ApiResult {
    let exec = state.containers.exec(&id)?;
    let status = exec.status();
    let config = &exec.config;
    Ok(respond::ok(&json!({
        "ID": exec.id,
        "Running": status.running,
        "ExitCode": status.exit_code,
        "ProcessConfig": {
            "tty": config.tty,
            "entrypoint": config.command.first().cloned().unwrap_or_default(),
            "arguments": config.command.get(1..).unwrap_or_default(),
            "privileged": config.privileged,
            "user": config.user,
        },
        "OpenStdin": config.attach_stdin,
        "OpenStderr": config.attach_stderr,
        "OpenStdout": config.attach_stdout,
        "CanRemove": false,
        "ContainerID": exec.container_id,
        "DetachKeys": config.detach_keys.clone().unwrap_or_default(),
        "Pid": status.pid,
    })))
}
