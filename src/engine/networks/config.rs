//! What the network service is asked for and what it answers: plain data, no behaviour beyond lookups.
//! Wire bodies are converted into these at `engine::api`; the kernel objects are elsewhere.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `POST /networks/create`, as text where the user's text is checked by the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkConfig {
    pub(crate) name: String,
    /// Empty means `bridge`.
    pub(crate) driver: String,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    pub(crate) enable_ipv4: bool,
    pub(crate) enable_ipv6: bool,
    pub(crate) ipam: IpamConfig,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// How addresses are given out; empty `config` means: choose a free subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IpamConfig {
    /// Empty means `default`.
    pub(crate) driver: String,
    pub(crate) config: Vec<IpamPool>,
    pub(crate) options: BTreeMap<String, String>,
}

/// One subnet of a network, in the user's text (CIDR and addresses).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IpamPool {
    pub(crate) subnet: Option<String>,
    pub(crate) ip_range: Option<String>,
    pub(crate) gateway: Option<String>,
    pub(crate) auxiliary_addresses: BTreeMap<String, String>,
}

/// A network that exists. `ipam` holds the subnets and gateways in use, also the chosen ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) name: String,
    /// RFC 3339 with nanoseconds.
    pub(crate) created: String,
    pub(crate) driver: String,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    pub(crate) enable_ipv4: bool,
    pub(crate) enable_ipv6: bool,
    pub(crate) ipam: IpamConfig,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Network {
    /// `bridge`, `host` and `none`: made with the engine, never removed.
    pub(crate) fn is_predefined(&self) -> bool {
        matches!(self.name.as_str(), "bridge" | "host" | "none")
    }
}

/// Which network namespace a container gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SandboxKind {
    /// A namespace of its own; networks are joined to it.
    Isolated,
    /// The host's namespace.
    Host,
    /// A namespace of its own with a loopback device only.
    None,
}

/// What `create_sandbox` needs to know of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxConfig {
    pub(crate) kind: SandboxKind,
    /// Without the leading slash; for DNS, events and messages.
    pub(crate) container_name: String,
    /// The Compose project, named in port conflicts.
    pub(crate) project: Option<String>,
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    /// `name:address` or `name=address`; the address may be `host-gateway`.
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) dns_search: Vec<String>,
    pub(crate) dns_options: Vec<String>,
}

/// The network side of a container, ready for its spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sandbox {
    /// None for the host's namespace.
    pub(crate) netns_path: Option<PathBuf>,
    pub(crate) hosts_path: PathBuf,
    pub(crate) resolv_conf_path: PathBuf,
    pub(crate) hostname_path: PathBuf,
}

/// How a container wants to be part of one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndpointConfig {
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// `aa:bb:cc:dd:ee:ff`
    pub(crate) mac: Option<String>,
    pub(crate) aliases: Vec<String>,
    /// Further names the zone answers for (service names, `name` of the container is always there).
    pub(crate) dns_names: Vec<String>,
    /// Name of the interface inside; `eth0`, `eth1`, … when absent.
    pub(crate) ifname: Option<String>,
    /// The joined network with the highest number gives the default route.
    pub(crate) gw_priority: i64,
    /// `container` or `container:alias`: names only this container sees.
    pub(crate) links: Vec<String>,
    pub(crate) link_local_ips: Vec<IpAddr>,
    pub(crate) driver_opts: BTreeMap<String, String>,
}

/// A container's place in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) network_id: String,
    pub(crate) network_name: String,
    pub(crate) container_id: String,
    /// Address and prefix length; None without IPv4.
    pub(crate) ipv4: Option<(Ipv4Addr, u8)>,
    pub(crate) gateway4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<(Ipv6Addr, u8)>,
    pub(crate) gateway6: Option<Ipv6Addr>,
    pub(crate) mac: String,
    pub(crate) ifname: String,
    /// The host end of the pair, or empty for drivers without one.
    pub(crate) host_ifname: String,
    /// Every name the zone answers for: container name, aliases, short id, in that order.
    pub(crate) dns_names: Vec<String>,
    pub(crate) config: EndpointConfig,
}

/// What `GET /networks/{id}` shows of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connected {
    pub(crate) container_id: String,
    pub(crate) container_name: String,
    pub(crate) endpoint: Endpoint,
}

/// Transport of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// IANA protocol number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

/// A port to publish. `host_ports` (first, last) with (0, 0) means: any free port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortRequest {
    pub(crate) container_port: u16,
    pub(crate) protocol: Protocol,
    /// None: every address of the host, IPv4 and IPv6.
    pub(crate) host_ip: Option<IpAddr>,
    pub(crate) host_ports: (u16, u16),
}

/// A published port: one for each address of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortBinding {
    pub(crate) container_port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) host_ip: IpAddr,
    pub(crate) host_port: u16,
}

/// Which networks `prune` may take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PruneFilter {
    /// `key` or `key=value`, all of them.
    pub(crate) labels: Vec<String>,
    /// `key` or `key=value`, none of them.
    pub(crate) without_labels: Vec<String>,
    /// Created before this moment (seconds since the epoch).
    pub(crate) until_unix: Option<i64>,
}
