//! Which containers `list` and `prune` see: Docker's filters over views. Pure but for lookups of names.

use std::sync::Arc;

use crate::engine::base::{Error, Filters, Result};
use crate::engine::containers::Containers;
use crate::engine::containers::state::State;
use crate::engine::containers::validate::parse_port;
use crate::engine::containers::view::View;

const LIST_FILTERS: [&str; 19] = [
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "is-task",
    "annotation",
    "reference",
    "until",
];

/// What `GET /containers/json` asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListOptions {
    pub(crate) all: bool,
    pub(crate) limit: Option<usize>,
    pub(crate) filters: Filters,
}

impl Containers {
    /// Newest first.
    pub(crate) fn list_filtered(&self, options: &ListOptions) -> Result<Vec<Arc<View>>> {
        let matcher = Matcher::new(self, options)?;
        let views = self.list();
        let matching = views.into_iter().filter(|view| matcher.matches(view));
        Ok(match options.limit {
            Some(limit) if limit > 0 => matching.take(limit).collect(),
            _ => matching.collect(),
        })
    }
}

struct Matcher<'a> {
    filters: &'a Filters,
    all: bool,
    exit_codes: Vec<i32>,
    /// Creation times that bound the list.
    before: Option<String>,
    since: Option<String>,
    /// Ids of images, with the name each was given by.
    ancestors: Vec<(String, String)>,
}

impl<'a> Matcher<'a> {
    fn new(containers: &Containers, options: &'a ListOptions) -> Result<Self> {
        let filters = &options.filters;
        filters.check(&LIST_FILTERS)?;
        let mut exit_codes = Vec::new();
        for text in filters.get("exited") {
            exit_codes.push(
                text.parse()
                    .map_err(|_| Error::invalid(format!("invalid filter 'exited=[{text}]'")))?,
            );
        }
        for status in filters.get("status") {
            let known = [
                "created",
                "running",
                "paused",
                "restarting",
                "removing",
                "exited",
                "dead",
            ];
            if !known.contains(&status.as_str()) {
                return Err(Error::invalid(format!("invalid filter 'status={status}'")));
            }
        }
        for health in filters.get("health") {
            if !["starting", "healthy", "unhealthy", "none"].contains(&health.as_str()) {
                return Err(Error::invalid(format!("invalid filter 'health={health}'")));
            }
        }
        filters.boolean("is-task")?;
        let created = |key: &str| -> Result<Option<String>> {
            match filters.get(key).first() {
                None => Ok(None),
                Some(name) => Ok(Some(containers.get(name)?.view().record.created.clone())),
            }
        };
        let ancestors = filters
            .get("ancestor")
            .iter()
            .map(|name| {
                let id = containers
                    .deps
                    .images
                    .resolve(name)
                    .map(|image| image.id.to_string());
                (name.clone(), id.unwrap_or_default())
            })
            .collect();
        let asks_state = ["status", "exited", "before", "since"]
            .iter()
            .any(|key| filters.has(key));
        Ok(Matcher {
            filters,
            all: options.all || options.limit.is_some_and(|limit| limit > 0) || asks_state,
            exit_codes,
            before: created("before")?,
            since: created("since")?,
            ancestors,
        })
    }

    fn matches(&self, view: &View) -> bool {
        let filters = self.filters;
        let record = &view.record;
        if !self.all && !view.run.state.counts_as_running() {
            return false;
        }
        let name_matches = |wanted: &str| {
            let slashed = format!("/{}", record.name);
            match regex::Regex::new(wanted) {
                Ok(regex) => regex.is_match(&slashed) || regex.is_match(&record.name),
                Err(_) => record.name.contains(wanted),
            }
        };
        let health = match (&view.health, &record.config.healthcheck) {
            (Some(health), _) => health.status.name(),
            (None, _) => "none",
        };
        let ended = !view.run.state.counts_as_running() && view.run.state != State::Created;
        filters.any("id", |wanted| record.id.starts_with(wanted))
            && filters.any("name", name_matches)
            && filters.any("status", |wanted| wanted == view.run.state.name())
            && filters.any("health", |wanted| wanted == health)
            && filters.match_labels(|key| record.label(key))
            && (self.exit_codes.is_empty()
                || ended && self.exit_codes.contains(&view.run.exit_code))
            && self
                .before
                .as_ref()
                .is_none_or(|before| record.created < *before)
            && self
                .since
                .as_ref()
                .is_none_or(|since| record.created > *since)
            && filters.any("volume", |wanted| uses_volume(view, wanted))
            && filters.any("network", |wanted| uses_network(view, wanted))
            && filters.any("publish", |wanted| publishes(view, wanted))
            && filters.any("expose", |wanted| exposes(view, wanted))
            && filters.any("annotation", |wanted| annotated(view, wanted))
            && self.has_ancestor(view)
    }

    fn has_ancestor(&self, view: &View) -> bool {
        self.ancestors.is_empty()
            || self.ancestors.iter().any(|(name, id)| {
                view.record.image_id.to_string() == *id || view.record.config.image == *name
            })
    }
}

fn uses_volume(view: &View, wanted: &str) -> bool {
    use crate::engine::containers::mounts::MountSource;
    view.record.mounts.iter().any(|point| {
        point.destination == wanted
            || point.volume_name() == Some(wanted)
            || matches!(&point.source, MountSource::Bind { path, .. } if path == wanted)
    })
}

fn uses_network(view: &View, wanted: &str) -> bool {
    let joined =
        view.network.endpoints.iter().any(|endpoint| {
            endpoint.network_name == wanted || endpoint.network_id.starts_with(wanted)
        });
    joined || view.record.networks.keys().any(|name| name == wanted)
}

fn in_range(wanted: &str, port: u16, protocol: &str) -> bool {
    let (range, wanted_protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
        return false;
    };
    protocol == wanted_protocol && (first..=last).contains(&port)
}

fn publishes(view: &View, wanted: &str) -> bool {
    view.network.ports.iter().any(|binding| {
        in_range(wanted, binding.host_port, binding.protocol.name())
            || in_range(wanted, binding.container_port, binding.protocol.name())
    })
}

fn exposes(view: &View, wanted: &str) -> bool {
    view.record
        .config
        .exposed_ports
        .keys()
        .filter_map(|port| parse_port(port).ok())
        .any(|(port, protocol)| in_range(wanted, port, protocol))
}

fn annotated(view: &View, wanted: &str) -> bool {
    let annotations = &view.record.host.annotations;
    match wanted.split_once('=') {
        Some((key, value)) => annotations.get(key).is_some_and(|found| found == value),
        None => annotations.contains_key(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges() {
        assert!(in_range("80", 80, "tcp"));
        assert!(in_range("80-90/udp", 85, "udp"));
        assert!(!in_range("80", 80, "udp"));
        assert!(!in_range("x", 80, "tcp"));
    }
}
