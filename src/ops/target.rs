//! What the commands that act on existing containers work with: the loaded project, or one
//! rebuilt from labels when only its name is known, next to what was observed.

use std::sync::Arc;
use std::time::Duration;

use crate::apply::{ApplyOptions, Execution};
use crate::client::observe::ObserveScope;
use crate::compose::Dependencies;
use crate::ops::selection;
use crate::ops::{Context, OpError};
use crate::plan::pseudo::project_from_labels;
use crate::plan::{Desired, Observed, Plan};

/// A project and its live containers.
pub(crate) struct Target {
    pub(crate) desired: Desired,
    pub(crate) observed: Observed,
    /// The services that were named, patterns resolved; empty: all.
    pub(crate) services: Vec<String>,
    /// The project was rebuilt from labels.
    pub(crate) from_labels: bool,
}

/// Looks at the engine and finds the project.
///
/// # Errors
/// When the engine cannot be asked, or a named service does not exist.
pub(crate) async fn target(
    ctx: &Context,
    services: &[String],
    scope: &ObserveScope,
) -> Result<Target, OpError> {
    let observed = ctx.client.observe(&ctx.project_name, scope).await?;
    let (project, from_labels) = match &ctx.loaded {
        Some(loaded) => {
            let mut project = loaded.project.clone();
            if !services.is_empty() {
                // Naming a service that profiles switch off switches it on.
                let named = selection::select(&project, services, Dependencies::Ignore)?;
                for (name, service) in named.services {
                    if !project.services.contains_key(&name) {
                        project.disabled_services.shift_remove(&name);
                        project.services.insert(name, service);
                    }
                }
            }
            (project, false)
        }
        None => (project_from_labels(&ctx.project_name, &observed), true),
    };
    let services = selection::matching(&project, services)?;
    let desired = Desired::new(Arc::new(project), ctx.separator);
    Ok(Target {
        desired,
        observed,
        services,
        from_labels,
    })
}

impl Target {
    /// Whether a container belongs to a service that was meant.
    pub(crate) fn is_meant(&self, service: &str) -> bool {
        if self.services.is_empty() {
            self.desired.project.services.contains_key(service)
        } else {
            self.services.iter().any(|s| s == service)
        }
    }

    /// Carries out a plan on the target.
    ///
    /// # Errors
    /// The first operation that failed.
    pub(crate) async fn apply(
        self,
        ctx: &Context,
        plan: Plan,
        wait_timeout: Option<Duration>,
    ) -> Result<(), OpError> {
        let options = ApplyOptions {
            parallel: ctx.parallel,
            wait_timeout,
        };
        if ctx.dry_run {
            report_plan(ctx, &plan);
            return Ok(());
        }
        let execution = Execution::new(
            ctx.client.clone(),
            self.desired,
            &self.observed,
            plan,
            ctx.progress.clone(),
            options,
        );
        Ok(execution.run_all(|| ()).await?)
    }
}

/// What a dry run shows: the operations in their order, with their causes.
pub(crate) fn report_plan(ctx: &Context, plan: &Plan) {
    for line in plan.to_string().lines() {
        ctx.progress.notice(format!("DRY-RUN MODE - {line}"));
    }
}
