//! `up`: brings the engine to the project and starts it. Attached output, Ctrl-C and the watch
//! are somebody else's: they stand between [`prepare`] and [`start`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::apply::{Execution, Phase};
use crate::compose::Dependencies;
use crate::compose::model::Project;
use crate::ops::converge::{ConvergeOptions, Converged, converge};
use crate::ops::ensure_images::ImageChoices;
use crate::ops::lock::{self, ProjectLock, Scope};
use crate::ops::selection;
use crate::ops::target::report_plan;
use crate::ops::{Context, OpError};
use crate::plan::{Goal, Operation, Plan, Recreate};

/// The choices of the user.
#[derive(Debug, Clone)]
pub(crate) struct UpOptions {
    pub(crate) services: Vec<String>,
    pub(crate) no_deps: bool,
    pub(crate) force_recreate: bool,
    pub(crate) no_recreate: bool,
    pub(crate) always_recreate_deps: bool,
    pub(crate) renew_anon_volumes: bool,
    pub(crate) remove_orphans: bool,
    /// `SERVICE=NUM`.
    pub(crate) scale: Vec<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) wait: bool,
    pub(crate) wait_timeout: Option<Duration>,
    pub(crate) images: ImageChoices,
}

/// A container of the project, made and not yet started, or running already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PreparedContainer {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) service: String,
}

/// Everything is made; what is left is to start.
pub(crate) struct Prepared {
    /// The project as this command sees it.
    pub(crate) project: Project,
    /// Containers that [`start`] will start.
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    pub(crate) starting: Vec<PreparedContainer>,
    execution: Execution,
    /// Held until everything runs.
    lock: Mutex<Option<ProjectLock>>,
}

impl UpOptions {
    /// An `up` of these services (empty: all) without any flag.
    pub(crate) fn plain(services: Vec<String>, images: ImageChoices) -> Self {
        UpOptions {
            services,
            no_deps: false,
            force_recreate: false,
            no_recreate: false,
            always_recreate_deps: false,
            renew_anon_volumes: false,
            remove_orphans: false,
            scale: Vec::new(),
            timeout: None,
            wait: false,
            wait_timeout: None,
            images,
        }
    }

    fn converge_options(&self) -> Result<ConvergeOptions, OpError> {
        let conflict =
            |a: &str, b: &str| Err(OpError::failed(format!("{a} and {b} are incompatible")));
        if self.force_recreate && self.no_recreate {
            return conflict("--force-recreate", "--no-recreate");
        }
        if self.renew_anon_volumes && self.no_recreate {
            return conflict("--renew-anon-volumes", "--no-recreate");
        }
        if self.always_recreate_deps && self.no_recreate {
            return conflict("--always-recreate-deps", "--no-recreate");
        }
        if self.images.build && self.images.no_build {
            return conflict("--build", "--no-build");
        }
        let recreate = if self.no_recreate {
            Recreate::Never
        } else if self.force_recreate || self.renew_anon_volumes {
            Recreate::Force
        } else {
            Recreate::Diverged
        };
        Ok(ConvergeOptions {
            services: self.services.clone(),
            recreate,
            recreate_dependencies: if self.always_recreate_deps {
                Recreate::Force
            } else if self.no_recreate {
                Recreate::Never
            } else {
                Recreate::Diverged
            },
            inherit_volumes: !self.renew_anon_volumes,
            goal: if self.wait {
                Goal::Ready
            } else {
                Goal::Started
            },
            timeout: self.timeout,
            remove_orphans: self.remove_orphans,
            images: self.images.clone(),
            waits: Vec::new(),
        })
    }
}

/// The project as `up` with these options sees it.
///
/// # Errors
/// When a name is no service, or none is left.
pub(crate) fn selected_project(
    ctx: &Context,
    services: &[String],
    no_deps: bool,
    scale: &[String],
) -> Result<Project, OpError> {
    let follow = if no_deps {
        Dependencies::Ignore
    } else {
        Dependencies::Include
    };
    let mut project = selection::select(ctx.project()?, services, follow)?;
    let scale: Result<Vec<(String, i64)>, OpError> = scale
        .iter()
        .map(|text| selection::parse_scale(text))
        .collect();
    selection::scale(&mut project, &scale?)?;
    if project.services.is_empty() {
        return Err(OpError::failed("no service selected"));
    }
    Ok(project)
}

/// The plan alone: nothing is changed.
///
/// # Errors
/// As for [`run`].
pub(crate) async fn plan(ctx: &Context, options: &UpOptions) -> Result<Plan, OpError> {
    let project = selected_project(ctx, &options.services, options.no_deps, &options.scale)?;
    let mut ctx = ctx.clone();
    ctx.dry_run = true;
    Ok(converge(&ctx, project, &options.converge_options()?)
        .await?
        .plan)
}

/// Makes everything and starts nothing.
///
/// # Errors
/// When the plan cannot be made or carried out so far.
pub(crate) async fn prepare(ctx: &Context, options: &UpOptions) -> Result<Prepared, OpError> {
    ctx.progress.begin("up");
    let prepared = prepare_quietly(ctx, options, Phase::Create).await;
    ctx.progress.end(prepared.is_err());
    prepared
}

async fn prepare_quietly(
    ctx: &Context,
    options: &UpOptions,
    phase: Phase,
) -> Result<Prepared, OpError> {
    let converge_options = options.converge_options()?;
    let project = selected_project(ctx, &options.services, options.no_deps, &options.scale)?;
    let lock = lock::acquire(ctx, Scope::Up).await?;
    let change = lock::acquire(ctx, Scope::Change).await?;
    let converged = converge(ctx, project.clone(), &converge_options).await?;
    if ctx.dry_run {
        report_plan(ctx, &converged.plan);
        let nothing = Converged {
            plan: Plan::new(),
            ..converged
        };
        let execution = nothing.execution(ctx, None);
        return Ok(Prepared {
            project,
            starting: Vec::new(),
            execution,
            lock: Mutex::new(None),
        });
    }
    let execution = converged.execution(ctx, options.wait_timeout);
    if phase == Phase::Create {
        execution.run(Phase::Create).await?;
        drop(change);
    } else {
        // What comes after the making needs no protection from a `down`.
        execution.run_all(move || drop(change)).await?;
    }
    let starting = starting(&execution);
    Ok(Prepared {
        project,
        starting,
        execution,
        lock: Mutex::new(lock),
    })
}

fn starting(execution: &Execution) -> Vec<PreparedContainer> {
    let mut containers: Vec<PreparedContainer> = execution
        .plan()
        .nodes()
        .filter_map(|(_, node)| match &node.operation {
            Operation::StartContainer { service, container } => Some(PreparedContainer {
                id: execution.container_id(container)?,
                name: execution.shown_name(container),
                service: service.clone(),
            }),
            _ => None,
        })
        .collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    containers
}

impl Prepared {
    /// Lets other commands act on the project: what has not started yet is given up.
    pub(crate) fn release(&self) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(lock.take());
    }
}

/// Starts what was prepared, in order and with its conditions. The next command on the project is
/// let in afterwards.
///
/// # Errors
/// The first start or condition that failed.
pub(crate) async fn start(_ctx: &Context, prepared: &Prepared) -> Result<(), OpError> {
    let result = prepared.execution.run(Phase::All).await;
    drop(
        prepared
            .lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(),
    );
    Ok(result?)
}

/// `up -d`: both halves at once.
///
/// # Errors
/// The first thing that failed.
pub(crate) async fn run(ctx: &Context, options: &UpOptions) -> Result<(), OpError> {
    ctx.progress.begin("up");
    let result = prepare_quietly(ctx, options, Phase::All).await.map(|_| ());
    ctx.progress.end(result.is_err());
    result
}
