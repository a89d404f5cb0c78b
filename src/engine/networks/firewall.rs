//! The firewall of one engine: one table with sets and maps; networks and published ports are elements of them.
//! Pure: it makes changes as values, `sys::nftables` sends them. Rules never change after the table is made.
//!
//! ```text
//! forward      same network → accept · answers → accept · internal → drop · other network → drop
//!              published → accept · unpublished from outside → drop · not ours → not our business
//! prerouting   from outside to a published port → the container (maps `bound…`, then `any…`)
//! output       from this host, but not over loopback → the same maps; loopback is the proxy's
//! postrouting  from a network with masquerading to anywhere but a network of ours → masquerade
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::engine::networks::config::Protocol;
use crate::sys::nftables::{
    Base, ChainKind, Change, Element, Family, Field, Hook, Match, Rule, Set, Table, Value, Verdict,
};

/// The firewall's view of a bridge network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgeRules {
    pub(crate) bridge_name: String,
    /// Containers may talk to each other.
    pub(crate) allows_inside: bool,
    pub(crate) is_internal: bool,
    /// Unpublished ports may be reached by routed packets.
    pub(crate) is_open_ipv4: bool,
    pub(crate) is_open_ipv6: bool,
    /// Subnets whose packets leave under the host's address.
    pub(crate) masqueraded: Vec<(IpAddr, u8)>,
}

/// A published port: what the host's address and port stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortRule {
    /// Unspecified: every address of that family.
    pub(crate) host_ip: IpAddr,
    pub(crate) host_port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) container_ip: IpAddr,
    pub(crate) container_port: u16,
}

/// Elements in one change: a netlink attribute holds at most 64 KiB.
const ELEMENTS_PER_CHANGE: usize = 400;
/// Just before the filter chains of others, so that what we drop never reaches them.
const FORWARD_PRIORITY: i32 = -5;
const DNAT_PRIORITY: i32 = -100;
const SNAT_PRIORITY: i32 = 100;

/// The whole table in place of an older one, in one transaction.
pub(crate) fn ruleset(table: &Table, bridges: &[BridgeRules], ports: &[PortRule]) -> Vec<Change> {
    let mut changes = vec![
        // Deleting needs it to be there; adding does not mind.
        Change::AddTable(table.clone()),
        Change::DeleteTable(table.clone()),
        Change::AddTable(table.clone()),
    ];
    for set in sets() {
        changes.push(Change::AddSet(table.clone(), set));
    }
    for (chain, base) in chains() {
        changes.push(Change::AddChain(table.clone(), chain.to_owned(), base));
    }
    for (chain, rule) in rules() {
        changes.push(Change::AppendRule(table.clone(), chain.to_owned(), rule));
    }
    for bridge in bridges {
        changes.extend(add_bridge(table, bridge));
    }
    changes.extend(publish(table, ports));
    changes
}

pub(crate) fn add_bridge(table: &Table, bridge: &BridgeRules) -> Vec<Change> {
    bridge_elements(bridge)
        .into_iter()
        .map(|(set, elements)| Change::AddElements(table.clone(), set, elements))
        .collect()
}

pub(crate) fn remove_bridge(table: &Table, bridge: &BridgeRules) -> Vec<Change> {
    bridge_elements(bridge)
        .into_iter()
        .map(|(set, elements)| Change::DeleteElements(table.clone(), set, elements))
        .collect()
}

pub(crate) fn publish(table: &Table, ports: &[PortRule]) -> Vec<Change> {
    port_elements(ports, Element::Pair)
        .into_iter()
        .map(|(map, elements)| Change::AddElements(table.clone(), map, elements))
        .collect()
}

pub(crate) fn unpublish(table: &Table, ports: &[PortRule]) -> Vec<Change> {
    port_elements(ports, |key, _| Element::Key(key))
        .into_iter()
        .map(|(map, elements)| Change::DeleteElements(table.clone(), map, elements))
        .collect()
}

fn sets() -> Vec<Set> {
    let set = |name, key: &[Field], value: &[Field], is_interval| Set {
        name,
        key: key.to_vec(),
        value: value.to_vec(),
        is_interval,
    };
    let name = Field::InterfaceName;
    let (v4, v6) = (Field::Ipv4Address, Field::Ipv6Address);
    let (protocol, port) = (Field::Protocol, Field::Port);
    vec![
        set("bridges", &[name], &[], false),
        set("inside", &[name, name], &[], false),
        set("internal", &[name], &[], false),
        set("open4", &[name], &[], false),
        set("open6", &[name], &[], false),
        set("masqueraded4", &[v4], &[], true),
        set("masqueraded6", &[v6], &[], true),
        set("any4", &[protocol, port], &[v4, port], false),
        set("any6", &[protocol, port], &[v6, port], false),
        set("bound4", &[v4, protocol, port], &[v4, port], false),
        set("bound6", &[v6, protocol, port], &[v6, port], false),
    ]
}

fn chains() -> Vec<(&'static str, Option<Base>)> {
    let base = |kind, hook, priority| {
        Some(Base {
            kind,
            hook,
            priority,
        })
    };
    vec![
        (
            "forward",
            base(ChainKind::Filter, Hook::Forward, FORWARD_PRIORITY),
        ),
        ("published", None),
        (
            "prerouting",
            base(ChainKind::Nat, Hook::Prerouting, DNAT_PRIORITY),
        ),
        ("output", base(ChainKind::Nat, Hook::Output, DNAT_PRIORITY)),
        (
            "postrouting",
            base(ChainKind::Nat, Hook::Postrouting, SNAT_PRIORITY),
        ),
    ]
}

fn rules() -> Vec<(&'static str, Rule)> {
    let mut rules = forward_rules();
    let map = |family, map, with_address| Verdict::DestinationMap {
        family,
        map,
        with_address,
    };
    for verdict in [
        map(Family::Ipv4, "bound4", true),
        map(Family::Ipv4, "any4", false),
        map(Family::Ipv6, "bound6", true),
        map(Family::Ipv6, "any6", false),
    ] {
        rules.push(("published", Rule::new(Vec::new(), verdict)));
    }
    let jump = || Verdict::Jump("published".to_owned());
    // A container reaches published ports through the proxy: its own network may hold the target.
    rules.push((
        "prerouting",
        Rule::new(vec![Match::InputIn("bridges")], Verdict::Return),
    ));
    rules.push((
        "prerouting",
        Rule::new(vec![Match::DestinationLocal], jump()),
    ));
    for loopback in [
        Match::Destination(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
        Match::Destination(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    ] {
        rules.push(("output", Rule::new(vec![loopback], Verdict::Return)));
    }
    rules.push(("output", Rule::new(vec![Match::DestinationLocal], jump())));
    for (family, set) in [
        (Family::Ipv4, "masqueraded4"),
        (Family::Ipv6, "masqueraded6"),
    ] {
        rules.push((
            "postrouting",
            Rule::new(
                vec![Match::OutputNotIn("bridges"), Match::SourceIn(family, set)],
                Verdict::Masquerade,
            ),
        ));
    }
    rules
}

fn forward_rules() -> Vec<(&'static str, Rule)> {
    use Match::{DestinationTranslated, EstablishedOrRelated, InputIn, InputOutputIn, OutputIn};
    [
        (vec![InputOutputIn("inside")], Verdict::Accept),
        (vec![InputIn("internal")], Verdict::Drop),
        (vec![OutputIn("internal")], Verdict::Drop),
        (vec![EstablishedOrRelated], Verdict::Accept),
        (vec![InputIn("bridges"), OutputIn("bridges")], Verdict::Drop),
        (
            vec![OutputIn("bridges"), DestinationTranslated],
            Verdict::Accept,
        ),
        (
            vec![Match::Family(Family::Ipv4), OutputIn("open4")],
            Verdict::Accept,
        ),
        (
            vec![Match::Family(Family::Ipv6), OutputIn("open6")],
            Verdict::Accept,
        ),
        (vec![OutputIn("bridges")], Verdict::Drop),
    ]
    .into_iter()
    .map(|(matches, verdict)| ("forward", Rule::new(matches, verdict)))
    .collect()
}

fn bridge_elements(bridge: &BridgeRules) -> Vec<(&'static str, Vec<Element>)> {
    let name = || Value::InterfaceName(bridge.bridge_name.clone());
    let mut elements = vec![("bridges", vec![Element::Key(vec![name()])])];
    if bridge.allows_inside {
        elements.push(("inside", vec![Element::Key(vec![name(), name()])]));
    }
    for (set, is_in) in [
        ("internal", bridge.is_internal),
        ("open4", bridge.is_open_ipv4),
        ("open6", bridge.is_open_ipv6),
    ] {
        if is_in {
            elements.push((set, vec![Element::Key(vec![name()])]));
        }
    }
    for (address, prefix) in &bridge.masqueraded {
        let set = if address.is_ipv6() {
            "masqueraded6"
        } else {
            "masqueraded4"
        };
        elements.push((set, vec![Element::Subnet(*address, *prefix)]));
    }
    elements
}

fn address_value(address: IpAddr) -> Value {
    match address {
        IpAddr::V4(v4) => Value::Ipv4(v4),
        IpAddr::V6(v6) => Value::Ipv6(v6),
    }
}

/// Elements by map. A port whose host and container are of different families is the proxy's alone.
fn port_elements(
    ports: &[PortRule],
    element: impl Fn(Vec<Value>, Vec<Value>) -> Element,
) -> Vec<(&'static str, Vec<Element>)> {
    let mut by_map: [(&'static str, Vec<Element>); 4] = [
        ("any4", Vec::new()),
        ("any6", Vec::new()),
        ("bound4", Vec::new()),
        ("bound6", Vec::new()),
    ];
    for port in ports {
        let is_ipv6 = port.host_ip.is_ipv6();
        if is_ipv6 != port.container_ip.is_ipv6() || port.host_ip.is_loopback() {
            continue;
        }
        let mut key = vec![
            Value::Protocol(port.protocol.number()),
            Value::Port(port.host_port),
        ];
        let mut map = usize::from(is_ipv6);
        if !port.host_ip.is_unspecified() {
            key.insert(0, address_value(port.host_ip));
            map += 2;
        }
        let value = vec![
            address_value(port.container_ip),
            Value::Port(port.container_port),
        ];
        by_map[map].1.push(element(key, value));
    }
    by_map
        .into_iter()
        .flat_map(|(map, elements)| {
            elements
                .chunks(ELEMENTS_PER_CHANGE)
                .map(|chunk| (map, chunk.to_vec()))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// A ruleset as `nft -f` reads it: one change a line.
#[cfg(test)]
pub(crate) fn render(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("{change}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::nftables::NftSocket;

    fn table() -> Table {
        Table {
            family: Family::Inet,
            name: "hoist-test".to_owned(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn bridges() -> Vec<BridgeRules> {
        vec![
            BridgeRules {
                bridge_name: "br-front".to_owned(),
                allows_inside: true,
                is_internal: false,
                is_open_ipv4: false,
                is_open_ipv6: true,
                masqueraded: vec![(ip("172.18.0.0"), 16), (ip("fd00:1::"), 64)],
            },
            BridgeRules {
                bridge_name: "br-back".to_owned(),
                allows_inside: false,
                is_internal: true,
                is_open_ipv4: false,
                is_open_ipv6: false,
                masqueraded: Vec::new(),
            },
            BridgeRules {
                bridge_name: "br-next".to_owned(),
                allows_inside: true,
                is_internal: false,
                is_open_ipv4: true,
                is_open_ipv6: false,
                masqueraded: vec![(ip("172.19.0.0"), 16)],
            },
        ]
    }

    fn ports() -> Vec<PortRule> {
        let port =
            |host_ip: &str, host_port, protocol, container_ip: &str, container_port| PortRule {
                host_ip: ip(host_ip),
                host_port,
                protocol,
                container_ip: ip(container_ip),
                container_port,
            };
        vec![
            port("0.0.0.0", 8080, Protocol::Tcp, "172.18.0.2", 80),
            port("::", 8080, Protocol::Tcp, "172.18.0.2", 80),
            port("192.0.2.2", 53, Protocol::Udp, "172.18.0.3", 53),
            port("127.0.0.1", 5432, Protocol::Tcp, "172.18.0.4", 5432),
            port("::", 9000, Protocol::Tcp, "fd00:1::2", 9000),
            port("2001:db8::1", 9001, Protocol::Tcp, "fd00:1::2", 9000),
        ]
    }

    #[test]
    fn the_ruleset_is_the_golden_one() {
        let text = render(&ruleset(&table(), &bridges(), &ports()));
        let golden = include_str!("../../../fixtures/networks/ruleset.nft");
        assert_eq!(text, golden);
    }

    /// The kernel takes every change, and gives all of it back when it goes.
    #[test]
    fn the_kernel_takes_the_ruleset_and_every_change_to_it() {
        crate::sys::netns::create(|| {
            let mut nft = NftSocket::open()?;
            let table = table();
            nft.commit(&ruleset(&table, &bridges(), &ports()))?;
            // Again, over itself.
            nft.commit(&ruleset(&table, &bridges(), &ports()))?;
            nft.commit(&unpublish(&table, &ports()))?;
            nft.commit(&publish(&table, &ports()))?;
            for bridge in bridges() {
                nft.commit(&remove_bridge(&table, &bridge))?;
                nft.commit(&add_bridge(&table, &bridge))?;
            }
            assert_eq!(nft.tables(Family::Inet)?, ["hoist-test"]);
            assert_eq!(nft.rules(&table, "forward")?.len(), 9);
            nft.commit(&[Change::DeleteTable(table)])?;
            assert!(nft.tables(Family::Inet)?.is_empty());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_transaction_with_one_wrong_change_changes_nothing_and_names_it() {
        crate::sys::netns::create(|| {
            let mut nft = NftSocket::open()?;
            let table = table();
            let mut changes = ruleset(&table, &[], &[]);
            changes.push(Change::AddElements(
                table,
                "nowhere",
                vec![Element::Key(vec![Value::Port(1)])],
            ));
            let error = nft.commit(&changes).unwrap_err();
            assert!(error.to_string().contains("nowhere"), "{error}");
            assert!(nft.tables(Family::Inet)?.is_empty());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_thousand_ports_fit_into_one_transaction() {
        let many: Vec<PortRule> = (1..=1500)
            .map(|number| PortRule {
                host_ip: ip("0.0.0.0"),
                host_port: number,
                protocol: Protocol::Udp,
                container_ip: ip("172.18.0.2"),
                container_port: number,
            })
            .collect();
        crate::sys::netns::create(|| {
            let mut nft = NftSocket::open()?;
            nft.commit(&ruleset(&table(), &bridges(), &many))?;
            nft.commit(&unpublish(&table(), &many))
        })
        .unwrap();
    }
}
