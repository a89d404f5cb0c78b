//! The task that owns one container. Requests and what happens inside come through one channel, the pure
//! machine (`state`) says what is taken, effects are carried out here, in `start`, `stop`, `removal` and
//! `update`, and every change is published as a new [`View`]. Nothing polls: exits and probes are messages,
//! deadlines are timers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::engine::base::{Error, Result};
use crate::engine::containers::config::EndpointSettings;
use crate::engine::containers::followers::Followers;
use crate::engine::containers::health::{self, Health, ProbeResult};
use crate::engine::containers::record::{Record, RunState, save_state};
use crate::engine::containers::restart_policy::{self, BackOff, RestartPolicy};
use crate::engine::containers::state::{self, Admission, Happened, Request};
use crate::engine::containers::update::Update;
use crate::engine::containers::view::{NetworkView, View};
use crate::engine::containers::{Container, Deps, Reply};
use crate::oci::runtime_spec::ConsoleSize;
use crate::shim::client::Attached;
use crate::shim::client::{AttachOptions, Exit, Shim};

/// What a container's task is sent.
pub(crate) enum Message {
    Start(Reply<()>),
    Stop(StopOptions, Reply<()>),
    Restart(StopOptions, Reply<()>),
    /// A signal; SIGKILL is answered when the container has ended.
    Kill(i32, Reply<()>),
    Pause(Reply<()>),
    Unpause(Reply<()>),
    Remove(RemoveOptions, Reply<()>),
    Rename(String, Reply<()>),
    Update(Box<Update>, Reply<Vec<String>>),
    Connect(String, Box<EndpointSettings>, Reply<()>),
    Disconnect(String, Reply<()>),
    /// Answered when there is something to attach to: at once, or with the next start.
    Attach(AttachOptions, Reply<Attached>),
    Resize(ConsoleSize, Reply<()>),
    /// The first process of run number `u64` has ended.
    Exited(u64, Exit),
    /// A probe of run number `u64` has ended.
    Probed(u64, ProbeResult),
    /// The engine has started and finds a run of this container interrupted.
    Revive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopOptions {
    /// `None`: the container's own.
    pub(crate) signal: Option<i32>,
    /// Seconds; negative waits for ever, `None` is the container's own.
    pub(crate) timeout: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RemoveOptions {
    pub(crate) force: bool,
    /// Also its anonymous volumes.
    pub(crate) volumes: bool,
}

/// What follows the end of the run.
pub(crate) enum AfterExit {
    Restart(Reply<()>),
    Remove(RemoveOptions, Reply<()>),
}

/// One container and its run.
pub(crate) struct Actor {
    pub(crate) deps: Arc<Deps>,
    pub(crate) record: Arc<Record>,
    pub(crate) run: RunState,
    pub(crate) health: Option<Health>,
    pub(crate) network: Arc<NetworkView>,
    pub(crate) shim: Option<Shim>,
    pub(crate) exits: u64,
    pub(crate) removed: bool,
    /// Counts starts: what belongs to an earlier run is ignored.
    pub(crate) run_number: u64,
    pub(crate) started: Option<Instant>,
    pub(crate) back_off: BackOff,
    /// A stop's grace ends then.
    pub(crate) kill_at: Option<Instant>,
    pub(crate) restart_at: Option<Instant>,
    pub(crate) stop_replies: Vec<Reply<()>>,
    pub(crate) kill_replies: Vec<Reply<()>>,
    pub(crate) after_exit: Option<AfterExit>,
    /// Clients attached before the start.
    pub(crate) waiting_attaches: Vec<(AttachOptions, Reply<Attached>)>,
    pub(crate) probe_task: Option<JoinHandle<()>>,
    /// The shim of the last run, on its way out.
    pub(crate) releasing: Option<JoinHandle<()>>,
    pub(crate) followers: Arc<Followers>,
    pub(crate) messages_tx: mpsc::UnboundedSender<Message>,
    view_tx: watch::Sender<Arc<View>>,
}

/// A run that an earlier engine began.
pub(crate) struct Adopted {
    pub(crate) shim: Shim,
    pub(crate) network: NetworkView,
}

impl Actor {
    /// Starts the task of a container and puts it on the lists.
    pub(crate) fn spawn(
        deps: Arc<Deps>,
        record: Record,
        run: RunState,
        adopted: Option<Adopted>,
    ) -> Arc<Container> {
        let (messages_tx, messages_rx) = mpsc::unbounded_channel();
        let record = Arc::new(record);
        let (shim, network) = match adopted {
            Some(adopted) => (Some(adopted.shim), Arc::new(adopted.network)),
            None => (None, Arc::new(NetworkView::default())),
        };
        let view = Arc::new(View {
            record: Arc::clone(&record),
            run: run.clone(),
            health: None,
            exits: 0,
            removed: false,
            shim: shim.clone(),
            network: Arc::clone(&network),
        });
        let (view_tx, view_rx) = watch::channel(view);
        let followers = Arc::new(Followers::default());
        let container = Arc::new(Container {
            id: record.id.clone(),
            messages: messages_tx.clone(),
            view: view_rx,
            followers: Arc::clone(&followers),
        });
        deps.insert(Arc::clone(&container));
        let mut actor = Actor {
            deps,
            record,
            run,
            health: None,
            network,
            shim,
            exits: 0,
            removed: false,
            run_number: 0,
            started: None,
            back_off: BackOff::default(),
            kill_at: None,
            restart_at: None,
            stop_replies: Vec::new(),
            kill_replies: Vec::new(),
            after_exit: None,
            waiting_attaches: Vec::new(),
            probe_task: None,
            releasing: None,
            followers,
            messages_tx,
            view_tx,
        };
        tokio::spawn(async move {
            if actor.shim.is_some() {
                actor.follow_run();
                actor.publish();
            }
            actor.run_until_removed(messages_rx).await;
        });
        container
    }

    async fn run_until_removed(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        while !self.removed {
            let (kill_at, restart_at) = (self.kill_at, self.restart_at);
            tokio::select! {
                biased;
                message = messages.recv() => match message {
                    Some(message) => self.handle(message).await,
                    None => return,
                },
                () = until(kill_at) => self.grace_is_over().await,
                () = until(restart_at) => self.restart_is_due().await,
            }
        }
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Start(reply) => self.start_requested(reply).await,
            Message::Stop(options, reply) => self.stop_requested(options, reply).await,
            Message::Restart(options, reply) => self.restart_requested(options, reply).await,
            Message::Kill(signal, reply) => self.kill_requested(signal, reply).await,
            Message::Pause(reply) => {
                let result = self.pause();
                answer(reply, result);
            }
            Message::Unpause(reply) => {
                let result = self.unpause();
                answer(reply, result);
            }
            Message::Remove(options, reply) => self.remove_requested(options, reply).await,
            Message::Rename(name, reply) => {
                let result = self.rename(&name);
                answer(reply, result);
            }
            Message::Update(update, reply) => {
                let result = self.update(*update).await;
                answer(reply, result);
            }
            Message::Connect(network, settings, reply) => {
                let result = self.connect(&network, *settings);
                answer(reply, result);
            }
            Message::Disconnect(network, reply) => {
                let result = self.disconnect(&network);
                answer(reply, result);
            }
            Message::Attach(options, reply) => self.attach_requested(options, reply).await,
            Message::Resize(size, reply) => {
                let result = self.resize(size).await;
                answer(reply, result);
            }
            Message::Exited(run_number, exit) => {
                if run_number == self.run_number && self.run.state.has_process() {
                    self.on_exit(exit).await;
                }
            }
            Message::Probed(run_number, result) => {
                if run_number == self.run_number && self.run.state.has_process() {
                    self.on_probe(result);
                }
            }
            Message::Revive => self.revive().await,
        }
    }

    /// `Ok(true)` when the request is to be carried out, `Ok(false)` when it is so already.
    pub(crate) fn admit(&self, request: Request) -> Result<bool> {
        match state::admit(self.run.state, request) {
            Admission::Accept => Ok(true),
            Admission::Ignore => Ok(false),
            Admission::Denied(denied) => {
                Err(denied.to_error(request, &self.record.id, &self.record.name))
            }
        }
    }

    /// Moves the machine. Publishing is the caller's next step.
    pub(crate) fn happened(&mut self, happened: Happened) {
        self.run.state = state::next(self.run.state, happened);
    }

    /// Shows the present state to everybody.
    pub(crate) fn publish(&self) {
        let view = View {
            record: Arc::clone(&self.record),
            run: self.run.clone(),
            health: self.health.clone(),
            exits: self.exits,
            removed: self.removed,
            shim: self.shim.clone(),
            network: Arc::clone(&self.network),
        };
        self.view_tx.send_replace(Arc::new(view));
        self.deps.activity.notify_one();
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<View>> {
        self.view_tx.subscribe()
    }

    /// Stops the probes and starts them anew, with the healthcheck of now.
    pub(crate) fn restart_probes(&mut self) {
        if let Some(task) = self.probe_task.take() {
            task.abort();
        }
        self.health = None;
        let Some(shim) = self.shim.clone() else {
            return;
        };
        if let Some(probe) = health::Probe::of(&self.deps, &self.record) {
            self.health = Some(Health::starting());
            let (messages, view) = (self.messages_tx.clone(), self.subscribe());
            let probing = health::run(probe, shim, self.run_number, messages, view);
            self.probe_task = Some(tokio::spawn(probing));
        }
    }

    /// Keeps the state on disk. A full disk must not stop a container from ending.
    pub(crate) fn save_state(&self) {
        if let Err(error) = save_state(&self.deps.paths, &self.record.id, &self.run) {
            tracing::error!(container.id = %self.record.id, %error, "keep the state");
        }
    }

    pub(crate) fn restart_policy(&self) -> RestartPolicy {
        // It was checked at create and update.
        restart_policy::parse(&self.record.host.restart_policy).unwrap_or(RestartPolicy::No)
    }

    pub(crate) fn event(&self, action: impl Into<String>, more: &[(&str, String)]) {
        self.deps.publish(&self.record, action, more);
    }

    async fn attach_requested(&mut self, options: AttachOptions, reply: Reply<Attached>) {
        match (self.admit(Request::Attach), &self.shim) {
            (Err(error), _) => answer(reply, Err(error)),
            (Ok(_), Some(shim)) => {
                let attached = shim
                    .attach(options)
                    .await
                    .map_err(|error| Error::system(error.message));
                answer(reply, attached);
            }
            (Ok(_), None) => {
                self.waiting_attaches
                    .retain(|(_, reply)| !reply.is_closed());
                self.waiting_attaches.push((options, reply));
            }
        }
    }

    async fn resize(&mut self, size: ConsoleSize) -> Result<()> {
        self.admit(Request::Resize)?;
        match &self.shim {
            Some(shim) => shim
                .resize(size)
                .await
                .map_err(|error| Error::system(error.message)),
            None => Ok(()),
        }
    }

    async fn restart_is_due(&mut self) {
        self.restart_at = None;
        self.run.restart_count += 1;
        if let Err(error) = self.start().await {
            tracing::warn!(container.id = %self.record.id, %error, "restart by policy");
            self.start_failed(&error).await;
        }
    }

    /// The engine came back and the container does not run: some policies start it.
    async fn revive(&mut self) {
        let again = restart_policy::starts_with_engine(
            self.restart_policy(),
            self.run.exit_code,
            self.run.stopped_by_user,
        );
        if !again {
            if self.record.host.auto_remove {
                self.remove_self(true).await;
            }
            return;
        }
        if self.admit(Request::Start).is_ok_and(|accepted| accepted)
            && let Err(error) = self.start().await
        {
            tracing::warn!(container.id = %self.record.id, %error, "start with the engine");
            self.start_failed(&error).await;
        }
    }
}

/// Sends an answer; the client may have gone.
pub(crate) fn answer<T>(reply: Reply<T>, result: Result<T>) {
    drop(reply.send(result));
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A duration of whole seconds; negative ones have no end.
pub(crate) fn grace(seconds: i64) -> Option<Duration> {
    u64::try_from(seconds).ok().map(Duration::from_secs)
}
