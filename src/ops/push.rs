//! `push`: the images that the project builds, to their registries.

use crate::ops::pull::with_dependencies;
use crate::ops::{Context, OpError, replicas};
use crate::progress::{Event, Resource};

/// What to push.
#[derive(Debug, Clone)]
pub(crate) struct PushOptions {
    pub(crate) services: Vec<String>,
    pub(crate) include_deps: bool,
    pub(crate) ignore_failures: bool,
    pub(crate) quiet: bool,
}

/// Pushes the image and the build tags of services that have both `build` and `image`.
///
/// # Errors
/// The engine, an unknown service, a registry that refuses.
pub(crate) async fn run(ctx: &Context, options: &PushOptions) -> Result<(), OpError> {
    let project = ctx.project()?;
    replicas::check_services(Some(project), &options.services)?;
    ctx.progress.begin("push");
    let mut failed = Vec::new();
    for name in with_dependencies(project, &options.services, options.include_deps) {
        let Some(service) = project.service(&name) else {
            continue;
        };
        let (Some(build), false) = (&service.build, service.image.is_empty()) else {
            ctx.progress
                .send(Event::done(Resource::service(name), "Skipped"));
            continue;
        };
        let mut references = vec![service.image.clone()];
        references.extend(build.tags.iter().cloned());
        references.dedup();
        for reference in references {
            let resource = Resource::image(reference.clone());
            ctx.progress
                .send(Event::working(resource.clone(), "Pushing"));
            if ctx.dry_run {
                ctx.progress.send(Event::done(resource, "Pushed"));
                continue;
            }
            let sink = (!options.quiet).then_some(&ctx.progress);
            match ctx.client.push_image(&reference, sink).await {
                Ok(()) => ctx.progress.send(Event::done(resource, "Pushed")),
                Err(error) if options.ignore_failures => ctx
                    .progress
                    .send(Event::warning(resource, "Warning").detail(error.message())),
                Err(error) => {
                    ctx.progress.send(Event::error(resource, error.message()));
                    failed.push(format!("{reference}: {}", error.message()));
                }
            }
        }
    }
    ctx.progress.end(!failed.is_empty());
    if failed.is_empty() {
        Ok(())
    } else {
        Err(OpError::failed(failed.join("\n")))
    }
}
