//! `restart`: the engine's restart of existing containers, in dependency order. Changes of the
//! file are not applied.

use std::time::Duration;

use crate::client::observe::ObserveScope;
use crate::ops::lock::{self, Scope};
use crate::ops::target::target;
use crate::ops::{Context, OpError};
use crate::plan::teardown;

#[derive(Debug, Clone)]
pub(crate) struct RestartOptions {
    pub(crate) services: Vec<String>,
    pub(crate) no_deps: bool,
    pub(crate) timeout: Option<Duration>,
}

/// # Errors
/// The first container that could not be restarted, or hook that failed.
pub(crate) async fn run(ctx: &Context, options: &RestartOptions) -> Result<(), OpError> {
    ctx.progress.begin("restart");
    let result = restart(ctx, options).await;
    ctx.progress.end(result.is_err());
    result
}

async fn restart(ctx: &Context, options: &RestartOptions) -> Result<(), OpError> {
    let _lock = lock::acquire(ctx, Scope::Change).await?;
    let target = target(ctx, &options.services, &ObserveScope::containers()).await?;
    let plan = teardown::restart(
        &target.desired,
        &target.observed,
        &target.services,
        !options.no_deps,
        options.timeout,
    )?;
    target.apply(ctx, plan, None).await
}
