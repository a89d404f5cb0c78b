//! Networks by name and id: create, get, list, remove, prune. Endpoints are elsewhere.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::engine::base::records::{self, Durability};
use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Event, Result};
use crate::engine::networks::Networks;
use crate::engine::networks::config::{
    Connected, IpamConfig, IpamPool, Network, NetworkConfig, PruneFilter,
};
use crate::engine::networks::driver::{self, Driver};
use crate::engine::networks::ipam::{Pool, Subnet};
use crate::engine::networks::names::new_id;
use crate::engine::networks::state::{NetworkEntry, State};

const NAME_BYTES: usize = 255;

impl Networks {
    /// Makes a network. 409 when the name is taken, 403 when it is a predefined one or its subnet is in use.
    pub(crate) fn create(&self, config: NetworkConfig) -> Result<Network> {
        validate_name(&config.name)?;
        if matches!(config.name.as_str(), "bridge" | "host" | "none" | "default") {
            return Err(Error::forbidden(format!(
                "operation is not permitted on predefined {} network",
                config.name
            )));
        }
        let mut state = lock(&self.state);
        if state
            .networks
            .values()
            .any(|entry| entry.network.name == config.name)
        {
            return Err(Error::conflict(format!(
                "network with name {} already exists",
                config.name
            )));
        }
        let entry = plan(&mut state, config)?;
        if matches!(entry.driver, Driver::Host | Driver::None) {
            return Err(Error::forbidden(format!(
                "only one instance of \"{}\" network is allowed",
                entry.network.driver
            )));
        }
        let network_id = entry.network.id.clone();
        state.networks.insert(network_id.clone(), entry);
        let outcome = state
            .bring_up(&network_id, &self.reaper)
            .and_then(|_| self.save(&state, &network_id));
        if let Err(error) = outcome {
            state.take_down(&network_id, &self.reaper);
            state.networks.remove(&network_id);
            return Err(error);
        }
        let network = state.network(&network_id)?.network.clone();
        self.publish_event("create", &network, []);
        Ok(network)
    }

    /// By name, id or unique id prefix.
    pub(crate) fn get(&self, name_or_id: &str) -> Result<Network> {
        Ok(lock(&self.state).find(name_or_id)?.network.clone())
    }

    pub(crate) fn list(&self) -> Vec<Network> {
        lock(&self.state)
            .networks
            .values()
            .map(|entry| entry.network.clone())
            .collect()
    }

    /// 403 when it is predefined or has active endpoints.
    pub(crate) fn remove(&self, name_or_id: &str) -> Result<Network> {
        let mut state = lock(&self.state);
        let network = state.find(name_or_id)?.network.clone();
        if network.is_predefined() {
            return Err(Error::forbidden(format!(
                "{} is a pre-defined network and cannot be removed",
                network.name
            )));
        }
        if let Some(connected) = connected(&state, &network.id).first() {
            return Err(Error::forbidden(format!(
                "error while removing network: network {} has active endpoints (name:{:?} id:{:?})",
                network.name,
                connected.container_name,
                short(&connected.endpoint.id)
            )));
        }
        // The record first: a crash leaves a bridge that the next start sweeps, not a network without one.
        records::remove(&self.record_path(&network.id))?;
        state.take_down(&network.id, &self.reaper);
        state.networks.remove(&network.id);
        self.publish_event("destroy", &network, []);
        Ok(network)
    }

    /// Removes what no container is in; answers with the names.
    pub(crate) fn prune(&self, filter: &PruneFilter) -> Result<Vec<String>> {
        let unused: Vec<Network> = {
            let state = lock(&self.state);
            state
                .networks
                .values()
                .filter(|entry| !entry.network.is_predefined())
                .filter(|entry| connected(&state, &entry.network.id).is_empty())
                .map(|entry| entry.network.clone())
                .filter(|network| matches_filter(network, filter))
                .collect()
        };
        let mut removed = Vec::new();
        for network in unused {
            match self.remove(&network.id) {
                Ok(network) => removed.push(network.name),
                // Joined or removed in this very moment: not ours to prune any more.
                Err(error) => tracing::debug!(%error, "prune {}", network.name),
            }
        }
        Ok(removed)
    }

    /// Who is in a network, in order of container id.
    pub(crate) fn connected(&self, network_id: &str) -> Vec<Connected> {
        connected(&lock(&self.state), network_id)
    }

    pub(crate) fn record_path(&self, network_id: &str) -> std::path::PathBuf {
        self.paths.networks().join(format!("{network_id}.json"))
    }

    pub(crate) fn save(&self, state: &State, network_id: &str) -> Result<()> {
        let network = &state.network(network_id)?.network;
        // After a power cut the kernel's half is gone too, and the next `up` makes both again.
        records::save(&self.record_path(network_id), network, Durability::Renamed)
    }

    pub(crate) fn publish_event<const N: usize>(
        &self,
        action: &str,
        network: &Network,
        further: [(&str, &str); N],
    ) {
        let mut attributes = BTreeMap::from([
            ("name".to_owned(), network.name.clone()),
            ("type".to_owned(), network.driver.clone()),
        ]);
        for (key, value) in further {
            attributes.insert(key.to_owned(), value.to_owned());
        }
        self.events
            .publish(Event::now("network", action, &network.id, attributes));
    }
}

fn connected(state: &State, network_id: &str) -> Vec<Connected> {
    let mut found: Vec<Connected> = state
        .sandboxes
        .iter()
        .flat_map(|(container_id, sandbox)| {
            sandbox
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.network_id == network_id)
                .map(|endpoint| Connected {
                    container_id: container_id.clone(),
                    container_name: sandbox.config.container_name.clone(),
                    endpoint: endpoint.clone(),
                })
        })
        .collect();
    found.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    found
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// One grammar for all names, so that none can be taken for a path.
fn validate_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let starts_well = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let goes_on_well = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if starts_well && goes_on_well && name.len() <= NAME_BYTES {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "invalid network name {name:?}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, up to {NAME_BYTES} characters"
    )))
}

/// Checks everything and chooses what was left open; nothing is made.
fn plan(state: &mut State, config: NetworkConfig) -> Result<NetworkEntry> {
    let network_id = new_id()?;
    let names = state.kernel.names.clone();
    let driver = driver::parse(&config.driver, &network_id, &config.options, &names)?;
    if !matches!(config.ipam.driver.as_str(), "" | "default") {
        return Err(Error::invalid(format!(
            "IPAM driver {:?} is not supported",
            config.ipam.driver
        )));
    }
    if let Some(option) = config.ipam.options.keys().next() {
        return Err(Error::invalid(format!(
            "IPAM option {option:?} is not supported"
        )));
    }
    if !config.enable_ipv4 && !config.enable_ipv6 {
        return Err(Error::invalid("IPv4 or IPv6 must be enabled"));
    }
    if let Driver::Bridge(options) = &driver {
        ensure_bridge_name_is_free(state, &options.bridge_name)?;
    }
    let network = Network {
        id: network_id,
        name: config.name,
        created: jiff::Timestamp::now().to_string(),
        driver: if config.driver.is_empty() {
            "bridge".to_owned()
        } else {
            config.driver
        },
        internal: config.internal,
        attachable: config.attachable,
        enable_ipv4: config.enable_ipv4,
        enable_ipv6: config.enable_ipv6,
        ipam: IpamConfig {
            driver: "default".to_owned(),
            config: config.ipam.config,
            options: config.ipam.options,
        },
        options: config.options,
        labels: config.labels,
    };
    let mut entry = pools(network, driver)?;
    for pool in [&entry.pool4, &entry.pool6].into_iter().flatten() {
        ensure_no_overlap(state, &pool.subnet)?;
    }
    choose_missing(state, &mut entry)?;
    Ok(entry)
}

fn ensure_bridge_name_is_free(state: &State, bridge_name: &str) -> Result<()> {
    let holder = state.networks.values().find(|entry| {
        matches!(&entry.driver, Driver::Bridge(options) if options.bridge_name == bridge_name)
    });
    match holder {
        None => Ok(()),
        Some(entry) => Err(Error::forbidden(format!(
            "cannot create network: the bridge {bridge_name} belongs to network {}",
            entry.network.name
        ))),
    }
}

fn ensure_no_overlap(state: &State, subnet: &Subnet) -> Result<()> {
    let other = state.networks.values().find(|entry| {
        [&entry.pool4, &entry.pool6]
            .into_iter()
            .flatten()
            .any(|pool| pool.subnet.overlaps(subnet))
    });
    match other {
        None => Ok(()),
        Some(entry) => Err(Error::forbidden(format!(
            "invalid pool request: Pool overlaps with other one on this address space: {subnet} is in use by network {}",
            entry.network.name
        ))),
    }
}

/// The entry of a network with the pools that its configuration names.
pub(crate) fn pools(network: Network, driver: Driver) -> Result<NetworkEntry> {
    let mut entry = NetworkEntry {
        network,
        driver,
        pool4: None,
        pool6: None,
        is_chosen4: false,
        is_up: false,
        is_foreign: false,
    };
    for config in &entry.network.ipam.config {
        let Some(subnet) = &config.subnet else {
            if config.gateway.is_some() || config.ip_range.is_some() {
                return Err(Error::invalid(
                    "invalid network config: a gateway or an IP range needs a subnet",
                ));
            }
            continue;
        };
        let pool = pool(subnet, config)?;
        let (slot, is_enabled, family) = if pool.subnet.is_ipv6() {
            (&mut entry.pool6, entry.network.enable_ipv6, "IPv6")
        } else {
            (&mut entry.pool4, entry.network.enable_ipv4, "IPv4")
        };
        if !is_enabled {
            return Err(Error::invalid(format!(
                "invalid network config: the subnet {} needs {family}, which is not enabled",
                pool.subnet
            )));
        }
        if slot.is_some() {
            return Err(Error::invalid(format!(
                "invalid network config: more than one {family} subnet is not supported"
            )));
        }
        *slot = Some(pool);
    }
    Ok(entry)
}

fn pool(subnet: &str, config: &IpamPool) -> Result<Pool> {
    let subnet: Subnet = subnet.parse()?;
    let range = config.ip_range.as_deref().map(str::parse).transpose()?;
    let address = |text: &str| {
        text.parse::<IpAddr>()
            .map_err(|_| Error::invalid(format!("invalid IP address: {text:?}")))
    };
    let gateway = config.gateway.as_deref().map(address).transpose()?;
    let auxiliary = config
        .auxiliary_addresses
        .values()
        .map(|text| address(text))
        .collect::<Result<Vec<_>>>()?;
    Pool::new(subnet, range, gateway, auxiliary)
}

/// Chooses the subnets that the configuration leaves open, and writes down what is in use.
pub(crate) fn choose_missing(state: &mut State, entry: &mut NetworkEntry) -> Result<()> {
    if matches!(entry.driver, Driver::Host | Driver::None) {
        return Ok(());
    }
    if entry.network.enable_ipv4 && entry.pool4.is_none() {
        let subnet = state.free_ipv4_subnet(None)?;
        entry.pool4 = Some(Pool::new(subnet, None, None, [])?);
        entry.is_chosen4 = true;
    }
    if entry.network.enable_ipv6 && entry.pool6.is_none() {
        let subnet = state.free_ipv6_subnet()?;
        entry.pool6 = Some(Pool::new(subnet, None, None, [])?);
    }
    let given = std::mem::take(&mut entry.network.ipam.config);
    for pool in [&entry.pool4, &entry.pool6].into_iter().flatten() {
        let mut config = given
            .iter()
            .find(|config| {
                let subnet = config.subnet.as_deref().and_then(|text| text.parse().ok());
                subnet == Some(pool.subnet)
            })
            .cloned()
            .unwrap_or_default();
        config.subnet = Some(pool.subnet.to_string());
        config.gateway = Some(pool.gateway.to_string());
        entry.network.ipam.config.push(config);
    }
    Ok(())
}

fn matches_filter(network: &Network, filter: &PruneFilter) -> bool {
    let has = |wanted: &String| match wanted.split_once('=') {
        Some((key, value)) => network.labels.get(key).is_some_and(|found| found == value),
        None => network.labels.contains_key(wanted),
    };
    let created = network
        .created
        .parse::<jiff::Timestamp>()
        .map(jiff::Timestamp::as_second);
    filter.labels.iter().all(has)
        && !filter.without_labels.iter().any(has)
        && filter
            .until_unix
            .is_none_or(|until| created.is_ok_and(|created| created < until))
}
