//! `stop`: ends containers, dependents first, and leaves them.

use std::time::Duration;

use crate::client::observe::ObserveScope;
use crate::ops::lock::{self, Scope};
use crate::ops::target::target;
use crate::ops::{Context, OpError};
use crate::plan::teardown;

#[derive(Debug, Clone)]
pub(crate) struct StopOptions {
    pub(crate) services: Vec<String>,
    pub(crate) timeout: Option<Duration>,
}

/// # Errors
/// The first container that could not be stopped, or hook that failed.
pub(crate) async fn run(ctx: &Context, options: &StopOptions) -> Result<(), OpError> {
    ctx.progress.begin("stop");
    let result = stop(ctx, options).await;
    ctx.progress.end(result.is_err());
    result
}

async fn stop(ctx: &Context, options: &StopOptions) -> Result<(), OpError> {
    let _lock = lock::acquire(ctx, Scope::Change).await?;
    let target = target(ctx, &options.services, &ObserveScope::containers()).await?;
    let plan = teardown::stop(
        &target.desired,
        &target.observed,
        &target.services,
        options.timeout,
    )?;
    target.apply(ctx, plan, None).await
}
