//! `rm`: removes the stopped containers of services, after a question.

use crate::client::observe::ObserveScope;
use crate::ops::lock::{self, Scope};
use crate::ops::target::target;
use crate::ops::{Context, OpError};
use crate::plan::{Cause, ContainerRef, ContainerState, Operation, Plan, teardown};

#[derive(Debug, Clone)]
pub(crate) struct RmOptions {
    pub(crate) services: Vec<String>,
    /// Do not ask.
    pub(crate) force: bool,
    /// Stop what runs first.
    pub(crate) stop: bool,
    /// Anonymous volumes too.
    pub(crate) volumes: bool,
}

/// # Errors
/// The first container that could not be removed.
pub(crate) async fn run(ctx: &Context, options: &RmOptions) -> Result<(), OpError> {
    let _lock = lock::acquire(ctx, Scope::Change).await?;
    let mut target = target(ctx, &options.services, &ObserveScope::containers()).await?;
    if options.stop {
        ctx.progress.begin("stop");
        let plan = teardown::stop(&target.desired, &target.observed, &target.services, None)?;
        let stopped = target.apply(ctx, plan, None).await;
        ctx.progress.end(stopped.is_err());
        stopped?;
        target = self::target(ctx, &options.services, &ObserveScope::containers()).await?;
    }
    let gone = |state: ContainerState| {
        matches!(
            state,
            ContainerState::Created | ContainerState::Exited | ContainerState::Dead
        )
    };
    let mut plan = Plan::new();
    let mut names = Vec::new();
    for container in target
        .observed
        .containers
        .iter()
        .filter(|c| !c.one_off && target.is_meant(&c.service))
    {
        if gone(container.state) || (options.stop && ctx.dry_run) {
            names.push(container.name.clone());
            let remove = Operation::RemoveContainer {
                container: ContainerRef::existing(&container.name, &container.id),
                volumes: options.volumes,
                force: options.stop,
            };
            plan.add(remove, Cause::new("rm"), &[]);
        }
    }
    if plan.is_empty() {
        ctx.progress.notice("No stopped containers");
        return Ok(());
    }
    let question = format!("Going to remove {}", names.join(", "));
    if options.force {
        ctx.progress.notice(question);
    } else if !(ctx.ask)(&question, false) {
        return Ok(());
    }
    ctx.progress.begin("rm");
    let removed = target.apply(ctx, plan, None).await;
    ctx.progress.end(removed.is_err());
    removed
}
