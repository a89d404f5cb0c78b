//! `pull`, and the pulls of other commands: which images are fetched, once each, in parallel.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::compose::model::{Project, Service};
use crate::ops::{Context, OpError, replicas};
use crate::progress::{Event, Resource};

/// How many images are pulled at once when nobody says.
const PARALLEL_PULLS: usize = 8;

/// What to pull.
#[derive(Debug, Clone)]
pub(crate) struct PullOptions {
    pub(crate) services: Vec<String>,
    /// The dependencies of the services too.
    pub(crate) include_deps: bool,
    /// `missing` or `always`, over the services' own policy.
    pub(crate) policy: Option<String>,
    pub(crate) ignore_buildable: bool,
    pub(crate) ignore_failures: bool,
    /// No layers.
    pub(crate) quiet: bool,
}

/// An image to fetch, and who wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) image: String,
    pub(crate) platform: String,
    /// A service that can build the image when it cannot be pulled.
    pub(crate) buildable: Option<String>,
}

/// Names of services and, if wanted, of all they depend on.
pub(crate) fn with_dependencies(
    project: &Project,
    services: &[String],
    include: bool,
) -> Vec<String> {
    if services.is_empty() {
        return project.services.keys().cloned().collect();
    }
    let mut names = services.to_vec();
    let mut at = 0;
    while include && at < names.len() {
        if let Some(service) = project.service(&names[at]) {
            for dependency in service.depends_on.keys() {
                if !names.contains(dependency) {
                    names.push(dependency.clone());
                }
            }
        }
        at += 1;
    }
    names
}

/// Pulls the images of services.
///
/// # Errors
/// The engine, an unknown service, an image that can neither be pulled nor built.
pub(crate) async fn run(ctx: &Context, options: &PullOptions) -> Result<(), OpError> {
    let project = ctx.project()?;
    replicas::check_services(Some(project), &options.services)?;
    if let Some(policy) = &options.policy
        && !matches!(policy.as_str(), "missing" | "always" | "")
    {
        return Err(OpError::failed(format!(
            "invalid pull policy {policy:?}: use missing or always"
        )));
    }
    let names = with_dependencies(project, &options.services, options.include_deps);
    ctx.progress.begin("pull");
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for name in &names {
        let Some(service) = project.service(name) else {
            continue;
        };
        if let Some(reason) = skip(ctx, service, options).await? {
            ctx.progress
                .send(Event::done(Resource::service(name), "Skipped").detail(reason));
            continue;
        }
        wanted.entry(service.image.clone()).or_insert(Wanted {
            image: service.image.clone(),
            platform: service.platform.clone(),
            buildable: service.build.as_ref().map(|_| name.clone()),
        });
    }
    let wanted: Vec<Wanted> = wanted.into_values().collect();
    let failed = fetch(ctx, &wanted, options.quiet).await;
    ctx.progress.end(!failed.is_empty());
    report(ctx, failed, options.ignore_failures)
}

/// Why a service's image is not pulled, if it is not.
async fn skip(
    ctx: &Context,
    service: &Service,
    options: &PullOptions,
) -> Result<Option<String>, OpError> {
    if service.provider.is_some() {
        return Ok(Some("provider services have no image".to_owned()));
    }
    if service.image.is_empty() {
        return Ok(Some("No image to be pulled".to_owned()));
    }
    if service.build.is_some() && options.ignore_buildable {
        return Ok(Some("Image can be built".to_owned()));
    }
    let policy = match options.policy.as_deref() {
        Some(policy) if !policy.is_empty() => policy,
        _ => service.pull_policy.as_str(),
    };
    match policy {
        "never" => Ok(Some("pull_policy is never".to_owned())),
        "build" => Ok(Some("Image can be built".to_owned())),
        "missing" | "if_not_present" => {
            let is_latest = service.image.ends_with(":latest") || !has_tag(&service.image);
            if is_latest && options.policy.is_none() {
                return Ok(None);
            }
            Ok(ctx
                .client
                .image_detail(&service.image)
                .await?
                .map(|_| "Image is already present locally".to_owned()))
        }
        _ => Ok(None),
    }
}

fn has_tag(image: &str) -> bool {
    image.contains('@')
        || image
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains(':'))
}

/// Pulls images in parallel and returns those that failed, with the reason.
pub(crate) async fn fetch(ctx: &Context, wanted: &[Wanted], quiet: bool) -> Vec<(Wanted, String)> {
    let at_once = ctx.parallel.unwrap_or(PARALLEL_PULLS).max(1);
    let pulls = wanted.iter().map(|wanted| async move {
        let resource = Resource::image(wanted.image.clone());
        ctx.progress
            .send(Event::working(resource.clone(), "Pulling"));
        if ctx.dry_run {
            ctx.progress.send(Event::done(resource, "Pulled"));
            return None;
        }
        let sink = (!quiet).then_some(&ctx.progress);
        match ctx
            .client
            .pull_image(&wanted.image, &wanted.platform, sink)
            .await
        {
            Ok(()) => {
                ctx.progress.send(Event::done(resource, "Pulled"));
                None
            }
            Err(error) => {
                let message = error.message();
                ctx.progress.send(if wanted.buildable.is_some() {
                    Event::warning(resource, "Warning").detail(message.clone())
                } else {
                    Event::error(resource, message.clone())
                });
                Some((wanted.clone(), message))
            }
        }
    });
    stream::iter(pulls)
        .buffer_unordered(at_once)
        .filter_map(futures_util::future::ready)
        .collect()
        .await
}

fn report(ctx: &Context, failed: Vec<(Wanted, String)>, ignore: bool) -> Result<(), OpError> {
    let buildable: Vec<String> = failed
        .iter()
        .filter_map(|(wanted, _)| wanted.buildable.clone())
        .collect();
    if !buildable.is_empty() {
        ctx.progress.warning(format!(
            "Some service image(s) must be built from source by running:\n    hoist build {}",
            buildable.join(" ")
        ));
    }
    let messages: Vec<String> = failed
        .into_iter()
        .filter(|(wanted, _)| wanted.buildable.is_none())
        .map(|(wanted, message)| format!("{}: {message}", wanted.image))
        .collect();
    if messages.is_empty() || ignore {
        return Ok(());
    }
    Err(OpError::failed(messages.join("\n")))
}
