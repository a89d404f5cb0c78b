//! Files of containers over HTTP: `archive` (stat, get, put), `export`, `changes`, `stats`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{TryStreamExt as _, stream};
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::engine::api::progress_stream::stream_writer;
use crate::engine::api::query::{self, Params};
use crate::engine::api::respond::{self, ApiResult};
use crate::engine::api::stats_view::stats_view;
use crate::engine::api::{ApiState, blocking};
use crate::engine::base::{Error, Result};
use crate::engine::containers::Container;
use crate::engine::containers::archive::{PathStat, PutOptions};
use crate::engine::containers::stats::{Sample, sample};
use crate::engine::images::ChangeKind;

const STAT_HEADER: HeaderName = HeaderName::from_static("x-docker-container-path-stat");
/// Between two samples of a stream.
const STATS_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/containers/{id}/archive", get(read).head(read).put(write))
        .route("/containers/{id}/export", get(export))
        .route("/containers/{id}/changes", get(changes))
        .route("/containers/{id}/stats", get(stats))
}

fn path_of(params: &Params) -> Result<String> {
    match params.given("path") {
        Some(path) => Ok(path.to_owned()),
        None => Err(Error::invalid("bad parameter: 'path' cannot be empty")),
    }
}

fn stat_header(stat: &PathStat) -> HeaderValue {
    let text = json!({
        "name": stat.name,
        "size": stat.size,
        "mode": stat.mode,
        "mtime": stat.mtime,
        "linkTarget": stat.link_target,
    })
    .to_string();
    // base64 is always a valid header.
    HeaderValue::from_str(&STANDARD.encode(text)).unwrap_or(HeaderValue::from_static(""))
}

async fn read(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    method: Method,
    params: Params,
) -> ApiResult {
    let path = path_of(&params)?;
    let view = state.containers.get(&id)?.view();
    let containers = Arc::clone(&state.containers);
    if method == Method::HEAD {
        let stat = blocking(move || containers.stat_path(&view, &path)).await?;
        let mut response = respond::empty(StatusCode::OK);
        response
            .headers_mut()
            .insert(STAT_HEADER, stat_header(&stat));
        return Ok(response);
    }
    let (stat, writer) = blocking(move || {
        let (stat, writer) = containers.read_path(&view, &path)?;
        containers.deps.publish(&view.record, "archive-path", &[]);
        Ok((stat, writer))
    })
    .await?;
    let body = Body::from_stream(stream_writer(move |out| writer(out)));
    let mut response = respond::with_type(StatusCode::OK, "application/x-tar", body);
    response
        .headers_mut()
        .insert(STAT_HEADER, stat_header(&stat));
    Ok(response)
}

async fn write(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    request: Request,
) -> ApiResult {
    let path = path_of(&params)?;
    let view = state.containers.get(&id)?.view();
    let options = PutOptions {
        own_by_user: params.flag("copyUIDGID"),
        keep_directories: params.flag("noOverwriteDirNonDir"),
    };
    let stream = request
        .into_body()
        .into_data_stream()
        .map_err(std::io::Error::other);
    let mut tar = SyncIoBridge::new(StreamReader::new(stream));
    let containers = Arc::clone(&state.containers);
    blocking(move || {
        let written = containers.write_path(&view, &path, options, &mut tar);
        query::drain(&mut tar);
        written
    })
    .await?;
    Ok(respond::empty(StatusCode::OK))
}

async fn export(State(state): State<ApiState>, Path(id): Path<String>) -> ApiResult {
    let view = state.containers.get(&id)?.view();
    let containers = Arc::clone(&state.containers);
    let writer = blocking(move || containers.export(&view)).await?;
    let body = Body::from_stream(stream_writer(move |out| writer(out)));
    Ok(respond::with_type(
        StatusCode::OK,
        "application/octet-stream",
        body,
    ))
}

async fn changes(State(state): State<ApiState>, Path(id): Path<String>) -> ApiResult {
    let view = state.containers.get(&id)?.view();
    let containers = Arc::clone(&state.containers);
    let changes = blocking(move || containers.changes(&view)).await?;
    if changes.is_empty() {
        return Ok(respond::ok(&Value::Null));
    }
    let entries: Vec<Value> = changes
        .iter()
        .map(|change| {
            let kind = match change.kind {
                ChangeKind::Modified => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            };
            json!({ "Path": change.path, "Kind": kind })
        })
        .collect();
    Ok(respond::ok(&entries))
}

async fn stats(State(state): State<ApiState>, Path(id): Path<String>, params: Params) -> ApiResult {
    let streams = params.flag_or("stream", true);
    let one_shot = params.flag("one-shot");
    if streams && one_shot {
        return Err(Error::invalid("cannot have stream=true and one-shot=true").into());
    }
    let container = state.containers.get(&id)?;
    if !streams {
        return single_sample(&container, one_shot).await;
    }
    Ok(sample_stream(container))
}

async fn take(container: &Arc<Container>) -> Result<Sample> {
    let view = container.view();
    // Docker shows a container without a process with empty numbers.
    if !view.run.state.has_process() {
        return Ok(Sample::default());
    }
    blocking(move || sample(&view)).await
}

async fn single_sample(container: &Arc<Container>, one_shot: bool) -> ApiResult {
    let first = take(container).await?;
    let view = container.view();
    if one_shot || !view.run.state.has_process() {
        return Ok(respond::ok(&stats_view(&view, &first, None)));
    }
    // A rate is what changes between two samples: the second is the API's, nothing is waited for.
    tokio::time::sleep(STATS_INTERVAL).await;
    let second = take(container).await?;
    Ok(respond::ok(&stats_view(&view, &second, Some(&first))))
}

fn sample_stream(container: Arc<Container>) -> Response {
    let mut ticks = tokio::time::interval(STATS_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let start = (container, ticks, None::<Sample>);
    let lines = stream::unfold(start, |(container, mut ticks, earlier)| async move {
        ticks.tick().await;
        let view = container.view();
        if view.removed {
            return None;
        }
        let current = take(&container).await.unwrap_or_default();
        let mut line = stats_view(&view, &current, earlier.as_ref()).to_string();
        line.push('\n');
        Some((
            Ok::<_, std::io::Error>(bytes::Bytes::from(line)),
            (container, ticks, Some(current)),
        ))
    });
    respond::with_type(StatusCode::OK, "application/json", Body::from_stream(lines))
}
