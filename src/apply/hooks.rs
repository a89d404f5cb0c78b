//! Hooks: commands inside a running container (`post_start`, `pre_stop`), and containers that run
//! before the first start of a service (`pre_start`). Where they stand in the order is the plan's.

use super::{ApplyError, Inner};
use crate::plan::operation::HookKind;
use crate::plan::{ContainerRef, config_hash};
use crate::progress::{Event, Resource};

/// Lines of output that an error repeats.
const TAIL_LINES: usize = 10;

/// Splits output in whole lines, keeps the last ones, and passes all of them on.
struct Lines<F: FnMut(&str)> {
    open: String,
    last: Vec<String>,
    pass: F,
}

impl<F: FnMut(&str)> Lines<F> {
    fn new(pass: F) -> Self {
        Lines {
            open: String::new(),
            last: Vec::new(),
            pass,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.open.push_str(&String::from_utf8_lossy(bytes));
        while let Some(end) = self.open.find('\n') {
            let line: String = self.open.drain(..=end).collect();
            self.line(line.trim_end_matches(['\n', '\r']));
        }
    }

    fn line(&mut self, line: &str) {
        (self.pass)(line);
        if self.last.len() == TAIL_LINES {
            self.last.remove(0);
        }
        self.last.push(line.to_owned());
    }

    fn end(mut self) -> Vec<String> {
        if !self.open.is_empty() {
            let rest = std::mem::take(&mut self.open);
            self.line(&rest);
        }
        self.last
    }
}

impl Inner {
    pub(super) async fn run_hook(
        &self,
        service: &str,
        container: &ContainerRef,
        kind: HookKind,
        index: usize,
    ) -> Result<(), ApplyError> {
        let declared = &self.desired.project.services[service];
        let hook = match kind {
            HookKind::PostStart => &declared.post_start[index],
            HookKind::PreStop => &declared.pre_stop[index],
        };
        let environment = hook
            .environment
            .iter()
            .map(|(key, value)| match value {
                Some(value) => format!("{key}={value}"),
                None => key.clone(),
            })
            .collect();
        let resource = self.resource(container);
        let prefix = self.short_name(container);
        let mut lines = Lines::new(|line| {
            self.progress
                .output(&resource, format!("{prefix} -> {line}\n"))
        });
        let address = self.address(container);
        let code = self
            .client
            .run_hook(&address, hook, environment, |bytes| lines.push(bytes))
            .await;
        let log = lines.end();
        match code? {
            0 => Ok(()),
            code => {
                let message = format!("{service} hook exited with status {code}");
                self.progress
                    .send(Event::error(self.resource(container), message.clone()));
                Err(ApplyError::Process { message, log })
            }
        }
    }

    /// `web-1` of `project-web-1`: what output is prefixed with.
    fn short_name(&self, container: &ContainerRef) -> String {
        let name = self.shown_name(container);
        let prefix = format!("{}{}", self.desired.project.name, self.desired.separator);
        name.strip_prefix(&prefix).unwrap_or(name).to_owned()
    }

    /// Runs a hook to its end in a container of its own, on the networks of the service and with
    /// the volumes of one of its replicas.
    pub(super) async fn run_pre_start(
        &self,
        service: &str,
        index: usize,
        number: u32,
        replica: &ContainerRef,
    ) -> Result<(), ApplyError> {
        let declared = &self.desired.project.services[service];
        let hook = &declared.pre_start[index];
        let ids = self.state().service_ids.clone();
        let (mut made, _) = config_hash::with_container_references(declared, &ids);
        made.command.clone_from(&hook.command);
        if !hook.image.is_empty() {
            made.image.clone_from(&hook.image);
            made.entrypoint = None;
        }
        if !hook.user.is_empty() {
            made.user.clone_from(&hook.user);
        }
        if !hook.working_dir.is_empty() {
            made.working_dir.clone_from(&hook.working_dir);
        }
        made.privileged |= hook.privileged;
        made.environment.extend(hook.environment.clone());
        made.container_name = String::new();
        made.ports.clear();
        made.healthcheck = None;
        made.restart = String::new();
        made.deploy = None;
        made.volumes.clear();
        made.configs.clear();
        made.secrets.clear();
        made.volumes_from = vec![self.address(replica)];
        for network in made.networks.values_mut().flatten() {
            network.ipv4_address = String::new();
            network.ipv6_address = String::new();
            network.mac_address = String::new();
            network.aliases.clear();
        }
        made.mac_address = String::new();
        let separator = self.desired.separator;
        let name = format!(
            "{}{separator}{service}{separator}pre_start{separator}{index}{separator}{number}",
            self.desired.project.name
        );
        let mut options = self.body_options(service, number, &name);
        options.hook = true;
        options.one_off = Some(crate::client::container_body::OneOff::default());
        // One of an earlier, broken run may still be there.
        self.client.remove_container(&name, false, true).await?;
        let resource = Resource::container(&name);
        self.progress
            .send(Event::working(resource.clone(), "Starting"));
        let created = self
            .client
            .create_container(&self.desired, &made, &name, &options)
            .await?;
        let prefix = format!("{service} pre_start[{index}]");
        let mut lines = Lines::new(|line| {
            self.progress
                .output(&resource, format!("{prefix} -> {line}\n"))
        });
        let result = self
            .client
            .run_to_end(&created.id, |bytes| lines.push(bytes))
            .await;
        let log = lines.end();
        let removed = self.client.remove_container(&created.id, false, true).await;
        match result? {
            0 => {
                removed?;
                self.progress.send(Event::done(resource, "Exited"));
                Ok(())
            }
            code => {
                let message =
                    format!("service \"{service}\" pre_start[{index}] exited with code {code}");
                self.progress.send(Event::error(resource, message.clone()));
                Err(ApplyError::Process { message, log })
            }
        }
    }
}
