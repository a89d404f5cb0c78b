//! The engine calls that a plan is made of, one method a call. What is not modified or already
//! gone is success where the operation says "make it so".

use std::collections::HashMap;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, NetworkConnectRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptions, EventsOptions, KillContainerOptions,
    LogsOptionsBuilder, RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions,
    RenameContainerOptions, RestartContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use futures_util::{Stream, StreamExt};

use super::container_body::{self, BodyOptions, container_body};
use super::error::{ClientError, Kind};
use super::{Client, resource_body};
use crate::compose::model::{Hook, Project, Service};
use crate::plan::Desired;
use crate::plan::desired::InlineFile;

/// What an engine below API 1.44 says to several networks at creation.
const ONE_ENDPOINT_ONLY: &str = "cannot be connected to network endpoints";

/// A container that was made, and what the engine had to say about it.
#[derive(Debug, Clone)]
pub(crate) struct Created {
    pub(crate) id: String,
    pub(crate) warnings: Vec<String>,
}

/// What an inspect tells about the life of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) id: String,
    pub(crate) running: bool,
    pub(crate) restarting: bool,
    /// Created, but never started.
    pub(crate) fresh: bool,
    pub(crate) exit_code: i64,
    /// `None` without a healthcheck.
    pub(crate) health: Option<String>,
    pub(crate) error: String,
    /// Output of the last probe.
    pub(crate) probe: String,
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerEvent {
    pub(crate) id: String,
    /// `die`, `start`, `health_status: healthy`, …
    pub(crate) action: String,
}

fn seconds(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX)
}

/// `Ok` also when the engine says that nothing was to do.
fn settled(result: Result<(), bollard::errors::Error>) -> Result<(), ClientError> {
    match result.map_err(ClientError::from) {
        Err(error) if error.kind() == Kind::NotModified => Ok(()),
        other => other,
    }
}

/// `Ok` also when the thing is gone already.
fn gone(result: Result<(), bollard::errors::Error>) -> Result<(), ClientError> {
    match result.map_err(ClientError::from) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

impl Client {
    pub(crate) async fn create_network(
        &self,
        project: &Project,
        key: &str,
    ) -> Result<(), ClientError> {
        let network = &project.networks[key];
        let body = resource_body::network_body(project, key, network);
        match self
            .docker()
            .create_network(body)
            .await
            .map_err(ClientError::from)
        {
            Ok(_) => Ok(()),
            // Another `up` made it in the meantime.
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn remove_network(&self, id: &str) -> Result<(), ClientError> {
        gone(self.docker().remove_network(id).await)
    }

    pub(crate) async fn connect_network(
        &self,
        network: &str,
        service: &Service,
        key: &str,
        container: &str,
        options: &BodyOptions,
    ) -> Result<(), ClientError> {
        let is_main = service.networks_by_priority().first() == Some(&key);
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(container_body::endpoint(service, key, options, is_main)),
        };
        Ok(self.docker().connect_network(network, request).await?)
    }

    pub(crate) async fn disconnect_network(
        &self,
        network: &str,
        container: &str,
    ) -> Result<(), ClientError> {
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            force: Some(true),
        };
        gone(self.docker().disconnect_network(network, request).await)
    }

    pub(crate) async fn create_volume(
        &self,
        project: &Project,
        key: &str,
    ) -> Result<(), ClientError> {
        let body = resource_body::volume_body(project, key, &project.volumes[key]);
        self.docker().create_volume(body).await?;
        Ok(())
    }

    pub(crate) async fn remove_volume(&self, name: &str) -> Result<(), ClientError> {
        gone(
            self.docker()
                .remove_volume(name, Some(RemoveVolumeOptions { force: true }))
                .await,
        )
    }

    pub(crate) async fn remove_image(&self, image: &str) -> Result<(), ClientError> {
        let options = RemoveImageOptions {
            noprune: false,
            ..RemoveImageOptions::default()
        };
        self.docker()
            .remove_image(image, Some(options), None)
            .await?;
        Ok(())
    }

    /// Makes a container of a service under `name`.
    pub(crate) async fn create_container(
        &self,
        desired: &Desired,
        service: &Service,
        name: &str,
        options: &BodyOptions,
    ) -> Result<Created, ClientError> {
        let body = container_body(desired, service, options)?;
        let query = CreateContainerOptions {
            name: Some(name.to_owned()),
            platform: service.platform.clone(),
        };
        let several = body
            .networking_config
            .as_ref()
            .and_then(|config| config.endpoints_config.as_ref())
            .is_some_and(|endpoints| endpoints.len() > 1)
            .then(|| (query.clone(), body.clone()));
        let answer = match self.docker().create_container(Some(query), body).await {
            Ok(answer) => answer,
            Err(error) => match several {
                Some((query, body)) if error.to_string().contains(ONE_ENDPOINT_ONLY) => {
                    return self
                        .create_then_connect(desired, service, options, query, body)
                        .await;
                }
                _ => return Err(error.into()),
            },
        };
        Ok(Created {
            id: answer.id,
            warnings: answer.warnings,
        })
    }

    /// For an engine below API 1.44, which creates a container in one network: the others are connected after.
    async fn create_then_connect(
        &self,
        desired: &Desired,
        service: &Service,
        options: &BodyOptions,
        query: CreateContainerOptions,
        mut body: ContainerCreateBody,
    ) -> Result<Created, ClientError> {
        let keys = service.networks_by_priority();
        let name = |key: &str| match desired.project.networks.get(key) {
            Some(network) => network.name.clone(),
            None => key.to_owned(),
        };
        if let (Some(config), Some(main)) = (&mut body.networking_config, keys.first())
            && let Some(endpoints) = &mut config.endpoints_config
        {
            let main = name(main);
            endpoints.retain(|network, _| *network == main);
        }
        let answer = self.docker().create_container(Some(query), body).await?;
        for key in keys.into_iter().skip(1) {
            let connected = self
                .connect_network(&name(key), service, key, &answer.id, options)
                .await;
            if let Err(error) = connected {
                self.remove_container(&answer.id, true, true).await?;
                return Err(error);
            }
        }
        Ok(Created {
            id: answer.id,
            warnings: answer.warnings,
        })
    }

    pub(crate) async fn start_container(&self, id: &str) -> Result<(), ClientError> {
        settled(self.docker().start_container(id, None).await)
    }

    pub(crate) async fn stop_container(
        &self,
        id: &str,
        timeout: Option<Duration>,
    ) -> Result<(), ClientError> {
        let options = StopContainerOptions {
            signal: None,
            t: timeout.map(seconds),
        };
        match settled(self.docker().stop_container(id, Some(options)).await) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    pub(crate) async fn restart_container(
        &self,
        id: &str,
        timeout: Option<Duration>,
    ) -> Result<(), ClientError> {
        let options = RestartContainerOptions {
            signal: None,
            t: timeout.map(seconds),
        };
        Ok(self.docker().restart_container(id, Some(options)).await?)
    }

    pub(crate) async fn kill_container(&self, id: &str, signal: &str) -> Result<(), ClientError> {
        let options = KillContainerOptions {
            signal: signal.to_owned(),
        };
        Ok(self.docker().kill_container(id, Some(options)).await?)
    }

    pub(crate) async fn pause_container(&self, id: &str) -> Result<(), ClientError> {
        Ok(self.docker().pause_container(id).await?)
    }

    pub(crate) async fn unpause_container(&self, id: &str) -> Result<(), ClientError> {
        Ok(self.docker().unpause_container(id).await?)
    }

    pub(crate) async fn rename_container(&self, id: &str, name: &str) -> Result<(), ClientError> {
        let options = RenameContainerOptions {
            name: name.to_owned(),
        };
        Ok(self.docker().rename_container(id, options).await?)
    }

    pub(crate) async fn update_container(
        &self,
        id: &str,
        service: &Service,
    ) -> Result<(), ClientError> {
        let body = container_body::update_body(service)?;
        Ok(self.docker().update_container(id, body).await?)
    }

    pub(crate) async fn remove_container(
        &self,
        id: &str,
        volumes: bool,
        force: bool,
    ) -> Result<(), ClientError> {
        let options = RemoveContainerOptions {
            v: volumes,
            force,
            link: false,
        };
        match gone(self.docker().remove_container(id, Some(options)).await) {
            // Somebody else removes it right now.
            Err(error)
                if error.is_conflict() && error.message().contains("already in progress") =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Puts files into a container, made or running.
    pub(crate) async fn upload_files(
        &self,
        id: &str,
        files: &[InlineFile],
    ) -> Result<(), ClientError> {
        let archive = archive(files)?;
        let options = bollard::query_parameters::UploadToContainerOptionsBuilder::default()
            .path("/")
            .build();
        let body = bollard::body_full(archive.into());
        Ok(self
            .docker()
            .upload_to_container(id, Some(options), body)
            .await?)
    }

    pub(crate) async fn life(&self, id: &str) -> Result<Life, ClientError> {
        let inspect = self.docker().inspect_container(id, None).await?;
        Ok(life(inspect))
    }

    /// Starts a container that was made, passes its output on, and gives its exit code.
    pub(crate) async fn run_to_end(
        &self,
        id: &str,
        mut on_output: impl FnMut(&[u8]),
    ) -> Result<i64, ClientError> {
        let options = AttachContainerOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .stream(true)
            .build();
        let mut attached = self.docker().attach_container(id, Some(options)).await?;
        self.start_container(id).await?;
        while let Some(part) = attached.output.next().await {
            on_output(&part.map(LogOutput::into_bytes)?);
        }
        self.wait_exit_code(id).await
    }

    /// Waits until the container does not run, and gives its exit code.
    pub(crate) async fn wait_exit_code(&self, id: &str) -> Result<i64, ClientError> {
        let options = WaitContainerOptions {
            condition: "not-running".to_owned(),
        };
        let mut stream = std::pin::pin!(self.docker().wait_container(id, Some(options)));
        match stream.next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(error.into()),
            None => Err(ClientError::Protocol(
                "the wait for a container ended without an answer".to_owned(),
            )),
        }
    }

    /// Waits until a container that the engine removes by itself is gone.
    pub(crate) async fn wait_removed(&self, id: &str) -> Result<(), ClientError> {
        let options = WaitContainerOptions {
            condition: "removed".to_owned(),
        };
        let mut stream = std::pin::pin!(self.docker().wait_container(id, Some(options)));
        match stream.next().await {
            Some(Err(bollard::errors::Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) => gone(Err(error)),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// The exit code of a container that is gone, from the engine's memory of events.
    pub(crate) async fn past_exit_code(&self, id: &str, since: &str) -> Result<i64, ClientError> {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        let filters = HashMap::from([
            ("container".to_owned(), vec![id.to_owned()]),
            ("event".to_owned(), vec!["die".to_owned()]),
        ]);
        let options = EventsOptions {
            since: Some(since.to_owned()),
            until: Some((now + 1).to_string()),
            filters: Some(filters),
        };
        let mut events = std::pin::pin!(self.docker().events(Some(options)));
        let code = events
            .next()
            .await
            .transpose()?
            .and_then(|event| event.actor)
            .and_then(|actor| actor.attributes)
            .and_then(|attributes| attributes.get("exitCode").and_then(|c| c.parse().ok()));
        code.ok_or_else(|| {
            ClientError::Protocol("the container is gone and left no exit code".to_owned())
        })
    }

    /// What happens to the containers of a project from `since` (seconds since 1970) on.
    pub(crate) fn project_events(
        &self,
        project: &str,
        since: &str,
    ) -> impl Stream<Item = Result<ContainerEvent, ClientError>> + use<> {
        let label = format!("{}={project}", crate::labels::PROJECT);
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), vec![label]),
        ]);
        let options = EventsOptions {
            since: Some(since.to_owned()),
            until: None,
            filters: Some(filters),
        };
        let docker = self.docker().clone();
        async_stream(docker, options)
    }

    /// The last lines a container wrote.
    pub(crate) async fn last_lines(&self, id: &str, lines: usize) -> Vec<String> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail(&lines.to_string())
            .build();
        let mut stream = std::pin::pin!(self.docker().logs(id, Some(options)));
        let mut text = String::new();
        while let Some(Ok(part)) = stream.next().await {
            text.push_str(&String::from_utf8_lossy(&part.into_bytes()));
        }
        text.lines().map(str::to_owned).collect()
    }

    /// Runs a hook inside a container; its output goes to `on_output`, its exit code is returned.
    pub(crate) async fn run_hook(
        &self,
        id: &str,
        hook: &Hook,
        environment: Vec<String>,
        mut on_output: impl FnMut(&[u8]),
    ) -> Result<i64, ClientError> {
        let exec = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: hook.command.clone(),
            env: Some(environment),
            privileged: Some(hook.privileged),
            user: Some(hook.user.clone()).filter(|u| !u.is_empty()),
            working_dir: Some(hook.working_dir.clone()).filter(|d| !d.is_empty()),
            ..CreateExecOptions::<String>::default()
        };
        let created = self.docker().create_exec(id, exec).await?;
        if let StartExecResults::Attached { mut output, .. } =
            self.docker().start_exec(&created.id, None).await?
        {
            while let Some(part) = output.next().await {
                on_output(&part.map(LogOutput::into_bytes)?);
            }
        }
        let inspect = self.docker().inspect_exec(&created.id).await?;
        Ok(inspect.exit_code.unwrap_or(0))
    }
}

fn async_stream(
    docker: bollard::Docker,
    options: EventsOptions,
) -> impl Stream<Item = Result<ContainerEvent, ClientError>> {
    docker.events(Some(options)).map(|event| {
        let event = event?;
        Ok(ContainerEvent {
            id: event.actor.and_then(|a| a.id).unwrap_or_default(),
            action: event.action.unwrap_or_default(),
        })
    })
}

fn life(inspect: ContainerInspectResponse) -> Life {
    let id = inspect.id.unwrap_or_default();
    let Some(state) = inspect.state else {
        return Life {
            id,
            ..Life::default()
        };
    };
    let health = state.health.as_ref();
    let status = health
        .and_then(|h| h.status)
        .map(|s| s.to_string())
        .filter(|s| !s.is_empty() && s != "none");
    let probe = health
        .and_then(|h| h.log.as_ref())
        .and_then(|log| log.last())
        .and_then(|p| p.output.clone());
    Life {
        id,
        running: state.running.unwrap_or(false),
        restarting: state.restarting.unwrap_or(false),
        fresh: state.status.is_some_and(|s| s.to_string() == "created"),
        exit_code: state.exit_code.unwrap_or(0),
        health: status,
        error: state.error.unwrap_or_default(),
        probe: probe.unwrap_or_default(),
    }
}

/// A tar of files, each with the owner and mode it asked for.
fn archive(files: &[InlineFile]) -> Result<Vec<u8>, ClientError> {
    let bad = |e: std::io::Error| ClientError::io("packing configs and secrets", e);
    let mut tar = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.content.len() as u64);
        header.set_mode(file.mode);
        header.set_uid(id(&file.uid)?);
        header.set_gid(id(&file.gid)?);
        header.set_mtime(now());
        tar.append_data(
            &mut header,
            file.target.trim_start_matches('/'),
            file.content.as_bytes(),
        )
        .map_err(bad)?;
    }
    tar.into_inner().map_err(bad)
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

fn id(text: &str) -> Result<u64, ClientError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        ClientError::Invalid(format!(
            "\"{text}\" is no user or group id (a config or secret takes numbers only)"
        ))
    })
}
