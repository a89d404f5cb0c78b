//! `run`: a one-off container of a service, after what the service depends on. The terminal is
//! `cli`'s: it stands between [`prepare`], [`attach`], [`start`] and [`exit_code`].

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::container_body::{BodyOptions, OneOff};
use crate::client::context;
use crate::client::streams::{AttachOptions, Attached};
use crate::compose::model::{Mapping, PortConfig, Project, Service};
use crate::compose::{Dependencies, port_spec, shellwords, volume_spec};
use crate::ops::converge::{ConvergeOptions, Converged, converge, note_images};
use crate::ops::ensure_images::{self, ImageChoices};
use crate::ops::lock::{self, Scope};
use crate::ops::selection;
use crate::ops::target::report_plan;
use crate::ops::{Context, OpError};
use crate::plan::config_hash::{self, hex};
use crate::plan::desired::{self, Desired};
use crate::plan::reconcile::ExtraWait;
use crate::plan::{Condition, Goal, Recreate};
use crate::progress::{Event, Resource};

/// The choices of the user.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunOptions {
    pub(crate) service: String,
    /// Empty: the service's own.
    pub(crate) command: Vec<String>,
    pub(crate) entrypoint: Option<String>,
    /// `KEY=VALUE`, or `KEY` for the project's value.
    pub(crate) environment: Vec<String>,
    /// Weaker than `environment`.
    pub(crate) environment_files: Vec<String>,
    /// `KEY=VALUE`.
    pub(crate) labels: Vec<String>,
    pub(crate) name: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) working_dir: Option<String>,
    /// Short syntax.
    pub(crate) volumes: Vec<String>,
    /// Short syntax.
    pub(crate) publish: Vec<String>,
    pub(crate) service_ports: bool,
    pub(crate) use_aliases: bool,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) tty: bool,
    pub(crate) interactive: bool,
    pub(crate) detach: bool,
    pub(crate) remove: bool,
    pub(crate) no_deps: bool,
    pub(crate) remove_orphans: bool,
    pub(crate) images: ImageChoices,
}

/// The container, made and not started.
#[derive(Debug, Clone)]
pub(crate) struct PreparedRun {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
    service: Service,
    project: Arc<Project>,
    /// The engine removes it at its end.
    remove: bool,
    /// Seconds since 1970: events of the container are not older.
    since: String,
}

/// Brings up what the service depends on and makes the container. None in a dry run.
///
/// # Errors
/// When an option is wrong, a dependency fails, or the container cannot be made.
pub(crate) async fn prepare(
    ctx: &Context,
    options: &RunOptions,
) -> Result<Option<PreparedRun>, OpError> {
    ctx.progress.begin("run");
    let prepared = prepare_quietly(ctx, options).await;
    ctx.progress.end(prepared.is_err());
    prepared
}

async fn prepare_quietly(
    ctx: &Context,
    options: &RunOptions,
) -> Result<Option<PreparedRun>, OpError> {
    if options.service_ports && !options.publish.is_empty() {
        return Err(OpError::failed(
            "--service-ports and --publish are incompatible",
        ));
    }
    let follow = if options.no_deps {
        Dependencies::Ignore
    } else {
        Dependencies::Include
    };
    let project = selection::select(
        ctx.project()?,
        std::slice::from_ref(&options.service),
        follow,
    )?;
    let service = one_off_service(&project, options)?;
    if service.provider.is_some() {
        return Err(OpError::failed(format!(
            "service \"{}\" is given by a provider: there is no container to run",
            service.name
        )));
    }
    let up = lock::acquire(ctx, Scope::Up).await?;
    let change = lock::acquire(ctx, Scope::Change).await?;
    let converged = converge(
        ctx,
        dependencies(&project, &options.service),
        &converge_options(&service, options),
    )
    .await?;
    if ctx.dry_run {
        report_plan(ctx, &converged.plan);
        return Ok(None);
    }
    let Converged {
        desired, observed, ..
    } = &converged;
    let desired = Desired {
        project: Arc::new(project.clone()),
        ..desired.clone()
    };
    let observed = observed.clone();
    let execution = converged.execution(ctx, None);
    execution.run_all(move || drop(change)).await?;
    drop(up);
    create(ctx, desired, &observed, &execution, service, options)
        .await
        .map(Some)
}

/// The service with the changes that the command line asks for.
fn one_off_service(project: &Project, options: &RunOptions) -> Result<Service, OpError> {
    let mut service = project
        .services
        .get(&options.service)
        .cloned()
        .ok_or_else(|| OpError::failed(format!("no such service: {}", options.service)))?;
    service.container_name = String::new();
    service.restart = String::new();
    service.scale = None;
    if let Some(deploy) = &mut service.deploy {
        deploy.restart_policy = None;
        deploy.replicas = None;
    }
    if let Some(entrypoint) = &options.entrypoint {
        let words = shellwords::split(entrypoint)
            .map_err(|e| OpError::failed(format!("--entrypoint: {e}")))?;
        service.entrypoint = Some(words);
        service.command = None;
    }
    if !options.command.is_empty() {
        service.command = Some(options.command.clone());
    }
    set_environment(project, &mut service, options)?;
    for label in &options.labels {
        let Some((key, value)) = label.split_once('=') else {
            return Err(OpError::failed(format!(
                "label must be set as KEY=VALUE: {label}"
            )));
        };
        service.labels.insert(key.to_owned(), value.to_owned());
    }
    if let Some(user) = &options.user {
        service.user.clone_from(user);
    }
    if let Some(dir) = &options.working_dir {
        service.working_dir.clone_from(dir);
    }
    for capability in &options.cap_add {
        service.cap_drop.retain(|c| c != capability);
        service.cap_add.push(capability.clone());
    }
    for capability in &options.cap_drop {
        service.cap_add.retain(|c| c != capability);
        service.cap_drop.push(capability.clone());
    }
    if !options.service_ports {
        service.ports = ports(&options.publish)?;
    }
    for text in &options.volumes {
        let mut volume = volume_spec::parse_volume(text)
            .map_err(|e| OpError::failed(format!("invalid volume \"{text}\": {e}")))?;
        if volume.kind == "bind" && !volume.source.starts_with('/') {
            let source = if volume.source == "~" || volume.source.starts_with("~/") {
                let home = project.environment.get("HOME").cloned().unwrap_or_default();
                format!("{home}{}", &volume.source[1..])
            } else {
                project
                    .working_dir
                    .join(&volume.source)
                    .to_string_lossy()
                    .into_owned()
            };
            volume.source = volume_spec::clean_path(&source);
        }
        service.volumes.retain(|v| v.target != volume.target);
        service.volumes.push(volume);
    }
    service.tty = options.tty;
    service.stdin_open = options.interactive;
    Ok(service)
}

fn ports(publish: &[String]) -> Result<Vec<PortConfig>, OpError> {
    let mut all = Vec::new();
    for text in publish {
        all.extend(
            port_spec::parse_ports(text)
                .map_err(|e| OpError::failed(format!("invalid port \"{text}\": {e}")))?,
        );
    }
    Ok(all)
}

fn set_environment(
    project: &Project,
    service: &mut Service,
    options: &RunOptions,
) -> Result<(), OpError> {
    let mut from_files = Mapping::new();
    for file in &options.environment_files {
        let text = std::fs::read_to_string(file)
            .map_err(|e| OpError::failed(format!("env file {file}: {e}")))?;
        let find = |name: &str| project.environment.get(name).cloned();
        crate::compose::dotenv::parse_with(&text, &mut from_files, &find)
            .map_err(|e| OpError::failed(format!("env file {file}: {e}")))?;
    }
    service.environment.extend(
        from_files
            .into_iter()
            .map(|(key, value)| (key, Some(value))),
    );
    for entry in &options.environment {
        match entry.split_once('=') {
            Some((key, value)) => service
                .environment
                .insert(key.to_owned(), Some(value.to_owned())),
            None => service
                .environment
                .insert(entry.clone(), project.environment.get(entry).cloned()),
        };
    }
    Ok(())
}

/// The project without the service itself: its containers are none of this command's business.
/// Networks and volumes stay, the one-off needs them.
fn dependencies(project: &Project, name: &str) -> Project {
    let mut rest = project.clone();
    if let Some(service) = rest.services.shift_remove(name) {
        rest.disabled_services.insert(name.to_owned(), service);
    }
    for service in rest.services.values_mut() {
        service.depends_on.shift_remove(name);
    }
    rest
}

fn converge_options(service: &Service, options: &RunOptions) -> ConvergeOptions {
    let waits = service
        .depends_on
        .iter()
        .filter_map(|(dependency, how)| {
            let condition = match how.condition.as_str() {
                "service_healthy" => Condition::Healthy,
                "service_completed_successfully" => Condition::Completed,
                _ => return None,
            };
            Some(ExtraWait {
                service: dependency.clone(),
                condition,
                required: how.required,
                waiter: service.name.clone(),
            })
        })
        .collect();
    ConvergeOptions {
        services: Vec::new(),
        recreate: Recreate::Diverged,
        recreate_dependencies: Recreate::Diverged,
        inherit_volumes: true,
        goal: Goal::Started,
        timeout: None,
        remove_orphans: options.remove_orphans,
        images: ImageChoices {
            build: false,
            ..options.images.clone()
        },
        waits,
    }
}

async fn create(
    ctx: &Context,
    mut desired: Desired,
    observed: &crate::plan::Observed,
    execution: &crate::apply::Execution,
    service: Service,
    options: &RunOptions,
) -> Result<PreparedRun, OpError> {
    let names = vec![service.name.clone()];
    let image = desired.image_name(&service);
    let wanted = [(image.clone(), service.platform.clone())];
    let mut observed = observed.clone();
    observed.images = ctx.client.observe_images(&wanted).await?;
    let policy = options
        .images
        .pull
        .as_deref()
        .filter(|p| *p != "policy")
        .unwrap_or(&service.pull_policy);
    let settled =
        matches!(policy, "" | "missing" | "if_not_present" | "never") && !options.images.build;
    if !settled || !observed.images.contains_key(&image) {
        ensure_images::run(ctx, &desired.project, &names, &options.images).await?;
        observed.images = ctx.client.observe_images(&wanted).await?;
    }
    note_images(&mut desired, &observed);
    let mut ids = execution.service_ids();
    ids.retain(|name, _| *name != service.name);
    let (service, missing) = config_hash::with_container_references(&service, &ids);
    if let Some(name) = missing.first() {
        return Err(OpError::failed(format!(
            "service \"{}\" shares with service {name}, which has no container",
            service.name
        )));
    }
    let slug = random_hex()?;
    let separator = ctx.separator;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => format!(
            "{}{separator}{}{separator}run{separator}{}",
            ctx.project_name,
            service.name,
            &slug[..12]
        ),
    };
    let mut environment =
        context::proxy_variables(&desired.project.environment, &ctx.client.choice().address());
    for dependency in service.depends_on.keys() {
        environment.extend(execution.provided(dependency));
    }
    let body = BodyOptions {
        name: name.clone(),
        linked: execution.replicas(),
        environment,
        one_off: Some(OneOff {
            slug,
            auto_remove: options.remove,
            attach_stdin: options.interactive && !options.detach,
            use_aliases: options.use_aliases,
        }),
        ..BodyOptions::default()
    };
    let resource = Resource::container(&name);
    ctx.progress
        .send(Event::working(resource.clone(), "Creating"));
    let since = now();
    let created = ctx
        .client
        .create_container(&desired, &service, &name, &body)
        .await?;
    for warning in &created.warnings {
        ctx.progress.send(Event::warning(
            Resource::service(&service.name),
            warning.clone(),
        ));
    }
    ctx.progress.send(Event::done(resource, "Created"));
    Ok(PreparedRun {
        id: created.id,
        name,
        tty: service.tty,
        stdin: service.stdin_open && !options.detach,
        project: desired.project,
        service,
        remove: options.remove,
        since,
    })
}

/// Connects to the container before it starts: nothing of its output is lost.
///
/// # Errors
/// When the engine refuses.
pub(crate) async fn attach(ctx: &Context, run: &PreparedRun) -> Result<Attached, OpError> {
    let options = AttachOptions {
        stdin: run.stdin,
        ..AttachOptions::default()
    };
    Ok(ctx.client.attach(&run.id, &options).await?)
}

/// Starts the container, its configs and secrets before and its hooks after.
///
/// # Errors
/// When it cannot be started; it is removed then.
pub(crate) async fn start(ctx: &Context, run: &PreparedRun) -> Result<(), OpError> {
    let started = start_container(ctx, run).await;
    if started.is_err() {
        // What never ran is of no use to anybody.
        let removed = ctx.client.remove_container(&run.id, true, true).await;
        if let Err(error) = removed {
            ctx.progress
                .warning(format!("the container could not be removed: {error}"));
        }
    }
    started
}

async fn start_container(ctx: &Context, run: &PreparedRun) -> Result<(), OpError> {
    let files = desired::inline_files(&run.project, &run.service);
    if !files.is_empty() {
        ctx.client.upload_files(&run.id, &files).await?;
    }
    ctx.client.start_container(&run.id).await?;
    for hook in &run.service.post_start {
        let environment = hook.environment.iter().map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        });
        let resource = Resource::container(&run.name);
        let name = &run.name;
        let output = |bytes: &[u8]| {
            ctx.progress.output(
                &resource,
                format!("{name} -> {}", String::from_utf8_lossy(bytes)),
            )
        };
        let code = ctx
            .client
            .run_hook(&run.id, hook, environment.collect(), output)
            .await?;
        if code != 0 {
            return Err(OpError::failed(format!(
                "{} hook exited with status {code}",
                run.service.name
            )));
        }
    }
    Ok(())
}

/// Waits for the end of the container and gives its exit code, also when the engine has removed
/// it by then.
///
/// # Errors
/// When the engine cannot be asked.
pub(crate) async fn exit_code(ctx: &Context, run: &PreparedRun) -> Result<u8, OpError> {
    let code = match ctx.client.wait_exit_code(&run.id).await {
        Err(error) if error.is_not_found() => {
            ctx.client.past_exit_code(&run.id, &run.since).await?
        }
        other => other?,
    };
    if run.remove {
        // Whoever looks after this command must not find it any more.
        ctx.client.wait_removed(&run.id).await?;
    }
    Ok(u8::try_from(code & 0xff).unwrap_or(1))
}

fn now() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

/// 64 hexadecimal digits.
fn random_hex() -> Result<String, OpError> {
    use std::io::Read;
    let mut bytes = [0_u8; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| OpError::failed(format!("reading /dev/urandom: {e}")))?;
    Ok(hex(&bytes))
}
