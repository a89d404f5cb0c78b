//! `POST /commit`: a container becomes an image, with changes to its config.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::StatusCode;
use serde_json::json;

use crate::engine::api::ApiState;
use crate::engine::api::query::{OptionalJson, Params};
use crate::engine::api::respond::{self, ApiResult};
use crate::engine::base::Error;
use crate::engine::build::apply_changes;
use crate::engine::containers::commit::run_config;
use crate::engine::containers::config::Config;
use crate::engine::containers::merge::merge;
use crate::engine::images::CommitOptions;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new().route("/commit", post(commit))
}

async fn commit(
    State(state): State<ApiState>,
    params: Params,
    OptionalJson(body): OptionalJson<Config>,
) -> ApiResult {
    let Some(name) = params.given("container") else {
        return Err(Error::invalid("bad parameter: 'container' cannot be empty").into());
    };
    let container = state.containers.get(name)?;
    let view = container.view();
    let own = run_config(&view.record.config);
    let mut config = match body {
        Some(mut changed) => {
            merge(&mut changed, &own)?;
            run_config(&changed)
        }
        None => own,
    };
    apply_changes(&mut config, &params.all("changes"))?;
    let reference = params.given("repo").map(|repo| match params.given("tag") {
        Some(tag) => format!("{repo}:{tag}"),
        None => repo.to_owned(),
    });
    let options = CommitOptions {
        parent: Some(view.record.image_id.clone()),
        config: Some(config),
        reference,
        author: params.text("author").to_owned(),
        comment: params.text("comment").to_owned(),
        created_by: view.record.args().join(" "),
    };
    let pause = params.flag_or("pause", true);
    let image = state.containers.commit(&container, options, pause).await?;
    Ok(respond::json(
        StatusCode::CREATED,
        &json!({ "Id": image.id.to_string() }),
    ))
}
