//! What up, create, run, scale and plan share: from the selected project to a plan that was
//! checked as a whole. Observes with few calls, fetches images when some are missing, asks for
//! consent where data would be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use sha2::{Digest as _, Sha256};

use crate::apply::{ApplyError, ApplyOptions, Execution};
use crate::client::observe::ObserveScope;
use crate::compose::model::{Project, Service};
use crate::ops::ensure_images::{self, ImageChoices};
use crate::ops::{Context, OpError, api_socket, checks, models, no_effect};
use crate::plan::config_hash::hex;
use crate::plan::desired::{self, Desired};
use crate::plan::reconcile::{ExtraWait, needs_limits};
use crate::plan::{
    Goal, Observed, Operation, Plan, PlanError, ReconcileOptions, Recreate, reconcile,
};
use crate::progress::{Event, Resource};

/// Files above this size are told apart by size and time alone.
const MAX_HASHED_BYTES: u64 = 16 * 1024 * 1024;

/// The choices of one command.
#[derive(Debug, Clone)]
pub(crate) struct ConvergeOptions {
    /// Named on the command line; empty: all.
    pub(crate) services: Vec<String>,
    pub(crate) recreate: Recreate,
    pub(crate) recreate_dependencies: Recreate,
    pub(crate) inherit_volumes: bool,
    pub(crate) goal: Goal,
    pub(crate) timeout: Option<Duration>,
    pub(crate) remove_orphans: bool,
    pub(crate) images: ImageChoices,
    /// Conditions to wait for besides those between the services.
    pub(crate) waits: Vec<ExtraWait>,
}

/// A checked plan and what it was made from.
pub(crate) struct Converged {
    pub(crate) desired: Desired,
    pub(crate) observed: Observed,
    pub(crate) plan: Plan,
}

impl Converged {
    /// The plan, ready to be carried out.
    pub(crate) fn execution(self, ctx: &Context, wait_timeout: Option<Duration>) -> Execution {
        let options = ApplyOptions {
            parallel: ctx.parallel,
            wait_timeout,
        };
        for name in &self.plan.unchanged {
            ctx.progress
                .send(Event::done(Resource::container(name), "Running"));
        }
        Execution::new(
            ctx.client.clone(),
            self.desired,
            &self.observed,
            self.plan,
            ctx.progress.clone(),
            options,
        )
    }
}

impl From<PlanError> for OpError {
    fn from(error: PlanError) -> Self {
        OpError::failed(error.to_string())
    }
}

impl From<ApplyError> for OpError {
    fn from(error: ApplyError) -> Self {
        OpError::failed(error.to_string())
    }
}

/// Makes the plan that brings the engine to the project.
///
/// # Errors
/// When an image cannot be had, something external is missing, or a check of the whole fails.
pub(crate) async fn converge(
    ctx: &Context,
    project: Project,
    options: &ConvergeOptions,
) -> Result<Converged, OpError> {
    let mut project = project;
    models::ensure(ctx, &mut project).await?;
    api_socket::add(ctx, &mut project);
    let mut desired = Desired::new(Arc::new(project), ctx.separator);
    desired.env_files.clone_from(&ctx.env_files);
    desired.contents = contents(&desired.project);
    let wanted = wanted_images(&desired);
    let scope = ObserveScope {
        networks: true,
        volumes: !desired.project.volumes.is_empty(),
        images: wanted.clone(),
    };
    let mut observed = ctx.client.observe(&ctx.project_name, &scope).await?;
    let mut coming = Vec::new();
    if !images_are_settled(&desired, &observed, &options.images) {
        if ctx.dry_run {
            coming = images_to_come(&desired, &observed, &options.images);
        } else {
            let names: Vec<String> = desired.project.services.keys().cloned().collect();
            ensure_images::run(ctx, &desired.project, &names, &options.images).await?;
            observed.images = ctx.client.observe_images(&wanted).await?;
        }
    }
    note_images(&mut desired, &observed);
    let ids = needs_limits(&desired, &observed);
    let limits = try_join_all(ids.iter().map(|id| ctx.client.limits(id))).await?;
    observed.limits = ids.into_iter().zip(limits).collect();
    let mut plan = plan_with_consent(ctx, &desired, &observed, options, &coming)?;
    if options.inherit_volumes && note_image_volumes(ctx, &mut desired, &observed, &plan).await? {
        plan = plan_with_consent(ctx, &desired, &observed, options, &coming)?;
    }
    for warning in plan
        .warnings
        .iter()
        .chain(&no_effect::warnings(&desired.project, &plan))
    {
        ctx.progress.warning(warning.clone());
    }
    checks::check(ctx, &desired, &observed, &plan).await?;
    Ok(Converged {
        desired,
        observed,
        plan,
    })
}

fn plan_with_consent(
    ctx: &Context,
    desired: &Desired,
    observed: &Observed,
    options: &ConvergeOptions,
    coming: &[Operation],
) -> Result<Plan, OpError> {
    let locate = |path: &str| ctx.locate(path);
    let mut accepted = BTreeSet::new();
    let mut declined = BTreeSet::new();
    loop {
        let options = ReconcileOptions {
            services: options.services.clone(),
            recreate: options.recreate,
            recreate_dependencies: options.recreate_dependencies,
            inherit_volumes: options.inherit_volumes,
            goal: options.goal,
            timeout: options.timeout,
            remove_orphans: options.remove_orphans,
            ignore_orphans: ctx.ignore_orphans,
            volumes_accepted: accepted.clone(),
            volumes_declined: declined.clone(),
            live: ctx.client.is_bundled(),
            images: coming.to_vec(),
            waits: options.waits.clone(),
            locate: &locate,
        };
        let plan = reconcile(desired, observed, &options)?;
        if plan.needs_consent.is_empty() || ctx.dry_run {
            return Ok(plan);
        }
        for consent in &plan.needs_consent {
            if (ctx.ask)(&consent.question, false) {
                accepted.insert(consent.volume.clone());
            } else {
                declined.insert(consent.volume.clone());
            }
        }
    }
}

/// Every image the project needs, with the platform it must be for.
fn wanted_images(desired: &Desired) -> Vec<(String, String)> {
    let mut images: BTreeSet<(String, String)> = BTreeSet::new();
    for service in desired
        .project
        .services
        .values()
        .filter(|s| s.provider.is_none())
    {
        images.insert((desired.image_name(service), service.platform.clone()));
        for volume in service.volumes.iter().filter(|v| v.kind == "image") {
            images.insert((mounted_image(desired, &volume.source), String::new()));
        }
        for hook in service.pre_start.iter().filter(|h| !h.image.is_empty()) {
            images.insert((hook.image.clone(), service.platform.clone()));
        }
    }
    images.into_iter().collect()
}

/// The image of an image mount: a service's, or the one that is named.
fn mounted_image(desired: &Desired, source: &str) -> String {
    match desired.project.services.get(source) {
        Some(service) => desired.image_name(service),
        None => source.to_owned(),
    }
}

/// Whether nothing has to be pulled, built or even looked at more closely.
fn images_are_settled(desired: &Desired, observed: &Observed, choices: &ImageChoices) -> bool {
    let is_there = |image: &str| observed.images.contains_key(image);
    if choices.build
        || !wanted_images(desired)
            .iter()
            .all(|(image, _)| is_there(image))
    {
        return false;
    }
    desired
        .project
        .services
        .values()
        .filter(|s| s.provider.is_none())
        .all(|service| {
            let policy = choices
                .pull
                .as_deref()
                .filter(|p| !p.is_empty() && *p != "policy")
                .unwrap_or(&service.pull_policy);
            match policy {
                "" | "missing" | "if_not_present" | "never" => true,
                "build" => service.build.is_none() || choices.no_build,
                _ => false,
            }
        })
}

/// For a plan that is only shown: what would be pulled or built.
fn images_to_come(
    desired: &Desired,
    observed: &Observed,
    choices: &ImageChoices,
) -> Vec<Operation> {
    let mut coming: Vec<Operation> = Vec::new();
    for (name, service) in desired
        .project
        .services
        .iter()
        .filter(|(_, s)| s.provider.is_none())
    {
        let image = desired.image_name(service);
        let policy = choices
            .pull
            .as_deref()
            .filter(|p| !p.is_empty() && *p != "policy")
            .unwrap_or(&service.pull_policy);
        let is_there = observed.images.contains_key(&image);
        let builds = service.build.is_some()
            && !choices.no_build
            && (choices.build || policy == "build" || !is_there);
        let pulls = !builds
            && service.build.is_none()
            && (policy == "always" || (!is_there && policy != "never"));
        let operation = if builds {
            Operation::BuildImage {
                image,
                service: name.clone(),
            }
        } else if pulls {
            Operation::PullImage {
                image,
                service: name.clone(),
            }
        } else {
            continue;
        };
        coming.push(operation);
    }
    coming
}

/// Records which image each service runs and mounts.
pub(crate) fn note_images(desired: &mut Desired, observed: &Observed) {
    let mut digests = BTreeMap::new();
    let mut mounts = BTreeMap::new();
    for (name, service) in &desired.project.services {
        if let Some(image) = observed.images.get(&desired.image_name(service)) {
            digests.insert(name.clone(), image.digest.clone());
        }
        let mounted: Vec<String> = service
            .volumes
            .iter()
            .filter(|v| v.kind == "image")
            .filter_map(|v| {
                let image = observed.images.get(&mounted_image(desired, &v.source))?;
                Some(format!("{}={}", v.target, image.digest))
            })
            .collect();
        if !mounted.is_empty() {
            mounts.insert(name.clone(), mounted.join(","));
        }
    }
    desired.image_digests = digests;
    desired.image_mounts = mounts;
}

/// Asks for the volumes that images declare, where a replacement may take over volumes at places
/// that the service does not name. True when something was learned.
async fn note_image_volumes(
    ctx: &Context,
    desired: &mut Desired,
    observed: &Observed,
    plan: &Plan,
) -> Result<bool, OpError> {
    let mut services: BTreeSet<String> = BTreeSet::new();
    for (_, node) in plan.nodes() {
        let Operation::CreateContainer(create) = &node.operation else {
            continue;
        };
        let Some(old) = create
            .replaces
            .as_ref()
            .and_then(|name| observed.containers.iter().find(|c| c.name == *name))
        else {
            continue;
        };
        let service = &desired.project.services[&create.service];
        let undeclared =
            |destination: &str| !service.volumes.iter().any(|v| v.target == destination);
        if old
            .mounts
            .iter()
            .any(|m| m.kind == "volume" && undeclared(&m.destination))
        {
            services.insert(create.service.clone());
        }
    }
    let learned = !services.is_empty();
    for name in services {
        let image = desired.image_name(&desired.project.services[&name]);
        let volumes = ctx.client.image_volumes(&image).await?;
        desired.image_volumes.insert(name, volumes);
    }
    Ok(learned)
}

/// One digest a service over the contents of its configs and secrets.
fn contents(project: &Project) -> BTreeMap<String, String> {
    project
        .services
        .iter()
        .filter(|(_, s)| !s.configs.is_empty() || !s.secrets.is_empty())
        .map(|(name, service)| (name.clone(), content_digest(project, service)))
        .collect()
}

fn content_digest(project: &Project, service: &Service) -> String {
    let mut all = Sha256::new();
    for file in desired::inline_files(project, service) {
        all.update(format!("{}\0{}\0", file.target, file.content.len()).as_bytes());
        all.update(file.content.as_bytes());
    }
    let files = service
        .configs
        .iter()
        .filter_map(|r| project.configs.get(&r.source))
        .chain(
            service
                .secrets
                .iter()
                .filter_map(|r| project.secrets.get(&r.source)),
        )
        .filter(|object| !object.file.is_empty());
    for object in files {
        all.update(file_digest(Path::new(&object.file)).as_bytes());
    }
    hex(&all.finalize()).chars().take(32).collect()
}

/// What tells a file's content from another. One that cannot be read has none; the checks of the
/// plan say so.
fn file_digest(path: &Path) -> String {
    let Ok(meta) = std::fs::metadata(path) else {
        return String::new();
    };
    if !meta.is_file() || meta.len() > MAX_HASHED_BYTES {
        let modified = meta
            .modified()
            .ok()
            .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        return format!("{}:{:?}", meta.len(), modified);
    }
    let mut content = Sha256::new();
    content.update(std::fs::read(path).unwrap_or_default());
    hex(&content.finalize())
}
