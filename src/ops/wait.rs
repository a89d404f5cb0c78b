//! `wait`: until the containers of services stop.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::ops::{Context, OpError, replicas};

/// A container that has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stopped {
    pub(crate) id: String,
    pub(crate) code: i64,
}

/// Calls `stopped` for each container that stops, in the order of their ends; `true` from it ends the wait.
///
/// # Errors
/// The engine, or none runs.
pub(crate) async fn run(
    ctx: &Context,
    services: &[String],
    mut stopped: impl FnMut(&Stopped) -> bool,
) -> Result<i64, OpError> {
    let rows = replicas::of_services(ctx, services, false, false).await?;
    if rows.is_empty() {
        return Err(OpError::failed(format!(
            "no containers for project \"{}\"",
            ctx.project_name
        )));
    }
    let mut waits: FuturesUnordered<_> = rows
        .iter()
        .map(|row| async { (row.id.clone(), ctx.client.wait_exit(&row.id).await) })
        .collect();
    let mut last = 0;
    while let Some((id, code)) = waits.next().await {
        last = code?;
        if stopped(&Stopped { id, code: last }) {
            break;
        }
    }
    Ok(last)
}
