//! After a restart of the engine: networks and sandboxes come back from their records, live sandboxes get their name
//! server and proxies again, and what nobody claims is swept from the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use crate::engine::base::records;
use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Result};
use crate::engine::networks::Networks;
use crate::engine::networks::config::{IpamConfig, Network, PortRequest, Sandbox, SandboxKind};
use crate::engine::networks::dns_server;
use crate::engine::networks::driver::{self, Driver};
use crate::engine::networks::forward_policy;
use crate::engine::networks::names::new_id;
use crate::engine::networks::netns_pool::Netns;
use crate::engine::networks::ports;
use crate::engine::networks::proxy::Target;
use crate::engine::networks::registry;
use crate::engine::networks::state::{SandboxEntry, SandboxRecord, State};
use crate::sys::netlink::RouteSocket;
use crate::sys::netns;
use crate::sys::nftables::Change;

impl Networks {
    /// Reads all records and makes the predefined networks when they are missing. Touches nothing in the kernel.
    pub(crate) fn load(&self) -> Result<()> {
        let mut state = lock(&self.state);
        for (path, record) in records::load_all::<Network>(&self.paths.networks())? {
            let entry = record.and_then(|network| {
                let names = &state.kernel.names;
                let driver = driver::parse(&network.driver, &network.id, &network.options, names)?;
                registry::pools(network, driver)
            });
            match entry {
                Ok(entry) => {
                    state.networks.insert(entry.network.id.clone(), entry);
                }
                // The others still work; `network rm` has nothing to remove, so the file is left to be looked at.
                Err(error) => tracing::error!(%error, "network record {}", path.display()),
            }
        }
        for (name, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null")] {
            self.ensure_predefined(&mut state, name, driver)?;
        }
        for (path, record) in records::load_all::<SandboxRecord>(&self.sandbox_records())? {
            match record {
                Ok(record) => remember(&mut state, record),
                Err(error) => tracing::error!(%error, "sandbox record {}", path.display()),
            }
        }
        Ok(())
    }

    fn ensure_predefined(&self, state: &mut State, name: &str, driver: &str) -> Result<()> {
        if let Some(entry) = state
            .networks
            .values_mut()
            .find(|entry| entry.network.name == name)
        {
            entry.is_chosen4 = name == "bridge";
            return Ok(());
        }
        let id = new_id()?;
        let names = &state.kernel.names;
        let driver_value = driver::parse(driver, &id, &Default::default(), names)?;
        let mut network = Network {
            id: id.clone(),
            name: name.to_owned(),
            created: jiff::Timestamp::now().to_string(),
            driver: driver.to_owned(),
            internal: false,
            attachable: false,
            enable_ipv4: true,
            enable_ipv6: false,
            ipam: IpamConfig {
                driver: "default".to_owned(),
                ..IpamConfig::default()
            },
            options: Default::default(),
            labels: Default::default(),
        };
        if let Driver::Bridge(options) = &driver_value {
            network.options.insert(
                "com.docker.network.bridge.default_bridge".to_owned(),
                "true".to_owned(),
            );
            network.options.insert(
                "com.docker.network.bridge.name".to_owned(),
                options.bridge_name.clone(),
            );
        }
        let mut entry = registry::pools(network, driver_value)?;
        registry::choose_missing(state, &mut entry)?;
        state.networks.insert(id.clone(), entry);
        self.save(state, &id)
    }

    /// After a restart of the engine: rebinds the name server and the proxies of a container that still runs.
    pub(crate) fn restore(&self, container_id: &str) -> Result<Sandbox> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let entry = state.sandboxes.get_mut(container_id).ok_or_else(|| {
            Error::not_found(format!(
                "no record of the sandbox of container {container_id}"
            ))
        })?;
        let kind = entry.config.kind;
        if kind != SandboxKind::Host {
            let path = self.netns_path(container_id);
            let handle = netns::open(&path)
                .map_err(|error| Error::system(format!("open {}: {error}", path.display())))?;
            let is_isolated = kind == SandboxKind::Isolated;
            let (route, sockets) = netns::enter(handle.as_fd(), || {
                let sockets = is_isolated.then(dns_server::bind).transpose()?;
                Ok((RouteSocket::open()?, sockets))
            })?;
            let netns = Netns {
                handle: Arc::new(handle),
                route,
                resolver: None,
            };
            if let Some(sockets) = sockets {
                entry.resolver =
                    Some(self.serve_names(container_id, &entry.config, &netns, sockets)?);
            }
            entry.netns = Some(netns);
        }
        self.restore_proxies(entry)?;
        let endpoints = entry.endpoints.clone();
        for endpoint in endpoints.iter().filter(|_| kind == SandboxKind::Isolated) {
            self.add_to_zone(endpoint);
            if let Err(error) = state.bring_up(&endpoint.network_id, &self.reaper) {
                tracing::warn!(%error, "restore network {}", endpoint.network_name);
            }
        }
        self.refresh(state, container_id)?;
        Ok(self.sandbox_paths(container_id, kind))
    }

    fn restore_proxies(&self, entry: &mut SandboxEntry) -> Result<()> {
        let Some(address) = entry.targets.ipv4.or(entry.targets.ipv6) else {
            return Ok(());
        };
        let target = Target::new(address);
        for binding in &entry.bindings {
            let request = PortRequest {
                container_port: binding.container_port,
                protocol: binding.protocol,
                host_ip: Some(binding.host_ip),
                host_ports: (binding.host_port, binding.host_port),
            };
            let nobody = |_, _: IpAddr, _| None;
            match ports::reserve(&[request], None, &nobody) {
                Ok(reserved) => {
                    let proxies = self.start_proxies(reserved, &target)?;
                    entry.proxies.extend(proxies);
                }
                // Taken while the engine was away. The container goes on; outside traffic still finds it.
                Err(error) => tracing::warn!(%error, "a published port is lost"),
            }
        }
        entry.target = Some(target);
        Ok(())
    }

    /// After the last `restore`: removes what a crash left behind.
    pub(crate) fn sweep(&self) -> Result<()> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let gone: Vec<String> = state
            .sandboxes
            .iter()
            .filter(|(_, entry)| entry.netns.is_none() && entry.config.kind != SandboxKind::Host)
            .map(|(container_id, _)| container_id.clone())
            .collect();
        for container_id in gone {
            if let Some(entry) = state.sandboxes.remove(&container_id) {
                for endpoint in &entry.endpoints {
                    if let Some(network) = state.networks.get_mut(&endpoint.network_id) {
                        network.release(endpoint);
                    }
                }
            }
            records::remove(&self.sandbox_record_path(&container_id))?;
        }
        self.sweep_pins(state)?;
        self.sweep_links(state)?;
        let table = state.kernel.names.table();
        if state.networks.values().any(|entry| entry.is_up) {
            state.rebuild_firewall()?;
        } else if state.kernel.nft.tables(table.family)?.contains(&table.name) {
            state.kernel.nft.commit(&[Change::DeleteTable(table)])?;
            state.kernel.has_table = false;
        }
        Ok(())
    }

    fn sweep_pins(&self, state: &State) -> Result<()> {
        for entry in fs::read_dir(self.paths.netns())? {
            let entry = entry?;
            let is_known = entry
                .file_name()
                .to_str()
                .is_some_and(|name| state.sandboxes.contains_key(name));
            if !is_known {
                self.reaper.unpin(entry.path());
            }
        }
        Ok(())
    }

    /// Links of our group that belong to no network that is up and to no endpoint.
    fn sweep_links(&self, state: &mut State) -> Result<()> {
        let mut known: BTreeSet<String> = BTreeSet::new();
        for entry in state.networks.values().filter(|entry| entry.is_up) {
            match &entry.driver {
                Driver::Bridge(options) => known.insert(options.bridge_name.clone()),
                Driver::Direct(options) => known.insert(options.parent_name.clone()),
                Driver::Host | Driver::None => false,
            };
        }
        for sandbox in state.sandboxes.values() {
            known.extend(sandbox.endpoints.iter().map(|e| e.host_ifname.clone()));
        }
        let (group, doomed) = (
            state.kernel.names.group(),
            state.kernel.names.doomed_group(),
        );
        for link in state.kernel.route.links()? {
            let is_ours = link.group == group || link.group == doomed;
            if is_ours && !known.contains(&link.name) && !self.reaper.is_dying(&link.name) {
                self.reaper.delete_link(link.index, &link.name);
            }
        }
        Ok(())
    }

    /// The engine ends in order: what no container needs goes from the kernel; waits for it.
    pub(crate) fn close(&self) -> Result<()> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let used: BTreeSet<String> = state
            .sandboxes
            .values()
            .flat_map(|sandbox| &sandbox.endpoints)
            .map(|endpoint| endpoint.network_id.clone())
            .collect();
        let idle: Vec<String> = state
            .networks
            .keys()
            .filter(|network_id| !used.contains(*network_id))
            .cloned()
            .collect();
        for network_id in idle {
            state.take_down(&network_id, &self.reaper);
        }
        // Interfaces of containers that have just ended: their namespaces may take a while to die.
        self.sweep_links(state)?;
        if used.is_empty() {
            let table = state.kernel.names.table();
            if state.kernel.nft.tables(table.family)?.contains(&table.name) {
                state.kernel.nft.commit(&[Change::DeleteTable(table)])?;
            }
            state.kernel.has_table = false;
            let mark = state.kernel.names.mark();
            forward_policy::remove(&mut state.kernel.nft, &mark, None)?;
        }
        drop(guard);
        self.reaper.flush();
        Ok(())
    }
}

/// Puts a sandbox of an earlier engine into the state: its leases are taken until `sweep` finds it dead.
fn remember(state: &mut State, record: SandboxRecord) {
    for endpoint in &record.endpoints {
        let Some(network) = state.networks.get_mut(&endpoint.network_id) else {
            continue;
        };
        for address in crate::engine::networks::endpoint::addresses(endpoint) {
            if let Err(error) = network.allocate(address) {
                tracing::warn!(%error, "address {address} of container {}", record.container_id);
            }
        }
    }
    let mut entry = SandboxEntry::new(record.config);
    entry.endpoints = record.endpoints;
    entry.bindings = record.bindings;
    entry.targets = record.targets;
    state.sandboxes.insert(record.container_id, entry);
}
