//! Networks in the kernel: bridges (and parents for macvlan and ipvlan networks without one) come up when a network is made or first
//! joined, and go when it is removed. A network is up when its link, its addresses and its firewall elements are there.

use std::fs;
use std::io;
use std::net::IpAddr;

use crate::engine::base::{Error, Result};
use crate::engine::networks::driver::{BridgeOptions, DirectOptions, Driver, GatewayMode};
use crate::engine::networks::firewall;
use crate::engine::networks::forward_policy;
use crate::engine::networks::ipam::{
    Pool, Subnet, choose_subnet, choose_unique_local, default_pools,
};
use crate::engine::networks::netns_pool::write_setting;
use crate::engine::networks::reaper::Reaper;
use crate::engine::networks::state::State;
use crate::sys::netlink::{Link, Request};

const DEFAULT_MTU: u32 = 1500;
/// How often another engine on this machine may take the subnet that we chose.
const CHOICE_TRIES: u32 = 16;

impl State {
    /// The link that endpoints of this network hang on, bringing it up first when it is not there.
    pub(crate) fn bring_up(&mut self, network_id: &str, reaper: &Reaper) -> Result<Link> {
        let entry = self.network(network_id)?;
        match entry.driver.clone() {
            Driver::Bridge(options) => self.bring_up_bridge(network_id, &options, reaper),
            Driver::Direct(options) => self.parent_link(network_id, &options, reaper),
            Driver::Host | Driver::None => Err(Error::forbidden(format!(
                "containers cannot join the network {} by name",
                entry.network.name
            ))),
        }
    }

    fn bring_up_bridge(
        &mut self,
        network_id: &str,
        options: &BridgeOptions,
        reaper: &Reaper,
    ) -> Result<Link> {
        let name = &options.bridge_name;
        if reaper.is_dying(name) {
            reaper.flush();
        }
        let kernel = &mut self.kernel;
        if let Some(link) = kernel.route.link(name)? {
            if link.kind != "bridge" {
                return Err(Error::conflict(format!(
                    "the interface {name} exists and is not a bridge"
                )));
            }
            let is_foreign = link.group != kernel.names.group();
            if !self.network(network_id)?.is_up {
                self.finish_bridge(network_id, is_foreign)?;
            }
            return Ok(link);
        }
        let mtu = match options.mtu {
            Some(mtu) => mtu,
            None => self.default_mtu()?,
        };
        let kernel = &mut self.kernel;
        let group = kernel.names.group();
        let mac = bridge_mac(network_id);
        kernel
            .route
            .batch(&[Request::new_bridge(name, mac, mtu, group)])?;
        let link = kernel
            .route
            .link(name)?
            .ok_or_else(|| Error::system(format!("the bridge {name} vanished")))?;
        let index = link.index;
        let outcome = self
            .configure_bridge(network_id, options, index)
            .and_then(|()| self.finish_bridge(network_id, false));
        if let Err(error) = outcome {
            reaper.delete_link(index, name);
            return Err(error);
        }
        Ok(link)
    }

    fn configure_bridge(
        &mut self,
        network_id: &str,
        options: &BridgeOptions,
        index: u32,
    ) -> Result<()> {
        let name = &options.bridge_name;
        let has_ipv6 = self.network(network_id)?.pool6.is_some();
        // No router advertisement may configure the host, and without IPv6 there is none at all.
        write_setting(&format!("net/ipv6/conf/{name}/accept_ra"), "0")?;
        if !has_ipv6 {
            write_setting(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1")?;
        }
        self.assign_ipv4(network_id, options, index)?;
        if let Some(pool) = &self.network(network_id)?.pool6
            && options.gateway_mode6 != GatewayMode::Isolated
        {
            let request = Request::add_address(index, pool.gateway, pool.subnet.prefix());
            self.kernel.route.batch(&[request])?;
        }
        self.enable_forwarding(has_ipv6)
    }

    /// Gives the bridge its address. A subnet of our choice gives way when another engine chose it at the same moment: both
    /// see both routes then, and the younger device is the one that goes.
    fn assign_ipv4(&mut self, network_id: &str, options: &BridgeOptions, index: u32) -> Result<()> {
        if options.gateway_mode4 == GatewayMode::Isolated {
            return Ok(());
        }
        for _ in 0..CHOICE_TRIES {
            let entry = self.network(network_id)?;
            let Some(pool) = &entry.pool4 else {
                return Ok(());
            };
            let (gateway, subnet) = (pool.gateway, pool.subnet);
            let may_choose = entry.is_chosen4;
            let kernel = &mut self.kernel;
            kernel
                .route
                .batch(&[Request::add_address(index, gateway, subnet.prefix())])?;
            if !may_choose {
                return Ok(());
            }
            let is_older = |other: u32| other != index && other < index;
            let taken = kernel.route.routes()?.into_iter().any(|route| {
                Subnet::new(route.destination, route.prefix)
                    .is_some_and(|other| other.overlaps(&subnet))
                    && is_older(route.link_index)
            });
            if !taken {
                return Ok(());
            }
            kernel
                .route
                .batch(&[Request::delete_address(index, gateway, subnet.prefix())])?;
            let chosen = self.free_ipv4_subnet(Some(network_id))?;
            self.replace_ipv4_subnet(network_id, chosen)?;
        }
        Err(Error::system(
            "no subnet stays free: too many engines choose at the same time",
        ))
    }

    fn replace_ipv4_subnet(&mut self, network_id: &str, subnet: Subnet) -> Result<()> {
        let pool = Pool::new(subnet, None, None, [])?;
        if let Some(entry) = self.networks.get_mut(network_id) {
            entry.network.ipam.config.retain(|pool| {
                pool.subnet
                    .as_deref()
                    .is_some_and(|text| text.contains(':'))
            });
            entry.network.ipam.config.insert(
                0,
                crate::engine::networks::config::IpamPool {
                    subnet: Some(subnet.to_string()),
                    gateway: Some(pool.gateway.to_string()),
                    ..Default::default()
                },
            );
            entry.pool4 = Some(pool);
        }
        Ok(())
    }

    fn finish_bridge(&mut self, network_id: &str, is_foreign: bool) -> Result<()> {
        let rules = match self.networks.get_mut(network_id) {
            Some(entry) => {
                entry.is_up = true;
                entry.is_foreign = is_foreign;
                entry.bridge_rules()
            }
            None => None,
        };
        if let Some(rules) = rules {
            let table = self.kernel.names.table();
            let changes = firewall::add_bridge(&table, &rules);
            if let Err(error) = self.change_firewall(&changes) {
                if let Some(entry) = self.networks.get_mut(network_id) {
                    entry.is_up = false;
                }
                return Err(error);
            }
        }
        self.pass_foreign_policy();
        Ok(())
    }

    /// The device that macvlan and ipvlan interfaces are made on.
    fn parent_link(
        &mut self,
        network_id: &str,
        options: &DirectOptions,
        reaper: &Reaper,
    ) -> Result<Link> {
        if let Some(parent) = &options.parent {
            return match self.kernel.route.link(parent)? {
                Some(link) => Ok(link),
                None => Err(Error::invalid(format!(
                    "the parent interface {parent} does not exist"
                ))),
            };
        }
        let name = &options.parent_name;
        if reaper.is_dying(name) {
            reaper.flush();
        }
        let kernel = &mut self.kernel;
        if kernel.route.link(name)?.is_none() {
            let request = Request::new_dummy(name, kernel.names.group());
            kernel
                .route
                .batch(&[request])
                .map_err(|error| match error.kind() {
                    io::ErrorKind::Unsupported => Error::not_implemented(
                        "this kernel has no dummy devices: give the network a parent interface",
                    ),
                    _ => error.into(),
                })?;
        }
        let link = kernel.route.link(name)?;
        if let Some(entry) = self.networks.get_mut(network_id) {
            entry.is_up = true;
        }
        link.ok_or_else(|| Error::system(format!("the device {name} vanished")))
    }

    /// Takes a network out of the kernel. Its addresses go at once, so that the subnet is free; the link goes later.
    pub(crate) fn take_down(&mut self, network_id: &str, reaper: &Reaper) {
        let Some(entry) = self.networks.get_mut(network_id) else {
            return;
        };
        if !entry.is_up {
            return;
        }
        entry.is_up = false;
        let rules = entry.bridge_rules();
        let is_foreign = entry.is_foreign;
        let mut addresses = Vec::new();
        for pool in [&entry.pool4, &entry.pool6].into_iter().flatten() {
            addresses.push((pool.gateway, pool.subnet.prefix()));
        }
        let name = match &entry.driver {
            Driver::Bridge(options) => options.bridge_name.clone(),
            Driver::Direct(options) if options.parent.is_none() => options.parent_name.clone(),
            _ => return,
        };
        if let Some(rules) = rules {
            self.forget_bridge(&rules, network_id);
        }
        if is_foreign {
            return;
        }
        match self.kernel.route.link(&name) {
            Ok(Some(link)) => {
                for (address, prefix) in addresses {
                    let request = Request::delete_address(link.index, address, prefix);
                    if let Err(error) = self.kernel.route.batch(&[request]) {
                        tracing::debug!(%error, "take down {name}");
                    }
                }
                reaper.delete_link(link.index, &name);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "take down {name}"),
        }
    }

    fn forget_bridge(&mut self, rules: &firewall::BridgeRules, network_id: &str) {
        let kernel = &mut self.kernel;
        if kernel.has_table {
            let changes = firewall::remove_bridge(&kernel.names.table(), rules);
            if let Err(error) = kernel.nft.commit(&changes) {
                tracing::debug!(%error, "take down {}", rules.bridge_name);
            }
        }
        if rules.bridge_name != kernel.names.bridge(network_id) {
            let mark = kernel.names.mark();
            let removed = forward_policy::remove(&mut kernel.nft, &mark, Some(&rules.bridge_name));
            if let Err(error) = removed {
                tracing::debug!(%error, "take down {}", rules.bridge_name);
            }
        }
    }

    /// Every subnet that a new one must not overlap: our networks' and the host's routes.
    fn used_subnets(&mut self, except: Option<&str>) -> Result<Vec<Subnet>> {
        let mut used: Vec<Subnet> = self
            .networks
            .values()
            .filter(|entry| Some(entry.network.id.as_str()) != except)
            .flat_map(|entry| [&entry.pool4, &entry.pool6])
            .flatten()
            .map(|pool| pool.subnet)
            .collect();
        let routes = self.kernel.route.routes()?;
        used.extend(
            routes
                .into_iter()
                .filter_map(|route| Subnet::new(route.destination, route.prefix)),
        );
        Ok(used)
    }

    pub(crate) fn free_ipv4_subnet(&mut self, except: Option<&str>) -> Result<Subnet> {
        let used = self.used_subnets(except)?;
        choose_subnet(&default_pools(), &used)
    }

    pub(crate) fn free_ipv6_subnet(&mut self) -> Result<Subnet> {
        let used = self.used_subnets(None)?;
        choose_unique_local(self.kernel.names.global_id(), &used)
    }

    /// As large as Docker's, unless the host's way out takes less: large packets would be lost there.
    fn default_mtu(&mut self) -> Result<u32> {
        let Some(index) = self.kernel.route.default_link_index()? else {
            return Ok(DEFAULT_MTU);
        };
        let way_out = self.kernel.route.link_at(index)?;
        Ok(way_out.map_or(DEFAULT_MTU, |link| link.mtu.clamp(68, DEFAULT_MTU)))
    }

    fn enable_forwarding(&mut self, has_ipv6: bool) -> Result<()> {
        if !self.kernel.forwards_ipv4 {
            ensure_setting("net/ipv4/ip_forward", "1")?;
            self.kernel.forwards_ipv4 = true;
        }
        if has_ipv6 && !self.kernel.forwards_ipv6 {
            keep_accepting_advertisements()?;
            ensure_setting("net/ipv6/conf/all/forwarding", "1")?;
            self.kernel.forwards_ipv6 = true;
        }
        Ok(())
    }
}

/// Writes a setting of the host only when it has another value.
fn ensure_setting(key: &str, value: &str) -> io::Result<()> {
    match fs::read_to_string(format!("/proc/sys/{key}")) {
        Ok(current) if current.trim() == value => Ok(()),
        _ => {
            tracing::info!("setting {key} to {value}");
            write_setting(key, value)
        }
    }
}

/// A host that forwards stops taking router advertisements, and with them its own address and route, unless told
/// otherwise (2: take them all the same).
fn keep_accepting_advertisements() -> io::Result<()> {
    let folder = match fs::read_dir("/proc/sys/net/ipv6/conf") {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in folder {
        let path = entry?.path().join("accept_ra");
        if fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1") {
            fs::write(&path, "2")?;
        }
    }
    Ok(())
}

/// A locally administered address made from the network's id.
fn bridge_mac(network_id: &str) -> [u8; 6] {
    let mut mac = [0x02, 0x42, 0, 0, 0, 0];
    for (byte, digits) in mac[2..].iter_mut().zip(network_id.as_bytes().chunks(2)) {
        *byte = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .unwrap_or(0);
    }
    mac
}

/// An address made from an IPv4 address, as Docker did for long: an address that comes back has no new neighbour entry.
pub(crate) fn endpoint_mac(address: Option<IpAddr>, endpoint_id: &str) -> [u8; 6] {
    match address {
        Some(IpAddr::V4(v4)) => {
            let [a, b, c, d] = v4.octets();
            [0x02, 0x42, a, b, c, d]
        }
        _ => bridge_mac(endpoint_id),
    }
}
