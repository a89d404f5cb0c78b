//! The images that `up`, `create` and `run` need: pulled by policy, else built. It makes no container.

use std::collections::BTreeMap;

use crate::client::reads::ImageDetail;
use crate::compose::model::{Project, Service};
use crate::ops::build::{self, BuildOptions, image_name};
use crate::ops::pull::{self, Wanted};
use crate::ops::{Context, OpError};
use crate::units;

/// What the user said about images.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageChoices {
    /// `--build`: build what can be built, present or not.
    pub(crate) build: bool,
    /// `--no-build`.
    pub(crate) no_build: bool,
    /// `--pull`, over every service's own policy.
    pub(crate) pull: Option<String>,
    pub(crate) quiet_pull: bool,
    pub(crate) quiet_build: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Always,
    Missing,
    Never,
    Build,
    /// Pull again when the image is older than this.
    After(units::Duration),
}

/// Pulls and builds what the services named lack.
///
/// # Errors
/// The engine, a policy that is none, an image that can neither be pulled nor built.
pub(crate) async fn run(
    ctx: &Context,
    project: &Project,
    names: &[String],
    choices: &ImageChoices,
) -> Result<(), OpError> {
    let services: Vec<&Service> = names
        .iter()
        .filter_map(|name| project.service(name))
        .filter(|service| service.provider.is_none())
        .collect();
    let mut local: BTreeMap<String, Option<ImageDetail>> = BTreeMap::new();
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    let mut to_build = Vec::new();
    for service in &services {
        let image = image_name(ctx, service);
        if image.is_empty() {
            continue;
        }
        let policy = policy(service, choices)?;
        if !local.contains_key(&image) {
            let found = ctx.client.image_detail(&image).await?;
            local.insert(image.clone(), found);
        }
        let present = local
            .get(&image)
            .and_then(Option::as_ref)
            .filter(|found| fits(service, found));
        let can_pull = !service.image.is_empty();
        let builder = builder_of(ctx, &services, &image);
        if can_pull && is_pull_due(policy, present) {
            wanted.entry(image.clone()).or_insert(Wanted {
                image: image.clone(),
                platform: service.platform.clone(),
                buildable: builder.filter(|_| !choices.no_build),
            });
        } else if present.is_none() && service.build.is_none() && builder.is_none() {
            return Err(OpError::failed(format!("No such image: {image}")));
        }
        if service.build.is_some() && (policy == Policy::Build || present.is_none()) {
            to_build.push((service.name.clone(), image, policy));
        }
    }
    let wanted: Vec<Wanted> = wanted.into_values().collect();
    let failed = pull::fetch(ctx, &wanted, choices.quiet_pull).await;
    let hopeless: Vec<String> = failed
        .iter()
        .filter(|(wanted, _)| wanted.buildable.is_none())
        .map(|(_, message)| message.clone())
        .collect();
    if !hopeless.is_empty() {
        return Err(OpError::failed(hopeless.join("\n")));
    }
    // What was pulled need not be built.
    to_build.retain(|(_, image, policy)| {
        let was_pulled = wanted.iter().any(|one| one.image == *image)
            && !failed.iter().any(|(one, _)| one.image == *image);
        *policy == Policy::Build || !was_pulled
    });
    if to_build.is_empty() {
        return Ok(());
    }
    if choices.no_build {
        let (_, image, _) = &to_build[0];
        return Err(OpError::failed(format!("No such image: {image}"))
            .hint("--no-build forbids to build it"));
    }
    let names: Vec<String> = to_build.into_iter().map(|(name, _, _)| name).collect();
    let options = BuildOptions {
        quiet: choices.quiet_build,
        ..BuildOptions::default()
    };
    build::services(ctx, project, &names, &options).await?;
    Ok(())
}

/// A service of this command that can build `image`.
fn builder_of(ctx: &Context, services: &[&Service], image: &str) -> Option<String> {
    services
        .iter()
        .find(|service| service.build.is_some() && image_name(ctx, service) == image)
        .map(|service| service.name.clone())
}

fn policy(service: &Service, choices: &ImageChoices) -> Result<Policy, OpError> {
    if choices.build && service.build.is_some() {
        return Ok(Policy::Build);
    }
    let text = match choices.pull.as_deref() {
        Some(policy) if !policy.is_empty() => policy,
        _ => service.pull_policy.as_str(),
    };
    let day_s = 24 * 3600;
    Ok(match text {
        "" | "missing" | "if_not_present" => Policy::Missing,
        "always" => Policy::Always,
        "never" => Policy::Never,
        "build" => Policy::Build,
        "daily" => Policy::After(units::Duration::from_secs(day_s)),
        "weekly" => Policy::After(units::Duration::from_secs(7 * day_s)),
        "refresh" => Policy::After(duration(&service.pull_refresh_after)?),
        other => match other.strip_prefix("every_") {
            Some(every) => Policy::After(duration(every)?),
            None => return Err(OpError::failed(format!("invalid pull policy {other:?}"))),
        },
    })
}

fn duration(text: &str) -> Result<units::Duration, OpError> {
    units::Duration::parse(text).map_err(|error| OpError::failed(format!("pull policy: {error}")))
}

fn is_pull_due(policy: Policy, present: Option<&ImageDetail>) -> bool {
    match (policy, present) {
        (Policy::Always, _) => true,
        (Policy::Never | Policy::Build, _) | (Policy::Missing, Some(_)) => false,
        (Policy::Missing | Policy::After(_), None) => true,
        (Policy::After(age), Some(image)) => {
            let tagged = image
                .last_tagged
                .parse::<jiff::Timestamp>()
                .map_or(0, |time| time.as_second());
            jiff::Timestamp::now().as_second() - tagged > age.as_secs()
        }
    }
}

/// An image for another platform than the service's is as good as none.
fn fits(service: &Service, image: &ImageDetail) -> bool {
    service.platform.is_empty()
        || image.platform == service.platform
        || image
            .platform
            .starts_with(&format!("{}/", service.platform))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_decides_whether_an_image_is_pulled() {
        let image = ImageDetail {
            last_tagged: "2020-01-01T00:00:00Z".to_owned(),
            ..ImageDetail::default()
        };
        let service = |policy: &str| Service {
            pull_policy: policy.to_owned(),
            ..Service::default()
        };
        for (text, absent, present) in [
            ("", true, false),
            ("missing", true, false),
            ("always", true, true),
            ("never", false, false),
            ("build", false, false),
            ("daily", true, true),
            ("every_1000w", true, false),
        ] {
            let policy = policy(&service(text), &ImageChoices::default()).unwrap();
            assert_eq!(is_pull_due(policy, None), absent, "{text}");
            assert_eq!(is_pull_due(policy, Some(&image)), present, "{text}");
        }
        assert!(policy(&service("often"), &ImageChoices::default()).is_err());
    }
}
