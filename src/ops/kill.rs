//! `kill`: a signal to running containers, one-offs included. It waits for no lock: it is the way
//! out when everything else hangs.

use crate::client::observe::ObserveScope;
use crate::ops::target::target;
use crate::ops::{Context, OpError};
use crate::plan::{Cause, ContainerRef, Operation, Plan};

#[derive(Debug, Clone)]
pub(crate) struct KillOptions {
    pub(crate) services: Vec<String>,
    pub(crate) signal: String,
    /// Containers of services that the file does not know are killed too, and removed.
    pub(crate) remove_orphans: bool,
}

/// # Errors
/// The first container that could not be signalled.
pub(crate) async fn run(ctx: &Context, options: &KillOptions) -> Result<(), OpError> {
    ctx.progress.begin("kill");
    let result = kill(ctx, options).await;
    ctx.progress.end(result.is_err());
    result
}

async fn kill(ctx: &Context, options: &KillOptions) -> Result<(), OpError> {
    let target = target(ctx, &options.services, &ObserveScope::containers()).await?;
    let orphans: Vec<usize> = if options.remove_orphans && options.services.is_empty() {
        crate::plan::reconcile::orphans(&target.desired, &target.observed)
    } else {
        Vec::new()
    };
    let mut plan = Plan::new();
    for (index, container) in target.observed.containers.iter().enumerate() {
        let is_orphan = orphans.contains(&index);
        if !is_orphan && !target.is_meant(&container.service) {
            continue;
        }
        let reference = ContainerRef::existing(&container.name, &container.id);
        let mut before = Vec::new();
        if container.state.is_alive() {
            let kill = Operation::KillContainer {
                container: reference.clone(),
                signal: options.signal.clone(),
            };
            before.push(plan.add(kill, Cause::new("kill"), &[]));
        }
        if is_orphan {
            let remove = Operation::RemoveContainer {
                container: reference,
                volumes: false,
                force: true,
            };
            plan.add(remove, Cause::new("orphan"), &before);
        }
    }
    if plan.is_empty() {
        ctx.progress.notice("No container to kill");
    }
    target.apply(ctx, plan, None).await
}
