//! `create` (and `up --no-start`): makes containers, networks and volumes, and starts nothing.

use crate::apply::Phase;
use crate::ops::converge::{ConvergeOptions, converge};
use crate::ops::ensure_images::ImageChoices;
use crate::ops::lock::{self, Scope};
use crate::ops::target::report_plan;
use crate::ops::{Context, OpError, up};
use crate::plan::{Goal, Recreate};

#[derive(Debug, Clone)]
pub(crate) struct CreateOptions {
    pub(crate) services: Vec<String>,
    pub(crate) force_recreate: bool,
    pub(crate) no_recreate: bool,
    pub(crate) remove_orphans: bool,
    /// `SERVICE=NUM`.
    pub(crate) scale: Vec<String>,
    pub(crate) images: ImageChoices,
}

/// # Errors
/// When the plan cannot be made or carried out.
pub(crate) async fn run(ctx: &Context, options: &CreateOptions) -> Result<(), OpError> {
    if options.force_recreate && options.no_recreate {
        return Err(OpError::failed(
            "--force-recreate and --no-recreate are incompatible",
        ));
    }
    if options.images.build && options.images.no_build {
        return Err(OpError::failed("--build and --no-build are incompatible"));
    }
    ctx.progress.begin("create");
    let result = create(ctx, options).await;
    ctx.progress.end(result.is_err());
    result
}

async fn create(ctx: &Context, options: &CreateOptions) -> Result<(), OpError> {
    let project = up::selected_project(ctx, &options.services, false, &options.scale)?;
    let _lock = lock::acquire(ctx, Scope::Change).await?;
    let (recreate, recreate_dependencies) = match (options.force_recreate, options.no_recreate) {
        (true, _) => (Recreate::Force, Recreate::Diverged),
        (_, true) => (Recreate::Never, Recreate::Never),
        _ => (Recreate::Diverged, Recreate::Diverged),
    };
    let options = ConvergeOptions {
        services: options.services.clone(),
        recreate,
        recreate_dependencies,
        inherit_volumes: true,
        goal: Goal::Created,
        timeout: None,
        remove_orphans: options.remove_orphans,
        images: options.images.clone(),
        waits: Vec::new(),
    };
    let converged = converge(ctx, project, &options).await?;
    if ctx.dry_run {
        report_plan(ctx, &converged.plan);
        return Ok(());
    }
    Ok(converged.execution(ctx, None).run(Phase::All).await?)
}
