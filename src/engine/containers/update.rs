//! Changes to a container that keep it: limits and restart policy, its name, its networks.

use std::sync::Arc;

use crate::engine::base::{Error, Result};
use crate::engine::containers::actor::Actor;
use crate::engine::containers::config::{EndpointSettings, Resources, RestartPolicy};
use crate::engine::containers::record::{Record, save_record};
use crate::engine::containers::state::Request;
use crate::engine::containers::{devices, names, network, restart_policy, spec, validate};
use crate::oci::Healthcheck;

/// New limits and policy. Zero and `None` keep what is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Update {
    pub(crate) resources: Resources,
    pub(crate) restart_policy: Option<RestartPolicy>,
    /// hoist's own: labels to set, in place of a recreation.
    pub(crate) labels: Option<std::collections::BTreeMap<String, String>>,
    /// hoist's own: another healthcheck from now on.
    pub(crate) healthcheck: Option<Healthcheck>,
}

impl Actor {
    pub(crate) async fn update(&mut self, update: Update) -> Result<Vec<String>> {
        self.admit(Request::Update)?;
        let mut record = Record::clone(&self.record);
        apply_resources(&mut record.host.resources, &update.resources);
        validate::check_resources(&record.host.resources)?;
        if let Some(policy) = update
            .restart_policy
            .filter(|policy| !policy.name.is_empty())
        {
            let parsed = restart_policy::parse(&policy)?;
            if record.host.auto_remove && parsed != restart_policy::RestartPolicy::No {
                return Err(Error::invalid(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container",
                ));
            }
            record.host.restart_policy = policy;
        }
        if let Some(labels) = update.labels {
            record.config.labels = labels;
        }
        let new_healthcheck = update.healthcheck.is_some();
        if let Some(healthcheck) = update.healthcheck {
            record.config.healthcheck = Some(healthcheck);
        }
        let limits_changed = record.host.resources != self.record.host.resources;
        if let (Some(shim), true) = (&self.shim, limits_changed) {
            let (_, block_devices) = devices::collect(&record)?;
            let resources = spec::resources(&record.host.resources, &block_devices)?;
            shim.update(resources).await.map_err(|error| {
                Error::system(format!("Cannot update container {}: {error}", record.id))
            })?;
        }
        save_record(&self.deps.paths, &record)?;
        self.record = Arc::new(record);
        if new_healthcheck {
            self.restart_probes();
        }
        self.publish();
        self.event("update", &[]);
        Ok(Vec::new())
    }

    pub(crate) fn rename(&mut self, name: &str) -> Result<()> {
        self.admit(Request::Rename)?;
        if name.trim_start_matches('/').is_empty() {
            return Err(Error::invalid("Neither old nor new names may be empty"));
        }
        let name = names::checked(name)?;
        if name == self.record.name {
            return Err(Error::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        self.deps.reserve_name(&name, &self.record.id)?;
        let mut record = Record::clone(&self.record);
        let old_name = std::mem::replace(&mut record.name, name.clone());
        let renamed = save_record(&self.deps.paths, &record)
            .and_then(|()| self.deps.networks.rename(&record.id, &name));
        if let Err(error) = renamed {
            self.deps.release_name(&name, &self.record.id);
            if let Err(error) = save_record(&self.deps.paths, &self.record) {
                tracing::error!(container.id = %self.record.id, %error, "keep the old name");
            }
            return Err(error);
        }
        self.deps.release_name(&old_name, &self.record.id);
        self.record = Arc::new(record);
        self.publish();
        self.event("rename", &[("oldName", format!("/{old_name}"))]);
        Ok(())
    }

    pub(crate) fn connect(&mut self, network_name: &str, settings: EndpointSettings) -> Result<()> {
        self.admit(Request::Network)?;
        let found = self.deps.networks.get(network_name)?;
        let mode = self.record.host.network_mode.as_str();
        if mode == "host" || found.name == "host" {
            return Err(Error::forbidden(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        if mode.starts_with("container:") {
            return Err(Error::forbidden(format!(
                "container sharing network namespace with another container or host cannot be connected to any other network: {network_name}"
            )));
        }
        let already = self.key_of(&found.id, &found.name);
        if let Some(key) = &already
            && (self.run.state.has_process() || *key != found.name)
        {
            return Err(Error::forbidden(format!(
                "endpoint with name {} already exists in network {}",
                self.record.name, found.name
            )));
        }
        let mut record = Record::clone(&self.record);
        if mode == "none" {
            record.networks.shift_remove("none");
            record.host.network_mode.clone_from(&found.name);
        }
        let config = network::endpoint_config(&record, &found.name, &settings)?;
        record.networks.insert(found.name.clone(), settings);
        if self.run.state.has_process() {
            let endpoint = self.deps.networks.join(&record.id, &found.id, config)?;
            let mut view = (*self.network).clone();
            view.endpoints.push(endpoint);
            self.network = Arc::new(view);
        }
        save_record(&self.deps.paths, &record)?;
        self.record = Arc::new(record);
        self.publish();
        Ok(())
    }

    pub(crate) fn disconnect(&mut self, network_name: &str) -> Result<()> {
        self.admit(Request::Network)?;
        let found = self.deps.networks.get(network_name)?;
        if found.name == "host" || self.record.host.network_mode == "host" {
            return Err(Error::forbidden(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        let Some(key) = self.key_of(&found.id, &found.name) else {
            return Err(Error::forbidden(format!(
                "container {} is not connected to network {}",
                self.record.id, found.name
            )));
        };
        if self.run.state.has_process() {
            self.deps.networks.leave(&self.record.id, &found.id)?;
            let mut view = (*self.network).clone();
            view.endpoints
                .retain(|endpoint| endpoint.network_id != found.id);
            self.network = Arc::new(view);
        }
        let mut record = Record::clone(&self.record);
        record.networks.shift_remove(&key);
        save_record(&self.deps.paths, &record)?;
        self.record = Arc::new(record);
        self.publish();
        Ok(())
    }

    /// The name under which the container has this network, which may be the network's id.
    fn key_of(&self, network_id: &str, network_name: &str) -> Option<String> {
        self.record
            .networks
            .keys()
            .find(|key| {
                *key == network_name
                    || *key == network_id
                    || (key.len() >= 12 && network_id.starts_with(key.as_str()))
            })
            .cloned()
    }
}

/// Docker's rule: what is zero or absent in the update stays.
fn apply_resources(current: &mut Resources, update: &Resources) {
    let memory_changed = update.memory != 0 && update.memory != current.memory;
    // The swap limit that was filled in follows the memory limit.
    if memory_changed && update.memory_swap == 0 && current.memory_swap == current.memory * 2 {
        current.memory_swap = update.memory.saturating_mul(2);
    }
    for (field, value) in [
        (&mut current.cpu_shares, update.cpu_shares),
        (&mut current.memory, update.memory),
        (&mut current.memory_swap, update.memory_swap),
        (&mut current.memory_reservation, update.memory_reservation),
        (&mut current.cpu_period, update.cpu_period),
        (&mut current.cpu_quota, update.cpu_quota),
        (&mut current.cpu_realtime_period, update.cpu_realtime_period),
        (
            &mut current.cpu_realtime_runtime,
            update.cpu_realtime_runtime,
        ),
        (&mut current.nano_cpus, update.nano_cpus),
    ] {
        if value != 0 {
            *field = value;
        }
    }
    if update.blkio_weight != 0 {
        current.blkio_weight = update.blkio_weight;
    }
    for (field, value) in [
        (&mut current.cpuset_cpus, &update.cpuset_cpus),
        (&mut current.cpuset_mems, &update.cpuset_mems),
    ] {
        if !value.is_empty() {
            field.clone_from(value);
        }
    }
    if update.pids_limit.is_some() {
        current.pids_limit = update.pids_limit;
    }
    if update.memory_swappiness.is_some() {
        current.memory_swappiness = update.memory_swappiness;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_keeps_what_is() {
        let mut current = Resources {
            memory: 10 << 20,
            memory_swap: 20 << 20,
            cpu_shares: 5,
            ..Resources::default()
        };
        let update = Resources {
            memory: 30 << 20,
            pids_limit: Some(7),
            ..Resources::default()
        };
        apply_resources(&mut current, &update);
        assert_eq!((current.memory, current.memory_swap), (30 << 20, 60 << 20));
        assert_eq!((current.cpu_shares, current.pids_limit), (5, Some(7)));
    }
}
