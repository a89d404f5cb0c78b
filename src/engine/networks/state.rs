//! What the network service holds in memory, behind one lock: networks with their leases, sandboxes with their endpoints,
//! and the kernel's sockets. Work on the kernel is done under the lock: the kernel does it one by one anyway.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::engine::base::{Error, Result};
use crate::engine::networks::config::{Endpoint, Network, PortBinding, Protocol, SandboxConfig};
use crate::engine::networks::dns_server::Resolver;
use crate::engine::networks::driver::{Driver, GatewayMode};
use crate::engine::networks::firewall::{self, BridgeRules, PortRule};
use crate::engine::networks::forward_policy;
use crate::engine::networks::ipam::Pool;
use crate::engine::networks::names::KernelNames;
use crate::engine::networks::netns_pool::Netns;
use crate::engine::networks::proxy::{Proxy, Target};
use crate::sys::netlink::RouteSocket;
use crate::sys::nftables::{Change, NftSocket};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) kernel: Kernel,
    pub(crate) networks: BTreeMap<String, NetworkEntry>,
    pub(crate) sandboxes: HashMap<String, SandboxEntry>,
}

/// The sockets into the host's namespace.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) names: KernelNames,
    pub(crate) route: RouteSocket,
    pub(crate) nft: NftSocket,
    /// Our table is there, as far as we know.
    pub(crate) has_table: bool,
    pub(crate) forwards_ipv4: bool,
    pub(crate) forwards_ipv6: bool,
}

#[derive(Debug)]
pub(crate) struct NetworkEntry {
    pub(crate) network: Network,
    pub(crate) driver: Driver,
    pub(crate) pool4: Option<Pool>,
    pub(crate) pool6: Option<Pool>,
    /// The subnet was chosen by us, and may be chosen again while nobody is in the network.
    pub(crate) is_chosen4: bool,
    /// The bridge or dummy device was made by us and is in the kernel, as far as we know.
    pub(crate) is_up: bool,
    /// The bridge was there before us: it is neither configured nor deleted.
    pub(crate) is_foreign: bool,
}

#[derive(Debug)]
pub(crate) struct SandboxEntry {
    pub(crate) config: SandboxConfig,
    /// None until `restore` has found the namespace again.
    pub(crate) netns: Option<Netns>,
    pub(crate) resolver: Option<Resolver>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) bindings: Vec<PortBinding>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) target: Option<Target>,
    /// Container addresses that published ports stand for.
    pub(crate) targets: PublishTargets,
}

/// Where published ports lead: the addresses of the endpoint that gives the default route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishTargets {
    pub(crate) ipv4: Option<IpAddr>,
    pub(crate) ipv6: Option<IpAddr>,
}

/// A sandbox on disk, under the run root: it lives as long as the kernel's objects do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub(crate) container_id: String,
    pub(crate) config: SandboxConfig,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) bindings: Vec<PortBinding>,
    pub(crate) targets: PublishTargets,
}

impl SandboxEntry {
    pub(crate) fn new(config: SandboxConfig) -> Self {
        SandboxEntry {
            config,
            netns: None,
            resolver: None,
            endpoints: Vec::new(),
            bindings: Vec::new(),
            proxies: Vec::new(),
            target: None,
            targets: PublishTargets::default(),
        }
    }

    pub(crate) fn record(&self, container_id: &str) -> SandboxRecord {
        SandboxRecord {
            container_id: container_id.to_owned(),
            config: self.config.clone(),
            endpoints: self.endpoints.clone(),
            bindings: self.bindings.clone(),
            targets: self.targets,
        }
    }

    /// Every published port as the firewall takes it.
    pub(crate) fn port_rules(&self) -> Vec<PortRule> {
        self.bindings
            .iter()
            .filter_map(|binding| {
                let container_ip = if binding.host_ip.is_ipv6() {
                    self.targets.ipv6
                } else {
                    self.targets.ipv4
                };
                Some(PortRule {
                    host_ip: binding.host_ip,
                    host_port: binding.host_port,
                    protocol: binding.protocol,
                    container_ip: container_ip?,
                    container_port: binding.container_port,
                })
            })
            .collect()
    }
}

impl NetworkEntry {
    pub(crate) fn allocate(&mut self, address: IpAddr) -> Result<()> {
        let pool = match address {
            IpAddr::V4(_) => self.pool4.as_mut(),
            IpAddr::V6(_) => self.pool6.as_mut(),
        };
        pool.ok_or_else(|| {
            Error::invalid(format!(
                "invalid endpoint settings: no configured subnet contains IP address {address}"
            ))
        })?
        .allocate_static(address)
    }

    pub(crate) fn release(&mut self, endpoint: &Endpoint) {
        if let (Some(pool), Some((address, _))) = (self.pool4.as_mut(), endpoint.ipv4) {
            pool.release(address.into());
        }
        if let (Some(pool), Some((address, _))) = (self.pool6.as_mut(), endpoint.ipv6) {
            pool.release(address.into());
        }
    }

    /// The firewall's view; None for networks without a bridge.
    pub(crate) fn bridge_rules(&self) -> Option<BridgeRules> {
        let Driver::Bridge(options) = &self.driver else {
            return None;
        };
        let internal = self.network.internal;
        let is_open = |mode| matches!(mode, GatewayMode::Routed | GatewayMode::NatUnprotected);
        let masquerades =
            |mode| matches!(mode, GatewayMode::Nat | GatewayMode::NatUnprotected) && !internal;
        let mut masqueraded = Vec::new();
        for (pool, mode) in [
            (&self.pool4, options.gateway_mode4),
            (&self.pool6, options.gateway_mode6),
        ] {
            if let Some(pool) = pool
                && options.masquerades
                && masquerades(mode)
            {
                masqueraded.push((pool.subnet.address(), pool.subnet.prefix()));
            }
        }
        Some(BridgeRules {
            bridge_name: options.bridge_name.clone(),
            allows_inside: options.allows_inside,
            is_internal: internal,
            is_open_ipv4: is_open(options.gateway_mode4) && !internal,
            is_open_ipv6: is_open(options.gateway_mode6) && !internal,
            masqueraded,
        })
    }
}

impl State {
    pub(crate) fn network(&self, network_id: &str) -> Result<&NetworkEntry> {
        self.networks
            .get(network_id)
            .ok_or_else(|| Error::not_found(format!("network {network_id} not found")))
    }

    /// By name, id or unique id prefix.
    pub(crate) fn find(&self, name_or_id: &str) -> Result<&NetworkEntry> {
        if let Some(entry) = self.networks.get(name_or_id) {
            return Ok(entry);
        }
        let by_name = |entry: &&NetworkEntry| entry.network.name == name_or_id;
        if let Some(entry) = self.networks.values().find(by_name) {
            return Ok(entry);
        }
        let missing = || Error::not_found(format!("network {name_or_id} not found"));
        if name_or_id.is_empty() {
            return Err(missing());
        }
        let mut matching = self
            .networks
            .range(name_or_id.to_owned()..)
            .take_while(|(id, _)| id.starts_with(name_or_id));
        let (_, entry) = matching.next().ok_or_else(missing)?;
        if matching.next().is_some() {
            return Err(Error::invalid(format!(
                "network {name_or_id} is ambiguous (2 matches found on ID prefix)"
            )));
        }
        Ok(entry)
    }

    /// The container that publishes a port, in words.
    pub(crate) fn port_owner(
        &self,
        protocol: Protocol,
        host_ip: IpAddr,
        port: u16,
    ) -> Option<String> {
        let is_hit = |binding: &PortBinding| {
            binding.protocol == protocol
                && binding.host_port == port
                && binding.host_ip.is_ipv6() == host_ip.is_ipv6()
                && (binding.host_ip == host_ip
                    || binding.host_ip.is_unspecified()
                    || host_ip.is_unspecified())
        };
        let owner = self
            .sandboxes
            .values()
            .find(|sandbox| sandbox.bindings.iter().any(is_hit))?;
        let name = &owner.config.container_name;
        Some(match &owner.config.project {
            Some(project) => format!("container {name} (project {project})"),
            None => format!("container {name}"),
        })
    }

    /// Sends changes to our table, making it first when it is missing. Somebody may have flushed the ruleset: then all of
    /// it is made again, with what is in this state.
    pub(crate) fn change_firewall(&mut self, changes: &[Change]) -> Result<()> {
        if self.kernel.has_table {
            match self.kernel.nft.commit(changes) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "the firewall is made anew"),
            }
        }
        self.rebuild_firewall()
    }

    /// The whole table from this state.
    pub(crate) fn rebuild_firewall(&mut self) -> Result<()> {
        let bridges: Vec<BridgeRules> = self
            .networks
            .values()
            .filter(|entry| entry.is_up)
            .filter_map(NetworkEntry::bridge_rules)
            .collect();
        let ports: Vec<PortRule> = self
            .sandboxes
            .values()
            .flat_map(SandboxEntry::port_rules)
            .collect();
        let ruleset = firewall::ruleset(&self.kernel.names.table(), &bridges, &ports);
        self.kernel
            .nft
            .commit(&ruleset)
            .map_err(|error| Error::system(format!("set up the firewall: {error}")))?;
        self.kernel.has_table = true;
        Ok(())
    }

    /// Gets our bridges past the forward policy of Docker and others.
    pub(crate) fn pass_foreign_policy(&mut self) {
        let mut patterns = vec![self.kernel.names.bridge_pattern()];
        for entry in self.networks.values().filter(|entry| entry.is_up) {
            if let Driver::Bridge(options) = &entry.driver
                && options.bridge_name != self.kernel.names.bridge(&entry.network.id)
            {
                patterns.push(options.bridge_name.clone());
            }
        }
        let mark = self.kernel.names.mark();
        if let Err(error) = forward_policy::ensure(&mut self.kernel.nft, &mark, &patterns) {
            tracing::warn!(%error, "the forward policy of another program may stop container traffic");
        }
    }
}
