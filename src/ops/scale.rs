//! `scale`: sets numbers of replicas and reconciles; the other services keep theirs. Never builds.

use crate::ops::converge::{ConvergeOptions, converge};
use crate::ops::ensure_images::ImageChoices;
use crate::ops::lock::{self, Scope};
use crate::ops::selection;
use crate::ops::target::report_plan;
use crate::ops::{Context, OpError, up};
use crate::plan::{Goal, Recreate};

#[derive(Debug, Clone)]
pub(crate) struct ScaleOptions {
    /// `SERVICE=REPLICAS`.
    pub(crate) replicas: Vec<String>,
    pub(crate) no_deps: bool,
}

/// # Errors
/// When a number is none, a service is none, or the plan cannot be carried out.
pub(crate) async fn run(ctx: &Context, options: &ScaleOptions) -> Result<(), OpError> {
    if options.replicas.is_empty() {
        return Err(OpError::failed(
            "requires at least 1 argument: SERVICE=REPLICAS",
        ));
    }
    ctx.progress.begin("scale");
    let result = scale(ctx, options).await;
    ctx.progress.end(result.is_err());
    result
}

async fn scale(ctx: &Context, options: &ScaleOptions) -> Result<(), OpError> {
    let mut services = Vec::new();
    for text in &options.replicas {
        let parsed = selection::parse_scale(text);
        let (name, _) =
            parsed.map_err(|_| OpError::failed(format!("invalid scale specifier: {text}")))?;
        services.push(name);
    }
    services.sort();
    services.dedup();
    let project = up::selected_project(ctx, &services, options.no_deps, &options.replicas)?;
    let _up = lock::acquire(ctx, Scope::Up).await?;
    let change = lock::acquire(ctx, Scope::Change).await?;
    let options = ConvergeOptions {
        services,
        recreate: Recreate::Diverged,
        recreate_dependencies: Recreate::Diverged,
        inherit_volumes: true,
        goal: Goal::Started,
        timeout: None,
        remove_orphans: false,
        images: ImageChoices {
            no_build: true,
            ..ImageChoices::default()
        },
        waits: Vec::new(),
    };
    let converged = converge(ctx, project, &options).await?;
    if ctx.dry_run {
        report_plan(ctx, &converged.plan);
        return Ok(());
    }
    Ok(converged
        .execution(ctx, None)
        .run_all(move || drop(change))
        .await?)
}
