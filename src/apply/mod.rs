//! Carries a plan out: starts every operation whose prerequisites are done, all at once, stops at
//! the first failure, and undoes what was done of a replacement that is not complete. It decides
//! nothing: what to do and in which order is the plan's.

mod hooks;
mod operations;
mod provider;
mod wait;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::client::{Client, ClientError};
use crate::plan::plan::GroupId;
use crate::plan::{ContainerRef, Desired, NodeId, Observed, Operation, Plan};
use crate::progress::{Event, Resource, Sink};

/// Engine calls that run at once when no limit was given.
const DEFAULT_PARALLEL: usize = 64;

/// Why a plan could not be carried out to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A condition can never be fulfilled any more; `log` has the last lines of who failed.
    #[error("{message}{}", tail(.log))]
    Wait { message: String, log: Vec<String> },
    #[error("application not healthy after {0:?}")]
    Timeout(Duration),
    /// A hook or provider failed.
    #[error("{message}{}", tail(.log))]
    Process { message: String, log: Vec<String> },
}

fn tail(log: &[String]) -> String {
    log.iter().map(|line| format!("\n  {line}")).collect()
}

/// How far to go in one call of [`Execution::run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Everything up to the first start.
    Create,
    /// All that is left.
    All,
}

/// What of a group must be undone when it does not get to its end.
#[derive(Debug, Clone)]
enum Undo {
    RemoveNew(String),
    StartOld(ContainerRef),
}

#[derive(Debug, Default)]
struct State {
    done: HashSet<NodeId>,
    /// Ids of the containers that were made, by the name they were made with.
    created: HashMap<String, String>,
    /// The container that a `service:` reference means.
    service_ids: BTreeMap<String, String>,
    /// Variables that providers gave to the services that depend on them.
    provided: BTreeMap<String, Vec<(String, String)>>,
    undo: BTreeMap<GroupId, Vec<Undo>>,
    started_groups: BTreeSet<GroupId>,
}

/// What the executor is told besides the plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct ApplyOptions {
    /// Engine calls at once.
    pub(crate) parallel: Option<usize>,
    /// `--wait-timeout`.
    pub(crate) wait_timeout: Option<Duration>,
}

/// A plan on its way. Can be carried out in two steps; clones share it.
#[derive(Clone)]
pub(crate) struct Execution(Arc<Inner>);

struct Inner {
    client: Client,
    desired: Desired,
    plan: Plan,
    progress: Sink,
    options: ApplyOptions,
    /// Nodes that belong to starting.
    start_phase: HashSet<NodeId>,
    /// The name people know a container by, where it bears a temporary one.
    shown: HashMap<String, String>,
    /// Containers by service: name and number.
    replicas: BTreeMap<String, Vec<(String, u32)>>,
    events: wait::EventHub,
    state: Mutex<State>,
}

type Running<'a> = Pin<Box<dyn Future<Output = (NodeId, Result<(), ApplyError>)> + Send + 'a>>;

impl Execution {
    pub(crate) fn new(
        client: Client,
        desired: Desired,
        observed: &Observed,
        plan: Plan,
        progress: Sink,
        options: ApplyOptions,
    ) -> Self {
        let mut state = State::default();
        for container in observed.containers.iter().filter(|c| !c.one_off) {
            state
                .service_ids
                .entry(container.service.clone())
                .or_insert_with(|| container.id.clone());
        }
        let shown = plan
            .nodes()
            .filter_map(|(_, node)| match &node.operation {
                Operation::CreateContainer(create) => {
                    Some((create.name.clone(), create.final_name.clone()))
                }
                _ => None,
            })
            .collect();
        let events = wait::EventHub::new(client.clone(), desired.project.name.clone());
        Execution(Arc::new(Inner {
            start_phase: start_phase(&plan),
            replicas: replicas(&plan, observed),
            client,
            desired,
            plan,
            progress,
            options,
            shown,
            events,
            state: Mutex::new(state),
        }))
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// The id of a container of the plan, once it is there.
    pub(crate) fn container_id(&self, container: &ContainerRef) -> Option<String> {
        container
            .id
            .clone()
            .or_else(|| self.0.state().created.get(&container.name).cloned())
    }

    /// The container that a `service:` reference means, by service.
    pub(crate) fn service_ids(&self) -> BTreeMap<String, String> {
        self.0.state().service_ids.clone()
    }

    /// The containers of each service once the plan is carried out: name and number.
    pub(crate) fn replicas(&self) -> BTreeMap<String, Vec<(String, u32)>> {
        self.0.replicas.clone()
    }

    /// Variables that the provider of a service gave.
    pub(crate) fn provided(&self, service: &str) -> Vec<(String, String)> {
        self.0
            .state()
            .provided
            .get(service)
            .cloned()
            .unwrap_or_default()
    }

    /// The name people know a container of the plan by.
    pub(crate) fn shown_name(&self, container: &ContainerRef) -> String {
        self.0.shown_name(container).to_owned()
    }

    /// Carries out all that is left; `on_created` is called once everything that comes before the
    /// first start is done.
    ///
    /// # Errors
    /// As for [`Execution::run`].
    pub(crate) async fn run_all(&self, on_created: impl FnOnce() + Send) -> Result<(), ApplyError> {
        let inner = &self.0;
        match inner
            .run_nodes(Phase::All, Some(Box::new(on_created)))
            .await
        {
            Ok(()) => Ok(()),
            Err(error) => {
                inner.settle_groups().await;
                Err(error)
            }
        }
    }

    /// Carries out what is left of the plan, as far as `phase` says.
    ///
    /// # Errors
    /// The first failure. What of a replacement was under way is undone by then.
    pub(crate) async fn run(&self, phase: Phase) -> Result<(), ApplyError> {
        let inner = &self.0;
        match inner.run_nodes(phase, None).await {
            Ok(()) => Ok(()),
            Err(error) => {
                inner.settle_groups().await;
                Err(error)
            }
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown_name<'a>(&'a self, container: &'a ContainerRef) -> &'a str {
        self.shown.get(&container.name).unwrap_or(&container.name)
    }

    fn address(&self, container: &ContainerRef) -> String {
        match &container.id {
            Some(id) => id.clone(),
            None => self
                .state()
                .created
                .get(&container.name)
                .cloned()
                .unwrap_or_else(|| container.name.clone()),
        }
    }

    async fn run_nodes(
        &self,
        phase: Phase,
        mut on_created: Option<Box<dyn FnOnce() + Send + '_>>,
    ) -> Result<(), ApplyError> {
        let in_phase = |id: &NodeId| phase == Phase::All || !self.start_phase.contains(id);
        let mut waiting: HashMap<NodeId, usize> = HashMap::new();
        let mut ready: Vec<NodeId> = Vec::new();
        {
            let state = self.state();
            for id in self
                .plan
                .node_ids()
                .filter(in_phase)
                .filter(|id| !state.done.contains(id))
            {
                let open = self
                    .plan
                    .prerequisites(id)
                    .iter()
                    .filter(|p| !state.done.contains(p))
                    .count();
                if open == 0 {
                    ready.push(id);
                } else {
                    waiting.insert(id, open);
                }
            }
        }
        // The order of planning breaks ties, also when a limit applies.
        ready.sort_by(|a, b| b.cmp(a));
        let limit = self.options.parallel.unwrap_or(DEFAULT_PARALLEL).max(1);
        let mut calls: FuturesUnordered<Running<'_>> = FuturesUnordered::new();
        let mut waits: FuturesUnordered<Running<'_>> = FuturesUnordered::new();
        let mut failure: Option<ApplyError> = None;
        let mut to_create = {
            let state = self.state();
            self.plan
                .node_ids()
                .filter(|id| !self.start_phase.contains(id) && !state.done.contains(id))
                .count()
        };
        loop {
            if to_create == 0
                && let Some(created) = on_created.take()
            {
                created();
            }
            while failure.is_none() {
                let Some(next) = ready.pop() else { break };
                let is_wait = self.plan.node(next).operation.is_wait();
                if !is_wait && calls.len() >= limit {
                    ready.push(next);
                    break;
                }
                let run: Running<'_> = Box::pin(async move { (next, self.perform(next).await) });
                if is_wait {
                    waits.push(run)
                } else {
                    calls.push(run)
                }
            }
            let finished = tokio::select! {
                Some(finished) = calls.next(), if !calls.is_empty() => finished,
                Some(finished) = waits.next(), if !waits.is_empty() && failure.is_none() => finished,
                else => break,
            };
            match finished {
                (id, Ok(())) => {
                    self.state().done.insert(id);
                    if !self.start_phase.contains(&id) {
                        to_create -= 1;
                    }
                    let mut freed: Vec<NodeId> = Vec::new();
                    for later in self.plan.dependents(id) {
                        if let Some(open) = waiting.get_mut(&later) {
                            *open -= 1;
                            if *open == 0 {
                                waiting.remove(&later);
                                freed.push(later);
                            }
                        }
                    }
                    ready.extend(freed);
                    ready.sort_by(|a, b| b.cmp(a));
                }
                (_, Err(error)) => {
                    // Calls that are under way end by themselves; nothing new begins.
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// After a failure: a replacement whose new container runs is brought to its end, any other
    /// one is undone, so that the old container serves again.
    async fn settle_groups(&self) {
        let groups: Vec<(GroupId, Vec<Undo>, bool)> = {
            let mut state = self.state();
            let undo = std::mem::take(&mut state.undo);
            undo.into_iter()
                .map(|(group, undo)| (group, undo, state.started_groups.contains(&group)))
                .collect()
        };
        for (group, undo, has_started) in groups {
            if has_started {
                self.finish_group(group).await;
                continue;
            }
            for step in undo.into_iter().rev() {
                self.undo(step).await;
            }
        }
    }

    async fn finish_group(&self, group: GroupId) {
        let left: Vec<NodeId> = {
            let state = self.state();
            self.plan
                .nodes()
                .filter(|(id, node)| node.group == Some(group) && !state.done.contains(id))
                .map(|(id, _)| id)
                .collect()
        };
        for id in left {
            // Its failure has been reported as an event; the next `up` puts it right.
            if self.perform(id).await.is_err() {
                return;
            }
        }
    }

    async fn undo(&self, step: Undo) {
        match step {
            Undo::RemoveNew(id) => {
                if let Err(error) = self.client.remove_container(&id, false, true).await {
                    self.progress
                        .warning(format!("the replacement could not be removed: {error}"));
                }
            }
            Undo::StartOld(old) => {
                let resource = Resource::container(&old.name);
                match self.client.start_container(old.address()).await {
                    Ok(()) => self.progress.send(
                        Event::warning(resource, "Restored")
                            .detail("the replacement failed, the old container runs again"),
                    ),
                    Err(error) => self.progress.send(Event::error(
                        resource,
                        format!("the old container could not be started again: {error}"),
                    )),
                }
            }
        }
    }
}

/// Nodes that start something or wait, what comes after them, and the stop of a container whose
/// replacement is about to start.
fn start_phase(plan: &Plan) -> HashSet<NodeId> {
    let starting: HashSet<GroupId> = plan
        .nodes()
        .filter(|(_, node)| matches!(node.operation, Operation::StartContainer { .. }))
        .filter_map(|(_, node)| node.group)
        .collect();
    let mut queue: Vec<NodeId> = plan
        .nodes()
        .filter(|(_, node)| match &node.operation {
            Operation::Wait { .. }
            | Operation::UploadFiles { .. }
            | Operation::StartContainer { .. }
            | Operation::UnpauseContainer { .. }
            | Operation::RunPreStart { .. } => true,
            Operation::StopContainer { .. } | Operation::RunHook { .. } => {
                node.group.is_some_and(|g| starting.contains(&g))
            }
            _ => false,
        })
        .map(|(id, _)| id)
        .collect();
    let mut found = HashSet::new();
    while let Some(id) = queue.pop() {
        if found.insert(id) {
            queue.extend(plan.dependents(id));
        }
    }
    found
}

/// The containers each service will have: those that stay, and those that are made.
fn replicas(plan: &Plan, observed: &Observed) -> BTreeMap<String, Vec<(String, u32)>> {
    let removed: HashSet<&str> = plan
        .nodes()
        .filter_map(|(_, node)| match &node.operation {
            Operation::RemoveContainer { container, .. } => container.id.as_deref(),
            _ => None,
        })
        .collect();
    let mut all: BTreeMap<String, Vec<(String, u32)>> = BTreeMap::new();
    for container in observed
        .containers
        .iter()
        .filter(|c| !c.one_off && !removed.contains(c.id.as_str()))
    {
        if let Some(number) = container.number {
            all.entry(container.service.clone())
                .or_default()
                .push((container.name.clone(), number));
        }
    }
    for (_, node) in plan.nodes() {
        if let Operation::CreateContainer(create) = &node.operation {
            all.entry(create.service.clone())
                .or_default()
                .push((create.final_name.clone(), create.number));
        }
    }
    for containers in all.values_mut() {
        containers.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        containers.dedup();
    }
    all
}
