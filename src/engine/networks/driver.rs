//! Network drivers as values: what the options of a network mean to `bridge`, `macvlan`, `ipvlan`. A
//! wrong value is refused by name. It touches no kernel object.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::engine::base::{Error, Result};
use crate::engine::networks::names::KernelNames;
use crate::sys::netlink::SubInterface;

/// Who makes the interfaces of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Driver {
    Bridge(BridgeOptions),
    /// macvlan and ipvlan: interfaces directly on a device of the host.
    Direct(DirectOptions),
    Host,
    None,
}

/// How addresses of one family are reached from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GatewayMode {
    /// Masqueraded; published ports only.
    Nat,
    /// Masqueraded; every port is open to routed packets.
    NatUnprotected,
    /// Not masqueraded; every port is open to routed packets.
    Routed,
    /// The bridge has no address: nothing but the containers is in the network.
    Isolated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgeOptions {
    pub(crate) bridge_name: String,
    /// None: as the host's way out, at most 1500.
    pub(crate) mtu: Option<u32>,
    /// `enable_icc`
    pub(crate) allows_inside: bool,
    pub(crate) masquerades: bool,
    /// Where ports without a host address are published.
    pub(crate) host_binding: Option<IpAddr>,
    pub(crate) gateway_mode4: GatewayMode,
    pub(crate) gateway_mode6: GatewayMode,
    /// `eth` of `eth0`.
    pub(crate) interface_prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirectOptions {
    pub(crate) kind: SubInterface,
    /// None: a dummy device, so that the containers see each other only.
    pub(crate) parent: Option<String>,
    pub(crate) parent_name: String,
    pub(crate) mtu: Option<u32>,
    pub(crate) interface_prefix: String,
}

const DEFAULT_PREFIX: &str = "eth";

/// Reads the options of a network that is to be made.
pub(crate) fn parse(
    driver: &str,
    network_id: &str,
    options: &BTreeMap<String, String>,
    names: &KernelNames,
) -> Result<Driver> {
    match driver {
        "" | "bridge" => bridge(network_id, options, names).map(Driver::Bridge),
        "macvlan" | "ipvlan" => direct(driver, network_id, options, names).map(Driver::Direct),
        "host" => Ok(Driver::Host),
        "null" => Ok(Driver::None),
        other => Err(Error::not_found(format!(
            "could not find plugin {other} in v1 plugin registry: plugin not found (network drivers: bridge, macvlan, ipvlan)"
        ))),
    }
}

fn bridge(
    network_id: &str,
    options: &BTreeMap<String, String>,
    names: &KernelNames,
) -> Result<BridgeOptions> {
    let mut parsed = BridgeOptions {
        bridge_name: names.bridge(network_id),
        mtu: None,
        allows_inside: true,
        masquerades: true,
        host_binding: None,
        gateway_mode4: GatewayMode::Nat,
        gateway_mode6: GatewayMode::Nat,
        interface_prefix: DEFAULT_PREFIX.to_owned(),
    };
    for (key, value) in options {
        match key.as_str() {
            "com.docker.network.bridge.name" => parsed.bridge_name = interface_name(key, value)?,
            "com.docker.network.driver.mtu" | "mtu" => parsed.mtu = Some(mtu(key, value)?),
            "com.docker.network.bridge.enable_icc" => parsed.allows_inside = boolean(key, value)?,
            "com.docker.network.bridge.enable_ip_masquerade" => {
                parsed.masquerades = boolean(key, value)?;
            }
            "com.docker.network.bridge.host_binding_ipv4" => {
                parsed.host_binding = Some(address(key, value)?);
            }
            "com.docker.network.bridge.gateway_mode_ipv4" => {
                parsed.gateway_mode4 = gateway_mode(key, value)?;
            }
            "com.docker.network.bridge.gateway_mode_ipv6" => {
                parsed.gateway_mode6 = gateway_mode(key, value)?;
            }
            "com.docker.network.container_iface_prefix" => {
                parsed.interface_prefix = interface_prefix(key, value)?;
            }
            // Says only which network `docker0` belongs to.
            "com.docker.network.bridge.default_bridge" => {
                boolean(key, value)?;
            }
            // Other drivers, plugins and tools leave their options here too; Docker takes them all.
            _ => tracing::warn!("the bridge driver has no network option {key:?}: it does nothing"),
        }
    }
    Ok(parsed)
}

fn direct(
    driver: &str,
    network_id: &str,
    options: &BTreeMap<String, String>,
    names: &KernelNames,
) -> Result<DirectOptions> {
    let mut parsed = DirectOptions {
        kind: if driver == "macvlan" {
            SubInterface::MacvlanBridge
        } else {
            SubInterface::IpvlanL2
        },
        parent: None,
        parent_name: names.own_parent(network_id),
        mtu: None,
        interface_prefix: DEFAULT_PREFIX.to_owned(),
    };
    for (key, value) in options {
        match (driver, key.as_str()) {
            (_, "parent") => parsed.parent = Some(interface_name(key, value)?),
            (_, "com.docker.network.driver.mtu" | "mtu") => parsed.mtu = Some(mtu(key, value)?),
            (_, "com.docker.network.container_iface_prefix") => {
                parsed.interface_prefix = interface_prefix(key, value)?;
            }
            ("macvlan", "macvlan_mode") => {
                parsed.kind = match value.as_str() {
                    "" | "bridge" => SubInterface::MacvlanBridge,
                    "private" => SubInterface::MacvlanPrivate,
                    "vepa" => SubInterface::MacvlanVepa,
                    "passthru" => SubInterface::MacvlanPassthru,
                    other => {
                        return Err(Error::invalid(format!("unknown macvlan mode {other:?}")));
                    }
                };
            }
            ("ipvlan", "ipvlan_mode") => {
                parsed.kind = match value.as_str() {
                    "" | "l2" => SubInterface::IpvlanL2,
                    "l3" => SubInterface::IpvlanL3,
                    "l3s" => SubInterface::IpvlanL3s,
                    other => return Err(Error::invalid(format!("unknown ipvlan mode {other:?}"))),
                };
            }
            _ => return Err(unsupported(driver, key)),
        }
    }
    Ok(parsed)
}

fn unsupported(driver: &str, key: &str) -> Error {
    Error::invalid(format!(
        "network option {key:?} is not supported by the {driver} driver"
    ))
}

/// As Go's strconv.ParseBool, which Docker reads these with.
fn boolean(key: &str, value: &str) -> Result<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::invalid(format!(
            "network option {key:?}: {value:?} is not a boolean"
        ))),
    }
}

fn mtu(key: &str, value: &str) -> Result<u32> {
    match value.parse() {
        Ok(mtu @ 68..=65535) => Ok(mtu),
        _ => Err(Error::invalid(format!(
            "network option {key:?}: {value:?} is not an MTU (68 to 65535 bytes)"
        ))),
    }
}

fn address(key: &str, value: &str) -> Result<IpAddr> {
    value.parse().map_err(|_| {
        Error::invalid(format!(
            "network option {key:?}: {value:?} is not an IP address"
        ))
    })
}

fn gateway_mode(key: &str, value: &str) -> Result<GatewayMode> {
    match value {
        "nat" | "" => Ok(GatewayMode::Nat),
        "nat-unprotected" => Ok(GatewayMode::NatUnprotected),
        "routed" => Ok(GatewayMode::Routed),
        "isolated" => Ok(GatewayMode::Isolated),
        _ => Err(Error::invalid(format!(
            "network option {key:?}: unknown gateway mode {value:?} (nat, nat-unprotected, routed, isolated)"
        ))),
    }
}

/// dev_valid_name() of the kernel, and no `*` or quote that would mean something in a rule.
pub(crate) fn interface_name(key: &str, value: &str) -> Result<String> {
    let is_valid = !value.is_empty()
        && value.len() <= 15
        && value != "."
        && value != ".."
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte));
    if is_valid {
        Ok(value.to_owned())
    } else {
        Err(Error::invalid(format!(
            "{key}: {value:?} is not an interface name (1 to 15 letters, digits, '-', '_', '.')"
        )))
    }
}

fn interface_prefix(key: &str, value: &str) -> Result<String> {
    // Room for a number behind it.
    if value.len() > 11 {
        return Err(Error::invalid(format!(
            "network option {key:?}: {value:?} is too long"
        )));
    }
    interface_name(key, value)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parsed(driver: &str, options: &[(&str, &str)]) -> Result<Driver> {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let names = KernelNames::new(Path::new("/nowhere"));
        parse(driver, &"ab".repeat(32), &options, &names)
    }

    #[test]
    fn options_are_understood_and_wrong_values_refused_by_name() {
        let Driver::Bridge(options) = parsed(
            "",
            &[
                ("com.docker.network.bridge.enable_icc", "false"),
                ("com.docker.network.driver.mtu", "1400"),
                ("com.docker.network.bridge.name", "mybr"),
                ("com.docker.network.bridge.gateway_mode_ipv4", "routed"),
            ],
        )
        .unwrap() else {
            panic!("not a bridge");
        };
        assert!(!options.allows_inside);
        assert_eq!(options.mtu, Some(1400));
        assert_eq!(options.bridge_name, "mybr");
        assert_eq!(options.gateway_mode4, GatewayMode::Routed);
        for (driver, key, value) in [
            ("bridge", "com.docker.network.bridge.enable_icc", "maybe"),
            ("bridge", "com.docker.network.driver.mtu", "-1"),
            ("bridge", "com.docker.network.bridge.name", "../../x"),
            ("bridge", "com.docker.network.bridge.name", "a*"),
            ("macvlan", "ipvlan_mode", "l2"),
            ("macvlan", "macvlan_mode", "sideways"),
            ("ipvlan", "parent", "a name with spaces"),
        ] {
            let error = parsed(driver, &[(key, value)]).unwrap_err();
            assert!(
                error.message.contains(key) || error.message.contains(value),
                "{error}"
            );
        }
        assert!(
            parsed("overlay", &[])
                .unwrap_err()
                .message
                .contains("overlay")
        );
    }
}
