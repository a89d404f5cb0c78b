//! `/containers/…` but for streams, archives and execs: lists, life, changes.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State as Shared};
use axum::response::Response;
use axum::routing::{any, delete, get, post};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::engine::api::container_body::{CreateBody, InPlaceBody, UpdateBody, resize_of};
use crate::engine::api::container_view;
use crate::engine::api::events::parse_time;
use crate::engine::api::query::{JsonBody, Params};
use crate::engine::api::respond::{self, ApiError, ApiResult};
use crate::engine::api::{ApiState, blocking};
use crate::engine::base::{Error, Result};
use crate::engine::containers::actor::{Message, RemoveOptions, StopOptions};
use crate::engine::containers::filter::ListOptions;
use crate::engine::containers::state::State;
use crate::engine::containers::stop::parse_signal;
use crate::engine::containers::top;
use crate::engine::containers::view::View;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/containers/json", get(list))
        .route("/containers/create", post(create))
        .route("/containers/prune", post(prune))
        .route("/containers/{id}", delete(remove))
        .route("/containers/{id}/json", get(inspect))
        .route("/containers/{id}/top", get(processes))
        .route("/containers/{id}/start", post(start))
        .route("/containers/{id}/stop", post(stop))
        .route("/containers/{id}/restart", post(restart))
        .route("/containers/{id}/kill", post(kill))
        .route("/containers/{id}/pause", post(pause))
        .route("/containers/{id}/unpause", post(unpause))
        .route("/containers/{id}/rename", post(rename))
        .route("/containers/{id}/update", post(update))
        .route("/containers/{id}/resize", post(resize))
        .route("/containers/{id}/wait", post(wait))
        .route("/containers/{id}/checkpoints", any(no_checkpoints))
        .route(
            "/containers/{id}/checkpoints/{checkpoint}",
            any(no_checkpoints),
        )
        .route("/hoist/containers/{id}/update", post(update_in_place))
}

async fn list(Shared(state): Shared<ApiState>, params: Params) -> ApiResult {
    let limit = params.integer("limit")?;
    let options = ListOptions {
        all: params.flag("all"),
        limit: limit.and_then(|limit| usize::try_from(limit).ok()),
        filters: params.filters()?,
    };
    let with_size = params.flag("size");
    let views = state.containers.list_filtered(&options)?;
    let entries = blocking(move || {
        let entry = |view: &std::sync::Arc<View>| {
            let usage = with_size
                .then(|| state.images.snapshots().usage(view.id()).ok())
                .flatten();
            container_view::list_entry(&state.containers, view, usage)
        };
        Ok(views.iter().map(entry).collect::<Vec<Value>>())
    })
    .await?;
    Ok(respond::ok(&entries))
}

async fn create(
    Shared(state): Shared<ApiState>,
    params: Params,
    JsonBody(body): JsonBody<CreateBody>,
) -> ApiResult {
    let request = body.into_request(params.text("name"), params.text("platform"));
    let created = blocking(move || state.containers.create(request)).await?;
    Ok(respond::json(
        StatusCode::CREATED,
        &json!({ "Id": created.id, "Warnings": created.warnings }),
    ))
}

async fn inspect(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult {
    let view = state.containers.get(&id)?.view();
    let usage = if params.flag("size") {
        let (state, view) = (state.clone(), std::sync::Arc::clone(&view));
        Some(blocking(move || state.images.snapshots().usage(view.id())).await?)
    } else {
        None
    };
    Ok(respond::ok(&container_view::inspect(
        &state.containers,
        &view,
        usage,
    )?))
}

async fn processes(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult {
    let view = state.containers.get(&id)?.view();
    let args = params.text("ps_args").to_owned();
    let event_view = std::sync::Arc::clone(&view);
    let table = blocking(move || top::top(&view, &args)).await?;
    state
        .containers
        .deps
        .publish(&event_view.record, "top", &[]);
    Ok(respond::ok(
        &json!({ "Titles": table.titles, "Processes": table.processes }),
    ))
}

async fn start(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    params: Params,
    request: Request,
) -> ApiResult {
    if params.given("checkpoint").is_some() {
        return Err(
            Error::not_implemented("checkpoints are not supported by hoist's engine").into(),
        );
    }
    // A host config here was removed from the API long ago; Docker refuses it too.
    let body = request.into_body().collect().await;
    let length = body.map_or(0, |body| body.to_bytes().len());
    if length > 7 {
        return Err(Error::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        )
        .into());
    }
    state.containers.get(&id)?.ask(Message::Start).await?;
    Ok(respond::no_content())
}

fn stop_options(params: &Params) -> Result<StopOptions> {
    let signal = match params.given("signal") {
        None => None,
        Some(text) => Some(signal_of(text)?),
    };
    Ok(StopOptions {
        signal,
        timeout: params.integer("t")?,
    })
}

fn signal_of(text: &str) -> Result<i32> {
    parse_signal(text).ok_or_else(|| Error::invalid(format!("invalid signal: {text}")))
}

async fn stop(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult {
    let options = stop_options(&params)?;
    let container = state.containers.get(&id)?;
    container.ask(|reply| Message::Stop(options, reply)).await?;
    Ok(respond::no_content())
}

async fn restart(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult {
    let options = stop_options(&params)?;
    let container = state.containers.get(&id)?;
    container
        .ask(|reply| Message::Restart(options, reply))
        .await?;
    Ok(respond::no_content())
}

async fn kill(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult {
    let container = state.containers.get(&id)?;
    let signal = params.given("signal").map_or(Ok(9), signal_of)?;
    container.ask(|reply| Message::Kill(signal, reply)).await?;
    Ok(respond::no_content())
}

async fn pause(Shared(state): Shared<ApiState>, Path(id): Path<String>) -> ApiResult {
    state.containers.get(&id)?.ask(Message::Pause).await?;
    Ok(respond::no_content())
}

async fn unpause(Shared(state): Shared<ApiState>, Path(id): Path<String>) -> ApiResult {
    state.containers.get(&id)?.ask(Message::Unpause).await?;
    Ok(respond::no_content())
}

async fn rename(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult {
    let container = state.containers.get(&id)?;
    let name = params.text("name").to_owned();
    container.ask(|reply| Message::Rename(name, reply)).await?;
    Ok(respond::no_content())
}

async fn update(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<UpdateBody>,
) -> ApiResult {
    let container = state.containers.get(&id)?;
    let update = Box::new(body.into_update());
    let warnings = container
        .ask(|reply| Message::Update(update, reply))
        .await?;
    let warnings = if warnings.is_empty() {
        Value::Null
    } else {
        json!(warnings)
    };
    Ok(respond::ok(&json!({ "Warnings": warnings })))
}

async fn update_in_place(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<InPlaceBody>,
) -> ApiResult {
    let container = state.containers.get(&id)?;
    let update = Box::new(body.into_update());
    container
        .ask(|reply| Message::Update(update, reply))
        .await?;
    Ok(respond::no_content())
}

async fn resize(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult {
    let size = resize_of(params.text("h"), params.text("w"))?;
    let container = state.containers.get(&id)?;
    container.ask(|reply| Message::Resize(size, reply)).await?;
    Ok(respond::empty(StatusCode::OK))
}

async fn remove(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult {
    if params.flag("link") {
        return Err(
            Error::not_implemented("removing a link is not supported by hoist's engine").into(),
        );
    }
    let options = RemoveOptions {
        force: params.flag("force"),
        volumes: params.flag("v"),
    };
    let container = state.containers.get(&id)?;
    container
        .ask(|reply| Message::Remove(options, reply))
        .await?;
    Ok(respond::no_content())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitCondition {
    NotRunning,
    NextExit,
    Removed,
}

async fn wait(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult {
    let condition = match params.text("condition") {
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(Error::invalid(format!("invalid condition: \"{other}\"")).into()),
    };
    let container = state.containers.get(&id)?;
    let mut view = container.watch();
    let first_exits = view.borrow_and_update().exits;
    // Clients start the container after they have seen these headers: they go out at once.
    let body = stream::once(async move {
        let met = |view: &std::sync::Arc<View>| match condition {
            WaitCondition::NotRunning => !view.run.state.counts_as_running() || view.removed,
            WaitCondition::NextExit => view.exits > first_exits || view.removed,
            WaitCondition::Removed => view.removed,
        };
        let answer = match view.wait_for(met).await {
            Ok(view) => exit_body(&view),
            Err(_) => {
                json!({ "StatusCode": -1, "Error": { "Message": "the container's task has ended" } })
            }
        };
        let mut line = answer.to_string();
        line.push('\n');
        Ok::<_, std::io::Error>(Bytes::from(line))
    });
    Ok(respond::with_type(
        StatusCode::OK,
        "application/json",
        Body::from_stream(body),
    ))
}

fn exit_body(view: &View) -> Value {
    // A start that failed is told to whoever asked for the start.
    if view.run.state != State::Dead {
        return json!({ "StatusCode": view.run.exit_code });
    }
    json!({
        "StatusCode": view.run.exit_code,
        "Error": { "Message": view.run.error },
    })
}

async fn prune(Shared(state): Shared<ApiState>, params: Params) -> ApiResult {
    let filters = params.filters()?;
    filters.check(&["until", "label", "label!"])?;
    let until = match filters.get("until") {
        [] => None,
        [text] => Some(prune_time(text)?),
        _ => return Err(Error::invalid("more than one until filter specified").into()),
    };
    let mut deleted = Vec::new();
    let mut reclaimed = 0;
    for view in state.containers.list() {
        let old_enough = until.is_none_or(|until| {
            container_view::unix_seconds(&view.record.created) <= until / 1_000_000_000
        });
        if view.run.state.counts_as_running()
            || !old_enough
            || !filters.match_labels(|key| view.record.label(key))
        {
            continue;
        }
        let usage = {
            let (state, view) = (state.clone(), std::sync::Arc::clone(&view));
            blocking(move || state.images.snapshots().usage(view.id())).await
        };
        let options = RemoveOptions {
            force: false,
            volumes: false,
        };
        let container = state.containers.get(view.id())?;
        if container
            .ask(|reply| Message::Remove(options, reply))
            .await
            .is_ok()
        {
            reclaimed += usage.map_or(0, |usage| usage.writable);
            deleted.push(view.id().to_owned());
        }
    }
    let deleted = if deleted.is_empty() {
        Value::Null
    } else {
        json!(deleted)
    };
    Ok(respond::ok(
        &json!({ "ContainersDeleted": deleted, "SpaceReclaimed": reclaimed }),
    ))
}

/// A moment, or how long ago (`24h`), in nanoseconds since the epoch.
pub(crate) fn prune_time(text: &str) -> Result<i64> {
    if let Ok(duration) = crate::units::Duration::parse(text) {
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        return Ok(now.saturating_sub(duration.as_nanos()));
    }
    parse_time(text)
}

async fn no_checkpoints() -> Response {
    use axum::response::IntoResponse as _;
    ApiError(Error::not_implemented(
        "checkpoints are not supported by hoist's engine",
    ))
    .into_response()
}
