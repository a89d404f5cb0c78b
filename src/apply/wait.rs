//! Waiting for a condition of a service, and saying why. Nothing polls: one stream of events a
//! run wakes whoever waits, and an inspect tells the truth after each.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::future::{select_all, try_join_all};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use super::{ApplyError, Inner};
use crate::client::operations::{ContainerEvent, Life};
use crate::client::{Client, ClientError};
use crate::plan::{Condition, ContainerRef};
use crate::progress::Event;

/// How long a container without a healthcheck must have run to count as running.
const SETTLE_TIME: Duration = Duration::from_millis(500);
/// Events that a slow waiter may be behind before it has to look for itself.
const BACKLOG: usize = 512;
/// Lines of the log of a failed container that an error repeats.
const LOG_LINES: usize = 10;

/// One event stream for all waits of a run, opened by the first.
pub(super) struct EventHub {
    client: Client,
    project: String,
    since: String,
    /// The task alone holds the sender: when the engine's stream ends, every waiter is told.
    open: Mutex<Option<(broadcast::WeakSender<ContainerEvent>, JoinHandle<()>)>>,
}

impl EventHub {
    pub(super) fn new(client: Client, project: String) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        EventHub {
            client,
            project,
            since: format!("{}.{:09}", now.as_secs(), now.subsec_nanos()),
            open: Mutex::new(None),
        }
    }

    fn subscribe(&self) -> broadcast::Receiver<ContainerEvent> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((sender, _)) = &*open
            && let Some(sender) = sender.upgrade()
        {
            return sender.subscribe();
        }
        let (sender, receiver) = broadcast::channel(BACKLOG);
        // From the start of the run on, so that nothing falls between a look and the stream.
        let mut events = Box::pin(self.client.project_events(&self.project, &self.since));
        let known = sender.downgrade();
        let task = tokio::spawn(async move {
            while let Some(Ok(event)) = events.next().await {
                // Nobody waits right now: that is fine.
                let _ = sender.send(event);
            }
        });
        *open = Some((known, task));
        receiver
    }
}

impl Drop for EventHub {
    fn drop(&mut self) {
        if let Some((_, task)) = self.open.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// What an inspect means for a condition.
enum Verdict {
    Fulfilled(&'static str),
    NotYet,
    Never(String),
}

impl Inner {
    pub(super) async fn wait(
        &self,
        service: &str,
        containers: &[ContainerRef],
        condition: Condition,
        required: bool,
        why: &str,
    ) -> Result<(), ApplyError> {
        if containers.is_empty() {
            return Ok(());
        }
        let detail = format!("until {} ({why})", condition.as_str());
        for container in containers {
            self.progress
                .send(Event::working(self.resource(container), "Waiting").detail(detail.clone()));
        }
        let waiting = async {
            match condition {
                Condition::Completed => self.wait_completed(service, containers).await,
                _ => try_join_all(containers.iter().map(|c| self.wait_one(c, condition)))
                    .await
                    .map(|_| ()),
            }
        };
        let result = match self.options.wait_timeout {
            Some(limit) => match tokio::time::timeout(limit, waiting).await {
                Ok(result) => result,
                Err(_) => Err(ApplyError::Timeout(limit)),
            },
            None => waiting.await,
        };
        match result {
            Err(ApplyError::Wait { message, .. }) if !required => {
                for container in containers {
                    let text = format!("Skipped: optional dependency {message}");
                    self.progress
                        .send(Event::warning(self.resource(container), text));
                }
                Ok(())
            }
            other => other,
        }
    }

    /// The first container that ends decides.
    async fn wait_completed(
        &self,
        service: &str,
        containers: &[ContainerRef],
    ) -> Result<(), ApplyError> {
        let exits = containers.iter().map(|container| {
            Box::pin(async move {
                let address = self.address(container);
                self.client.wait_exit_code(&address).await
            })
        });
        let (code, index, _) = select_all(exits).await;
        let container = &containers[index];
        match code? {
            0 => {
                self.progress
                    .send(Event::done(self.resource(container), "Exited"));
                Ok(())
            }
            code => Err(self
                .failed(
                    container,
                    format!("service \"{service}\" didn't complete successfully: exit {code}"),
                )
                .await),
        }
    }

    async fn wait_one(
        &self,
        container: &ContainerRef,
        condition: Condition,
    ) -> Result<(), ApplyError> {
        let address = self.address(container);
        let mut events = self.events.subscribe();
        loop {
            let life = self.client.life(&address).await?;
            match self.judge(container, &life, condition) {
                Verdict::Fulfilled(text) => {
                    if life.running
                        && life.health.is_none()
                        && self.ends_soon(&life.id, &mut events).await
                    {
                        continue;
                    }
                    self.progress
                        .send(Event::done(self.resource(container), text));
                    return Ok(());
                }
                Verdict::Never(message) => return Err(self.failed(container, message).await),
                Verdict::NotYet => self.next_event(&life.id, &mut events).await?,
            }
        }
    }

    fn judge(&self, container: &ContainerRef, life: &Life, condition: Condition) -> Verdict {
        let name = self.shown_name(container);
        if !life.running && !life.restarting && !life.fresh {
            return match (condition, life.exit_code) {
                (Condition::RunningOrHealthy, 0) => Verdict::Fulfilled("Exited"),
                (_, code) => Verdict::Never(format!("container {name} exited ({code})")),
            };
        }
        match life.health.as_deref() {
            Some("healthy") if life.running => Verdict::Fulfilled("Healthy"),
            Some("unhealthy") => {
                let probe = life.probe.trim();
                let probe = if probe.is_empty() {
                    String::new()
                } else {
                    format!(": {}", probe.lines().last().unwrap_or_default())
                };
                Verdict::Never(format!("container {name} is unhealthy{probe}"))
            }
            Some(_) => Verdict::NotYet,
            None if condition == Condition::Healthy && !life.fresh => {
                Verdict::Never(format!("container {name} has no healthcheck configured"))
            }
            None if life.running && !life.restarting => Verdict::Fulfilled("Running"),
            None => Verdict::NotYet,
        }
    }

    /// Until something happens to the container that may change the verdict.
    async fn next_event(
        &self,
        id: &str,
        events: &mut broadcast::Receiver<ContainerEvent>,
    ) -> Result<(), ApplyError> {
        loop {
            match events.recv().await {
                Ok(event) if event.id == id && changes_life(&event.action) => return Ok(()),
                Ok(_) => {}
                // Too far behind: look at the container itself.
                Err(broadcast::error::RecvError::Lagged(_)) => return Ok(()),
                Err(broadcast::error::RecvError::Closed) => {
                    return Err(ClientError::Protocol(
                        "the engine ended its event stream".to_owned(),
                    )
                    .into());
                }
            }
        }
    }

    /// Whether a container without a healthcheck ends right after its start.
    async fn ends_soon(&self, id: &str, events: &mut broadcast::Receiver<ContainerEvent>) -> bool {
        let end = async {
            loop {
                match events.recv().await {
                    Ok(event) if event.id == id && event.action == "die" => return true,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return false,
                }
            }
        };
        tokio::time::timeout(SETTLE_TIME, end)
            .await
            .unwrap_or(false)
    }

    /// The error of a dependency that failed, with the last it said.
    async fn failed(&self, container: &ContainerRef, message: String) -> ApplyError {
        self.progress
            .send(Event::error(self.resource(container), message.clone()));
        let name = self.shown_name(container).to_owned();
        let lines = self
            .client
            .last_lines(&self.address(container), LOG_LINES)
            .await;
        ApplyError::Wait {
            message: format!("dependency failed to start: {message}"),
            log: lines
                .into_iter()
                .map(|line| format!("{name} | {line}"))
                .collect(),
        }
    }
}

fn changes_life(action: &str) -> bool {
    action.starts_with("health_status")
        || matches!(
            action,
            "die" | "start" | "destroy" | "restart" | "stop" | "oom" | "unpause"
        )
}
