//! Containers: which stay, which are made anew and why, which are too many, and the operations of
//! the create phase. Starting is in `start`.

use std::collections::BTreeMap;

use super::changes::{self, Change, Reach};
use super::config_hash;
use super::limits::Limits;
use super::observed::{ContainerState, ObservedContainer};
use super::operation::{
    ContainerRef, CreateContainer, InheritedMount, Operation, ProviderAction, temporary_name,
};
use super::plan::{Cause, NodeId};
use super::reconcile::{Goal, PlanError, Planner, Recreate, ResourcePlan, ServicePlan};
use crate::compose::model::{Project, Service};
use crate::labels;

/// What becomes of one replica.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    /// It stays; its state decides whether it must be started.
    Keep,
    /// It stays, with other limits.
    Update(Cause),
    /// A new one takes its place, then it goes.
    Recreate(Cause),
    /// It goes first, then a new one comes: a volume under it is made anew.
    Renew(Cause),
    /// There is none yet.
    Create(Cause),
}

/// One replica of a service: the container that is there, and what becomes of it.
#[derive(Debug, Clone)]
pub(super) struct Replica {
    /// Index in `Observed::containers`.
    pub(super) live: Option<usize>,
    pub(super) number: u32,
    pub(super) fate: Fate,
    /// How later nodes address the container.
    pub(super) reference: ContainerRef,
    /// The node that makes it.
    pub(super) created: Option<NodeId>,
}

impl Planner<'_> {
    /// Decides the fate of every container of a service. Services it needs were decided before.
    pub(super) fn decide(&mut self, name: &str) -> Result<(), PlanError> {
        let service = self.service(name);
        if service.provider.is_some() {
            self.services
                .insert(name.to_owned(), ServicePlan::default());
            return Ok(());
        }
        let wanted = usize::try_from(service.wanted_scale()).unwrap_or(0);
        let mut live: Vec<(usize, Fate)> = Vec::new();
        for (index, container) in self.observed.containers.iter().enumerate() {
            if container.service == name
                && !container.one_off
                && container.state != ContainerState::Removing
            {
                live.push((index, self.fate(service, container)));
            }
        }
        // What is up to date is kept first, then low numbers, then what is newer.
        live.sort_by_key(|(index, fate)| {
            let container = &self.observed.containers[*index];
            (
                fate.is_replaced(),
                container.number.unwrap_or(u32::MAX),
                -container.created,
            )
        });
        let mut plan = ServicePlan::default();
        for (index, _) in live.iter().skip(wanted) {
            let number = self.observed.containers[*index].number;
            let is_twin = live[..wanted]
                .iter()
                .any(|(kept, _)| self.observed.containers[*kept].number == number);
            let cause = if is_twin {
                Cause::new("left over from an interrupted replacement")
            } else {
                self.cause(
                    format!("scale down to {wanted}"),
                    format!("services.{name}.scale"),
                )
            };
            plan.surplus.push((*index, cause));
        }
        live.truncate(wanted);
        for (index, fate) in live {
            let container = &self.observed.containers[index];
            plan.recreated |= fate.is_replaced();
            plan.replicas.push(Replica {
                live: Some(index),
                number: container.number.unwrap_or(1),
                fate,
                reference: ContainerRef::existing(&container.name, &container.id),
                created: None,
            });
        }
        while plan.replicas.len() < wanted {
            // Gaps are filled first.
            let next = (1..)
                .find(|n| plan.replicas.iter().all(|r| r.number != *n))
                .unwrap_or(1);
            let text = if plan.replicas.is_empty() && next == 1 {
                "no container yet".to_owned()
            } else {
                format!("scale up to {wanted}")
            };
            plan.replicas.push(Replica {
                live: None,
                number: next,
                fate: Fate::Create(self.cause(text, format!("services.{name}"))),
                reference: ContainerRef::planned(&self.desired.container_name(service, next)),
                created: None,
            });
        }
        self.services.insert(name.to_owned(), plan);
        Ok(())
    }

    fn strategy(&self, service: &str) -> Recreate {
        if self.is_named(service) {
            self.options.recreate
        } else {
            self.options.recreate_dependencies
        }
    }

    /// The first reason that hits decides.
    fn fate(&self, service: &Service, container: &ObservedContainer) -> Fate {
        if let Some(cause) = self.volume_renewed(service) {
            return Fate::Renew(cause);
        }
        if container.state == ContainerState::Dead {
            return Fate::Renew(Cause::new("the container is dead"));
        }
        match self.strategy(&service.name) {
            Recreate::Never => return Fate::Keep,
            Recreate::Force => return Fate::Recreate(Cause::new("--force-recreate")),
            Recreate::Diverged => {}
        }
        if let Some(cause) = self.parent_recreated(service) {
            return Fate::Recreate(cause);
        }
        let configuration = self.configuration(service, container);
        if let Some(fate @ Fate::Recreate(_)) = configuration {
            return fate;
        }
        let drift = self
            .image_changed(service, container)
            .or_else(|| self.network_missing(service, container))
            .or_else(|| self.volume_missing(service, container));
        if let Some(cause) = drift {
            return Fate::Recreate(cause);
        }
        match (self.contents_changed(service, container), configuration) {
            (Some(cause), _) if self.takes_contents_live(service, container) => Fate::Update(cause),
            (Some(cause), _) => Fate::Recreate(cause),
            (None, Some(fate)) => fate,
            (None, None) => Fate::Keep,
        }
    }

    /// New contents can be put into the running container: none of them is a mounted file, which
    /// keeps showing the old one.
    fn takes_contents_live(&self, service: &Service, container: &ObservedContainer) -> bool {
        let project = &self.desired.project;
        let configs = service
            .configs
            .iter()
            .filter_map(|r| project.configs.get(&r.source));
        let secrets = service
            .secrets
            .iter()
            .filter_map(|r| project.secrets.get(&r.source));
        self.options.live
            && container.is_running()
            && configs.chain(secrets).all(|object| object.file.is_empty())
    }

    /// A service whose namespaces or volumes it uses is made anew.
    fn parent_recreated(&self, service: &Service) -> Option<Cause> {
        config_hash::referenced_services(service)
            .into_iter()
            .find(|parent| {
                self.services.get(parent).is_some_and(|plan| {
                    plan.recreated || plan.replicas.iter().any(|r| r.live.is_none())
                })
            })
            .map(|parent| {
                Cause::new(format!(
                    "it shares with service {parent}, whose container is new"
                ))
            })
    }

    /// Ids of the containers that `service:` references mean, as far as they are there.
    fn reference_ids(&self, service: &Service) -> BTreeMap<String, String> {
        config_hash::referenced_services(service)
            .into_iter()
            .filter_map(|parent| {
                let replica = self.services.get(&parent)?.replicas.first()?;
                Some((parent, replica.reference.id.clone()?))
            })
            .collect()
    }

    fn configuration(&self, service: &Service, container: &ObservedContainer) -> Option<Fate> {
        let (resolved, missing) =
            config_hash::with_container_references(service, &self.reference_ids(service));
        if let Some(parent) = missing.first() {
            return Some(Fate::Recreate(Cause::new(format!(
                "it refers to service {parent}, which has no container"
            ))));
        }
        let new = config_hash::service_config(&resolved);
        if config_hash::hash(&new) == container.config_hash() {
            return None;
        }
        let prefix = format!("services.{}", service.name);
        let changes = container
            .label(labels::HOIST_CONFIG)
            .and_then(|old| changes::between(old, &new))
            .unwrap_or_default();
        let Some(worst) = changes
            .iter()
            .max_by_key(|c| (c.reach(), std::cmp::Reverse(c.path.clone())))
        else {
            let cause = self.cause("configuration changed", prefix);
            let short = |hash: &str| hash.chars().take(12).collect::<String>();
            return Some(Fate::Recreate(cause.change(
                short(container.config_hash()),
                short(&config_hash::hash(&new)),
            )));
        };
        let has_live = changes.iter().any(|c| c.reach() == Reach::Live);
        let reach = match worst.reach() {
            Reach::Live | Reach::Update if has_live && !self.options.live => Reach::Recreate,
            reach => reach,
        };
        let cause = self.change_cause(&prefix, worst, &changes, worst.reach());
        match reach {
            Reach::Nothing => None,
            Reach::Recreate => Some(Fate::Recreate(cause)),
            Reach::Live => Some(Fate::Update(cause)),
            Reach::Update => match self.limits_fate(&resolved, container, cause.clone()) {
                None if has_live => Some(Fate::Update(cause)),
                other => other,
            },
        }
    }

    /// Whether new limits are in force already, can be set in place, or need a new container.
    fn limits_fate(
        &self,
        service: &Service,
        container: &ObservedContainer,
        cause: Cause,
    ) -> Option<Fate> {
        let wanted = Limits::of(service);
        let Some(actual) = self.observed.limits.get(&container.id) else {
            return Some(Fate::Recreate(cause));
        };
        if wanted.is_met_by(actual) {
            None
        } else if wanted.reachable_from(actual) {
            Some(Fate::Update(cause))
        } else {
            Some(Fate::Recreate(cause))
        }
    }

    fn change_cause(&self, prefix: &str, first: &Change, all: &[Change], reach: Reach) -> Cause {
        let more = all.iter().filter(|c| c.reach() == reach).count() - 1;
        let what = match more {
            0 => "changed".to_owned(),
            1 => "changed, and 1 other field".to_owned(),
            n => format!("changed, and {n} other fields"),
        };
        let mut cause = self.cause(what, format!("{prefix}.{}", first.path));
        cause.old.clone_from(&first.old);
        cause.new.clone_from(&first.new);
        cause
    }

    fn image_changed(&self, service: &Service, container: &ObservedContainer) -> Option<Cause> {
        let field = || {
            let key = if service.build.is_some() {
                "build"
            } else {
                "image"
            };
            format!("services.{}.{key}", service.name)
        };
        let short = |digest: &str| {
            digest
                .trim_start_matches("sha256:")
                .chars()
                .take(12)
                .collect::<String>()
        };
        if self.images.contains_key(&self.desired.image_name(service)) {
            return Some(self.cause("its image may be newer afterwards", field()));
        }
        if let Some(digest) = self.desired.image_digests.get(&service.name) {
            let made_from = container
                .label(labels::IMAGE)
                .unwrap_or(&container.image_id);
            if made_from != digest {
                return Some(
                    self.cause("there is a newer image", field())
                        .change(short(made_from), short(digest)),
                );
            }
        }
        let mounts = self
            .desired
            .image_mounts
            .get(&service.name)
            .map_or("", String::as_str);
        let mounted = container
            .label(labels::IMAGE_VOLUME_DIGEST)
            .unwrap_or_default();
        (mounts != mounted).then(|| {
            self.cause(
                "a mounted image changed",
                format!("services.{}.volumes", service.name),
            )
        })
    }

    /// The contents of configs and secrets. A container of another tool does not tell: it stays.
    fn contents_changed(&self, service: &Service, container: &ObservedContainer) -> Option<Cause> {
        let old = container.label(labels::HOIST_CONTENTS)?;
        let new = self
            .desired
            .contents
            .get(&service.name)
            .map_or("", String::as_str);
        (old != new).then(|| {
            let key = if service.configs.is_empty() {
                "secrets"
            } else {
                "configs"
            };
            self.cause(
                "the content of a config or secret changed",
                format!("services.{}.{key}", service.name),
            )
        })
    }

    fn network_missing(&self, service: &Service, container: &ObservedContainer) -> Option<Cause> {
        if !container.is_running() || !service.network_mode.is_empty() {
            return None;
        }
        service.networks.keys().find_map(|key| {
            let network = self.networks.get(key)?;
            // A network that is made anew brings its containers along.
            if network.diverged.is_some() {
                return None;
            }
            let connected = network.live.as_ref().is_some_and(|id| {
                container
                    .networks
                    .iter()
                    .any(|(_, connected)| connected == id)
            });
            (!connected).then(|| {
                self.cause(
                    format!("it is not connected to network {key}"),
                    format!("services.{}.networks.{key}", service.name),
                )
            })
        })
    }

    fn volume_missing(&self, service: &Service, container: &ObservedContainer) -> Option<Cause> {
        named_volumes(&self.desired.project, service).find_map(|(key, name, target)| {
            let mounted = container.mounts.iter().any(|m| {
                m.kind == "volume" && m.name.as_deref() == Some(name) && m.destination == target
            });
            (!mounted).then(|| {
                self.cause(
                    format!("volume {name} is not mounted at {target}"),
                    format!("volumes.{key}"),
                )
            })
        })
    }

    /// A volume that the service mounts, itself or through `volumes_from`, is made anew.
    fn volume_renewed(&self, service: &Service) -> Option<Cause> {
        let mut seen: Vec<&str> = Vec::new();
        let mut queue = vec![service.name.as_str()];
        while let Some(name) = queue.pop() {
            let Some(service) = self.desired.project.services.get(name) else {
                continue;
            };
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            for (key, _, _) in named_volumes(&self.desired.project, service) {
                if let Some(cause) = self.volumes.get(key).and_then(|v| v.diverged.clone()) {
                    return Some(cause);
                }
            }
            queue.extend(service.volumes_from.iter().filter_map(|source| {
                let name = source.split(':').next().unwrap_or_default();
                (name != "container").then_some(name)
            }));
        }
        None
    }

    /// The nodes of the create phase of one service.
    pub(super) fn create_service(&mut self, name: &str) {
        let service = self.service(name);
        let before = self.before_creation(service);
        if service.provider.is_some() {
            let run = Operation::RunProvider {
                service: name.to_owned(),
                action: ProviderAction::Up,
            };
            let cause = self.cause("provider", format!("services.{name}.provider"));
            let node = self.plan.add(run, cause, &before);
            if let Some(plan) = self.services.get_mut(name) {
                plan.provided = Some(node);
                plan.started.push(node);
            }
            return;
        }
        let Some(plan) = self.services.get(name).cloned() else {
            return;
        };
        for (index, cause) in &plan.surplus {
            let node = self.removed(*index, cause);
            let number = self.container(*index).number;
            if let Some(plan) = self.services.get_mut(name) {
                plan.removed.push((number, node));
            }
        }
        for (position, replica) in plan.replicas.iter().enumerate() {
            self.create_replica(service, position, replica, &before);
        }
    }

    fn create_replica(
        &mut self,
        service: &Service,
        position: usize,
        replica: &Replica,
        before: &[NodeId],
    ) {
        let final_name = self.desired.container_name(service, replica.number);
        match &replica.fate {
            Fate::Keep => self.keep(service, replica, &final_name),
            Fate::Update(cause) => self.update(service, replica, cause),
            Fate::Create(cause) => {
                let node = self.create(
                    service,
                    replica.number,
                    &final_name,
                    &final_name,
                    None,
                    cause,
                    before,
                );
                self.note_created(
                    &service.name,
                    position,
                    ContainerRef::planned(&final_name),
                    node,
                );
            }
            Fate::Renew(cause) => {
                let mut before = before.to_vec();
                if let Some(index) = replica.live {
                    before.push(self.removed(index, cause));
                }
                let node = self.create(
                    service,
                    replica.number,
                    &final_name,
                    &final_name,
                    None,
                    cause,
                    &before,
                );
                self.note_created(
                    &service.name,
                    position,
                    ContainerRef::planned(&final_name),
                    node,
                );
            }
            Fate::Recreate(cause) => {
                let Some(index) = replica.live else { return };
                self.recreate(
                    service,
                    position,
                    replica,
                    index,
                    &final_name,
                    cause,
                    before,
                );
            }
        }
    }

    /// Changes a container in place, its contents first where they changed.
    fn update(&mut self, service: &Service, replica: &Replica, cause: &Cause) {
        let mut before = Vec::new();
        let live = replica.live.map(|index| self.container(index));
        if live.is_some_and(|container| self.contents_changed(service, container).is_some()) {
            let upload = Operation::UploadFiles {
                service: service.name.clone(),
                container: replica.reference.clone(),
            };
            before.push(self.plan.add(upload, cause.clone(), &[]));
        }
        let update = Operation::UpdateContainer {
            service: service.name.clone(),
            number: replica.number,
            container: replica.reference.clone(),
        };
        self.plan.add(update, cause.clone(), &before);
    }

    /// A container that stays; one that an interrupted replacement left under a temporary name
    /// gets its own back.
    fn keep(&mut self, service: &Service, replica: &Replica, final_name: &str) {
        let Some(index) = replica.live else { return };
        let container = self.container(index);
        let is_temporary = container.name.split_once('_').is_some_and(|(id, rest)| {
            rest == final_name && id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit())
        });
        if is_temporary
            && !self
                .observed
                .containers
                .iter()
                .any(|c| c.name == final_name && c.service != service.name)
        {
            let mut before = Vec::new();
            if let Some(holder) = self
                .observed
                .containers
                .iter()
                .position(|c| c.name == final_name)
            {
                let cause = Cause::new("left over from an interrupted replacement");
                before.push(self.removed(holder, &cause));
            }
            let rename = Operation::RenameContainer {
                container: replica.reference.clone(),
                name: final_name.to_owned(),
            };
            self.plan.add(
                rename,
                Cause::new("left over from an interrupted replacement"),
                &before,
            );
        }
        if container.is_running() {
            self.plan.unchanged.push(container.name.clone());
        }
    }

    /// The node that removes a container; planned once.
    pub(super) fn removed(&mut self, index: usize, cause: &Cause) -> NodeId {
        let existing = self
            .plan
            .nodes()
            .find_map(|(id, node)| match &node.operation {
                Operation::RemoveContainer { container, .. }
                    if container.id.as_deref() == Some(&self.observed.containers[index].id) =>
                {
                    Some(id)
                }
                _ => None,
            });
        existing.unwrap_or_else(|| self.remove(index, cause, false, &[]))
    }
    fn recreate(
        &mut self,
        service: &Service,
        position: usize,
        replica: &Replica,
        index: usize,
        final_name: &str,
        cause: &Cause,
        before: &[NodeId],
    ) {
        let old = self.container(index);
        let group = self.plan.new_group();
        let temporary = temporary_name(&old.id, final_name);
        let create = Operation::CreateContainer(CreateContainer {
            service: service.name.clone(),
            number: replica.number,
            name: temporary.clone(),
            final_name: final_name.to_owned(),
            inherited: self.inherited(service, old),
            replaces: Some(old.name.clone()),
        });
        let node = self.plan.add_in(Some(group), create, cause.clone(), before);
        let new = ContainerRef::planned(&temporary);
        self.note_created(&service.name, position, new.clone(), node);
        if self.options.goal != Goal::Created {
            // The start phase goes on: stop the old one, start the new one, and only then remove.
            return;
        }
        let stop = self
            .stop(index, Some(group), cause.clone(), &[node])
            .unwrap_or(node);
        let remove = Operation::RemoveContainer {
            container: self.container_ref(index),
            volumes: false,
            force: true,
        };
        let remove = self
            .plan
            .add_in(Some(group), remove, cause.clone(), &[node, stop]);
        let rename = Operation::RenameContainer {
            container: new,
            name: final_name.to_owned(),
        };
        let rename = self
            .plan
            .add_in(Some(group), rename, cause.clone(), &[remove]);
        if let Some(plan) = self.services.get_mut(&service.name) {
            plan.created.push(rename);
        }
    }

    fn note_created(
        &mut self,
        service: &str,
        position: usize,
        reference: ContainerRef,
        node: NodeId,
    ) {
        if let Some(plan) = self.services.get_mut(service) {
            plan.created.push(node);
            if let Some(replica) = plan.replicas.get_mut(position) {
                replica.reference = reference;
                replica.created = Some(node);
            }
        }
    }
    fn create(
        &mut self,
        service: &Service,
        number: u32,
        name: &str,
        final_name: &str,
        replaces: Option<String>,
        cause: &Cause,
        before: &[NodeId],
    ) -> NodeId {
        let create = Operation::CreateContainer(CreateContainer {
            service: service.name.clone(),
            number,
            name: name.to_owned(),
            final_name: final_name.to_owned(),
            inherited: Vec::new(),
            replaces,
        });
        self.plan.add(create, cause.clone(), before)
    }

    /// What must be there before a container of the service can be made: its networks and
    /// volumes, the containers it names, the variables its providers give.
    fn before_creation(&self, service: &Service) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = Vec::new();
        let ready = |resources: &BTreeMap<String, ResourcePlan>, key: &str| {
            resources.get(key).and_then(|r| r.ready)
        };
        nodes.extend(
            service
                .networks
                .keys()
                .filter_map(|key| ready(&self.networks, key)),
        );
        nodes.extend(
            named_volumes(&self.desired.project, service)
                .filter_map(|(key, _, _)| ready(&self.volumes, key)),
        );
        let linked = service
            .links
            .iter()
            .map(|link| link.split(':').next().unwrap_or_default().to_owned());
        for parent in config_hash::referenced_services(service)
            .into_iter()
            .chain(linked)
        {
            if let Some(plan) = self.services.get(&parent) {
                nodes.extend(plan.created.iter().copied());
            }
        }
        nodes.extend(
            service
                .depends_on
                .keys()
                .filter_map(|d| self.services.get(d).and_then(|plan| plan.provided)),
        );
        nodes.extend(self.images.get(&self.desired.image_name(service)).copied());
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// Anonymous volumes of the old container whose place is still one for an anonymous volume.
    fn inherited(&self, service: &Service, old: &ObservedContainer) -> Vec<InheritedMount> {
        if !self.options.inherit_volumes {
            return Vec::new();
        }
        let declared = self.desired.image_volumes.get(&service.name);
        let mut mounts: Vec<InheritedMount> = old
            .mounts
            .iter()
            .filter(|mount| mount.kind == "volume")
            .filter(|mount| {
                match service
                    .volumes
                    .iter()
                    .find(|v| v.target == mount.destination)
                {
                    Some(volume) => volume.kind == "volume" && volume.source.is_empty(),
                    None => declared.is_some_and(|volumes| {
                        volumes.iter().any(|v| {
                            v.trim_end_matches('/') == mount.destination.trim_end_matches('/')
                        })
                    }),
                }
            })
            .filter_map(|mount| {
                Some(InheritedMount {
                    volume: mount.name.clone()?,
                    destination: mount.destination.clone(),
                    read_only: !mount.read_write,
                })
            })
            .collect();
        mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
        mounts
    }
}

/// The named volumes a service mounts: key, engine's name, target.
pub(super) fn named_volumes<'a>(
    project: &'a Project,
    service: &'a Service,
) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    service
        .volumes
        .iter()
        .filter(|v| v.kind == "volume" && !v.source.is_empty())
        .filter_map(|v| {
            let volume = project.volumes.get(&v.source)?;
            Some((v.source.as_str(), volume.name.as_str(), v.target.as_str()))
        })
}
