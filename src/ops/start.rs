//! `start`: starts existing containers in dependency order, with the conditions of `depends_on`.
//! It makes none.

use std::time::Duration;

use crate::client::observe::ObserveScope;
use crate::compose::Dependencies;
use crate::ops::lock::{self, Scope};
use crate::ops::selection;
use crate::ops::target::target;
use crate::ops::{Context, OpError};
use crate::plan::{Desired, Goal, ReconcileOptions, Recreate, reconcile};

#[derive(Debug, Clone)]
pub(crate) struct StartOptions {
    pub(crate) services: Vec<String>,
    pub(crate) wait: bool,
    pub(crate) wait_timeout: Option<Duration>,
}

/// # Errors
/// When a service has no container, or a start or condition fails.
pub(crate) async fn run(ctx: &Context, options: &StartOptions) -> Result<(), OpError> {
    ctx.progress.begin("start");
    let result = start(ctx, options).await;
    ctx.progress.end(result.is_err());
    result
}

async fn start(ctx: &Context, options: &StartOptions) -> Result<(), OpError> {
    let _up = lock::acquire(ctx, Scope::Up).await?;
    let change = lock::acquire(ctx, Scope::Change).await?;
    let mut target = target(ctx, &options.services, &ObserveScope::containers()).await?;
    let mut project = selection::select(
        &target.desired.project,
        &options.services,
        Dependencies::Include,
    )?;
    // Only what is there: as many replicas as there are containers, and no resource is looked at.
    for (name, service) in &mut project.services {
        let live = target
            .observed
            .containers
            .iter()
            .filter(|c| c.service == *name && !c.one_off)
            .count();
        if live == 0 && service.provider.is_none() && service.wanted_scale() > 0 {
            return Err(OpError::failed(format!(
                "service \"{name}\" has no container to start"
            )));
        }
        service.set_scale(i64::try_from(live).unwrap_or(i64::MAX));
    }
    project.networks.clear();
    project.volumes.clear();
    let mut desired = Desired::new(std::sync::Arc::new(project), ctx.separator);
    std::mem::swap(&mut desired, &mut target.desired);
    let locate = |path: &str| ctx.locate(path);
    let plan = reconcile(
        &target.desired,
        &target.observed,
        &ReconcileOptions {
            services: options.services.clone(),
            recreate: Recreate::Never,
            recreate_dependencies: Recreate::Never,
            inherit_volumes: true,
            goal: if options.wait {
                Goal::Ready
            } else {
                Goal::Started
            },
            timeout: None,
            remove_orphans: false,
            ignore_orphans: true,
            volumes_accepted: Default::default(),
            volumes_declined: Default::default(),
            live: false,
            images: Vec::new(),
            waits: Vec::new(),
            locate: &locate,
        },
    )?;
    drop(change);
    target.apply(ctx, plan, options.wait_timeout).await
}
