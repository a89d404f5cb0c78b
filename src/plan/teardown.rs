//! Plans that act on what is there: stop, down, start, restart. Dependents go first when things
//! end, dependencies when they begin. Nothing is compared with the file here.

use std::collections::BTreeMap;
use std::time::Duration;

use super::desired::Desired;
use super::observed::{ContainerState, Observed};
use super::operation::{Condition, ContainerRef, HookKind, Operation, ProviderAction};
use super::plan::{Cause, NodeId, Plan};
use super::reconcile::{PlanError, orphans, service_graph};
use crate::compose::model::Service;
use crate::labels;

/// Which images `down` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemoveImages {
    /// Those built for the project that bear no name of their own.
    Local,
    All,
}

pub(crate) struct DownOptions {
    /// Empty: the whole project.
    pub(crate) services: Vec<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) volumes: bool,
    pub(crate) images: Option<RemoveImages>,
    pub(crate) remove_orphans: bool,
}

/// Stops and removes containers, then networks, and volumes and images when asked to.
///
/// # Errors
/// When the services depend on each other in a circle.
pub(crate) fn down(
    desired: &Desired,
    observed: &Observed,
    options: &DownOptions,
) -> Result<Plan, PlanError> {
    let cause = Cause::new("down");
    let mut plan = Plan::new();
    let graph = service_graph(desired);
    let selected = if options.services.is_empty() {
        graph.with_dependents(&desired.project.services.keys().cloned().collect::<Vec<_>>())
    } else {
        graph.with_dependents(&options.services)
    };
    let mut order = graph
        .order()
        .map_err(|cycle| PlanError(format!("dependency cycle detected: {}", cycle.join(" -> "))))?;
    order.reverse();
    order.retain(|name| selected.contains(name));
    let mut stopped: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
    let mut removed: Vec<NodeId> = Vec::new();
    for name in &order {
        let before: Vec<NodeId> = graph
            .dependents(name)
            .iter()
            .flat_map(|d| stopped.get(d).cloned().unwrap_or_default())
            .collect();
        let service = &desired.project.services[name];
        if service.provider.is_some() {
            let run = Operation::RunProvider {
                service: name.clone(),
                action: ProviderAction::Down,
            };
            stopped.insert(name.clone(), vec![plan.add(run, cause.clone(), &before)]);
            continue;
        }
        let mut ends = Vec::new();
        for (index, container) in observed.containers.iter().enumerate() {
            if &container.service == name {
                let (stop, remove) = take_down(
                    &mut plan,
                    desired,
                    observed,
                    index,
                    options.timeout,
                    options.volumes,
                    &cause,
                    &before,
                );
                ends.push(stop);
                removed.push(remove);
            }
        }
        stopped.insert(name.clone(), ends);
    }
    if options.remove_orphans {
        for index in orphans(desired, observed) {
            if order.contains(&observed.containers[index].service) {
                continue;
            }
            let orphan = Cause::new("orphan");
            let (_, remove) = take_down(
                &mut plan,
                desired,
                observed,
                index,
                options.timeout,
                false,
                &orphan,
                &[],
            );
            removed.push(remove);
        }
    }
    remove_resources(&mut plan, desired, observed, options, &removed);
    Ok(plan)
}

/// Stop and remove of one container; the node after which it does not run, and the last one.
fn take_down(
    plan: &mut Plan,
    desired: &Desired,
    observed: &Observed,
    index: usize,
    timeout: Option<Duration>,
    volumes: bool,
    cause: &Cause,
    before: &[NodeId],
) -> (NodeId, NodeId) {
    let container = &observed.containers[index];
    let reference = ContainerRef::existing(&container.name, &container.id);
    let remove = Operation::RemoveContainer {
        container: reference,
        volumes,
        force: true,
    };
    let service = desired.project.services.get(&container.service);
    let hooks = service.is_some_and(|s| !s.pre_stop.is_empty());
    // A removal by force kills: with no grace and no hook, a stop before it adds nothing.
    let needs_stop = container.state.is_alive() && (hooks || timeout != Some(Duration::ZERO));
    if !needs_stop {
        let node = plan.add(remove, cause.clone(), before);
        return (node, node);
    }
    let stop = stop_one(plan, service, observed, index, timeout, cause, before);
    let node = plan.add(remove, cause.clone(), &[stop]);
    (stop, node)
}

fn stop_one(
    plan: &mut Plan,
    service: Option<&Service>,
    observed: &Observed,
    index: usize,
    timeout: Option<Duration>,
    cause: &Cause,
    before: &[NodeId],
) -> NodeId {
    let container = &observed.containers[index];
    let reference = ContainerRef::existing(&container.name, &container.id);
    let mut before = before.to_vec();
    if let Some(service) = service
        && !container.one_off
        && container.is_running()
    {
        for hook in 0..service.pre_stop.len() {
            let run = Operation::RunHook {
                service: service.name.clone(),
                container: reference.clone(),
                hook: HookKind::PreStop,
                index: hook,
            };
            before = vec![plan.add(run, cause.clone(), &before)];
        }
    }
    let stop = Operation::StopContainer {
        service: container.service.clone(),
        container: reference,
        timeout,
    };
    plan.add(stop, cause.clone(), &before)
}

fn remove_resources(
    plan: &mut Plan,
    desired: &Desired,
    observed: &Observed,
    options: &DownOptions,
    after: &[NodeId],
) {
    let project = &desired.project;
    let cause = Cause::new("down");
    for network in &observed.networks {
        let owned = network.labels.get(labels::PROJECT) == Some(&project.name);
        let key = network.labels.get(labels::NETWORK);
        let declared = key
            .and_then(|key| project.networks.get(key))
            .is_some_and(|n| !n.external && n.name == network.name);
        let stale = options.remove_orphans && options.services.is_empty();
        if owned && (declared || stale) {
            let remove = Operation::RemoveNetwork {
                name: network.name.clone(),
                id: network.id.clone(),
                best_effort: true,
            };
            plan.add(remove, cause.clone(), after);
        }
    }
    if options.volumes {
        for volume in project.volumes.values().filter(|v| !v.external) {
            if observed.volumes.iter().any(|v| v.name == volume.name) {
                let remove = Operation::RemoveVolume {
                    name: volume.name.clone(),
                    best_effort: true,
                };
                plan.add(remove, cause.clone(), after);
            }
        }
    }
    if let Some(which) = options.images {
        for image in images_to_remove(desired, observed, which, &options.services) {
            plan.add(
                Operation::RemoveImage {
                    image,
                    force: false,
                },
                cause.clone(),
                after,
            );
        }
    }
}

/// Images of the services: the ones compose named, and with `All` the others too.
fn images_to_remove(
    desired: &Desired,
    observed: &Observed,
    which: RemoveImages,
    services: &[String],
) -> Vec<String> {
    let mut images: Vec<String> = Vec::new();
    for (name, service) in &desired.project.services {
        if !services.is_empty() && !services.contains(name) {
            continue;
        }
        let image = desired.image_name(service);
        let wanted = service.image.is_empty() || which == RemoveImages::All;
        if wanted && (observed.images.is_empty() || observed.images.contains_key(&image)) {
            images.push(image);
        }
    }
    images.sort();
    images.dedup();
    images
}

/// Stops the containers of the services, dependents first.
///
/// # Errors
/// When the services depend on each other in a circle.
pub(crate) fn stop(
    desired: &Desired,
    observed: &Observed,
    services: &[String],
    timeout: Option<Duration>,
) -> Result<Plan, PlanError> {
    let cause = Cause::new("stop");
    let mut plan = Plan::new();
    let graph = service_graph(desired);
    let mut order = super::reconcile::service_order(desired)?;
    order.reverse();
    let mut stopped: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
    for name in order {
        if !services.is_empty() && !services.contains(&name) {
            continue;
        }
        let before: Vec<NodeId> = graph
            .with_dependents(std::slice::from_ref(&name))
            .iter()
            .filter(|d| **d != name)
            .flat_map(|d| stopped.get(d).cloned().unwrap_or_default())
            .collect();
        let service = &desired.project.services[&name];
        let mut nodes = Vec::new();
        if service.provider.is_some() {
            let run = Operation::RunProvider {
                service: name.clone(),
                action: ProviderAction::Stop,
            };
            nodes.push(plan.add(run, cause.clone(), &before));
        }
        for (index, container) in observed.containers.iter().enumerate() {
            if container.service == name && !container.one_off && container.state.is_alive() {
                nodes.push(stop_one(
                    &mut plan,
                    Some(service),
                    observed,
                    index,
                    timeout,
                    &cause,
                    &before,
                ));
            }
        }
        stopped.insert(name, nodes);
    }
    Ok(plan)
}

/// Restarts the containers of the services in dependency order; dependents with `restart: true`
/// come along unless `with_dependents` is false.
///
/// # Errors
/// When the services depend on each other in a circle.
pub(crate) fn restart(
    desired: &Desired,
    observed: &Observed,
    services: &[String],
    with_dependents: bool,
    timeout: Option<Duration>,
) -> Result<Plan, PlanError> {
    let mut plan = Plan::new();
    let order = super::reconcile::service_order(desired)?;
    let mut selected: Vec<String> = if services.is_empty() {
        order.clone()
    } else {
        services.to_vec()
    };
    if with_dependents {
        // In order, so that a dependent of a dependent is found too.
        for name in &order {
            let follows = desired.project.services[name]
                .depends_on
                .iter()
                .any(|(dependency, how)| how.restart && selected.contains(dependency));
            if follows && !selected.contains(name) {
                selected.push(name.clone());
            }
        }
    }
    let mut restarted: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
    for name in order.iter().filter(|name| selected.contains(name)) {
        let service = &desired.project.services[name];
        let mut before = Vec::new();
        for (dependency, how) in &service.depends_on {
            let Some(nodes) = restarted.get(dependency) else {
                continue;
            };
            before.extend(nodes.iter().copied());
            let condition = match how.condition.as_str() {
                "service_healthy" if how.restart => Condition::Healthy,
                "service_completed_successfully" if how.restart => Condition::Completed,
                _ => continue,
            };
            let wait = Operation::Wait {
                service: dependency.clone(),
                containers: references(observed, dependency),
                condition,
                required: how.required,
            };
            before.push(plan.add(wait, Cause::new(format!("{name} depends on it")), nodes));
        }
        let nodes = restart_service(&mut plan, observed, service, timeout, &before, services);
        restarted.insert(name.clone(), nodes);
    }
    Ok(plan)
}

fn restart_service(
    plan: &mut Plan,
    observed: &Observed,
    service: &Service,
    timeout: Option<Duration>,
    before: &[NodeId],
    named: &[String],
) -> Vec<NodeId> {
    let text = if named.is_empty() || named.contains(&service.name) {
        "restart".to_owned()
    } else {
        "restarts with its dependency".to_owned()
    };
    let cause = Cause::new(text);
    let mut nodes = Vec::new();
    for container in observed
        .containers
        .iter()
        .filter(|c| c.service == service.name && !c.one_off)
    {
        let reference = ContainerRef::existing(&container.name, &container.id);
        let mut before = before.to_vec();
        let hook = |kind, index| Operation::RunHook {
            service: service.name.clone(),
            container: reference.clone(),
            hook: kind,
            index,
        };
        if container.state == ContainerState::Running {
            for index in 0..service.pre_stop.len() {
                before = vec![plan.add(hook(HookKind::PreStop, index), cause.clone(), &before)];
            }
        }
        let restart = Operation::RestartContainer {
            service: service.name.clone(),
            container: reference.clone(),
            timeout,
        };
        let mut node = plan.add(restart, cause.clone(), &before);
        for index in 0..service.post_start.len() {
            node = plan.add(hook(HookKind::PostStart, index), cause.clone(), &[node]);
        }
        nodes.push(node);
    }
    nodes
}

fn references(observed: &Observed, service: &str) -> Vec<ContainerRef> {
    observed
        .containers
        .iter()
        .filter(|c| c.service == service && !c.one_off)
        .map(|c| ContainerRef::existing(&c.name, &c.id))
        .collect()
}
