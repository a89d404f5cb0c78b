//! `build`: the images of services that have a `build` section, each after the images it is made from.

use std::collections::HashMap;
use std::path::PathBuf;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::client::build::{BuildRequest, Context as BuildContext, Dockerfile};
use crate::compose::model::{BuildConfig, Environment, Project, Service};
use crate::labels;
use crate::ops::pull::with_dependencies;
use crate::ops::push::{self, PushOptions};
use crate::ops::{Context, OpError, replicas};
use crate::progress::{Event, Resource, Sink};

/// How many images are built at once when nobody says.
const PARALLEL_BUILDS: usize = 4;
const SERVICE_CONTEXT: &str = "service:";

/// What to build, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct BuildOptions {
    pub(crate) services: Vec<String>,
    pub(crate) with_dependencies: bool,
    /// `KEY=VALUE`, or `KEY` for the project's value.
    pub(crate) arguments: Vec<String>,
    pub(crate) no_cache: bool,
    pub(crate) pull: bool,
    pub(crate) push: bool,
    /// Bytes; 0: no limit.
    pub(crate) memory: i64,
    /// The builder's own words are dropped.
    pub(crate) quiet: bool,
}

/// The name of a service's image: its `image`, or one made of project and service.
pub(crate) fn image_name(ctx: &Context, service: &Service) -> String {
    if service.image.is_empty() {
        format!("{}{}{}", ctx.project_name, ctx.separator, service.name)
    } else {
        service.image.clone()
    }
}

/// Builds, and pushes if that is wanted.
///
/// # Errors
/// The engine, an unknown service, a build that fails.
pub(crate) async fn run(ctx: &Context, options: &BuildOptions) -> Result<(), OpError> {
    let project = ctx.project()?;
    replicas::check_services(Some(project), &options.services)?;
    let names = with_dependencies(project, &options.services, options.with_dependencies);
    let buildable: Vec<String> = names
        .into_iter()
        .filter(|name| project.service(name).is_some_and(|one| one.build.is_some()))
        .collect();
    if buildable.is_empty() {
        ctx.progress.warning("No services to build");
        return Ok(());
    }
    ctx.progress.begin("build");
    let built = services(ctx, project, &buildable, options).await;
    ctx.progress.end(built.is_err());
    built?;
    if options.push {
        let pushed: Vec<String> = buildable
            .into_iter()
            .filter(|name| {
                project
                    .service(name)
                    .is_some_and(|service| !service.image.is_empty())
            })
            .collect();
        if !pushed.is_empty() {
            let push = PushOptions {
                services: pushed,
                include_deps: false,
                ignore_failures: false,
                quiet: options.quiet,
            };
            push::run(ctx, &push).await?;
        }
    }
    Ok(())
}

/// Builds the images of `names` and of the services they take as contexts; returns image ids by service.
///
/// # Errors
/// The first build that fails; what was built stays.
pub(crate) async fn services(
    ctx: &Context,
    project: &Project,
    names: &[String],
    options: &BuildOptions,
) -> Result<HashMap<String, String>, OpError> {
    let mut images = HashMap::new();
    for wave in waves(project, names)? {
        let at_once = ctx.parallel.unwrap_or(PARALLEL_BUILDS).max(1);
        let builds = wave.iter().map(|service| async move {
            let image = one(ctx, project, service, options).await?;
            Ok::<_, OpError>((service.name.clone(), image))
        });
        let mut done = stream::iter(builds).buffer_unordered(at_once);
        let mut failed = None;
        while let Some(built) = done.next().await {
            match built {
                Ok((name, image)) => {
                    images.insert(name, image);
                }
                // The others of the wave are finished, not torn down.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(images)
}

/// Services in groups: each group needs only images of the groups before it.
fn waves<'a>(project: &'a Project, names: &[String]) -> Result<Vec<Vec<&'a Service>>, OpError> {
    let needs = |service: &Service| -> Vec<String> {
        service.build.as_ref().map_or_else(Vec::new, |build| {
            build
                .additional_contexts
                .values()
                .filter_map(|context| context.strip_prefix(SERVICE_CONTEXT))
                .map(str::to_owned)
                .collect()
        })
    };
    let find = |name: &str| {
        project
            .services
            .get(name)
            .or_else(|| project.disabled_services.get(name))
    };
    let mut all: Vec<&Service> = Vec::new();
    let mut queue: Vec<String> = names.to_vec();
    while let Some(name) = queue.pop() {
        if all.iter().any(|known| known.name == name) {
            continue;
        }
        let service =
            find(&name).ok_or_else(|| OpError::failed(format!("no such service: {name}")))?;
        queue.extend(needs(service));
        all.push(service);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let mut waves: Vec<Vec<&Service>> = Vec::new();
    while !all.is_empty() {
        let (ready, waiting): (Vec<&Service>, Vec<&Service>) = all.iter().partition(|service| {
            needs(service)
                .iter()
                .all(|need| !all.iter().any(|other| other.name == *need))
        });
        if ready.is_empty() {
            let names: Vec<&str> = waiting.iter().map(|one| one.name.as_str()).collect();
            return Err(OpError::failed(format!(
                "the builds of {} need each other's images",
                names.join(", ")
            )));
        }
        waves.push(ready);
        all = waiting;
    }
    Ok(waves)
}

async fn one(
    ctx: &Context,
    project: &Project,
    service: &Service,
    options: &BuildOptions,
) -> Result<String, OpError> {
    let Some(build) = &service.build else {
        return Err(OpError::failed(format!(
            "service \"{}\" has no build section",
            service.name
        )));
    };
    let name = image_name(ctx, service);
    let resource = Resource::image(name.clone());
    ctx.progress
        .send(Event::working(resource.clone(), "Building"));
    let built = match request(ctx, project, service, build, options) {
        Err(error) => Err(error),
        Ok(_) if ctx.dry_run => Ok(String::new()),
        Ok(request) => {
            let output = if options.quiet {
                Sink::none()
            } else {
                ctx.progress.clone()
            };
            let log = Resource::service(service.name.clone());
            ctx.client
                .build_image(request, &log, &output)
                .await
                .map_err(|error| {
                    OpError::failed(format!(
                        "failed to build service \"{}\": {}",
                        service.name,
                        error.message()
                    ))
                })
        }
    };
    ctx.progress.send(match &built {
        Ok(_) => Event::done(resource, "Built"),
        Err(error) => Event::error(resource, error.message.clone()),
    });
    built
}

fn request(
    ctx: &Context,
    project: &Project,
    service: &Service,
    build: &BuildConfig,
    options: &BuildOptions,
) -> Result<BuildRequest, OpError> {
    refuse_what_is_missing(service, build)?;
    let mut arguments = resolved(project, &build.args);
    for given in &options.arguments {
        match given.split_once('=') {
            Some((key, value)) => {
                arguments.insert(key.to_owned(), value.to_owned());
            }
            None => {
                if let Some(value) = project.environment.get(given) {
                    arguments.insert(given.clone(), value.clone());
                }
            }
        }
    }
    let mut image_labels: HashMap<String, String> = build
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (key, value) in [
        (labels::PROJECT, ctx.project_name.as_str()),
        (labels::SERVICE, service.name.as_str()),
        (labels::VERSION, labels::COMPOSE_VERSION),
    ] {
        image_labels.insert(key.to_owned(), value.to_owned());
    }
    let mut tags = vec![image_name(ctx, service)];
    tags.extend(build.tags.iter().cloned());
    Ok(BuildRequest {
        context: if is_remote(&build.context) {
            BuildContext::Remote(build.context.clone())
        } else {
            BuildContext::Folder(PathBuf::from(&build.context))
        },
        dockerfile: if build.dockerfile_inline.is_empty() {
            Dockerfile::Path(PathBuf::from(if build.dockerfile.is_empty() {
                "Dockerfile"
            } else {
                &build.dockerfile
            }))
        } else {
            Dockerfile::Inline(build.dockerfile_inline.clone())
        },
        arguments,
        labels: image_labels,
        tags,
        target: build.target.clone(),
        platform: build
            .platforms
            .first()
            .cloned()
            .unwrap_or_else(|| service.platform.clone()),
        network: build.network.clone(),
        extra_hosts: build
            .extra_hosts
            .iter()
            .flat_map(|(host, addresses)| {
                addresses
                    .iter()
                    .map(move |address| format!("{host}:{address}"))
            })
            .collect(),
        cache_from: build.cache_from.clone(),
        no_cache: options.no_cache || build.no_cache,
        pull: options.pull || build.pull,
        memory: options.memory,
        shm_size: build.shm_size,
    })
}

/// Arguments with a value; `KEY` alone takes the project's, and is left out when there is none.
fn resolved(project: &Project, arguments: &Environment) -> HashMap<String, String> {
    arguments
        .iter()
        .filter_map(|(key, value)| {
            let value = value
                .clone()
                .or_else(|| project.environment.get(key).cloned())?;
            Some((key.clone(), value))
        })
        .collect()
}

/// What `POST /build` without BuildKit cannot do is refused by name, not dropped.
fn refuse_what_is_missing(service: &Service, build: &BuildConfig) -> Result<(), OpError> {
    let unsupported = [
        ("secrets", !build.secrets.is_empty()),
        ("ssh", !build.ssh.is_empty()),
        ("additional_contexts", !build.additional_contexts.is_empty()),
        ("privileged", build.privileged),
        ("entitlements", !build.entitlements.is_empty()),
        ("several platforms", build.platforms.len() > 1),
        ("cache_to", !build.cache_to.is_empty()),
        ("no_cache_filter", !build.no_cache_filter.is_empty()),
    ];
    match unsupported.iter().find(|(_, used)| *used) {
        Some((what, _)) => Err(OpError::failed(format!(
            "services.{}.build: {what} is not supported by hoist's builds yet",
            service.name
        ))),
        None => Ok(()),
    }
}

fn is_remote(context: &str) -> bool {
    [
        "http://",
        "https://",
        "git://",
        "ssh://",
        "git@",
        "github.com/",
    ]
    .iter()
    .any(|prefix| context.starts_with(prefix))
}

/// The same builds as a bake file, for `build --print`.
///
/// # Errors
/// An unknown service, a build that hoist does not support.
pub(crate) fn bake(ctx: &Context, options: &BuildOptions) -> Result<serde_json::Value, OpError> {
    let project = ctx.project()?;
    replicas::check_services(Some(project), &options.services)?;
    let names = with_dependencies(project, &options.services, options.with_dependencies);
    let mut targets = serde_json::Map::new();
    for name in &names {
        let Some(service) = project.service(name) else {
            continue;
        };
        let Some(build) = &service.build else {
            continue;
        };
        let mut target = serde_json::Map::new();
        let mut put = |key: &str, value: serde_json::Value| {
            let is_empty = value.is_null()
                || value.as_str() == Some("")
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(serde_json::Map::is_empty);
            if !is_empty {
                target.insert(key.to_owned(), value);
            }
        };
        let request = request(ctx, project, service, build, options)?;
        put("context", build.context.clone().into());
        match &request.dockerfile {
            Dockerfile::Inline(text) => put("dockerfile-inline", text.clone().into()),
            Dockerfile::Path(path) => put("dockerfile", path.to_string_lossy().into()),
        }
        let arguments: std::collections::BTreeMap<_, _> = request.arguments.into_iter().collect();
        put("args", serde_json::json!(arguments));
        let image_labels: std::collections::BTreeMap<_, _> = request.labels.into_iter().collect();
        put("labels", serde_json::json!(image_labels));
        put("tags", request.tags.into());
        put("target", request.target.into());
        put("network", request.network.into());
        put("cache-from", request.cache_from.into());
        put("output", vec!["type=docker"].into());
        targets.insert(name.replace('.', "_"), target.into());
    }
    let group: Vec<&String> = targets.keys().collect();
    Ok(serde_json::json!({
        "group": {"default": {"targets": group}},
        "target": targets,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, needs: &[&str]) -> (String, Service) {
        let mut build = BuildConfig::default();
        for need in needs {
            build
                .additional_contexts
                .insert((*need).to_owned(), format!("service:{need}"));
        }
        let service = Service {
            name: name.to_owned(),
            build: Some(Box::new(build)),
            ..Service::default()
        };
        (name.to_owned(), service)
    }

    fn project(services: Vec<(String, Service)>) -> Project {
        Project {
            services: services.into_iter().collect(),
            ..Project::default()
        }
    }

    #[test]
    fn a_build_comes_after_those_it_takes_images_from() {
        let project = project(vec![
            service("a", &["b"]),
            service("b", &[]),
            service("c", &[]),
        ]);
        let waves = waves(&project, &["a".to_owned(), "c".to_owned()]).unwrap();
        let names: Vec<Vec<&str>> = waves
            .iter()
            .map(|wave| wave.iter().map(|one| one.name.as_str()).collect())
            .collect();
        assert_eq!(names, [vec!["b", "c"], vec!["a"]]);
    }

    #[test]
    fn builds_in_a_circle_are_refused() {
        let project = project(vec![service("a", &["b"]), service("b", &["a"])]);
        let error = waves(&project, &["a".to_owned()]).unwrap_err();
        assert!(error.message.contains("a, b"), "{}", error.message);
    }
}
