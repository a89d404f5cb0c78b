//! Networks of the project: which live one is meant, and what makes the live ones right. A
//! network cannot be changed; when it differs it is made anew and its containers are moved.

use super::config_hash;
use super::observed::ObservedNetwork;
use super::operation::Operation;
use super::plan::{Cause, NodeId};
use super::reconcile::{PlanError, Planner, ResourcePlan};
use crate::compose::model::Network;
use crate::labels;

impl Planner<'_> {
    /// Finds the live network of each declared one.
    pub(super) fn select_networks(&mut self) -> Result<(), PlanError> {
        for (key, network) in &self.desired.project.networks {
            let plan = if network.external {
                self.external_network(network)?
            } else {
                self.own_network(key, network)
            };
            self.networks.insert(key.clone(), plan);
        }
        Ok(())
    }

    fn external_network(&self, network: &Network) -> Result<ResourcePlan, PlanError> {
        let named: Vec<&ObservedNetwork> = self
            .observed
            .networks
            .iter()
            .filter(|n| n.name == network.name)
            .collect();
        let found = match named.as_slice() {
            [one] => one,
            [] => self
                .observed
                .networks
                .iter()
                .find(|n| {
                    n.id == network.name
                        || (network.name.len() >= 12 && n.id.starts_with(&network.name))
                })
                .ok_or_else(|| {
                    PlanError(format!(
                        "network {} declared as external, but could not be found",
                        network.name
                    ))
                })?,
            _ => {
                return Err(PlanError(format!(
                    "multiple networks with name \"{}\" were found. Use network ID as `name` to avoid ambiguity",
                    network.name
                )));
            }
        };
        Ok(ResourcePlan {
            live: Some(found.id.clone()),
            ..ResourcePlan::default()
        })
    }

    fn own_network(&mut self, key: &str, network: &Network) -> ResourcePlan {
        let project = &self.desired.project.name;
        let label = |n: &ObservedNetwork, name: &str| n.labels.get(name).cloned();
        let mut candidates: Vec<&ObservedNetwork> = self
            .observed
            .networks
            .iter()
            .filter(|n| {
                label(n, labels::PROJECT).as_deref() == Some(project)
                    && label(n, labels::NETWORK).as_deref() == Some(key)
            })
            .collect();
        candidates.sort_by(|a, b| a.name.cmp(&b.name));
        let exact = candidates
            .iter()
            .copied()
            .find(|n| n.name == network.name)
            .or_else(|| {
                self.observed
                    .networks
                    .iter()
                    .find(|n| n.name == network.name)
            });
        let Some(found) = exact else {
            return ResourcePlan {
                renamed_from: candidates.first().map(|n| n.id.clone()),
                ..ResourcePlan::default()
            };
        };
        let owner = label(found, labels::PROJECT);
        if owner.as_deref() != Some(project) {
            self.plan.warnings.push(match owner {
                Some(other) => format!(
                    "a network with name {} exists but was created for project \"{other}\". Set `external: true` to use an existing network",
                    found.name
                ),
                None => format!(
                    "a network with name {} exists but was not created by compose. Set `external: true` to use an existing network",
                    found.name
                ),
            });
            return ResourcePlan {
                live: Some(found.id.clone()),
                ..ResourcePlan::default()
            };
        }
        let old = label(found, labels::CONFIG_HASH).unwrap_or_default();
        let new = config_hash::network_hash(network);
        let diverged = (!old.is_empty() && old != new).then(|| {
            let text = "the configuration of the network changed";
            self.drift_cause(
                text,
                &format!("networks.{key}"),
                &found.labels,
                &crate::compose::model::network_json(network),
            )
        });
        ResourcePlan {
            live: Some(found.id.clone()),
            diverged,
            ..ResourcePlan::default()
        }
    }

    /// A cause that names the first differing field where the old configuration is recorded.
    pub(super) fn drift_cause(
        &self,
        text: &str,
        path: &str,
        old: &std::collections::BTreeMap<String, String>,
        new: &str,
    ) -> Cause {
        let changes = old
            .get(labels::HOIST_CONFIG)
            .and_then(|old| super::changes::between(old, new))
            .unwrap_or_default();
        match changes.first() {
            Some(change) => {
                let mut cause = self.cause(text, format!("{path}.{}", change.path));
                cause.old.clone_from(&change.old);
                cause.new.clone_from(&change.new);
                cause
            }
            None => self.cause(text, path.to_owned()),
        }
    }

    /// Operations for the networks, before any container.
    pub(super) fn plan_networks(&mut self) {
        let keys: Vec<String> = self.desired.project.networks.keys().cloned().collect();
        for key in keys {
            let network = &self.desired.project.networks[&key];
            let Some(plan) = self.networks.get(&key).cloned() else {
                continue;
            };
            let ready = match (&plan.live, &plan.diverged) {
                (Some(_), None) => continue,
                (None, _) => {
                    let text = if plan.renamed_from.is_some() {
                        "the network has another name now"
                    } else {
                        "no such network yet"
                    };
                    let cause = self.cause(text, format!("networks.{key}"));
                    self.create_network(&key, network, cause, &[])
                }
                (Some(id), Some(cause)) => self.renew_network(&key, network, id, cause),
            };
            if let Some(plan) = self.networks.get_mut(&key) {
                plan.ready = Some(ready);
            }
        }
    }

    fn create_network(
        &mut self,
        key: &str,
        network: &Network,
        cause: Cause,
        after: &[NodeId],
    ) -> NodeId {
        let create = Operation::CreateNetwork {
            key: key.to_owned(),
            name: network.name.clone(),
        };
        self.plan.add(create, cause, after)
    }

    /// Stops and disconnects what is on the network, makes it anew, connects what stays.
    fn renew_network(&mut self, key: &str, network: &Network, id: &str, cause: &Cause) -> NodeId {
        let mut before = Vec::new();
        let mut kept = Vec::new();
        for index in 0..self.observed.containers.len() {
            let container = self.container(index);
            if !container
                .networks
                .iter()
                .any(|(_, connected)| connected == id)
            {
                continue;
            }
            let stop = self.stop(index, None, cause.clone(), &[]);
            let disconnect = Operation::DisconnectNetwork {
                network: network.name.clone(),
                container: self.container_ref(index),
            };
            before.push(self.plan.add(disconnect, cause.clone(), stop.as_slice()));
            if self.is_kept(index)
                && self.desired.project.services[&container.service]
                    .networks
                    .contains_key(key)
            {
                kept.push(index);
            }
        }
        let remove = Operation::RemoveNetwork {
            name: network.name.clone(),
            id: id.to_owned(),
            best_effort: false,
        };
        let removed = self.plan.add(remove, cause.clone(), &before);
        let created = self.create_network(key, network, cause.clone(), &[removed]);
        for index in kept {
            let connect = Operation::ConnectNetwork {
                key: key.to_owned(),
                network: network.name.clone(),
                service: self.container(index).service.clone(),
                number: self.container(index).number.unwrap_or(1),
                container: self.container_ref(index),
            };
            let node = self.plan.add(connect, cause.clone(), &[created]);
            self.reconnected.entry(index).or_default().push(node);
        }
        created
    }

    /// Whether a live container stays as a replica of its service.
    fn is_kept(&self, index: usize) -> bool {
        self.services
            .get(&self.container(index).service)
            .is_some_and(|plan| {
                plan.replicas
                    .iter()
                    .any(|r| r.live == Some(index) && !r.fate.is_replaced())
            })
    }

    /// Networks that only differ in name from the wanted one: removed when nothing is on them.
    pub(super) fn remove_renamed_networks(&mut self) {
        let old: Vec<String> = self
            .networks
            .values()
            .filter_map(|plan| plan.renamed_from.clone())
            .collect();
        if old.is_empty() {
            return;
        }
        let removals: Vec<NodeId> = self
            .plan
            .nodes()
            .filter(|(_, node)| matches!(node.operation, Operation::RemoveContainer { .. }))
            .map(|(id, _)| id)
            .collect();
        for id in old {
            let Some(network) = self.observed.networks.iter().find(|n| n.id == id) else {
                continue;
            };
            let remove = Operation::RemoveNetwork {
                name: network.name.clone(),
                id,
                best_effort: true,
            };
            self.plan.add(
                remove,
                Cause::new("the network has another name now"),
                &removals,
            );
        }
    }
}
