//! The start phase: in which order containers start, what each start waits for, hooks around it,
//! and the end of a replacement. Which containers exist by then is decided in `containers`.

use super::containers::{Fate, Replica};
use super::desired;
use super::observed::{ContainerState, Health};
use super::operation::{Condition, ContainerRef, HookKind, Operation};
use super::plan::{Cause, GroupId, NodeId};
use super::reconcile::{PlanError, Planner, Replacement};
use crate::compose::model::Service;

impl Planner<'_> {
    /// The start phase of one service; the services it depends on were planned before.
    pub(super) fn start_service(&mut self, name: &str) -> Result<(), PlanError> {
        let service = self.service(name);
        if service.provider.is_some() {
            return Ok(());
        }
        self.stop_for_dependencies(service);
        let replicas = self
            .services
            .get(name)
            .map(|plan| plan.replicas.clone())
            .unwrap_or_default();
        let waking: Vec<&Replica> = replicas.iter().filter(|r| self.needs_start(r)).collect();
        if waking.is_empty() {
            return Ok(());
        }
        let mut gates = self.gates(service)?;
        let none_runs = !replicas.iter().any(|r| self.runs_on(r));
        if none_runs {
            gates = self.pre_start(service, &waking, gates);
        }
        for replica in waking {
            let mut gates = gates.clone();
            gates.extend(replica.created);
            // The other half of an interrupted replacement holds ports and addresses.
            gates.extend(self.twins_removed(name, replica.number));
            self.start_replica(service, replica, &gates);
        }
        Ok(())
    }

    fn twins_removed(&self, service: &str, number: u32) -> Vec<NodeId> {
        let removed = self.services.get(service).map(|plan| &plan.removed);
        removed
            .into_iter()
            .flatten()
            .filter(|(n, _)| *n == Some(number))
            .map(|(_, node)| *node)
            .collect()
    }

    /// It does not run, or will have been stopped by then.
    fn needs_start(&self, replica: &Replica) -> bool {
        match replica.live {
            Some(index) if !replica.fate.is_replaced() => {
                self.stopped.contains_key(&index)
                    || matches!(
                        self.container(index).state,
                        ContainerState::Created | ContainerState::Exited | ContainerState::Paused
                    )
            }
            _ => true,
        }
    }

    /// It runs now and is not touched.
    fn runs_on(&self, replica: &Replica) -> bool {
        !self.needs_start(replica)
            && replica
                .live
                .is_some_and(|index| self.container(index).is_running())
    }

    /// Running containers that asked to be restarted with a dependency stop before it does.
    fn stop_for_dependencies(&mut self, service: &Service) {
        for (dependency, how) in &service.depends_on {
            if !how.restart {
                continue;
            }
            let Some(plan) = self.services.get(dependency) else {
                continue;
            };
            let going_down: Vec<usize> = plan
                .replicas
                .iter()
                .filter_map(|r| r.live.filter(|index| self.stopped.contains_key(index)))
                .collect();
            if going_down.is_empty() {
                continue;
            }
            let replicas = self
                .services
                .get(&service.name)
                .map(|plan| plan.replicas.clone())
                .unwrap_or_default();
            for replica in replicas.iter().filter(|r| !r.fate.is_replaced()) {
                let Some(index) = replica.live else { continue };
                if self.stopped.contains_key(&index) {
                    continue;
                }
                let cause = self.cause(
                    format!("its dependency {dependency} goes down for a moment"),
                    format!("services.{}.depends_on.{dependency}.restart", service.name),
                );
                let Some(stop) = self.stop(index, None, cause, &[]) else {
                    continue;
                };
                for other in &going_down {
                    if let Some(later) = self.stopped.get(other).copied() {
                        self.plan.order(stop, later);
                    }
                }
            }
        }
    }

    /// What the start of a service waits for.
    fn gates(&mut self, service: &Service) -> Result<Vec<NodeId>, PlanError> {
        let mut gates = Vec::new();
        for (dependency, how) in &service.depends_on {
            let Some(other) = self.desired.project.services.get(dependency) else {
                continue;
            };
            let Some(plan) = self.services.get(dependency) else {
                continue;
            };
            if other.provider.is_some() {
                gates.extend(plan.provided);
                continue;
            }
            if other.wanted_scale() == 0 {
                continue;
            }
            gates.extend(plan.started.iter().copied());
            let condition = match how.condition.as_str() {
                "service_healthy" => Condition::Healthy,
                "service_completed_successfully" => Condition::Completed,
                _ => continue,
            };
            let cause = self.cause(
                format!("{} depends on it", service.name),
                format!("services.{}.depends_on.{dependency}", service.name),
            );
            gates.extend(self.wait(dependency, condition, how.required, cause));
        }
        gates.sort();
        gates.dedup();
        Ok(gates)
    }

    /// A node that waits for a service, shared by all that wait for the same. None when what was
    /// observed fulfils the condition already.
    pub(super) fn wait(
        &mut self,
        name: &str,
        condition: Condition,
        required: bool,
        cause: Cause,
    ) -> Option<NodeId> {
        let key = (name.to_owned(), condition.as_str(), required);
        if let Some(node) = self.waits.get(&key) {
            return Some(*node);
        }
        let plan = self.services.get(name)?;
        if plan.started.is_empty() && plan.replicas.iter().all(|r| self.fulfils(r, condition)) {
            return None;
        }
        let wait = Operation::Wait {
            service: name.to_owned(),
            containers: plan.replicas.iter().map(|r| r.reference.clone()).collect(),
            condition,
            required,
        };
        let after = plan.started.clone();
        let node = self.plan.add(wait, cause, &after);
        self.waits.insert(key, node);
        Some(node)
    }

    fn fulfils(&self, replica: &Replica, condition: Condition) -> bool {
        let Some(index) = replica.live else {
            return false;
        };
        let container = self.container(index);
        match condition {
            Condition::Started => container.is_running(),
            Condition::Healthy => container.is_running() && container.health == Health::Healthy,
            Condition::Completed => {
                container.state == ContainerState::Exited && container.exit_code() == Some(0)
            }
            // Only an inspect tells whether there is a healthcheck at all.
            Condition::RunningOrHealthy => {
                container.is_running() && matches!(container.health, Health::Healthy | Health::None)
            }
        }
    }

    /// `pre_start` hooks run once for the service, or once for each replica.
    fn pre_start(
        &mut self,
        service: &Service,
        waking: &[&Replica],
        gates: Vec<NodeId>,
    ) -> Vec<NodeId> {
        let mut gates = gates;
        if service.pre_start.is_empty() {
            return gates;
        }
        gates.extend(waking.iter().filter_map(|r| r.created));
        for (index, hook) in service.pre_start.iter().enumerate() {
            let replicas = if hook.per_replica {
                waking
            } else {
                &waking[..1]
            };
            let mut done = Vec::new();
            for replica in replicas {
                let run = Operation::RunPreStart {
                    service: service.name.clone(),
                    index,
                    number: replica.number,
                    container: replica.reference.clone(),
                };
                let cause = self.cause(
                    "pre_start hook",
                    format!("services.{}.pre_start[{index}]", service.name),
                );
                done.push(self.plan.add(run, cause, &gates));
            }
            gates = done;
        }
        gates
    }

    fn start_replica(&mut self, service: &Service, replica: &Replica, gates: &[NodeId]) {
        let mut before = gates.to_vec();
        let mut group = None;
        let mut cause = match &replica.fate {
            Fate::Create(cause)
            | Fate::Renew(cause)
            | Fate::Recreate(cause)
            | Fate::Update(cause) => cause.clone(),
            Fate::Keep => Cause::new("it does not run"),
        };
        if let (Fate::Recreate(_), Some(index), Some(created)) =
            (&replica.fate, replica.live, replica.created)
        {
            group = self.plan.node(created).group;
            // The old one serves until everything the new one waits for is there.
            before.extend(self.stop(index, group, cause.clone(), gates));
        } else if let Some(index) = replica.live.filter(|_| !replica.fate.is_replaced()) {
            if let Some(stop) = self.stopped.get(&index) {
                cause = self.plan.node(*stop).cause.clone();
                before.push(*stop);
            }
            before.extend(self.reconnected.get(&index).into_iter().flatten().copied());
            if self.container(index).state == ContainerState::Paused
                && !self.stopped.contains_key(&index)
            {
                let unpause = Operation::UnpauseContainer {
                    container: replica.reference.clone(),
                };
                let node = self.plan.add(unpause, Cause::new("it is paused"), &before);
                self.note_started(&service.name, node);
                return;
            }
        }
        if !desired::inline_files(&self.desired.project, service).is_empty() {
            let upload = Operation::UploadFiles {
                service: service.name.clone(),
                container: replica.reference.clone(),
            };
            let text = Cause::new("contents of its configs and secrets");
            before.push(self.plan.add_in(group, upload, text, &before));
        }
        let start = Operation::StartContainer {
            service: service.name.clone(),
            container: replica.reference.clone(),
        };
        let start = self.plan.add_in(group, start, cause.clone(), &before);
        self.note_started(&service.name, start);
        self.post_start(service, &replica.reference, start);
        if let (Some(group), Some(old)) = (group, replica.live) {
            self.replacements.push(Replacement {
                service: service.name.clone(),
                group,
                old,
                new: replica.reference.clone(),
                final_name: self.desired.container_name(service, replica.number),
                start,
                cause,
            });
        }
    }

    fn post_start(&mut self, service: &Service, container: &ContainerRef, start: NodeId) {
        let mut after = start;
        for index in 0..service.post_start.len() {
            let run = Operation::RunHook {
                service: service.name.clone(),
                container: container.clone(),
                hook: HookKind::PostStart,
                index,
            };
            let cause = self.cause(
                "post_start hook",
                format!("services.{}.post_start[{index}]", service.name),
            );
            after = self.plan.add(run, cause, &[after]);
            self.note_started(&service.name, after);
        }
    }

    fn note_started(&mut self, service: &str, node: NodeId) {
        if let Some(plan) = self.services.get_mut(service) {
            plan.started.push(node);
        }
    }

    /// The old container of each replacement goes, and the new one gets its name.
    pub(super) fn finish_replacements(&mut self) {
        for replacement in std::mem::take(&mut self.replacements) {
            let group: Option<GroupId> = Some(replacement.group);
            let remove = Operation::RemoveContainer {
                container: self.container_ref(replacement.old),
                volumes: false,
                force: true,
            };
            let removed = self.plan.add_in(
                group,
                remove,
                replacement.cause.clone(),
                &[replacement.start],
            );
            let rename = Operation::RenameContainer {
                container: replacement.new.clone(),
                name: replacement.final_name.clone(),
            };
            self.plan
                .add_in(group, rename, replacement.cause, &[removed]);
        }
    }
}
