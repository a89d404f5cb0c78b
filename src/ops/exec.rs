//! `exec`: a process in a running container. The user's terminal is `cli`'s; here is who runs what where.

use crate::client::reads::ContainerRow;
use crate::client::streams::{Attached, ExecOptions};
use crate::ops::{Context, OpError, replicas};

/// What to run, and where.
#[derive(Debug, Clone)]
pub(crate) struct ExecRequest {
    pub(crate) service: String,
    pub(crate) index: u32,
    pub(crate) process: ExecOptions,
}

/// A process that runs and is connected.
pub(crate) struct RunningExec {
    pub(crate) id: String,
    pub(crate) attached: Attached,
}

/// The running container that `exec` means.
///
/// # Errors
/// None runs.
pub(crate) async fn container(
    ctx: &Context,
    service: &str,
    index: u32,
) -> Result<ContainerRow, OpError> {
    replicas::running_one(ctx, service, index).await
}

/// `KEY` without a value takes the project's (or the shell's); a name that nobody knows is left out.
pub(crate) fn resolve_environment(ctx: &Context, given: &[String]) -> Vec<String> {
    given
        .iter()
        .filter_map(|entry| {
            if entry.contains('=') {
                return Some(entry.clone());
            }
            let value = match replicas::loaded(ctx) {
                Some(project) => project.environment.get(entry).cloned(),
                None => std::env::var(entry).ok(),
            };
            value.map(|value| format!("{entry}={value}"))
        })
        .collect()
}

/// Starts the process and connects to it.
///
/// # Errors
/// The engine, or no such container.
pub(crate) async fn start(ctx: &Context, request: &ExecRequest) -> Result<RunningExec, OpError> {
    let container = container(ctx, &request.service, request.index).await?;
    let id = ctx
        .client
        .create_exec(&container.id, &request.process)
        .await?;
    let attached = ctx.client.start_exec(&id, request.process.tty).await?;
    Ok(RunningExec { id, attached })
}

/// Starts the process and leaves it alone.
///
/// # Errors
/// The engine, or no such container.
pub(crate) async fn start_detached(ctx: &Context, request: &ExecRequest) -> Result<(), OpError> {
    let container = container(ctx, &request.service, request.index).await?;
    let id = ctx
        .client
        .create_exec(&container.id, &request.process)
        .await?;
    Ok(ctx
        .client
        .start_exec_detached(&id, request.process.tty)
        .await?)
}
