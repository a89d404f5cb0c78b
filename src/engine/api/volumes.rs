//! The volume endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::engine::api::ApiState;
use crate::engine::api::progress_stream::blocking;
use crate::engine::api::query::{OptionalJson, Params};
use crate::engine::api::respond::{self, ApiError, ApiResult};
use crate::engine::base::{Error, Filters, Result};
use crate::engine::volumes::{Volume, VolumeConfig, VolumeFilters};

const LIST_FILTERS: &[&str] = &["dangling", "driver", "label", "label!", "name"];
const PRUNE_FILTERS: &[&str] = &["all", "label", "label!"];

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create))
        .route("/volumes/prune", post(prune))
        .route("/volumes/{name}", get(inspect).delete(remove).put(update))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    name: Option<String>,
    driver: Option<String>,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    cluster_volume_spec: Option<serde_json::Value>,
}

/// A volume as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VolumeView {
    created_at: String,
    driver: String,
    labels: Option<BTreeMap<String, String>>,
    mountpoint: String,
    name: String,
    options: Option<BTreeMap<String, String>>,
    scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_data: Option<UsageData>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageData {
    ref_count: i64,
    size: i64,
}

pub(crate) fn view(volume: Volume) -> VolumeView {
    let some = |map: BTreeMap<String, String>| (!map.is_empty()).then_some(map);
    VolumeView {
        created_at: volume.created_at,
        driver: volume.driver,
        labels: some(volume.labels),
        mountpoint: volume.mountpoint.display().to_string(),
        name: volume.name,
        options: some(volume.driver_opts),
        scope: "local",
        usage_data: None,
    }
}

/// With the size and the number of users, for `system df`.
pub(crate) fn view_with_usage(volume: Volume, users: usize, size: i64) -> VolumeView {
    VolumeView {
        usage_data: Some(UsageData {
            ref_count: i64::try_from(users).unwrap_or(i64::MAX),
            size,
        }),
        ..view(volume)
    }
}

fn volume_filters(filters: &Filters) -> Result<VolumeFilters> {
    Ok(VolumeFilters {
        names: filters.get("name").to_vec(),
        drivers: filters.get("driver").to_vec(),
        labels: filters.get("label").to_vec(),
        labels_not: filters.get("label!").to_vec(),
        dangling: filters.boolean("dangling")?,
    })
}

async fn list(State(state): State<ApiState>, params: Params) -> ApiResult {
    let filters = params.filters()?;
    filters.check(LIST_FILTERS)?;
    let volumes = state.volumes.list(&volume_filters(&filters)?)?;
    let views: Vec<VolumeView> = volumes.into_iter().map(view).collect();
    Ok(respond::ok(
        &serde_json::json!({"Volumes": views, "Warnings": null}),
    ))
}

async fn create(State(state): State<ApiState>, body: OptionalJson<CreateBody>) -> ApiResult {
    let body = body.0.unwrap_or_default();
    if body.cluster_volume_spec.is_some() {
        return Err(ApiError(Error::unavailable(
            "This node is not a swarm manager. Cluster volumes need a swarm.",
        )));
    }
    let config = VolumeConfig {
        name: body.name,
        driver: body.driver.unwrap_or_default(),
        driver_opts: body.driver_opts.unwrap_or_default(),
        labels: body.labels.unwrap_or_default(),
    };
    let volumes = Arc::clone(&state.volumes);
    let volume = blocking(move || volumes.create(config)).await?;
    Ok(respond::json(StatusCode::CREATED, &view(volume)))
}

async fn inspect(State(state): State<ApiState>, Path(name): Path<String>) -> ApiResult {
    Ok(respond::ok(&view(state.volumes.get(&name)?)))
}

async fn remove(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    params: Params,
) -> ApiResult {
    let force = params.flag("force");
    let volumes = Arc::clone(&state.volumes);
    blocking(move || volumes.remove(&name, force)).await?;
    Ok(respond::no_content())
}

async fn update() -> ApiResult {
    Err(ApiError(Error::unavailable(
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    )))
}

async fn prune(State(state): State<ApiState>, params: Params) -> ApiResult {
    let filters = params.filters()?;
    filters.check(PRUNE_FILTERS)?;
    let all = filters.boolean("all")?.unwrap_or(false);
    let wanted = volume_filters(&filters)?;
    let volumes = Arc::clone(&state.volumes);
    let (names, freed) = blocking(move || volumes.prune(&wanted, all)).await?;
    Ok(respond::ok(&serde_json::json!({
        "VolumesDeleted": if names.is_empty() { None } else { Some(names) },
        "SpaceReclaimed": freed,
    })))
}
