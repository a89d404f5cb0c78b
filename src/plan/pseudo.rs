//! A project rebuilt from labels, for commands that know only its name. It has what stop, down
//! and their like need (services, their order, networks, volumes), and nothing a container could
//! be made from.

use std::path::PathBuf;

use indexmap::IndexMap;

use super::observed::Observed;
use crate::compose::model::{Dependency, Network, Project, Service, Volume};
use crate::labels;

/// The project that the labels of its containers, networks and volumes tell of.
pub(crate) fn project_from_labels(name: &str, observed: &Observed) -> Project {
    let mut project = Project {
        name: name.to_owned(),
        ..Project::default()
    };
    for container in &observed.containers {
        if let Some(dir) = container.label(labels::WORKING_DIR)
            && project.working_dir.as_os_str().is_empty()
        {
            project.working_dir = PathBuf::from(dir);
        }
        let service = project
            .services
            .entry(container.service.clone())
            .or_insert_with(|| Service {
                name: container.service.clone(),
                image: container.image.clone(),
                scale: Some(0),
                ..Service::default()
            });
        if !container.one_off {
            service.scale = service.scale.map(|n| n + 1);
        }
        if let Some(text) = container.label(labels::DEPENDS_ON) {
            service.depends_on.extend(dependencies(text));
        }
    }
    let known: Vec<String> = project.services.keys().cloned().collect();
    for service in project.services.values_mut() {
        service.depends_on.retain(|name, _| known.contains(name));
    }
    for network in observed
        .networks
        .iter()
        .filter(|n| n.labels.get(labels::PROJECT).is_some_and(|p| p == name))
    {
        if let Some(key) = network.labels.get(labels::NETWORK) {
            let declared = Network {
                name: network.name.clone(),
                ..Network::default()
            };
            project.networks.insert(key.clone(), declared);
        }
    }
    for volume in observed
        .volumes
        .iter()
        .filter(|v| v.labels.get(labels::PROJECT).is_some_and(|p| p == name))
    {
        if let Some(key) = volume.labels.get(labels::VOLUME) {
            let declared = Volume {
                name: volume.name.clone(),
                ..Volume::default()
            };
            project.volumes.insert(key.clone(), declared);
        }
    }
    project.services.sort_keys();
    project
}

/// `db:service_healthy:true,cache:service_started:false`.
fn dependencies(text: &str) -> IndexMap<String, Dependency> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let mut words = part.split(':');
            let name = words.next().unwrap_or_default().to_owned();
            let condition = words.next().unwrap_or("service_started").to_owned();
            let restart = words.next() == Some("true");
            let dependency = Dependency {
                condition,
                restart,
                required: true,
                ..Dependency::default()
            };
            (name, dependency)
        })
        .collect()
}
