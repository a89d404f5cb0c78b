//! `down`: containers, networks, and on demand volumes and images of a project go. Safe to repeat.

use std::time::Duration;

use crate::client::observe::ObserveScope;
use crate::ops::lock::{self, Scope};
use crate::ops::target::target;
use crate::ops::{Context, OpError};
use crate::plan::teardown::{self, RemoveImages};

#[derive(Debug, Clone)]
pub(crate) struct DownOptions {
    pub(crate) services: Vec<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) volumes: bool,
    /// `local` or `all`.
    pub(crate) images: Option<RemoveImages>,
    pub(crate) remove_orphans: bool,
}

/// Reads the value of `--rmi`.
///
/// # Errors
/// When it is neither of the two words.
pub(crate) fn parse_images(text: &str) -> Result<RemoveImages, OpError> {
    match text {
        "local" => Ok(RemoveImages::Local),
        "all" => Ok(RemoveImages::All),
        other => Err(OpError::failed(format!(
            "invalid value for --rmi: \"{other}\" (use local or all)"
        ))),
    }
}

/// # Errors
/// The first thing that could not be removed.
pub(crate) async fn run(ctx: &Context, options: &DownOptions) -> Result<(), OpError> {
    ctx.progress.begin("down");
    let result = take_down(ctx, options).await;
    ctx.progress.end(result.is_err());
    result
}

async fn take_down(ctx: &Context, options: &DownOptions) -> Result<(), OpError> {
    let _lock = lock::acquire(ctx, Scope::Change).await?;
    let scope = ObserveScope {
        networks: true,
        volumes: options.volumes || ctx.loaded.is_none(),
        images: Vec::new(),
    };
    let mut target = target(ctx, &options.services, &scope).await?;
    if options.images.is_some() {
        let services = target.desired.project.services.values();
        let images: Vec<(String, String)> = services
            .map(|s| (target.desired.image_name(s), String::new()))
            .collect();
        target.observed.images = ctx.client.observe_images(&images).await?;
    }
    let plan = teardown::down(
        &target.desired,
        &target.observed,
        &teardown::DownOptions {
            services: target.services.clone(),
            timeout: options.timeout,
            volumes: options.volumes,
            images: options.images,
            remove_orphans: options.remove_orphans,
        },
    )?;
    let declares_nothing =
        target.from_labels || target.desired.project.networks.values().all(|n| n.external);
    if plan.is_empty() && declares_nothing {
        ctx.progress.warning(format!(
            "Warning: No resource found to remove for project \"{}\".",
            ctx.project_name
        ));
    }
    target.apply(ctx, plan, None).await
}
