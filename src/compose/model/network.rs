//! Networks: the top-level resource and a service's attachment to one.

use crate::compose::model::{Extensions, Mapping};

/// A top-level network.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Network {
    /// The engine's name of it (`<project>_<key>` unless named or external).
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) driver_opts: Mapping,
    pub(crate) ipam: IpamConfig,
    pub(crate) external: bool,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    pub(crate) labels: Mapping,
    pub(crate) enable_ipv4: Option<bool>,
    pub(crate) enable_ipv6: Option<bool>,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct IpamConfig {
    pub(crate) driver: String,
    pub(crate) config: Vec<IpamPool>,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct IpamPool {
    pub(crate) subnet: String,
    pub(crate) gateway: String,
    pub(crate) ip_range: String,
    pub(crate) aux_addresses: Mapping,
    pub(crate) extensions: Extensions,
}

/// How a service joins a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServiceNetwork {
    pub(crate) aliases: Vec<String>,
    pub(crate) driver_opts: Mapping,
    pub(crate) gw_priority: i64,
    pub(crate) interface_name: String,
    pub(crate) ipv4_address: String,
    pub(crate) ipv6_address: String,
    pub(crate) link_local_ips: Vec<String>,
    pub(crate) mac_address: String,
    pub(crate) priority: i64,
    pub(crate) extensions: Extensions,
}
