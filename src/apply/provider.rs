//! Services that a program provides instead of containers: runs the program and understands what
//! it reports, one JSON message a line.

use std::path::PathBuf;
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{ApplyError, Inner};
use crate::client::context;
use crate::plan::operation::ProviderAction;
use crate::progress::{Event, Resource};

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
}

fn failed(message: String) -> ApplyError {
    ApplyError::Process {
        message,
        log: Vec::new(),
    }
}

impl Inner {
    pub(super) async fn run_provider(
        &self,
        service: &str,
        action: ProviderAction,
    ) -> Result<(), ApplyError> {
        let declared = &self.desired.project.services[service];
        let Some(provider) = &declared.provider else {
            return Ok(());
        };
        let resource = Resource::service(service);
        let (verb, working, done) = match action {
            ProviderAction::Up => ("up", "Creating", "Created"),
            ProviderAction::Stop => ("stop", "Stopping", "Stopped"),
            ProviderAction::Down => ("down", "Removing", "Removed"),
        };
        let Some(program) = self.provider_program(&provider.kind) else {
            let message = format!(
                "service \"{service}\": provider \"{}\" not found: neither a docker CLI plugin nor a program on PATH",
                provider.kind
            );
            return self.finish(resource, "", Err(failed(message)));
        };
        if action == ProviderAction::Stop && !supports_stop(&program).await {
            return Ok(());
        }
        self.progress
            .send(Event::working(resource.clone(), working));
        let mut command = Command::new(&program);
        command
            .arg("compose")
            .arg(format!("--project-name={}", self.desired.project.name))
            .arg(verb);
        for (key, values) in &provider.options {
            for value in values {
                command.arg(format!("--{key}={value}"));
            }
        }
        command
            .arg(service)
            .current_dir(&self.desired.project.working_dir)
            .envs(&self.desired.project.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let result = self.follow(service, &resource, command).await;
        self.finish(resource, done, result)
    }

    async fn follow(
        &self,
        service: &str,
        resource: &Resource,
        mut command: Command,
    ) -> Result<(), ApplyError> {
        let mut child = command
            .spawn()
            .map_err(|e| failed(format!("service \"{service}\": starting the provider: {e}")))?;
        let mut problem = None;
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout).lines();
            while let Some(line) = lines.next_line().await.map_err(|e| {
                failed(format!(
                    "service \"{service}\": reading from the provider: {e}"
                ))
            })? {
                if line.trim().is_empty() {
                    continue;
                }
                match serde_json::from_str::<Message>(&line) {
                    Ok(message) => {
                        problem = self
                            .provider_message(service, resource, message)
                            .or(problem)
                    }
                    Err(_) => problem = Some(format!("invalid response from provider: {line}")),
                }
            }
        }
        let status = child.wait().await.map_err(|e| {
            failed(format!(
                "service \"{service}\": waiting for the provider: {e}"
            ))
        })?;
        match problem {
            Some(problem) => Err(failed(problem)),
            None if status.success() => Ok(()),
            None => Err(failed(format!(
                "service \"{service}\": the provider failed: {status}"
            ))),
        }
    }

    /// An error message is returned; everything else is acted on.
    fn provider_message(
        &self,
        service: &str,
        resource: &Resource,
        message: Message,
    ) -> Option<String> {
        match message.kind.as_str() {
            "error" => return Some(message.message),
            "info" => self
                .progress
                .send(Event::working(resource.clone(), message.message)),
            "debug" => {}
            "setenv" | "rawsetenv" => {
                let Some((key, value)) = message.message.split_once('=') else {
                    return Some(format!(
                        "invalid response from provider: {}",
                        message.message
                    ));
                };
                let key = if message.kind == "setenv" {
                    let prefix = service.to_uppercase().replace('-', "_");
                    format!("{prefix}_{key}")
                } else {
                    key.to_owned()
                };
                self.state()
                    .provided
                    .entry(service.to_owned())
                    .or_default()
                    .push((key, value.to_owned()));
            }
            other => {
                return Some(format!(
                    "invalid response from provider: unknown message type \"{other}\""
                ));
            }
        }
        None
    }

    /// A docker CLI plugin of that name, else a program on PATH.
    fn provider_program(&self, kind: &str) -> Option<PathBuf> {
        let environment = &self.desired.project.environment;
        let mut folders: Vec<PathBuf> = context::project_config_dir(environment)
            .map(|dir| dir.join("cli-plugins"))
            .into_iter()
            .collect();
        folders.extend(context::PLUGIN_FOLDERS.map(PathBuf::from));
        let plugin = folders
            .into_iter()
            .map(|f| f.join(format!("docker-{kind}")))
            .find(|p| p.is_file());
        plugin.or_else(|| {
            let path = environment
                .get("PATH")
                .cloned()
                .or_else(|| std::env::var("PATH").ok())?;
            std::env::split_paths(&path)
                .map(|folder| folder.join(kind))
                .find(|p| p.is_file())
        })
    }
}

/// Whether the provider's metadata tells of a `stop` command.
async fn supports_stop(program: &PathBuf) -> bool {
    let output = Command::new(program)
        .args(["compose", "metadata"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .await;
    output
        .ok()
        .and_then(|o| serde_json::from_slice::<serde_json::Value>(&o.stdout).ok())
        .is_some_and(|metadata| metadata.get("stop").is_some_and(|stop| !stop.is_null()))
}
