//! Networks of the engine: bridges, addresses, sandboxes (a container's network namespace), names, published
//! ports and the firewall behind them. It knows containers only as ids and names, and nothing of images.
//!
//! ```text
//! create ─→ ipam (subnet) ─→ bridge ─→ firewall
//! create_sandbox ─→ netns from the warm pool, name server, /etc files
//!    └ join (one per network) ─→ ipam (lease) ─→ veth made in the netns ─→ zone
//!    └ publish ─→ host sockets (the reservation) ─→ proxies, DNAT
//! remove_sandbox ─→ all of it back; the netns and its veths die by themselves, later
//! ```

mod bridge;
pub(crate) mod config;
mod dns_forward;
mod dns_message;
mod dns_server;
mod dns_zone;
mod driver;
mod endpoint;
mod etc_files;
mod firewall;
mod forward_policy;
mod ipam;
mod names;
mod netns_pool;
mod port_holder;
mod ports;
mod proxy;
mod publish;
mod reaper;
mod registry;
mod restore;
mod sandbox;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;

use crate::engine::base::{Error, EventBus, Paths, Result};
use crate::engine::networks::dns_forward::HostServers;
use crate::engine::networks::dns_zone::Zones;
use crate::engine::networks::names::KernelNames;
use crate::engine::networks::netns_pool::NetnsPool;
use crate::engine::networks::reaper::Reaper;
use crate::engine::networks::state::{Kernel, State};
use crate::sys::netlink::RouteSocket;
use crate::sys::nft_monitor::NftMonitor;
use crate::sys::nftables::NftSocket;

pub(crate) use config::{
    Connected, Endpoint, EndpointConfig, IpamConfig, IpamPool, Network, NetworkConfig, PortBinding,
    PortRequest, Protocol, PruneFilter, Sandbox, SandboxConfig, SandboxKind,
};

/// The network service. Its calls are synchronous and take microseconds to a few milliseconds.
#[derive(Debug)]
pub(crate) struct Networks {
    paths: Paths,
    events: Arc<EventBus>,
    runtime: Handle,
    zones: Arc<Zones>,
    host_servers: Arc<HostServers>,
    pool: NetnsPool,
    reaper: Reaper,
    /// Never locked while waiting for a task of the runtime.
    state: Mutex<State>,
}

impl Networks {
    /// Loads the records and makes `bridge`, `host` and `none`. Name servers and proxies run on `runtime`.
    /// Call `restore` for each container that still runs, then `sweep`.
    pub(crate) fn open(paths: &Paths, events: Arc<EventBus>, runtime: Handle) -> Result<Arc<Self>> {
        fs::create_dir_all(paths.networks())?;
        fs::create_dir_all(paths.netns())?;
        fs::create_dir_all(paths.run_root().join("sandboxes"))?;
        let names = KernelNames::new(paths.data_root());
        let context =
            |doing: &str, error: std::io::Error| Error::system(format!("{doing}: {error}"));
        let route = RouteSocket::open().map_err(|error| context("open rtnetlink", error))?;
        let nft = NftSocket::open().map_err(|error| context("open nftables", error))?;
        let reaper = Reaper::start(names.doomed_group())?;
        let networks = Networks {
            paths: paths.clone(),
            events,
            runtime,
            zones: Arc::default(),
            host_servers: Arc::default(),
            pool: NetnsPool::start()?,
            reaper,
            state: Mutex::new(State {
                kernel: Kernel {
                    names,
                    route,
                    nft,
                    has_table: false,
                    forwards_ipv4: false,
                    forwards_ipv6: false,
                },
                networks: BTreeMap::new(),
                sandboxes: HashMap::new(),
            }),
        };
        networks.load()?;
        let networks = Arc::new(networks);
        let entered = networks.runtime.enter();
        let monitor = NftMonitor::open();
        drop(entered);
        match monitor {
            Ok(monitor) => {
                let watching = forward_policy::watch(monitor, Arc::downgrade(&networks));
                networks.runtime.spawn(watching);
            }
            Err(error) => tracing::warn!(%error, "changes of the firewall go unseen"),
        }
        Ok(networks)
    }
}
