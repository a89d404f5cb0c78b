//! Advice on a project that loads: what a careful colleague would mention. Each piece has a code, a
//! place, and can be silenced by `# hoist: ignore[code]` on its line or the line above. No errors here.

use std::path::Path;

use crate::compose::error::{Finding, finding_json, render_finding};
use crate::compose::model::{PortConfig, Project, Service};
use crate::compose::options::Loaded;
use crate::compose::provenance::{field_name, span_at};
use crate::compose::source::{Sources, Span};

/// One piece of advice.
#[derive(Clone, Debug)]
pub(crate) struct Advice {
    pub(crate) code: &'static str,
    pub(crate) finding: Finding,
}

/// Every code, with what it is about.
pub(crate) const CODES: [(&str, &str); 12] = [
    ("bind-source", "a bind mount whose source does not exist"),
    (
        "container-name",
        "a fixed container name on a service that could be scaled",
    ),
    (
        "docker-socket",
        "the engine's socket mounted into a container",
    ),
    ("image-tag", "an image without a tag, or with `latest`"),
    ("links", "`links`, which networks replaced"),
    ("obsolete-version", "the `version` key"),
    (
        "open-port",
        "a port published on all addresses of the machine",
    ),
    ("privileged", "a privileged container"),
    (
        "secret-in-environment",
        "a secret written into `environment`",
    ),
    (
        "unchecked-dependency",
        "`depends_on` that does not wait for a healthcheck that is there",
    ),
    ("unset-variable", "a variable without a value or default"),
    (
        "unused-resource",
        "a volume, network, config or secret that nothing uses",
    ),
];

/// Looks at every service and resource; `ignored` names codes to leave out.
pub(crate) fn advise(loaded: &Loaded, ignored: &[String]) -> Vec<Advice> {
    let mut advisor = Advisor {
        loaded,
        found: Vec::new(),
    };
    let project = &loaded.project;
    for service in project.services.values() {
        advisor.image(service);
        advisor.ports(service);
        advisor.dependencies(project, service);
        advisor.environment(service);
        advisor.isolation(service);
        advisor.mounts(service);
        advisor.names(service);
    }
    advisor.unused(project);
    advisor.warnings();
    let sources = &loaded.provenance.sources;
    let mut found = advisor.found;
    found.retain(|advice| {
        !ignored.iter().any(|code| code == advice.code)
            && !silenced(sources, advice.finding.span, advice.code)
    });
    found.sort_by_key(|advice| {
        let span = advice.finding.span;
        (span.file(), span.range().start)
    });
    found
}

struct Advisor<'a> {
    loaded: &'a Loaded,
    found: Vec<Advice>,
}

impl Advisor<'_> {
    fn advise(&mut self, code: &'static str, path: &[&str], message: String, help: &str) {
        let finding = Finding::new(message)
            .at(span_at(&self.loaded.provenance.root, path))
            .field_text(field_name(path))
            .label(code)
            .help(help);
        self.found.push(Advice { code, finding });
    }

    fn image(&mut self, service: &Service) {
        let name = &service.name;
        let image = &service.image;
        if image.is_empty() || service.build.is_some() || image.contains('@') {
            return;
        }
        let last = image.rsplit('/').next().unwrap_or(image);
        let tag = last.split_once(':').map(|(_, tag)| tag);
        if matches!(tag, None | Some("latest")) {
            self.advise(
                "image-tag",
                &["services", name, "image"],
                format!("the image {image} is not pinned: it may be another one tomorrow"),
                "name a version, as in `postgres:16`",
            );
        }
    }

    fn ports(&mut self, service: &Service) {
        for (n, port) in service.ports.iter().enumerate() {
            let open = |port: &PortConfig| {
                !port.published.is_empty() && matches!(port.host_ip.as_str(), "" | "0.0.0.0" | "::")
            };
            if open(port) {
                self.advise(
                    "open-port",
                    &["services", &service.name, "ports", &n.to_string()],
                    format!(
                        "port {} is reachable from every network this machine is in",
                        port.published
                    ),
                    &format!(
                        "for this machine alone write `127.0.0.1:{}:{}`",
                        port.published, port.target
                    ),
                );
            }
        }
    }

    fn dependencies(&mut self, project: &Project, service: &Service) {
        for (other, dependency) in &service.depends_on {
            let checked = project
                .services
                .get(other)
                .and_then(|other| other.healthcheck.as_ref())
                .is_some_and(|check| !check.disable && !check.test.is_empty());
            if checked && dependency.condition == "service_started" {
                self.advise(
                    "unchecked-dependency",
                    &["services", &service.name, "depends_on", other],
                    format!("{} does not wait until {other} is healthy", service.name),
                    "add `condition: service_healthy`",
                );
            }
        }
    }

    fn environment(&mut self, service: &Service) {
        for (key, value) in &service.environment {
            let upper = key.to_ascii_uppercase();
            let secret = [
                "PASSWORD",
                "PASSWD",
                "SECRET",
                "TOKEN",
                "API_KEY",
                "PRIVATE_KEY",
            ]
            .iter()
            .any(|word| upper.contains(word));
            let file = upper.ends_with("_FILE") || upper.ends_with("_PATH");
            let filled = value.as_ref().is_some_and(|value| !value.is_empty());
            if secret && !file && filled {
                self.advise(
                    "secret-in-environment",
                    &["services", &service.name, "environment", key],
                    format!("{key} looks like a secret: `inspect` and child processes show it"),
                    "use `secrets`, many images read `…_FILE` variables",
                );
            }
        }
    }

    fn isolation(&mut self, service: &Service) {
        if service.privileged {
            self.advise(
                "privileged",
                &["services", &service.name, "privileged"],
                format!("{} can do anything to this machine", service.name),
                "give it the capabilities or devices it needs: `cap_add`, `devices`",
            );
        }
        if !service.links.is_empty() {
            self.advise(
                "links",
                &["services", &service.name, "links"],
                "services of one network find each other by name without links".to_owned(),
                "use the service's name, or `networks.….aliases`",
            );
        }
    }

    fn mounts(&mut self, service: &Service) {
        for (n, volume) in service.volumes.iter().enumerate() {
            if volume.kind != "bind" {
                continue;
            }
            let n = n.to_string();
            let path = ["services", &service.name, "volumes", &n];
            if volume.source.ends_with("/docker.sock") {
                self.advise(
                    "docker-socket",
                    &path,
                    format!(
                        "{} gets the engine's socket: it can do anything to this machine",
                        service.name
                    ),
                    "mount it only into what you trust as root",
                );
            } else if volume.source.starts_with('/') && !Path::new(&volume.source).exists() {
                self.advise(
                    "bind-source",
                    &path,
                    format!("{} does not exist", volume.source),
                    "it will be made as an empty folder of root; create it, or use a named volume",
                );
            }
        }
    }

    fn names(&mut self, service: &Service) {
        if service.container_name.is_empty() {
            return;
        }
        self.advise(
            "container-name",
            &["services", &service.name, "container_name"],
            format!(
                "{} can have one container only, and no other project on this machine the same name",
                service.name
            ),
            "leave `container_name` out: the service's name works as a host name anyway",
        );
    }

    fn unused(&mut self, project: &Project) {
        let mut used = project.clone();
        // Profiles may switch services on later: what they use is used.
        used.set_profiles(&["*".to_owned()]);
        used.drop_unused();
        let mut gone: Vec<(&str, &String)> = Vec::new();
        let missing = |name: &&String, there: bool| !there && name.as_str() != "default";
        gone.extend(
            project
                .volumes
                .keys()
                .filter(|name| missing(name, used.volumes.contains_key(*name)))
                .map(|name| ("volumes", name)),
        );
        gone.extend(
            project
                .networks
                .keys()
                .filter(|name| missing(name, used.networks.contains_key(*name)))
                .map(|name| ("networks", name)),
        );
        gone.extend(
            project
                .secrets
                .keys()
                .filter(|name| missing(name, used.secrets.contains_key(*name)))
                .map(|name| ("secrets", name)),
        );
        gone.extend(
            project
                .configs
                .keys()
                .filter(|name| missing(name, used.configs.contains_key(*name)))
                .map(|name| ("configs", name)),
        );
        for (section, name) in gone {
            self.advise(
                "unused-resource",
                &[section, name],
                format!("{section}.{name} is used by no service"),
                "remove it, or refer to it",
            );
        }
    }

    /// What the loader warned of has codes too.
    fn warnings(&mut self) {
        for warning in &self.loaded.warnings {
            let message = &warning.message;
            let code = if message.contains("attribute `version` is obsolete") {
                "obsolete-version"
            } else if message.contains("variable is not set") {
                "unset-variable"
            } else {
                continue;
            };
            let finding = Finding::new(message.clone()).label(code);
            self.found.push(Advice { code, finding });
        }
    }
}

/// Whether a comment at the place, or alone on the line above, says so.
fn silenced(sources: &Sources, span: Span, code: &str) -> bool {
    let Some(file) = span.file() else {
        return false;
    };
    let text = sources.text(file);
    let at = span.range().start.min(text.len());
    let Some(before) = text.get(..at) else {
        return false;
    };
    let start = before.rfind('\n').map_or(0, |n| n + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let above = text[..start.saturating_sub(1)].lines().next_back();
    let above = above.filter(|line| line.trim_start().starts_with('#'));
    let says = |line: &str| {
        line.split_once("# hoist: ignore").is_some_and(|(_, rest)| {
            match rest.trim_start().strip_prefix('[') {
                None => true,
                Some(list) => list
                    .split(']')
                    .next()
                    .is_some_and(|list| list.split(',').any(|c| c.trim() == code)),
            }
        })
    };
    says(line) || above.is_some_and(says)
}

/// The advice as text for people.
pub(crate) fn render(advice: &[Advice], sources: &Sources, color: bool) -> String {
    let renderer = if color {
        annotate_snippets::Renderer::styled()
    } else {
        annotate_snippets::Renderer::plain()
    };
    advice
        .iter()
        .map(|advice| {
            let level = annotate_snippets::Level::WARNING;
            render_finding(&advice.finding, sources, &renderer, level)
        })
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// The advice as a JSON array.
pub(crate) fn to_json(advice: &[Advice], sources: &Sources) -> serde_json::Value {
    advice
        .iter()
        .map(|advice| {
            let mut object = finding_json(&advice.finding, sources);
            if let Some(object) = object.as_object_mut() {
                object.insert("code".into(), advice.code.into());
            }
            object
        })
        .collect()
}
