//! Sandboxes: the network namespace of a container with its name server and /etc files, from the warm pool to the reaper.
//! Joining networks is in `endpoint`, published ports in `publish`.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::base::records::{self, Durability};
use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Result};
use crate::engine::networks::Networks;
use crate::engine::networks::config::{Sandbox, SandboxConfig, SandboxKind};
use crate::engine::networks::dns_forward::Upstream;
use crate::engine::networks::dns_server::{self, Asker, Resolver, ResolverSockets};
use crate::engine::networks::etc_files::{self, RESOLVER_ADDRESS, ResolvConf, write_in_place};
use crate::engine::networks::firewall;
use crate::engine::networks::netns_pool::Netns;
use crate::engine::networks::proxy;
use crate::engine::networks::state::{SandboxEntry, State};
use crate::sys::netns;

impl Networks {
    /// A namespace (from the warm pool) and the /etc files of a container; idempotent.
    pub(crate) fn create_sandbox(
        &self,
        container_id: &str,
        config: SandboxConfig,
    ) -> Result<Sandbox> {
        etc_files::validate(&config)?;
        let mut state = lock(&self.state);
        if let Some(entry) = state.sandboxes.get(container_id)
            && entry.config.kind == config.kind
        {
            return Ok(self.sandbox_paths(container_id, entry.config.kind));
        }
        self.write_etc_files(container_id, &config)?;
        let mut entry = SandboxEntry::new(config);
        let kind = entry.config.kind;
        if kind != SandboxKind::Host {
            let mut netns = self
                .pool
                .take()
                .map_err(|error| Error::system(format!("create a network namespace: {error}")))?;
            let path = self.netns_path(container_id);
            netns::pin(netns.handle.as_fd(), &path)
                .map_err(|error| Error::system(format!("pin a network namespace: {error}")))?;
            if kind == SandboxKind::Isolated
                && let Some(sockets) = netns.resolver.take()
            {
                entry.resolver =
                    Some(self.serve_names(container_id, &entry.config, &netns, sockets)?);
            }
            netns.resolver = None;
            entry.netns = Some(netns);
        }
        // The others are saved when they join; until then the pin alone tells `sweep` of them.
        if kind != SandboxKind::Isolated {
            self.save_sandbox(container_id, &entry)?;
        }
        state.sandboxes.insert(container_id.to_owned(), entry);
        Ok(self.sandbox_paths(container_id, kind))
    }

    /// The sandbox of a running container: for `network_mode: container:…`.
    pub(crate) fn sandbox(&self, container_id: &str) -> Option<Sandbox> {
        let state = lock(&self.state);
        let entry = state.sandboxes.get(container_id)?;
        Some(self.sandbox_paths(container_id, entry.config.kind))
    }

    /// Takes back ports, endpoints, names and namespace. Idempotent; never waits for the kernel.
    pub(crate) fn remove_sandbox(&self, container_id: &str) -> Result<()> {
        let mut state = lock(&self.state);
        let Some(entry) = state.sandboxes.remove(container_id) else {
            return Ok(());
        };
        let rules = entry.port_rules();
        withdraw(&mut state, &rules);
        self.zones.remove_view(container_id);
        for endpoint in &entry.endpoints {
            self.zones.remove(&endpoint.network_id, &endpoint.id);
            if let Some(network) = state.networks.get_mut(&endpoint.network_id) {
                network.release(endpoint);
            }
        }
        let networks: Vec<_> = entry
            .endpoints
            .iter()
            .filter_map(|endpoint| state.networks.get(&endpoint.network_id))
            .map(|network| network.network.clone())
            .collect();
        drop(state);
        proxy::close(entry.proxies);
        if entry.netns.is_some() {
            self.reaper.unpin(self.netns_path(container_id));
        }
        for network in networks {
            self.publish_event("disconnect", &network, [("container", container_id)]);
        }
        records::remove(&self.sandbox_record_path(container_id))
    }

    /// The container has a new name: zones and messages follow.
    pub(crate) fn rename(&self, container_id: &str, new_name: &str) -> Result<()> {
        let mut state = lock(&self.state);
        let Some(entry) = state.sandboxes.get_mut(container_id) else {
            return Ok(());
        };
        let old_name = std::mem::replace(&mut entry.config.container_name, new_name.to_owned());
        for endpoint in &mut entry.endpoints {
            for name in &mut endpoint.dns_names {
                if *name == old_name {
                    new_name.clone_into(name);
                }
            }
            self.zones.remove(&endpoint.network_id, &endpoint.id);
            self.add_to_zone(endpoint);
        }
        self.save_sandbox(container_id, entry)
    }

    pub(crate) fn netns_path(&self, container_id: &str) -> PathBuf {
        self.paths.netns().join(container_id)
    }

    pub(crate) fn sandbox_paths(&self, container_id: &str, kind: SandboxKind) -> Sandbox {
        let folder = self.paths.container(container_id);
        Sandbox {
            netns_path: (kind != SandboxKind::Host).then(|| self.netns_path(container_id)),
            hosts_path: folder.join("hosts"),
            resolv_conf_path: folder.join("resolv.conf"),
            hostname_path: folder.join("hostname"),
        }
    }

    pub(crate) fn sandbox_record_path(&self, container_id: &str) -> PathBuf {
        self.sandbox_records().join(format!("{container_id}.json"))
    }

    /// Under the run root: the records go with the kernel's objects when the machine restarts.
    pub(crate) fn sandbox_records(&self) -> PathBuf {
        self.paths.run_root().join("sandboxes")
    }

    pub(crate) fn save_sandbox(&self, container_id: &str, entry: &SandboxEntry) -> Result<()> {
        records::save(
            &self.sandbox_record_path(container_id),
            &entry.record(container_id),
            Durability::Renamed,
        )
    }

    pub(crate) fn serve_names(
        &self,
        container_id: &str,
        config: &SandboxConfig,
        netns: &Netns,
        sockets: ResolverSockets,
    ) -> Result<Resolver> {
        let upstream = if config.dns.is_empty() {
            Upstream::Host(Arc::clone(&self.host_servers))
        } else {
            let servers = config.dns.iter().filter_map(|text| text.parse().ok());
            Upstream::Named {
                servers: servers
                    .map(|address: IpAddr| SocketAddr::new(address, 53))
                    .collect(),
                netns: Arc::clone(&netns.handle),
            }
        };
        let asker = Asker {
            container_id: container_id.to_owned(),
            zones: Arc::clone(&self.zones),
            upstream: Arc::new(upstream),
        };
        dns_server::spawn(&self.runtime, sockets, Arc::new(asker))
            .map_err(|error| Error::system(format!("start the name server: {error}")))
    }

    fn write_etc_files(&self, container_id: &str, config: &SandboxConfig) -> Result<()> {
        let paths = self.sandbox_paths(container_id, config.kind);
        fs::create_dir_all(self.paths.container(container_id))?;
        let host = ResolvConf::of_host();
        let (hosts, servers) = match config.kind {
            SandboxKind::Isolated => (
                etc_files::hosts(config, &[], None),
                vec![IpAddr::V4(RESOLVER_ADDRESS)],
            ),
            SandboxKind::None => (etc_files::hosts(config, &[], None), named_or(config, &host)),
            SandboxKind::Host => {
                let mut text = fs::read_to_string("/etc/hosts").unwrap_or_default();
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                let gateway = IpAddr::from([127, 0, 0, 1]);
                text.push_str(&etc_files::extra_hosts(config, Some(gateway)));
                (text, named_or(config, &host))
            }
        };
        let resolv_conf = etc_files::resolv_conf(config, &host, &servers);
        let hostname = format!("{}\n", config.hostname);
        for (path, text) in [
            (&paths.hosts_path, &hosts),
            (&paths.resolv_conf_path, &resolv_conf),
            (&paths.hostname_path, &hostname),
        ] {
            write_in_place(path, text)
                .map_err(|error| Error::system(format!("write {}: {error}", path.display())))?;
        }
        Ok(())
    }
}

/// The name servers that a container without our resolver asks.
fn named_or(config: &SandboxConfig, host: &ResolvConf) -> Vec<IpAddr> {
    let named: Vec<IpAddr> = config
        .dns
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    if named.is_empty() {
        host.name_servers.clone()
    } else {
        named
    }
}

/// Takes published ports out of the firewall; what is missing there is no matter.
pub(crate) fn withdraw(state: &mut State, rules: &[firewall::PortRule]) {
    if rules.is_empty() || !state.kernel.has_table {
        return;
    }
    let changes = firewall::unpublish(&state.kernel.names.table(), rules);
    if let Err(error) = state.kernel.nft.commit(&changes) {
        tracing::debug!(%error, "withdraw published ports");
    }
}
