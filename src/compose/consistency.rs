//! Rules between the parts of a project: what is referred to exists, twin fields agree, nothing depends
//! on itself. All findings at once.

use std::collections::HashMap;

use crate::compose::error::{Faults, Finding, did_you_mean};
use crate::compose::model::{BuildConfig, Deploy, Project, Service};
use crate::compose::node::Node;
use crate::compose::provenance::{field_name, span_at};

/// Checks the enabled services of a project; `root` tells where things stand in the files.
///
/// # Errors
/// Every broken rule.
pub(crate) fn check(project: &Project, root: &Node) -> Result<(), Faults> {
    let mut check = Check {
        project,
        root,
        findings: Vec::new(),
    };
    for service in project.services.values() {
        check.image(service);
        check.networks(service);
        check.dependencies(service);
        check.storage(service);
        check.models(service);
        check.scale(service);
        check.twins(service);
        check.healthcheck(service);
        check.mounts(service);
    }
    for (name, secret) in &project.secrets {
        if !secret.external && secret.file.is_empty() && secret.environment.is_empty() {
            check.report(
                &["secrets", name],
                format!("secret {name:?} must declare either `file` or `environment`: invalid compose project"),
            );
        }
    }
    if check.findings.is_empty() {
        check.cycles();
    }
    Faults::check(check.findings)
}

struct Check<'a> {
    project: &'a Project,
    root: &'a Node,
    findings: Vec<Finding>,
}

impl<'a> Check<'a> {
    fn report(&mut self, path: &[&str], message: impl Into<String>) {
        let finding = Finding::new(message)
            .at(span_at(self.root, path))
            .field_text(field_name(path));
        self.findings.push(finding);
    }

    /// As [`Self::report`], with the names that exist to suggest one.
    fn undefined<'n>(
        &mut self,
        path: &[&str],
        message: String,
        wanted: &str,
        names: impl IntoIterator<Item = &'n String>,
    ) {
        self.report(path, message);
        let near = did_you_mean(wanted, names.into_iter().map(String::as_str));
        if let (Some(near), Some(finding)) = (near, self.findings.last_mut()) {
            finding.help = Some(format!("did you mean `{near}`?"));
        }
    }

    fn image(&mut self, service: &Service) {
        let name = &service.name;
        let Some(build) = &service.build else {
            if service.image.is_empty() && service.provider.is_none() {
                self.report(
                    &["services", name],
                    format!("service {name:?} has neither an image nor a build context specified: invalid compose project"),
                );
            }
            return;
        };
        if !build.dockerfile_inline.is_empty() && !build.dockerfile.is_empty() {
            self.report(
                &["services", name, "build", "dockerfile"],
                format!("service {name:?} declares mutualy exclusive dockerfile and dockerfile_inline: invalid compose project"),
            );
        }
        self.contexts(service, build);
        if !build.platforms.is_empty()
            && !service.platform.is_empty()
            && !build.platforms.contains(&service.platform)
        {
            self.report(
                &["services", name, "build", "platforms"],
                format!(
                    "service.build.platforms MUST include service.platform {:?}: invalid compose project",
                    service.platform
                ),
            );
        }
        for secret in &build.secrets {
            if !self.project.secrets.contains_key(&secret.source) {
                self.undefined(
                    &["services", name, "build", "secrets"],
                    format!("service {name:?} refers to undefined build secret {}: invalid compose project", secret.source),
                    &secret.source,
                    self.project.secrets.keys(),
                );
            }
        }
    }

    fn contexts(&mut self, service: &Service, build: &BuildConfig) {
        let name = &service.name;
        for (context, source) in &build.additional_contexts {
            let Some(target) = source.strip_prefix("service:") else {
                continue;
            };
            let what = match self.project.services.get(target) {
                None => "unknown",
                Some(target) if target.build.is_none() => "non-buildable",
                Some(_) => continue,
            };
            self.report(
                &["services", name, "build", "additional_contexts", context],
                format!("service {name:?} declares {what} service {target:?} as additional contexts {context}"),
            );
        }
    }

    fn networks(&mut self, service: &Service) {
        let name = &service.name;
        if !service.network_mode.is_empty() && !service.networks.is_empty() {
            self.report(
                &["services", name, "network_mode"],
                format!("service {name} declares mutually exclusive `network_mode` and `networks`: invalid compose project"),
            );
        }
        for network in service.networks.keys() {
            if !self.project.networks.contains_key(network) {
                self.undefined(
                    &["services", name, "networks", network],
                    format!("service {name:?} refers to undefined network {network}: invalid compose project"),
                    network,
                    self.project.networks.keys(),
                );
            }
        }
        if let Some(other) = service.network_mode.strip_prefix("service:")
            && !self.project.services.contains_key(other)
        {
            self.report(
                &["services", name, "network_mode"],
                format!("service {other:?} not found for network_mode 'service:{other}'"),
            );
        }
    }

    fn dependencies(&mut self, service: &Service) {
        let name = &service.name;
        for (other, dependency) in &service.depends_on {
            if self.project.services.contains_key(other) {
                continue;
            }
            let disabled = self.project.disabled_services.get(other);
            if disabled.is_some() && !dependency.required {
                continue;
            }
            self.undefined(
                &["services", name, "depends_on", other],
                format!("service {name:?} depends on undefined service {other:?}: invalid compose project"),
                other,
                self.project.services.keys(),
            );
            if let (Some(disabled), Some(finding)) = (disabled, self.findings.last_mut()) {
                finding.help = Some(format!(
                    "{other} is switched off; it is enabled by the profile {}",
                    disabled.profiles.join(" or ")
                ));
            }
        }
    }

    fn storage(&mut self, service: &Service) {
        let name = &service.name;
        for (n, volume) in service.volumes.iter().enumerate() {
            let named = volume.kind == "volume" && !volume.source.is_empty();
            if named && !self.project.volumes.contains_key(&volume.source) {
                self.undefined(
                    &["services", name, "volumes", &n.to_string()],
                    format!(
                        "service {name:?} refers to undefined volume {}: invalid compose project",
                        volume.source
                    ),
                    &volume.source,
                    self.project.volumes.keys(),
                );
            }
        }
        for (n, config) in service.configs.iter().enumerate() {
            if !self.project.configs.contains_key(&config.source) {
                self.undefined(
                    &["services", name, "configs", &n.to_string()],
                    format!(
                        "service {name:?} refers to undefined config {}: invalid compose project",
                        config.source
                    ),
                    &config.source,
                    self.project.configs.keys(),
                );
            }
        }
        for (n, secret) in service.secrets.iter().enumerate() {
            if !self.project.secrets.contains_key(&secret.source) {
                self.undefined(
                    &["services", name, "secrets", &n.to_string()],
                    format!(
                        "service {name:?} refers to undefined secret {}: invalid compose project",
                        secret.source
                    ),
                    &secret.source,
                    self.project.secrets.keys(),
                );
            }
        }
    }

    fn models(&mut self, service: &Service) {
        let name = &service.name;
        for model in service.models.keys() {
            if !self.project.models.contains_key(model) {
                self.undefined(
                    &["services", name, "models", model],
                    format!("service {name:?} refers to undefined model {model}: invalid compose project"),
                    model,
                    self.project.models.keys(),
                );
            }
        }
    }

    fn scale(&mut self, service: &Service) {
        let name = &service.name;
        let replicas = service.deploy.as_ref().and_then(|deploy| deploy.replicas);
        if let (Some(scale), Some(replicas)) = (service.scale, replicas)
            && scale != replicas
        {
            self.report(
                &["services", name, "scale"],
                format!("services.{name}: can't set distinct values on 'scale' and 'deploy.replicas': invalid compose project"),
            );
        }
        if service.scale.is_some_and(|scale| scale < 0) {
            self.report(
                &["services", name, "scale"],
                format!("services.{name}.scale: must be greater than or equal to 0"),
            );
        }
        if replicas.is_some_and(|replicas| replicas < 0) {
            self.report(
                &["services", name, "deploy", "replicas"],
                format!("services.{name}.deploy.replicas: must be greater than or equal to 0"),
            );
        }
        if service.wanted_scale() > 1 && !service.container_name.is_empty() {
            let attribute = if service.scale.is_none() {
                "deploy.replicas"
            } else {
                "scale"
            };
            self.report(
                &["services", name, "container_name"],
                format!("services.{name}: can't set container_name and {attribute} as container name must be unique: invalid compose project"),
            );
        }
    }

    /// Limits that stand both at the service and under `deploy` must be the same.
    fn twins(&mut self, service: &Service) {
        let Some(deploy) = &service.deploy else {
            return;
        };
        for (field, twin) in differing_twins(service, deploy) {
            let name = &service.name;
            self.report(
                &["services", name, field],
                format!("services.{name}: can't set distinct values on '{field}' and 'deploy.resources.{twin}': invalid compose project"),
            );
        }
    }

    fn healthcheck(&mut self, service: &Service) {
        let name = &service.name;
        let first = service.healthcheck.as_ref().and_then(|c| c.test.first());
        if first.is_some_and(|word| !matches!(word.as_str(), "CMD" | "CMD-SHELL" | "NONE")) {
            self.report(
                &["services", name, "healthcheck", "test"],
                "healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\"",
            );
        }
        for (n, rule) in service.develop.iter().flat_map(|d| &d.watch).enumerate() {
            if rule.target.is_empty() && !matches!(rule.action.as_str(), "rebuild" | "restart") {
                self.report(
                    &["services", name, "develop", "watch", &n.to_string()],
                    format!("services.{name}.develop.watch: target is required for non-rebuild actions: invalid compose project"),
                );
            }
        }
    }

    fn mounts(&mut self, service: &Service) {
        let name = &service.name;
        let mut mounts: HashMap<&str, (&str, usize)> = HashMap::new();
        let tmpfs = service
            .tmpfs
            .iter()
            .map(|entry| ("tmpfs", entry.split(':').next().unwrap_or(entry)));
        let volumes = service
            .volumes
            .iter()
            .map(|volume| ("volumes", volume.target.as_str()));
        let numbered = tmpfs.enumerate().chain(volumes.enumerate());
        let mut doubles = Vec::new();
        for (n, (field, target)) in numbered {
            match mounts.get(target) {
                Some(first) => doubles.push((field, n, target, *first)),
                None => {
                    mounts.insert(target, (field, n));
                }
            }
        }
        for (field, n, target, (first_field, first)) in doubles {
            let n = n.to_string();
            self.report(
                &["services", name, field, &n],
                format!("services.{name}.{field}[{n}]: target {target} already mounted as services.{name}.{first_field}[{first}]"),
            );
            let first = span_at(
                self.root,
                &["services", name, first_field, &first.to_string()],
            );
            if let Some(finding) = self.findings.last_mut() {
                finding.related.push((first, "mounted here first".into()));
            }
        }
    }

    /// The first circle of dependencies, by name.
    fn cycles(&mut self) {
        let mut names: Vec<&'a str> = self.project.services.keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut done: HashMap<&'a str, ()> = HashMap::new();
        for name in names {
            if let Some(cycle) = search(self.project, name, &mut done) {
                let last = cycle.len() - 1;
                self.report(
                    &["services", cycle[last - 1], "depends_on", cycle[last]],
                    format!("dependency cycle detected: {}", cycle.join(" -> ")),
                );
                return;
            }
        }
    }
}

/// Walks the dependencies of `start` without recursion; gives a circle, its first name repeated at the end.
fn search<'a>(
    project: &'a Project,
    start: &'a str,
    done: &mut HashMap<&'a str, ()>,
) -> Option<Vec<&'a str>> {
    let children = |name: &str| -> Vec<&'a str> {
        let mut names: Vec<&str> = project
            .services
            .get(name)
            .map(|service| service.depends_on.keys().map(String::as_str).collect())
            .unwrap_or_default();
        names.sort_unstable_by(|a, b| b.cmp(a));
        names
    };
    let mut path = vec![(start, children(start))];
    while let Some((name, waiting)) = path.last_mut() {
        let Some(next) = waiting.pop() else {
            done.insert(name, ());
            path.pop();
            continue;
        };
        if let Some(at) = path.iter().position(|(name, _)| *name == next) {
            let mut cycle: Vec<&str> = path[at..].iter().map(|(name, _)| *name).collect();
            cycle.push(next);
            return Some(cycle);
        }
        if !done.contains_key(next) {
            path.push((next, children(next)));
        }
    }
    None
}

#[expect(
    clippy::float_cmp,
    reason = "both were written by hand: they are equal or not"
)]
fn differing_twins(service: &Service, deploy: &Deploy) -> Vec<(&'static str, &'static str)> {
    let mut differing = Vec::new();
    if let Some(limits) = &deploy.resources.limits {
        if service.cpus != 0.0 && limits.cpus != service.cpus {
            differing.push(("cpus", "limits.cpus"));
        }
        if service.mem_limit != 0 && limits.memory != service.mem_limit {
            differing.push(("mem_limit", "limits.memory"));
        }
        if service.pids_limit != 0 && limits.pids != service.pids_limit {
            differing.push(("pids_limit", "limits.pids"));
        }
    }
    if let Some(reservations) = &deploy.resources.reservations
        && service.mem_reservation != 0
        && reservations.memory != service.mem_reservation
    {
        differing.push(("mem_reservation", "reservations.memory"));
    }
    differing
}

/// No two services may claim one container name.
///
/// # Errors
/// Every name that is taken twice.
pub(crate) fn check_container_names(project: &Project) -> Result<(), Faults> {
    let mut owners: HashMap<&str, &str> = HashMap::new();
    let mut findings = Vec::new();
    for (name, service) in &project.services {
        if service.container_name.is_empty() {
            continue;
        }
        if let Some(owner) = owners.insert(&service.container_name, name) {
            findings.push(
                Finding::new(format!(
                    "services.{name}: container name {:?} is already in use by service {owner}",
                    service.container_name
                ))
                .field_text(format!("services.{name}.container_name")),
            );
        }
    }
    Faults::check(findings)
}
