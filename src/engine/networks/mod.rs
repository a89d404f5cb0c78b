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

pub(crate) mod config;

use std::sync::Arc;

use crate::engine::base::{Error, EventBus, Paths, Result};

pub(crate) use config::{
    Connected, Endpoint, EndpointConfig, IpamConfig, IpamPool, Network, NetworkConfig, PortBinding,
    PortRequest, Protocol, PruneFilter, Sandbox, SandboxConfig, SandboxKind,
};

/// The network service. Its calls are synchronous and take microseconds to a few milliseconds.
#[derive(Debug)]
pub(crate) struct Networks {
    paths: Paths,
}

impl Networks {
    /// Loads the records and makes `bridge`, `host` and `none`. Name servers and proxies run on `runtime`.
    /// Call `restore` for each container that still runs, then `sweep`.
    pub(crate) fn open(
        paths: &Paths,
        _events: Arc<EventBus>,
        _runtime: tokio::runtime::Handle,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(Networks {
            paths: paths.clone(),
        }))
    }

    /// Makes a network. 409 when the name is taken, 403 when it is a predefined one.
    pub(crate) fn create(&self, _config: NetworkConfig) -> Result<Network> {
        Err(not_landed())
    }

    /// By name, id or unique id prefix.
    pub(crate) fn get(&self, name_or_id: &str) -> Result<Network> {
        Err(Error::not_found(format!("network {name_or_id} not found")))
    }

    pub(crate) fn list(&self) -> Vec<Network> {
        Vec::new()
    }

    /// 403 when it is predefined or has active endpoints.
    pub(crate) fn remove(&self, _name_or_id: &str) -> Result<Network> {
        Err(not_landed())
    }

    /// Removes what no container is in; answers with the names.
    pub(crate) fn prune(&self, _filter: &PruneFilter) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Who is in a network, in order of joining.
    pub(crate) fn connected(&self, _network_id: &str) -> Vec<Connected> {
        Vec::new()
    }

    /// A namespace (from the warm pool) and the /etc files of a container; idempotent.
    pub(crate) fn create_sandbox(
        &self,
        _container_id: &str,
        _config: SandboxConfig,
    ) -> Result<Sandbox> {
        Err(not_landed())
    }

    /// The sandbox of a running container: for `network_mode: container:…`.
    pub(crate) fn sandbox(&self, _container_id: &str) -> Option<Sandbox> {
        None
    }

    /// Joins a network, also while the container runs.
    pub(crate) fn join(
        &self,
        _container_id: &str,
        _network_id: &str,
        _config: EndpointConfig,
    ) -> Result<Endpoint> {
        Err(not_landed())
    }

    /// Leaves a network while the container runs (10 ms: the kernel waits); `remove_sandbox` does not need it.
    pub(crate) fn leave(&self, _container_id: &str, _network_id: &str) -> Result<()> {
        Err(not_landed())
    }

    /// The endpoints of a sandbox, in order of joining.
    pub(crate) fn endpoints(&self, _container_id: &str) -> Vec<Endpoint> {
        Vec::new()
    }

    /// Reserves and publishes host ports: all of them or none. A conflict names the holder.
    pub(crate) fn publish(
        &self,
        _container_id: &str,
        _requests: &[PortRequest],
    ) -> Result<Vec<PortBinding>> {
        Err(not_landed())
    }

    /// The published ports of a container, as `publish` answered.
    pub(crate) fn published(&self, _container_id: &str) -> Vec<PortBinding> {
        Vec::new()
    }

    /// The container has a new name: zones and messages follow.
    pub(crate) fn rename(&self, _container_id: &str, _new_name: &str) -> Result<()> {
        Ok(())
    }

    /// Takes back ports, endpoints, names and namespace. Idempotent; never waits for the kernel.
    pub(crate) fn remove_sandbox(&self, _container_id: &str) -> Result<()> {
        Ok(())
    }

    /// After a restart of the engine: rebinds the name server and the proxies of a container that still runs.
    pub(crate) fn restore(&self, _container_id: &str) -> Result<Sandbox> {
        Err(not_landed())
    }

    /// After the last `restore`: removes what a crash left behind.
    pub(crate) fn sweep(&self) -> Result<()> {
        Ok(())
    }

    /// The engine ends in order: what no container needs goes from the kernel; waits for it.
    pub(crate) fn close(&self) -> Result<()> {
        Ok(())
    }
}

fn not_landed() -> Error {
    Error::not_implemented("networks are not there yet")
}
