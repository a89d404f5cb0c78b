//! Endpoints: a sandbox joins and leaves networks, before its container starts and while it runs. A join leases the
//! addresses, makes the interface in the namespace, and tells the zone; what fails is undone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::MutexGuard;

use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Result};
use crate::engine::networks::Networks;
use crate::engine::networks::bridge::endpoint_mac;
use crate::engine::networks::config::{Endpoint, EndpointConfig, SandboxKind};
use crate::engine::networks::dns_zone::View;
use crate::engine::networks::driver::{Driver, interface_name};
use crate::engine::networks::etc_files::{self, write_in_place};
use crate::engine::networks::names::new_id;
use crate::engine::networks::netns_pool::{Netns, write_setting};
use crate::engine::networks::sandbox::withdraw;
use crate::engine::networks::state::{PublishTargets, SandboxEntry, State};
use crate::sys::netlink::{Link, Request, SubInterface, VethPair};
use crate::sys::netns;

const IFNAME_OPTION: &str = "com.docker.network.endpoint.ifname";
const SYSCTLS_OPTION: &str = "com.docker.network.endpoint.sysctls";
const SHORT_ID: usize = 12;

impl Networks {
    /// Joins a network, also while the container runs.
    pub(crate) fn join(
        &self,
        container_id: &str,
        network_id: &str,
        config: EndpointConfig,
    ) -> Result<Endpoint> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let network_id = state.find(network_id)?.network.id.clone();
        let network_id = network_id.as_str();
        let sandbox = sandbox_of(state, container_id)?;
        let driver = &state.network(network_id)?.driver;
        if matches!(
            (driver, sandbox.config.kind),
            (Driver::Host, SandboxKind::Host) | (Driver::None, SandboxKind::None)
        ) {
            return self.join_by_name_only(guard, container_id, network_id, config);
        }
        ensure_joinable(state, sandbox, network_id)?;
        // First of all, because a subnet of our choice may still change here.
        let parent = state.bring_up(network_id, &self.reaper)?;
        let mut endpoint = lease(state, container_id, network_id, config)?;
        if let Err(error) = self.attach(state, &mut endpoint, &parent) {
            if let Some(network) = state.networks.get_mut(network_id) {
                network.release(&endpoint);
            }
            self.drop_interface(state, container_id, &endpoint);
            return Err(error.context(format!("failed to join network {}", endpoint.network_name)));
        }
        self.add_to_zone(&endpoint);
        if let Some(sandbox) = state.sandboxes.get_mut(container_id) {
            sandbox.endpoints.push(endpoint.clone());
        }
        self.refresh(state, container_id)?;
        let network = state.network(network_id)?.network.clone();
        drop(guard);
        self.publish_event("connect", &network, [("container", container_id)]);
        Ok(endpoint)
    }

    /// `host` and `none` have no interfaces: to be in one is an entry in the records.
    fn join_by_name_only(
        &self,
        mut state: MutexGuard<'_, State>,
        container_id: &str,
        network_id: &str,
        config: EndpointConfig,
    ) -> Result<Endpoint> {
        let network = state.network(network_id)?.network.clone();
        let endpoint = Endpoint {
            id: new_id()?,
            network_id: network.id.clone(),
            network_name: network.name.clone(),
            container_id: container_id.to_owned(),
            ipv4: None,
            gateway4: None,
            ipv6: None,
            gateway6: None,
            mac: String::new(),
            ifname: String::new(),
            host_ifname: String::new(),
            dns_names: Vec::new(),
            config,
        };
        if let Some(sandbox) = state.sandboxes.get_mut(container_id)
            && sandbox.endpoints.is_empty()
        {
            sandbox.endpoints.push(endpoint.clone());
            self.save_sandbox(container_id, sandbox)?;
        }
        drop(state);
        self.publish_event("connect", &network, [("container", container_id)]);
        Ok(endpoint)
    }

    /// Leaves a network while the container runs (10 ms: the kernel waits); `remove_sandbox` does not need it.
    pub(crate) fn leave(&self, container_id: &str, network_id: &str) -> Result<()> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let network = state.find(network_id)?.network.clone();
        let sandbox = state.sandboxes.get_mut(container_id);
        let position = sandbox.as_ref().and_then(|sandbox| {
            sandbox
                .endpoints
                .iter()
                .position(|endpoint| endpoint.network_id == network.id)
        });
        let (Some(sandbox), Some(position)) = (sandbox, position) else {
            return Err(Error::not_found(format!(
                "container {container_id} is not connected to network {}",
                network.name
            )));
        };
        let endpoint = sandbox.endpoints.remove(position);
        self.zones.remove(&network.id, &endpoint.id);
        if let Some(entry) = state.networks.get_mut(&network.id) {
            entry.release(&endpoint);
        }
        self.drop_interface(state, container_id, &endpoint);
        self.set_gateways(state, container_id)?;
        self.refresh(state, container_id)?;
        drop(guard);
        self.publish_event("disconnect", &network, [("container", container_id)]);
        Ok(())
    }

    /// The endpoints of a sandbox, in order of joining.
    pub(crate) fn endpoints(&self, container_id: &str) -> Vec<Endpoint> {
        lock(&self.state)
            .sandboxes
            .get(container_id)
            .map(|sandbox| sandbox.endpoints.clone())
            .unwrap_or_default()
    }

    pub(crate) fn add_to_zone(&self, endpoint: &Endpoint) {
        self.zones.add(
            &endpoint.network_id,
            &endpoint.network_name,
            &endpoint.id,
            &endpoint.dns_names,
            &addresses(endpoint),
        );
    }

    /// Makes the interface in the namespace and gives it addresses and, when it is to be, the default route.
    fn attach(&self, state: &mut State, endpoint: &mut Endpoint, parent: &Link) -> Result<()> {
        let network = state.network(&endpoint.network_id)?;
        let driver = network.driver.clone();
        let network_driver = network.network.driver.clone();
        let sandbox = sandbox_of(state, &endpoint.container_id)?;
        let mut after: Vec<&Endpoint> = sandbox.endpoints.iter().collect();
        after.push(endpoint);
        let gateways = gateways_of(&after);
        let is_gateway4 = gateways.0.is_some_and(|gateway| gateway.id == endpoint.id);
        let is_gateway6 = gateways.1.is_some_and(|gateway| gateway.id == endpoint.id);
        let names = state.kernel.names.clone();
        let sandbox = state.sandboxes.get_mut(&endpoint.container_id);
        let netns = sandbox
            .and_then(|sandbox| sandbox.netns.as_mut())
            .ok_or_else(|| Error::system("the container has no network namespace"))?;
        let host = &mut state.kernel.route;
        match &driver {
            Driver::Bridge(options) => {
                endpoint.host_ifname = names.veth(&endpoint.id);
                let mut requests = vec![Request::new_veth(&VethPair {
                    host_name: &endpoint.host_ifname,
                    bridge_index: parent.index,
                    peer_name: &endpoint.ifname,
                    peer_netns: netns.handle.as_raw_fd(),
                    peer_mac: parse_mac(&endpoint.mac)?,
                    mtu: parent.mtu,
                    group: names.group(),
                })];
                if !options.allows_inside {
                    requests.push(Request::isolate_port(&endpoint.host_ifname));
                }
                host.batch(&requests)?;
            }
            Driver::Direct(options) => {
                let is_macvlan = !matches!(
                    options.kind,
                    SubInterface::IpvlanL2 | SubInterface::IpvlanL3 | SubInterface::IpvlanL3s
                );
                let mac = is_macvlan.then(|| parse_mac(&endpoint.mac)).transpose()?;
                let fd = netns.handle.as_raw_fd();
                let request = Request::new_sub_interface(
                    options.kind,
                    &endpoint.ifname,
                    parent.index,
                    fd,
                    mac,
                );
                host.batch(&[request]).map_err(|error| match error.kind() {
                    std::io::ErrorKind::Unsupported => Error::not_implemented(format!(
                        "this kernel has no {} devices",
                        network_driver
                    )),
                    _ => error.into(),
                })?;
            }
            Driver::Host | Driver::None => {}
        }
        configure_inside(netns, endpoint, &driver, is_gateway4, is_gateway6)
    }

    /// Deletes the interface, if it is there.
    fn drop_interface(&self, state: &mut State, container_id: &str, endpoint: &Endpoint) {
        let Some(netns) = state
            .sandboxes
            .get_mut(container_id)
            .and_then(|sandbox| sandbox.netns.as_mut())
        else {
            return;
        };
        let deleted = netns
            .route
            .link(&endpoint.ifname)
            .and_then(|link| match link {
                Some(link) => netns.route.batch(&[Request::delete_link(link.index)]),
                None => Ok(()),
            });
        if let Err(error) = deleted {
            tracing::warn!(%error, "delete {} of {container_id}", endpoint.ifname);
        }
    }

    /// Sets the default routes anew, after an interface went and took its routes along.
    fn set_gateways(&self, state: &mut State, container_id: &str) -> Result<()> {
        let Some(sandbox) = state.sandboxes.get_mut(container_id) else {
            return Ok(());
        };
        let all: Vec<&Endpoint> = sandbox.endpoints.iter().collect();
        let (gateway4, gateway6) = gateways_of(&all);
        let mut requests = Vec::new();
        if let Some(gateway) = gateway4.and_then(|endpoint| endpoint.gateway4) {
            requests.push(Request::set_default_route(gateway.into()));
        }
        if let Some(gateway) = gateway6.and_then(|endpoint| endpoint.gateway6) {
            requests.push(Request::set_default_route(gateway.into()));
        }
        if let Some(netns) = sandbox.netns.as_mut() {
            netns.route.batch(&requests)?;
        }
        Ok(())
    }

    /// After the endpoints of a sandbox have changed: what it may ask, where its ports lead, its hosts file, its record.
    pub(crate) fn refresh(&self, state: &mut State, container_id: &str) -> Result<()> {
        let Some(sandbox) = state.sandboxes.get(container_id) else {
            return Ok(());
        };
        let all: Vec<&Endpoint> = sandbox.endpoints.iter().collect();
        let (gateway4, gateway6) = gateways_of(&all);
        let targets = PublishTargets {
            ipv4: gateway4
                .and_then(|endpoint| endpoint.ipv4)
                .map(|(v4, _)| v4.into()),
            ipv6: gateway6
                .and_then(|endpoint| endpoint.ipv6)
                .map(|(v6, _)| v6.into()),
        };
        let host = host_address(state, sandbox, gateway4.or(gateway6));
        self.zones
            .set_view(container_id, view(state, sandbox, host));
        let own: Vec<IpAddr> = sandbox.endpoints.iter().flat_map(addresses).collect();
        if sandbox.config.kind == SandboxKind::Isolated {
            let text = etc_files::hosts(&sandbox.config, &own, host);
            let path = self
                .sandbox_paths(container_id, sandbox.config.kind)
                .hosts_path;
            write_in_place(&path, &text)
                .map_err(|error| Error::system(format!("write {}: {error}", path.display())))?;
        }
        self.redirect_ports(state, container_id, targets)?;
        match state.sandboxes.get(container_id) {
            Some(sandbox) => self.save_sandbox(container_id, sandbox),
            None => Ok(()),
        }
    }

    /// Published ports follow when another endpoint gives the default route.
    fn redirect_ports(
        &self,
        state: &mut State,
        container_id: &str,
        targets: PublishTargets,
    ) -> Result<()> {
        let Some(sandbox) = state.sandboxes.get_mut(container_id) else {
            return Ok(());
        };
        if sandbox.targets == targets {
            return Ok(());
        }
        let old = sandbox.port_rules();
        sandbox.targets = targets;
        if let (Some(target), Some(address)) = (&sandbox.target, targets.ipv4.or(targets.ipv6)) {
            target.set(address);
        }
        let new = sandbox.port_rules();
        withdraw(state, &old);
        self.announce(state, &new)
    }
}

pub(crate) fn sandbox_of<'a>(state: &'a State, container_id: &str) -> Result<&'a SandboxEntry> {
    state
        .sandboxes
        .get(container_id)
        .ok_or_else(|| Error::not_found(format!("container {container_id} has no sandbox")))
}

fn ensure_joinable(state: &State, sandbox: &SandboxEntry, network_id: &str) -> Result<()> {
    let network = &state.network(network_id)?.network;
    match sandbox.config.kind {
        SandboxKind::Isolated => {}
        SandboxKind::Host => {
            return Err(Error::forbidden(
                "container sharing network namespace with another container or host cannot be connected to any other network",
            ));
        }
        SandboxKind::None => {
            return Err(Error::forbidden(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            ));
        }
    }
    if sandbox
        .endpoints
        .iter()
        .any(|endpoint| endpoint.network_id == network_id)
    {
        return Err(Error::forbidden(format!(
            "endpoint with name {} already exists in network {}",
            sandbox.config.container_name, network.name
        )));
    }
    Ok(())
}

/// Names, numbers and addresses of a new endpoint; the addresses are leased.
fn lease(
    state: &mut State,
    container_id: &str,
    network_id: &str,
    mut config: EndpointConfig,
) -> Result<Endpoint> {
    read_options(&mut config)?;
    let sandbox = sandbox_of(state, container_id)?;
    let dns_names = dns_names(container_id, &sandbox.config.container_name, &config);
    let taken: Vec<String> = sandbox
        .endpoints
        .iter()
        .map(|endpoint| endpoint.ifname.clone())
        .collect();
    let entry = state
        .networks
        .get_mut(network_id)
        .ok_or_else(|| Error::not_found(format!("network {network_id} not found")))?;
    let ifname = choose_ifname(&config, &entry.driver, &taken)?;
    let ipv4 = match (config.ipv4, &mut entry.pool4) {
        (Some(address), _) => {
            entry.allocate(address.into())?;
            Some(address)
        }
        (None, Some(pool)) => match pool.allocate() {
            Some(IpAddr::V4(address)) => Some(address),
            _ => return Err(exhausted("IPv4", &entry.network.name)),
        },
        (None, None) => None,
    };
    let ipv6 = lease_ipv6(entry, &config);
    let ipv6 = match ipv6 {
        Ok(address) => address,
        Err(error) => {
            if let (Some(pool), Some(address)) = (entry.pool4.as_mut(), ipv4) {
                pool.release(address.into());
            }
            return Err(error);
        }
    };
    let id = new_id()?;
    let mac = match &config.mac {
        Some(text) => text.to_ascii_lowercase(),
        None => format_mac(endpoint_mac(ipv4.map(IpAddr::V4), &id)),
    };
    let leads_out = !entry.network.internal;
    let prefix = |pool: &Option<crate::engine::networks::ipam::Pool>| {
        pool.as_ref().map_or(0, |pool| pool.subnet.prefix())
    };
    let gateway = |pool: &Option<crate::engine::networks::ipam::Pool>| {
        pool.as_ref().filter(|_| leads_out).map(|pool| pool.gateway)
    };
    Ok(Endpoint {
        id,
        network_id: network_id.to_owned(),
        network_name: entry.network.name.clone(),
        container_id: container_id.to_owned(),
        ipv4: ipv4.map(|address| (address, prefix(&entry.pool4))),
        gateway4: gateway(&entry.pool4).and_then(as_ipv4),
        ipv6: ipv6.map(|address| (address, prefix(&entry.pool6))),
        gateway6: gateway(&entry.pool6).and_then(as_ipv6),
        mac,
        ifname,
        host_ifname: String::new(),
        dns_names,
        config,
    })
}

fn lease_ipv6(
    entry: &mut crate::engine::networks::state::NetworkEntry,
    config: &EndpointConfig,
) -> Result<Option<Ipv6Addr>> {
    match (config.ipv6, &mut entry.pool6) {
        (Some(address), _) => {
            entry.allocate(address.into())?;
            Ok(Some(address))
        }
        (None, Some(pool)) => match pool.allocate() {
            Some(IpAddr::V6(address)) => Ok(Some(address)),
            _ => Err(exhausted("IPv6", &entry.network.name)),
        },
        (None, None) => Ok(None),
    }
}

fn as_ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn as_ipv6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

fn exhausted(family: &str, network_name: &str) -> Error {
    Error::system(format!(
        "no available {family} addresses on this network's address pools: {network_name}"
    ))
}

/// Checks what the user gave as text; an option that means nothing here is refused by name.
fn read_options(config: &mut EndpointConfig) -> Result<()> {
    if let Some(mac) = &config.mac {
        parse_mac(mac)?;
    }
    for (key, value) in &config.driver_opts {
        match key.as_str() {
            IFNAME_OPTION => config.ifname = Some(value.clone()),
            SYSCTLS_OPTION => {
                for setting in value.split(',') {
                    split_sysctl(setting)?;
                }
            }
            _ => {
                return Err(Error::invalid(format!(
                    "endpoint option {key:?} is not supported"
                )));
            }
        }
    }
    Ok(())
}

/// `net.ipv4.conf.IFNAME.log_martians=1` → key below /proc/sys with the interface still called IFNAME, and value.
fn split_sysctl(setting: &str) -> Result<(String, &str)> {
    let wrong = || {
        Error::invalid(format!(
            "endpoint sysctl {setting:?}: expected net.X.Y.IFNAME.Z=VALUE"
        ))
    };
    let (key, value) = setting.split_once('=').ok_or_else(wrong)?;
    let parts: Vec<&str> = key.split('.').collect();
    let is_valid = parts.len() == 5
        && parts[0] == "net"
        && parts[3] == "IFNAME"
        && parts.iter().all(|part| {
            part.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        });
    if is_valid {
        Ok((parts.join("/"), value))
    } else {
        Err(wrong())
    }
}

fn choose_ifname(config: &EndpointConfig, driver: &Driver, taken: &[String]) -> Result<String> {
    if let Some(name) = &config.ifname {
        let name = interface_name("interface name", name)?;
        if taken.contains(&name) || name == "lo" {
            return Err(Error::conflict(format!(
                "the interface name {name} is already taken in this container"
            )));
        }
        return Ok(name);
    }
    let prefix = match driver {
        Driver::Bridge(options) => &options.interface_prefix,
        Driver::Direct(options) => &options.interface_prefix,
        Driver::Host | Driver::None => "eth",
    };
    let free = (0..=taken.len())
        .map(|number| format!("{prefix}{number}"))
        .find(|name| !taken.contains(name));
    free.ok_or_else(|| Error::system("no interface name is free"))
}

/// The container's name, its aliases, further names and its short id; each once.
fn dns_names(container_id: &str, container_name: &str, config: &EndpointConfig) -> Vec<String> {
    let short_id = container_id.get(..SHORT_ID).unwrap_or(container_id);
    let mut names: Vec<String> = Vec::new();
    let given = config.aliases.iter().chain(&config.dns_names);
    for name in std::iter::once(container_name)
        .chain(given.map(String::as_str))
        .chain([short_id])
    {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn configure_inside(
    netns: &mut Netns,
    endpoint: &Endpoint,
    driver: &Driver,
    is_gateway4: bool,
    is_gateway6: bool,
) -> Result<()> {
    apply_settings(netns, endpoint)?;
    let link = netns.route.link(&endpoint.ifname)?.ok_or_else(|| {
        Error::system(format!("the interface {} did not appear", endpoint.ifname))
    })?;
    let mut requests = Vec::new();
    if let Some((address, prefix)) = endpoint.ipv4 {
        requests.push(Request::add_address(link.index, address.into(), prefix));
    }
    if let Some((address, prefix)) = endpoint.ipv6 {
        requests.push(Request::add_address(link.index, address.into(), prefix));
    }
    for address in &endpoint.config.link_local_ips {
        let prefix = if address.is_ipv4() { 16 } else { 64 };
        requests.push(Request::add_address(link.index, *address, prefix));
    }
    requests.push(Request::link_up(link.index));
    let is_routed_by_device = matches!(
        driver,
        Driver::Direct(options) if matches!(options.kind, SubInterface::IpvlanL3 | SubInterface::IpvlanL3s)
    );
    let mut route = |gateway: IpAddr| {
        requests.push(if is_routed_by_device {
            Request::set_default_device(link.index, gateway)
        } else {
            Request::set_default_route(gateway)
        });
    };
    if let (true, Some(gateway)) = (is_gateway4, endpoint.gateway4) {
        route(gateway.into());
    }
    if let (true, Some(gateway)) = (is_gateway6, endpoint.gateway6) {
        route(gateway.into());
    }
    netns.route.batch(&requests)?;
    Ok(())
}

/// Settings of the new interface that netlink has no word for; most endpoints have none.
fn apply_settings(netns: &Netns, endpoint: &Endpoint) -> Result<()> {
    let mut settings = Vec::new();
    let has_ipv6 =
        endpoint.ipv6.is_some() || endpoint.config.link_local_ips.iter().any(IpAddr::is_ipv6);
    if has_ipv6 {
        let key = format!("net/ipv6/conf/{}/disable_ipv6", endpoint.ifname);
        settings.push((key, "0".to_owned()));
    }
    if let Some(text) = endpoint.config.driver_opts.get(SYSCTLS_OPTION) {
        for setting in text.split(',') {
            let (key, value) = split_sysctl(setting)?;
            settings.push((key.replace("IFNAME", &endpoint.ifname), value.to_owned()));
        }
    }
    if settings.is_empty() {
        return Ok(());
    }
    netns::enter(netns.handle.as_fd(), || {
        settings
            .iter()
            .try_for_each(|(key, value)| write_setting(key, value))
    })?;
    Ok(())
}

/// The endpoints that give the default routes: highest priority first, then by network name.
pub(crate) fn gateways_of<'a>(
    endpoints: &[&'a Endpoint],
) -> (Option<&'a Endpoint>, Option<&'a Endpoint>) {
    let mut sorted = endpoints.to_vec();
    sorted.sort_by(|a, b| {
        let by_priority = b.config.gw_priority.cmp(&a.config.gw_priority);
        by_priority.then_with(|| a.network_name.cmp(&b.network_name))
    });
    let first = |has_gateway: fn(&Endpoint) -> bool| {
        sorted
            .iter()
            .copied()
            .find(|endpoint| has_gateway(endpoint))
    };
    (
        first(|endpoint| endpoint.ipv4.is_some() && endpoint.gateway4.is_some()),
        first(|endpoint| endpoint.ipv6.is_some() && endpoint.gateway6.is_some()),
    )
}

/// Where a container reaches the host: the bridge of the network that leads out, else of any network it is in.
fn host_address(
    state: &State,
    sandbox: &SandboxEntry,
    gateway: Option<&Endpoint>,
) -> Option<IpAddr> {
    let endpoint = gateway.or(sandbox.endpoints.first())?;
    let network = state.networks.get(&endpoint.network_id)?;
    let pools = [&network.pool4, &network.pool6];
    pools.into_iter().flatten().map(|pool| pool.gateway).next()
}

fn view(state: &State, sandbox: &SandboxEntry, host: Option<IpAddr>) -> View {
    let mut endpoints: Vec<&Endpoint> = sandbox.endpoints.iter().collect();
    endpoints.sort_by(|a, b| {
        let by_priority = b.config.gw_priority.cmp(&a.config.gw_priority);
        by_priority.then_with(|| a.network_name.cmp(&b.network_name))
    });
    let leads_out = |endpoint: &&Endpoint| {
        state
            .networks
            .get(&endpoint.network_id)
            .is_some_and(|network| !network.network.internal)
    };
    let links = endpoints
        .iter()
        .flat_map(|endpoint| &endpoint.config.links)
        .filter_map(|link| {
            let (name, alias) = link.split_once(':')?;
            Some((alias.to_ascii_lowercase(), name.to_ascii_lowercase()))
        })
        .collect();
    View {
        network_ids: endpoints
            .iter()
            .map(|endpoint| endpoint.network_id.clone())
            .collect(),
        links,
        host,
        forwards: endpoints.iter().any(leads_out),
    }
}

/// Every address of an endpoint.
pub(crate) fn addresses(endpoint: &Endpoint) -> Vec<IpAddr> {
    let v4 = endpoint.ipv4.map(|(address, _)| IpAddr::V4(address));
    let v6 = endpoint.ipv6.map(|(address, _)| IpAddr::V6(address));
    v4.into_iter().chain(v6).collect()
}

fn format_mac(mac: [u8; 6]) -> String {
    let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

/// `aa:bb:cc:dd:ee:ff` or with dashes; a group address is nobody's own.
fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let wrong = || Error::invalid(format!("invalid MAC address: {text:?}"));
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let mut mac = [0; 6];
    if parts.len() != mac.len() {
        return Err(wrong());
    }
    for (byte, part) in mac.iter_mut().zip(parts) {
        if part.len() != 2 {
            return Err(wrong());
        }
        *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
    }
    if mac[0] & 1 == 1 || mac == [0; 6] {
        return Err(wrong());
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_parsed_strictly() {
        assert_eq!(
            parse_mac("02:42:AC:12:00:02").unwrap(),
            [2, 0x42, 0xac, 0x12, 0, 2]
        );
        for wrong in [
            "",
            "02:42",
            "01:00:00:00:00:00",
            "02:42:ac:12:00:2",
            "0x:1:2:3:4:5",
        ] {
            assert!(parse_mac(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn endpoint_sysctls_cannot_leave_their_interface() {
        assert_eq!(
            split_sysctl("net.ipv4.conf.IFNAME.log_martians=1").unwrap(),
            ("net/ipv4/conf/IFNAME/log_martians".to_owned(), "1")
        );
        for wrong in [
            "net.ipv4.conf.all.forwarding=1",
            "kernel.x.y.IFNAME.z=1",
            "net.ipv4.conf.IFNAME",
            "net.ipv4./../.IFNAME.x=1",
        ] {
            assert!(split_sysctl(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_come_once_each_and_the_containers_own_first() {
        let config = EndpointConfig {
            aliases: vec!["web".to_owned(), "shop-web-1".to_owned()],
            dns_names: vec!["web".to_owned(), "www".to_owned()],
            ..EndpointConfig::default()
        };
        assert_eq!(
            dns_names("0123456789abcdef", "shop-web-1", &config),
            ["shop-web-1", "web", "www", "0123456789ab"]
        );
    }
}
