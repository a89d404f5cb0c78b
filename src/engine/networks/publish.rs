//! Published ports of a sandbox: host sockets, proxies on them, and the firewall's translation, all or nothing.

use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Result};
use crate::engine::networks::Networks;
use crate::engine::networks::config::{PortBinding, PortRequest};
use crate::engine::networks::driver::Driver;
use crate::engine::networks::endpoint::{gateways_of, sandbox_of};
use crate::engine::networks::firewall::{self, PortRule};
use crate::engine::networks::ports::{self, Reserved};
use crate::engine::networks::proxy::{self, Proxy, Target};
use crate::engine::networks::sandbox::withdraw;
use crate::engine::networks::state::State;

impl Networks {
    /// Reserves and publishes host ports: all of them or none. A conflict names the holder. A container that is in no bridge
    /// network with a way out publishes nothing, as with Docker.
    pub(crate) fn publish(
        &self,
        container_id: &str,
        requests: &[PortRequest],
    ) -> Result<Vec<PortBinding>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let sandbox = sandbox_of(state, container_id)?;
        let Some(address) = sandbox.targets.ipv4.or(sandbox.targets.ipv6) else {
            return Ok(Vec::new());
        };
        let all: Vec<_> = sandbox.endpoints.iter().collect();
        let (gateway4, gateway6) = gateways_of(&all);
        let network = gateway4
            .or(gateway6)
            .and_then(|endpoint| state.networks.get(&endpoint.network_id));
        let Some(Driver::Bridge(options)) = network.map(|network| &network.driver) else {
            return Ok(Vec::new());
        };
        let holders = |protocol, host_ip, port| state.port_owner(protocol, host_ip, port);
        let reserved = ports::reserve(requests, options.host_binding, &holders)?;
        let bindings: Vec<PortBinding> = reserved
            .iter()
            .map(|reserved| reserved.binding.clone())
            .collect();
        let target = Target::new(address);
        let proxies = self.start_proxies(reserved, &target)?;
        let Some(sandbox) = state.sandboxes.get_mut(container_id) else {
            return Ok(Vec::new());
        };
        let before = sandbox.bindings.len();
        sandbox.bindings.extend(bindings.iter().cloned());
        let mut rules = sandbox.port_rules();
        let old: Vec<PortBinding> = sandbox.bindings[..before].to_vec();
        rules.retain(|rule| !old.iter().any(|binding| is_of(rule, binding)));
        if let Err(error) = self.announce(state, &rules) {
            withdraw(state, &rules);
            if let Some(sandbox) = state.sandboxes.get_mut(container_id) {
                sandbox.bindings.truncate(before);
            }
            // Not waited for: the lock is held, and the task that closes them may want it.
            drop(proxies);
            return Err(error);
        }
        if let Some(sandbox) = state.sandboxes.get_mut(container_id) {
            sandbox.proxies.extend(proxies);
            sandbox.target = Some(target);
            self.save_sandbox(container_id, sandbox)?;
        }
        Ok(bindings)
    }

    /// What `publish` answered, also after `restore`.
    pub(crate) fn published(&self, container_id: &str) -> Vec<PortBinding> {
        lock(&self.state)
            .sandboxes
            .get(container_id)
            .map(|sandbox| sandbox.bindings.clone())
            .unwrap_or_default()
    }

    pub(crate) fn start_proxies(
        &self,
        reserved: Vec<Reserved>,
        target: &Target,
    ) -> Result<Vec<Proxy>> {
        let mut proxies = Vec::new();
        for port in reserved {
            let container_port = port.binding.container_port;
            match proxy::spawn(&self.runtime, port.socket, target.clone(), container_port) {
                Ok(proxy) => proxies.push(proxy),
                Err(error) => {
                    proxy::close(proxies);
                    return Err(Error::system(format!(
                        "publish port {container_port}: {error}"
                    )));
                }
            }
        }
        Ok(proxies)
    }

    /// Puts published ports into the firewall.
    pub(crate) fn announce(&self, state: &mut State, rules: &[PortRule]) -> Result<()> {
        if rules.is_empty() {
            return Ok(());
        }
        let changes = firewall::publish(&state.kernel.names.table(), rules);
        if changes.is_empty() {
            return Ok(());
        }
        state.change_firewall(&changes)
    }
}

fn is_of(rule: &PortRule, binding: &PortBinding) -> bool {
    rule.host_ip == binding.host_ip
        && rule.host_port == binding.host_port
        && rule.protocol == binding.protocol
}
