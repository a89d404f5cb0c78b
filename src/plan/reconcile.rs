//! From what is wanted and what was found to a plan: networks, volumes, containers, orphans, in
//! that order. This file holds the frame; each kind has its own file.
//!
//! ```text
//! fates of containers ─→ networks ─→ volumes ─→ create phase ─→ start phase ─→ orphans
//! ```
//! The fates come first because a network or volume that must be made anew takes its containers
//! with it, and because a service that shares a namespace follows the service it shares with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::containers::{Fate, Replica};
use super::desired::Desired;
use super::observed::{ContainerState, Observed, ObservedContainer};
use super::operation::{Condition, ContainerRef, HookKind, Operation};
use super::plan::{Cause, GroupId, Location, NodeId, Plan};
use crate::compose::model::Service;
use crate::graph::Graph;
use crate::labels;

/// When containers that are there are made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recreate {
    Never,
    /// When they differ from what is wanted.
    Diverged,
    Force,
}

/// How far a plan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Containers exist.
    Created,
    /// They run.
    Started,
    /// They run, and are healthy where they have a healthcheck.
    Ready,
}

/// Finds the place of a field in the Compose files.
pub(crate) type Locate<'a> = &'a dyn Fn(&str) -> Option<Location>;

/// The choices of the user.
pub(crate) struct ReconcileOptions<'a> {
    /// Services named on the command line; empty: all.
    pub(crate) services: Vec<String>,
    /// For the named services.
    pub(crate) recreate: Recreate,
    /// For those that came along as dependencies.
    pub(crate) recreate_dependencies: Recreate,
    /// Anonymous volumes go over to the new container.
    pub(crate) inherit_volumes: bool,
    pub(crate) goal: Goal,
    /// Stop timeout of the command line.
    pub(crate) timeout: Option<Duration>,
    pub(crate) remove_orphans: bool,
    pub(crate) ignore_orphans: bool,
    /// Volumes (by key) that may be made anew, and those that must stay.
    pub(crate) volumes_accepted: BTreeSet<String>,
    pub(crate) volumes_declined: BTreeSet<String>,
    /// The engine changes healthchecks, labels and contents of running containers.
    pub(crate) live: bool,
    /// Pulls and builds that come before, in a plan that is only shown.
    pub(crate) images: Vec<Operation>,
    /// Conditions to wait for besides those between the services.
    pub(crate) waits: Vec<ExtraWait>,
    pub(crate) locate: Locate<'a>,
}

/// A condition that somebody outside of the plan waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtraWait {
    pub(crate) service: String,
    pub(crate) condition: Condition,
    pub(crate) required: bool,
    /// Who waits.
    pub(crate) waiter: String,
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PlanError(pub(crate) String);

/// Makes the plan.
///
/// # Errors
/// When something the project needs is declared external and is not there, when a name is taken,
/// or the services cannot be ordered.
pub(crate) fn reconcile(
    desired: &Desired,
    observed: &Observed,
    options: &ReconcileOptions<'_>,
) -> Result<Plan, PlanError> {
    let order = service_order(desired)?;
    let mut planner = Planner::new(desired, observed, options);
    planner.check_container_names()?;
    planner.select_networks()?;
    planner.select_volumes()?;
    planner.plan_images();
    for name in &order {
        planner.decide(name)?;
    }
    planner.plan_networks();
    planner.plan_volumes();
    for name in &order {
        planner.create_service(name);
    }
    if options.goal != Goal::Created {
        for name in &order {
            planner.start_service(name)?;
        }
        planner.finish_replacements();
    }
    for wait in &options.waits {
        let cause = Cause::new(format!("{} depends on it", wait.waiter));
        planner.wait(&wait.service, wait.condition, wait.required, cause);
    }
    if options.goal == Goal::Ready {
        planner.wait_for_all(&order);
    }
    planner.plan_orphans();
    planner.remove_renamed_networks();
    planner.forget_stopped();
    Ok(planner.plan)
}

/// Services, dependencies first.
pub(crate) fn service_order(desired: &Desired) -> Result<Vec<String>, PlanError> {
    service_graph(desired)
        .order()
        .map_err(|cycle| PlanError(format!("dependency cycle detected: {}", cycle.join(" -> "))))
}

/// Edges of `depends_on` and of shared namespaces, among the services of the project.
pub(crate) fn service_graph(desired: &Desired) -> Graph<String> {
    let mut graph = Graph::new();
    for (name, service) in &desired.project.services {
        graph.add(name.clone());
        let shared = super::config_hash::referenced_services(service);
        for dependency in service.depends_on.keys().chain(&shared) {
            if desired.project.services.contains_key(dependency) && dependency != name {
                graph.depend(name.clone(), dependency.clone());
            }
        }
    }
    graph
}

/// What is known about a network or volume of the project while planning.
#[derive(Debug, Clone, Default)]
pub(super) struct ResourcePlan {
    /// Id (network) or name (volume) of the live one that is used.
    pub(super) live: Option<String>,
    /// It differs and is made anew under the same name.
    pub(super) diverged: Option<Cause>,
    /// What must be done before a container may use it.
    pub(super) ready: Option<NodeId>,
    /// Another live one that bears the key under an old name.
    pub(super) renamed_from: Option<String>,
}

/// What is known about a service while planning.
#[derive(Debug, Clone, Default)]
pub(super) struct ServicePlan {
    pub(super) replicas: Vec<Replica>,
    /// Containers beyond the wanted number.
    pub(super) surplus: Vec<(usize, Cause)>,
    /// A container of it is made anew.
    pub(super) recreated: bool,
    /// The nodes that make containers.
    pub(super) created: Vec<NodeId>,
    /// After these the service counts as started.
    pub(super) started: Vec<NodeId>,
    /// The nodes that remove surplus containers, with their numbers.
    pub(super) removed: Vec<(Option<u32>, NodeId)>,
    /// The provider of the service has run.
    pub(super) provided: Option<NodeId>,
}

/// A replacement whose old container goes away once the new one has started.
#[derive(Debug, Clone)]
pub(super) struct Replacement {
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    pub(super) service: String,
    pub(super) group: GroupId,
    pub(super) old: usize,
    pub(super) new: ContainerRef,
    pub(super) final_name: String,
    pub(super) start: NodeId,
    pub(super) cause: Cause,
}

/// The state of one planning. Private to this folder.
pub(super) struct Planner<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) options: &'a ReconcileOptions<'a>,
    pub(super) plan: Plan,
    pub(super) networks: BTreeMap<String, ResourcePlan>,
    pub(super) volumes: BTreeMap<String, ResourcePlan>,
    /// Pulls and builds by image.
    pub(super) images: BTreeMap<String, NodeId>,
    pub(super) services: BTreeMap<String, ServicePlan>,
    /// Nodes that stop a container, by its index in `observed`.
    pub(super) stopped: BTreeMap<usize, NodeId>,
    pub(super) waits: BTreeMap<(String, &'static str, bool), NodeId>,
    pub(super) replacements: Vec<Replacement>,
    /// Nodes that connect a kept container to a network that was made anew.
    pub(super) reconnected: BTreeMap<usize, Vec<NodeId>>,
}

impl<'a> Planner<'a> {
    fn new(
        desired: &'a Desired,
        observed: &'a Observed,
        options: &'a ReconcileOptions<'a>,
    ) -> Self {
        Planner {
            desired,
            observed,
            options,
            plan: Plan::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            images: BTreeMap::new(),
            services: BTreeMap::new(),
            stopped: BTreeMap::new(),
            waits: BTreeMap::new(),
            replacements: Vec::new(),
            reconnected: BTreeMap::new(),
        }
    }

    pub(super) fn service(&self, name: &str) -> &'a Service {
        &self.desired.project.services[name]
    }

    pub(super) fn container(&self, index: usize) -> &'a ObservedContainer {
        &self.observed.containers[index]
    }

    pub(super) fn container_ref(&self, index: usize) -> ContainerRef {
        let container = self.container(index);
        ContainerRef::existing(&container.name, &container.id)
    }

    /// What was to stay as it is but is stopped for a moment is not unchanged.
    fn forget_stopped(&mut self) {
        let stopped: BTreeSet<&str> = self
            .stopped
            .keys()
            .map(|index| self.observed.containers[*index].name.as_str())
            .collect();
        self.plan
            .unchanged
            .retain(|name| !stopped.contains(name.as_str()));
    }

    /// A cause that points at a field of the project.
    pub(super) fn cause(&self, text: impl Into<String>, field: String) -> Cause {
        let location = (self.options.locate)(&field);
        Cause::field(text, field).at(location)
    }

    pub(super) fn is_named(&self, service: &str) -> bool {
        self.options.services.is_empty() || self.options.services.iter().any(|s| s == service)
    }

    /// Two services must not ask for the same container name.
    fn check_container_names(&self) -> Result<(), PlanError> {
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, service) in &self.desired.project.services {
            if service.container_name.is_empty() {
                continue;
            }
            if service.wanted_scale() > 1 {
                return Err(PlanError(format!(
                    "WARNING: The \"{name}\" service is using the custom container name \"{}\". Docker requires each container to have a unique name. Remove the custom name to scale the service",
                    service.container_name
                )));
            }
            if let Some(other) = taken.insert(&service.container_name, name) {
                return Err(PlanError(format!(
                    "container name \"{}\" is already in use by service \"{other}\" and service \"{name}\"",
                    service.container_name
                )));
            }
        }
        Ok(())
    }

    fn plan_images(&mut self) {
        for operation in &self.options.images {
            let (_, image) = operation.subject();
            let (image, service) = (
                image.to_owned(),
                match operation {
                    Operation::PullImage { service, .. }
                    | Operation::BuildImage { service, .. } => service.as_str(),
                    _ => continue,
                },
            );
            if self.images.contains_key(&image) {
                continue;
            }
            let key = if matches!(operation, Operation::BuildImage { .. }) {
                "build"
            } else {
                "image"
            };
            let cause = self.cause("the service needs it", format!("services.{service}.{key}"));
            let node = self.plan.add(operation.clone(), cause, &[]);
            self.images.insert(image, node);
        }
    }

    /// Stops a live container, its `pre_stop` hooks first. One stop a container, however many
    /// reasons there are.
    pub(super) fn stop(
        &mut self,
        index: usize,
        group: Option<GroupId>,
        cause: Cause,
        after: &[NodeId],
    ) -> Option<NodeId> {
        let container = self.container(index);
        if let Some(node) = self.stopped.get(&index).copied() {
            for earlier in after {
                self.plan.order(*earlier, node);
            }
            return Some(node);
        }
        if !container.state.is_alive() {
            return None;
        }
        let mut after = after.to_vec();
        let reference = self.container_ref(index);
        if let Some(service) = self.desired.project.services.get(&container.service)
            && !container.one_off
            && container.state == ContainerState::Running
        {
            for hook in 0..service.pre_stop.len() {
                let run = Operation::RunHook {
                    service: service.name.clone(),
                    container: reference.clone(),
                    hook: HookKind::PreStop,
                    index: hook,
                };
                after = vec![self.plan.add_in(group, run, cause.clone(), &after)];
            }
        }
        let stop = Operation::StopContainer {
            service: container.service.clone(),
            container: reference,
            timeout: self.options.timeout,
        };
        let node = self.plan.add_in(group, stop, cause, &after);
        self.stopped.insert(index, node);
        Some(node)
    }

    /// Stops (when alive) and removes a container.
    pub(super) fn remove(
        &mut self,
        index: usize,
        cause: &Cause,
        volumes: bool,
        after: &[NodeId],
    ) -> NodeId {
        let stop = self.stop(index, None, cause.clone(), after);
        let mut before: Vec<NodeId> = after.to_vec();
        before.extend(stop);
        let remove = Operation::RemoveContainer {
            container: self.container_ref(index),
            volumes,
            force: true,
        };
        self.plan.add(remove, cause.clone(), &before)
    }

    fn plan_orphans(&mut self) {
        let orphans: Vec<usize> = orphans(self.desired, self.observed);
        if orphans.is_empty() {
            return;
        }
        if self.options.remove_orphans {
            for index in orphans {
                let container = self.container(index);
                let cause = if container.one_off {
                    Cause::new("one-off container that has ended")
                } else {
                    Cause::new(format!(
                        "service {} is not in the project any more",
                        container.service
                    ))
                };
                self.remove(index, &cause, false, &[]);
            }
        } else if !self.options.ignore_orphans {
            let names: Vec<&str> = orphans
                .iter()
                .map(|i| self.container(*i).name.as_str())
                .collect();
            self.plan.warnings.push(format!(
                "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.",
                names.join(" ")
            ));
        }
    }

    fn wait_for_all(&mut self, order: &[String]) {
        for name in order {
            let service = self.service(name);
            if service.provider.is_some() || service.wanted_scale() == 0 {
                continue;
            }
            let completed = order.iter().any(|other| {
                self.service(other)
                    .depends_on
                    .get(name)
                    .is_some_and(|d| d.condition == "service_completed_successfully")
            });
            let condition = if completed {
                Condition::Completed
            } else {
                Condition::RunningOrHealthy
            };
            let cause = Cause::new("--wait");
            self.wait(name, condition, true, cause);
        }
    }
}

/// Indexes of the containers that no service of the file accounts for.
pub(crate) fn orphans(desired: &Desired, observed: &Observed) -> Vec<usize> {
    let declared = |service: &str| {
        desired.project.services.contains_key(service)
            || desired.project.disabled_services.contains_key(service)
    };
    let mut found: Vec<usize> = observed
        .containers
        .iter()
        .enumerate()
        .filter(|(_, c)| {
            if c.one_off {
                matches!(c.state, ContainerState::Exited | ContainerState::Dead)
            } else {
                !declared(&c.service)
            }
        })
        .map(|(index, _)| index)
        .collect();
    found.sort_by(|a, b| {
        observed.containers[*a]
            .name
            .cmp(&observed.containers[*b].name)
    });
    found
}

/// Ids of the containers whose live limits must be known before planning: they differ from what
/// is wanted in nothing but what an engine changes in place, and may have been changed already.
pub(crate) fn needs_limits(desired: &Desired, observed: &Observed) -> Vec<String> {
    let mut ids = Vec::new();
    for container in observed.containers.iter().filter(|c| !c.one_off) {
        let Some(service) = desired.project.services.get(&container.service) else {
            continue;
        };
        let Some(old) = container.label(labels::HOIST_CONFIG) else {
            continue;
        };
        let new = super::config_hash::service_config(service);
        if super::config_hash::hash(&new) == container.config_hash() {
            continue;
        }
        let Some(changes) = super::changes::between(old, &new) else {
            continue;
        };
        let reach = changes.iter().map(super::changes::Change::reach).max();
        if reach == Some(super::changes::Reach::Update) {
            ids.push(container.id.clone());
        }
    }
    ids
}

impl Fate {
    /// The container goes away and a new one comes.
    pub(super) fn is_replaced(&self) -> bool {
        matches!(self, Fate::Recreate(_) | Fate::Renew(_))
    }
}
