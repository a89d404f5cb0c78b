//! Networks and volumes of a project → the bodies of their create requests.

use std::collections::HashMap;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, VolumeCreateRequest};

use crate::compose::model::{Mapping, Network, Project, Volume, network_json, volume_json};
use crate::labels;
use crate::plan::config_hash;

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn map(values: &Mapping) -> Option<HashMap<String, String>> {
    (!values.is_empty()).then(|| values.clone().into_iter().collect())
}

fn stamped(
    own: &Mapping,
    project: &Project,
    key_label: &str,
    key: &str,
    hash: String,
    config: String,
) -> HashMap<String, String> {
    let mut all: HashMap<String, String> = own.clone().into_iter().collect();
    all.insert(labels::PROJECT.to_owned(), project.name.clone());
    all.insert(key_label.to_owned(), key.to_owned());
    all.insert(
        labels::VERSION.to_owned(),
        labels::COMPOSE_VERSION.to_owned(),
    );
    all.insert(labels::CONFIG_HASH.to_owned(), hash);
    all.insert(labels::HOIST_CONFIG.to_owned(), config);
    all
}

pub(super) fn network_body(
    project: &Project,
    key: &str,
    network: &Network,
) -> NetworkCreateRequest {
    let ipam = &network.ipam;
    let pools: Vec<IpamConfig> = ipam
        .config
        .iter()
        .map(|pool| IpamConfig {
            subnet: text(&pool.subnet),
            ip_range: text(&pool.ip_range),
            gateway: text(&pool.gateway),
            auxiliary_addresses: map(&pool.aux_addresses),
        })
        .collect();
    let has_ipam = !ipam.driver.is_empty() || !pools.is_empty();
    NetworkCreateRequest {
        name: network.name.clone(),
        driver: text(&network.driver),
        options: map(&network.driver_opts),
        internal: Some(network.internal),
        attachable: Some(network.attachable),
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: has_ipam.then(|| Ipam {
            driver: text(&ipam.driver),
            config: (!pools.is_empty()).then_some(pools),
            options: None,
        }),
        labels: Some(stamped(
            &network.labels,
            project,
            labels::NETWORK,
            key,
            config_hash::network_hash(network),
            network_json(network),
        )),
        ..NetworkCreateRequest::default()
    }
}

pub(super) fn volume_body(project: &Project, key: &str, volume: &Volume) -> VolumeCreateRequest {
    let mut recorded = volume.clone();
    if recorded.driver.is_empty() {
        recorded.driver = "local".to_owned();
    }
    VolumeCreateRequest {
        name: text(&volume.name),
        driver: text(&volume.driver),
        driver_opts: map(&volume.driver_opts),
        labels: Some(stamped(
            &volume.labels,
            project,
            labels::VOLUME,
            key,
            config_hash::volume_hash(volume),
            volume_json(&recorded),
        )),
        ..VolumeCreateRequest::default()
    }
}
