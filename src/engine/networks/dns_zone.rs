//! Who has which name: one zone a network, and for every sandbox the zones it may ask. Pure data behind a lock; the
//! server reads it for every query.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

/// The addresses of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    endpoint_id: String,
    addresses: Vec<IpAddr>,
}

/// The names of one network, in lower case.
#[derive(Debug, Default)]
struct Zone {
    network_name: String,
    hosts_by_name: BTreeMap<String, Vec<Host>>,
    name_by_address: HashMap<IpAddr, String>,
}

/// What one sandbox may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Network ids; the first that knows a name answers.
    pub(crate) network_ids: Vec<String>,
    /// Names that only this sandbox has, and what they stand for.
    pub(crate) links: BTreeMap<String, String>,
    /// The host, for `host.docker.internal`.
    pub(crate) host: Option<IpAddr>,
    /// Names of nobody here are asked for outside.
    pub(crate) forwards: bool,
}

#[derive(Debug, Default)]
struct Names {
    zones: HashMap<String, Zone>,
    views: HashMap<String, View>,
}

/// All zones of the engine.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    names: RwLock<Names>,
    /// Turns the order of replicas from query to query.
    turn: AtomicUsize,
}

impl Zones {
    /// An endpoint comes into a network. The first name is the one its address is known by.
    pub(crate) fn add(
        &self,
        network_id: &str,
        network_name: &str,
        endpoint_id: &str,
        dns_names: &[String],
        addresses: &[IpAddr],
    ) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let zone = names.zones.entry(network_id.to_owned()).or_default();
        network_name.clone_into(&mut zone.network_name);
        for name in dns_names {
            let hosts = zone
                .hosts_by_name
                .entry(name.to_ascii_lowercase())
                .or_default();
            hosts.retain(|host| host.endpoint_id != endpoint_id);
            hosts.push(Host {
                endpoint_id: endpoint_id.to_owned(),
                addresses: addresses.to_vec(),
            });
        }
        if let Some(first) = dns_names.first() {
            for address in addresses {
                zone.name_by_address.insert(*address, first.clone());
            }
        }
    }

    pub(crate) fn remove(&self, network_id: &str, endpoint_id: &str) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let Some(zone) = names.zones.get_mut(network_id) else {
            return;
        };
        let by_address = &mut zone.name_by_address;
        zone.hosts_by_name.retain(|_, hosts| {
            hosts.retain(|host| {
                let stays = host.endpoint_id != endpoint_id;
                if !stays {
                    for address in &host.addresses {
                        by_address.remove(address);
                    }
                }
                stays
            });
            !hosts.is_empty()
        });
        if zone.hosts_by_name.is_empty() {
            names.zones.remove(network_id);
        }
    }

    pub(crate) fn set_view(&self, container_id: &str, view: View) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.views.insert(container_id.to_owned(), view);
    }

    pub(crate) fn remove_view(&self, container_id: &str) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.views.remove(container_id);
    }

    pub(crate) fn forwards(&self, container_id: &str) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names
            .views
            .get(container_id)
            .is_some_and(|view| view.forwards)
    }

    /// The addresses of a name (no trailing dot), every replica once and in another order each time; None when no
    /// network of the sandbox knows it.
    pub(crate) fn addresses(&self, container_id: &str, name: &str) -> Option<Vec<IpAddr>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let view = names.views.get(container_id)?;
        let name = name.to_ascii_lowercase();
        let wanted = view.links.get(&name).unwrap_or(&name);
        for network_id in &view.network_ids {
            let Some(zone) = names.zones.get(network_id) else {
                continue;
            };
            if let Some(hosts) = zone.hosts(wanted) {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % hosts.len().max(1);
                let turned = hosts.iter().cycle().skip(turn).take(hosts.len());
                return Some(turned.flat_map(|host| host.addresses.clone()).collect());
            }
        }
        // What Docker Desktop answers; here no entry in extra_hosts is needed either.
        match name.as_str() {
            "host.docker.internal" | "gateway.docker.internal" => view.host.map(|host| vec![host]),
            _ => None,
        }
    }

    /// `container.network` for an address of one of the sandbox's networks.
    pub(crate) fn name_of(&self, container_id: &str, address: IpAddr) -> Option<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let view = names.views.get(container_id)?;
        view.network_ids.iter().find_map(|network_id| {
            let zone = names.zones.get(network_id)?;
            let name = zone.name_by_address.get(&address)?;
            Some(format!("{name}.{}", zone.network_name))
        })
    }

    /// Every zone as text, a name a line; for tests.
    #[cfg(test)]
    pub(crate) fn render(&self) -> String {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let mut zones: Vec<_> = names.zones.values().collect();
        zones.sort_by(|a, b| a.network_name.cmp(&b.network_name));
        let mut text = String::new();
        for zone in zones {
            text.push_str(&format!("zone {}\n", zone.network_name));
            for (name, hosts) in &zone.hosts_by_name {
                let addresses: Vec<String> = hosts
                    .iter()
                    .flat_map(|host| host.addresses.iter().map(ToString::to_string))
                    .collect();
                text.push_str(&format!("  {name} {}\n", addresses.join(" ")));
            }
        }
        text
    }
}

impl Zone {
    /// By name, or by name with the network's name behind it.
    fn hosts(&self, name: &str) -> Option<&Vec<Host>> {
        self.hosts_by_name.get(name).or_else(|| {
            let (bare, network) =
                name.split_at_checked(name.len().checked_sub(self.network_name.len() + 1)?)?;
            let network = network.strip_prefix('.')?;
            network
                .eq_ignore_ascii_case(&self.network_name)
                .then(|| self.hosts_by_name.get(bare))?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn zones() -> Zones {
        let zones = Zones::default();
        for (number, address) in [(1, "172.18.0.2"), (2, "172.18.0.3")] {
            zones.add(
                "front",
                "shop_front",
                &format!("e{number}"),
                &strings(&[&format!("shop-web-{number}"), "Web"]),
                &[ip(address)],
            );
        }
        zones.add(
            "back",
            "shop_back",
            "e3",
            &strings(&["shop-db-1", "db"]),
            &[ip("172.19.0.2"), ip("fd00::2")],
        );
        let view = |networks: &[&str], links: &[(&str, &str)]| View {
            network_ids: strings(networks),
            links: links
                .iter()
                .map(|(alias, name)| ((*alias).to_owned(), (*name).to_owned()))
                .collect(),
            host: Some(ip("172.18.0.1")),
            forwards: true,
        };
        zones.set_view("both", view(&["front", "back"], &[("database", "db")]));
        zones.set_view("front", view(&["front"], &[]));
        zones
    }

    #[test]
    fn the_zones_are_the_golden_ones() {
        let golden = include_str!("../../../fixtures/networks/zones.txt");
        assert_eq!(zones().render(), golden);
    }

    #[test]
    fn a_sandbox_sees_its_own_networks_only() {
        let zones = zones();
        assert_eq!(
            zones.addresses("both", "DB"),
            Some(vec![ip("172.19.0.2"), ip("fd00::2")])
        );
        assert_eq!(zones.addresses("front", "db"), None);
        assert_eq!(zones.addresses("nobody", "web"), None);
        assert_eq!(
            zones.addresses("both", "database"),
            zones.addresses("both", "db")
        );
        assert_eq!(
            zones.addresses("front", "shop-web-1.shop_front"),
            Some(vec![ip("172.18.0.2")])
        );
        assert_eq!(zones.addresses("front", "shop-web-1.shop_back"), None);
        assert_eq!(
            zones.addresses("front", "host.docker.internal"),
            Some(vec![ip("172.18.0.1")])
        );
    }

    #[test]
    fn replicas_take_turns() {
        let zones = zones();
        let first = zones.addresses("front", "web").unwrap();
        let second = zones.addresses("front", "web").unwrap();
        assert_eq!(first.len(), 2);
        assert_ne!(first, second);
        zones.remove("front", "e1");
        assert_eq!(
            zones.addresses("front", "web"),
            Some(vec![ip("172.18.0.3")])
        );
        assert_eq!(zones.addresses("front", "shop-web-1"), None);
    }

    #[test]
    fn an_address_has_the_name_of_its_container() {
        let zones = zones();
        assert_eq!(
            zones.name_of("front", ip("172.18.0.2")).as_deref(),
            Some("shop-web-1.shop_front")
        );
        assert_eq!(zones.name_of("front", ip("172.19.0.2")), None);
        zones.remove("back", "e3");
        assert_eq!(zones.name_of("both", ip("172.19.0.2")), None);
    }
}
