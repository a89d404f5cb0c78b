//! What counts as a change of a service, network or volume: the hash that docker compose puts in
//! the `config-hash` label, and the text it is taken from. What follows from a change is decided
//! in `changes` and `containers`.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::compose::model;
use crate::compose::model::{Network, Service, Volume};

/// The canonical JSON of what of a service its containers are made from. Build, scale, order and
/// profiles are none of a container's business.
pub(crate) fn service_config(service: &Service) -> String {
    let mut bare = service.clone();
    bare.build = None;
    bare.pull_policy = String::new();
    bare.scale = None;
    if let Some(deploy) = &mut bare.deploy {
        deploy.replicas = None;
    }
    bare.depends_on.clear();
    bare.profiles.clear();
    model::service_json(&bare)
}

pub(crate) fn network_hash(network: &Network) -> String {
    hash(&model::network_json(network))
}

pub(crate) fn volume_hash(volume: &Volume) -> String {
    if volume.driver.is_empty() {
        let mut local = volume.clone();
        local.driver = "local".to_owned();
        return hash(&model::volume_json(&local));
    }
    hash(&model::volume_json(volume))
}

/// SHA-256 as lower-case hex digits.
pub(crate) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

/// A service whose `service:` references name containers instead: what the engine is sent, and
/// what the hash is taken from. Returns the names that could not be resolved.
pub(crate) fn with_container_references(
    service: &Service,
    ids: &BTreeMap<String, String>,
) -> (Service, Vec<String>) {
    let mut resolved = service.clone();
    let mut missing = Vec::new();
    for mode in [
        &mut resolved.network_mode,
        &mut resolved.ipc,
        &mut resolved.pid,
        &mut resolved.uts,
        &mut resolved.cgroup,
    ] {
        if let Some(name) = mode.strip_prefix("service:") {
            match ids.get(name) {
                Some(id) => *mode = format!("container:{id}"),
                None => missing.push(name.to_owned()),
            }
        }
    }
    for source in &mut resolved.volumes_from {
        if let Some(container) = source.strip_prefix("container:") {
            *source = container.to_owned();
            continue;
        }
        let (name, mode) = match source.split_once(':') {
            Some((name, mode)) => (name, format!(":{mode}")),
            None => (source.as_str(), String::new()),
        };
        match ids.get(name) {
            Some(id) => *source = format!("{id}{mode}"),
            None => missing.push(name.to_owned()),
        }
    }
    (resolved, missing)
}

/// Names of the services whose containers a service shares namespaces or volumes with.
pub(crate) fn referenced_services(service: &Service) -> Vec<String> {
    let mut names: Vec<String> = [
        &service.network_mode,
        &service.ipc,
        &service.pid,
        &service.uts,
        &service.cgroup,
    ]
    .into_iter()
    .filter_map(|mode| mode.strip_prefix("service:").map(str::to_owned))
    .collect();
    names.extend(
        service
            .volumes_from
            .iter()
            .filter(|source| !source.starts_with("container:"))
            .map(|source| source.split(':').next().unwrap_or_default().to_owned()),
    );
    names.sort();
    names.dedup();
    names
}
