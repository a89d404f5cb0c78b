//! One operation → one engine call, with the progress around it. A flat match: no comparing, no
//! choosing.

use std::time::Duration;

use super::{ApplyError, Inner, Undo};
use crate::client::container_body::BodyOptions;
use crate::client::{ClientError, context};
use crate::plan::operation::CreateContainer;
use crate::plan::plan::GroupId;
use crate::plan::{ContainerRef, NodeId, Operation, config_hash, desired};
use crate::progress::{Event, Resource};

impl Inner {
    pub(super) async fn perform(&self, id: NodeId) -> Result<(), ApplyError> {
        let node = self.plan.node(id);
        match &node.operation {
            // Images are fetched before a plan is applied; the nodes are there to be read.
            Operation::PullImage { .. } | Operation::BuildImage { .. } => Ok(()),
            Operation::CreateContainer(create) => {
                self.create(create, node.group, &node.cause.to_string())
                    .await
            }
            Operation::UploadFiles { service, container } => self.upload(service, container).await,
            Operation::StartContainer { container, .. } => self.start(container, node.group).await,
            Operation::StopContainer {
                container, timeout, ..
            } => self.stop(container, *timeout, node.group).await,
            Operation::RemoveContainer {
                container,
                volumes,
                force,
            } => self.remove(container, *volumes, *force, node.group).await,
            Operation::RenameContainer { container, name } => {
                self.client
                    .rename_container(&self.address(container), name)
                    .await?;
                if let Some(group) = node.group {
                    self.commit(group, container);
                }
                Ok(())
            }
            Operation::RunPreStart {
                service,
                index,
                number,
                container,
            } => {
                self.run_pre_start(service, *index, *number, container)
                    .await
            }
            Operation::RunHook {
                service,
                container,
                hook,
                index,
            } => self.run_hook(service, container, *hook, *index).await,
            Operation::Wait {
                service,
                containers,
                condition,
                required,
            } => {
                self.wait(service, containers, *condition, *required, &node.cause.text)
                    .await
            }
            Operation::RunProvider { service, action } => self.run_provider(service, *action).await,
            Operation::KillContainer { .. }
            | Operation::RestartContainer { .. }
            | Operation::PauseContainer { .. }
            | Operation::UnpauseContainer { .. }
            | Operation::UpdateContainer { .. } => {
                self.perform_signal(&node.operation, &node.cause.to_string())
                    .await
            }
            resource => self.perform_resource(resource).await,
        }
    }

    /// What changes the state of a container that stays.
    async fn perform_signal(&self, operation: &Operation, cause: &str) -> Result<(), ApplyError> {
        match operation {
            Operation::KillContainer { container, signal } => {
                let address = self.address(container);
                let call = self.client.kill_container(&address, signal);
                self.report(self.resource(container), "Killing", "Killed", call)
                    .await
            }
            Operation::RestartContainer {
                container, timeout, ..
            } => {
                let address = self.address(container);
                let call = self.client.restart_container(&address, *timeout);
                self.report(self.resource(container), "Restarting", "Started", call)
                    .await
            }
            Operation::PauseContainer { container } => {
                let address = self.address(container);
                let call = self.client.pause_container(&address);
                self.report(self.resource(container), "Pausing", "Paused", call)
                    .await
            }
            Operation::UnpauseContainer { container } => {
                let address = self.address(container);
                let call = self.client.unpause_container(&address);
                self.report(self.resource(container), "Unpausing", "Unpaused", call)
                    .await
            }
            Operation::UpdateContainer {
                service,
                number,
                container,
            } => {
                let address = self.address(container);
                let working = Event::working(self.resource(container), "Updating").detail(cause);
                self.progress.send(working);
                let done = self.update(service, *number, &address).await;
                self.finish(self.resource(container), "Updated", done)
            }
            _ => Ok(()),
        }
    }

    async fn update(&self, service: &str, number: u32, address: &str) -> Result<(), ApplyError> {
        let declared = &self.desired.project.services[service];
        self.client.update_container(address, declared).await?;
        if self.client.is_bundled() {
            let ids = self.state().service_ids.clone();
            let (resolved, _) = config_hash::with_container_references(declared, &ids);
            let options = BodyOptions {
                number,
                ..BodyOptions::default()
            };
            self.client
                .update_live(&self.desired, &resolved, address, &options)
                .await?;
        }
        Ok(())
    }

    /// Networks, volumes and images.
    async fn perform_resource(&self, operation: &Operation) -> Result<(), ApplyError> {
        let project = &self.desired.project;
        match operation {
            Operation::CreateNetwork { key, name } => {
                let call = self.client.create_network(project, key);
                self.report(Resource::network(name), "Creating", "Created", call)
                    .await
            }
            Operation::RemoveNetwork {
                name,
                id,
                best_effort,
            } => {
                let call = self.client.remove_network(id);
                self.remove_if_free(Resource::network(name), *best_effort, call)
                    .await
            }
            Operation::ConnectNetwork {
                key,
                network,
                service,
                number,
                container,
            } => {
                self.connect(key, network, service, *number, container)
                    .await
            }
            Operation::DisconnectNetwork { network, container } => {
                let address = self.address(container);
                Ok(self.client.disconnect_network(network, &address).await?)
            }
            Operation::CreateVolume { key, name } => {
                let call = self.client.create_volume(project, key);
                self.report(Resource::volume(name), "Creating", "Created", call)
                    .await
            }
            Operation::RemoveVolume { name, best_effort } => {
                let call = self.client.remove_volume(name);
                self.remove_if_free(Resource::volume(name), *best_effort, call)
                    .await
            }
            Operation::RemoveImage { image, .. } => {
                let call = self.client.remove_image(image);
                self.remove_if_free(Resource::image(image), true, call)
                    .await
            }
            _ => Ok(()),
        }
    }

    pub(super) fn resource(&self, container: &ContainerRef) -> Resource {
        Resource::container(self.shown_name(container))
    }

    pub(super) fn finish(
        &self,
        resource: Resource,
        done: &'static str,
        result: Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        match &result {
            Ok(()) => self.progress.send(Event::done(resource, done)),
            Err(error) => self
                .progress
                .send(Event::error(resource, error.to_string())),
        }
        result
    }

    async fn report(
        &self,
        resource: Resource,
        working: &'static str,
        done: &'static str,
        call: impl Future<Output = Result<(), ClientError>>,
    ) -> Result<(), ApplyError> {
        self.progress
            .send(Event::working(resource.clone(), working));
        let result = call.await.map_err(ApplyError::from);
        self.finish(resource, done, result)
    }

    async fn remove_if_free(
        &self,
        resource: Resource,
        best_effort: bool,
        call: impl Future<Output = Result<(), ClientError>>,
    ) -> Result<(), ApplyError> {
        self.progress
            .send(Event::working(resource.clone(), "Removing"));
        match call.await {
            Err(error) if best_effort && is_in_use(&error) => {
                self.progress
                    .send(Event::warning(resource, "Resource is still in use"));
                Ok(())
            }
            Err(error) if best_effort && error.is_not_found() => {
                self.progress.send(Event::warning(resource, "Not found"));
                Ok(())
            }
            other => self.finish(resource, "Removed", other.map_err(ApplyError::from)),
        }
    }

    /// The options for a body of a replica of the service.
    pub(super) fn body_options(&self, service: &str, number: u32, name: &str) -> BodyOptions {
        let project = &self.desired.project;
        let mut environment =
            context::proxy_variables(&project.environment, &self.client.choice().address());
        let state = self.state();
        if let Some(declared) = project.services.get(service) {
            for dependency in declared.depends_on.keys() {
                environment.extend(state.provided.get(dependency).cloned().unwrap_or_default());
            }
            environment.extend(state.provided.get(service).cloned().unwrap_or_default());
        }
        BodyOptions {
            number,
            name: name.to_owned(),
            linked: self.replicas.clone(),
            environment,
            ..BodyOptions::default()
        }
    }

    async fn create(
        &self,
        create: &CreateContainer,
        group: Option<GroupId>,
        cause: &str,
    ) -> Result<(), ApplyError> {
        let resource = Resource::container(&create.final_name);
        let event = if group.is_some() {
            Event::working(resource.clone(), "Recreate").detail(cause)
        } else {
            Event::working(resource.clone(), "Creating")
        };
        self.progress.send(event);
        let declared = &self.desired.project.services[&create.service];
        let ids = self.state().service_ids.clone();
        let (service, _) = config_hash::with_container_references(declared, &ids);
        let mut options = self.body_options(&create.service, create.number, &create.final_name);
        options.inherited.clone_from(&create.inherited);
        options.replaces.clone_from(&create.replaces);
        let created = match self
            .client
            .create_container(&self.desired, &service, &create.name, &options)
            .await
        {
            Ok(created) => created,
            Err(error) => return self.finish(resource, "", Err(error.into())),
        };
        for warning in &created.warnings {
            self.progress.send(Event::warning(
                Resource::service(&create.service),
                warning.clone(),
            ));
        }
        let mut state = self.state();
        if let Some(group) = group {
            state
                .undo
                .entry(group)
                .or_default()
                .push(Undo::RemoveNew(created.id.clone()));
        }
        if create.number <= 1 || !state.service_ids.contains_key(&create.service) {
            state
                .service_ids
                .insert(create.service.clone(), created.id.clone());
        }
        state.created.insert(create.name.clone(), created.id);
        drop(state);
        if group.is_none() {
            self.progress.send(Event::done(resource, "Created"));
        }
        Ok(())
    }

    async fn upload(&self, service: &str, container: &ContainerRef) -> Result<(), ApplyError> {
        let project = &self.desired.project;
        let files = desired::inline_files(project, &project.services[service]);
        let address = self.address(container);
        match self.client.upload_files(&address, &files).await {
            Ok(()) => Ok(()),
            Err(error) => self.finish(self.resource(container), "", Err(error.into())),
        }
    }

    async fn start(
        &self,
        container: &ContainerRef,
        group: Option<GroupId>,
    ) -> Result<(), ApplyError> {
        let resource = self.resource(container);
        if group.is_some() {
            self.progress
                .send(Event::done(resource.clone(), "Recreated"));
        }
        let address = self.address(container);
        self.report(
            resource,
            "Starting",
            "Started",
            self.client.start_container(&address),
        )
        .await?;
        if let Some(group) = group {
            self.state().started_groups.insert(group);
        }
        Ok(())
    }

    async fn stop(
        &self,
        container: &ContainerRef,
        timeout: Option<Duration>,
        group: Option<GroupId>,
    ) -> Result<(), ApplyError> {
        let address = self.address(container);
        let Some(group) = group else {
            return self
                .report(
                    self.resource(container),
                    "Stopping",
                    "Stopped",
                    self.client.stop_container(&address, timeout),
                )
                .await;
        };
        let stopped = self.client.stop_container(&address, timeout).await;
        // Even a failed stop may have ended it.
        self.state()
            .undo
            .entry(group)
            .or_default()
            .push(Undo::StartOld(container.clone()));
        Ok(stopped?)
    }

    async fn remove(
        &self,
        container: &ContainerRef,
        volumes: bool,
        force: bool,
        group: Option<GroupId>,
    ) -> Result<(), ApplyError> {
        let address = self.address(container);
        let call = self.client.remove_container(&address, volumes, force);
        let Some(group) = group else {
            return self
                .report(self.resource(container), "Removing", "Removed", call)
                .await;
        };
        call.await?;
        // The old one is gone: from here on there is nothing to go back to.
        self.state().undo.remove(&group);
        Ok(())
    }

    /// The replacement bears its name: the group is complete.
    fn commit(&self, group: GroupId, container: &ContainerRef) {
        let mut state = self.state();
        state.undo.remove(&group);
        let has_started = state.started_groups.contains(&group);
        drop(state);
        if !has_started {
            self.progress
                .send(Event::done(self.resource(container), "Recreated"));
        }
    }

    async fn connect(
        &self,
        key: &str,
        network: &str,
        service: &str,
        number: u32,
        container: &ContainerRef,
    ) -> Result<(), ApplyError> {
        let options = self.body_options(service, number, &container.name);
        let service = &self.desired.project.services[service];
        let address = self.address(container);
        Ok(self
            .client
            .connect_network(network, service, key, &address, &options)
            .await?)
    }
}

/// The engine's ways to say that something else still needs the thing.
fn is_in_use(error: &ClientError) -> bool {
    let message = error.message();
    error.is_conflict()
        || message.contains("has active endpoints")
        || message.contains("is in use")
        || message.contains("being used")
}
