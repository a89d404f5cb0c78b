//! `pause` and `unpause`: freezes and thaws the containers of services.

use crate::client::observe::ObserveScope;
use crate::ops::lock::{self, Scope};
use crate::ops::target::target;
use crate::ops::{Context, OpError};
use crate::plan::{Cause, ContainerRef, ContainerState, Operation, Plan};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PauseAction {
    Pause,
    Unpause,
}

/// # Errors
/// The first container that the engine refused to freeze or thaw.
pub(crate) async fn run(
    ctx: &Context,
    services: &[String],
    action: PauseAction,
) -> Result<(), OpError> {
    ctx.progress.begin(if action == PauseAction::Pause {
        "pause"
    } else {
        "unpause"
    });
    let result = act(ctx, services, action).await;
    ctx.progress.end(result.is_err());
    result
}

async fn act(ctx: &Context, services: &[String], action: PauseAction) -> Result<(), OpError> {
    let _lock = lock::acquire(ctx, Scope::Change).await?;
    let target = target(ctx, services, &ObserveScope::containers()).await?;
    let mut plan = Plan::new();
    for container in target
        .observed
        .containers
        .iter()
        .filter(|c| !c.one_off && target.is_meant(&c.service))
    {
        // A second pause is sent: the engine's refusal is the answer people expect.
        let acts = match action {
            PauseAction::Pause => matches!(
                container.state,
                ContainerState::Running | ContainerState::Paused | ContainerState::Restarting
            ),
            PauseAction::Unpause => container.state == ContainerState::Paused,
        };
        if !acts {
            continue;
        }
        let reference = ContainerRef::existing(&container.name, &container.id);
        let (operation, cause) = match action {
            PauseAction::Pause => (
                Operation::PauseContainer {
                    container: reference,
                },
                "pause",
            ),
            PauseAction::Unpause => (
                Operation::UnpauseContainer {
                    container: reference,
                },
                "unpause",
            ),
        };
        plan.add(operation, Cause::new(cause), &[]);
    }
    target.apply(ctx, plan, None).await
}
