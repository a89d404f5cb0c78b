//! Follows the containers of a project: their output, their ends and new beginnings. It starts and stops
//! nothing, and shows nothing.
//!
//! ```text
//! engine events ─┐
//! attach / logs ─┼─ one task ─→ MonitorEvent … until no followed container is alive
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};

use crate::client::reads::ContainerRow;
use crate::client::streams::{
    AttachOptions, Chunk, ChunkStream, EngineEvent, EventFilter, LogOptions, StdStream,
};
use crate::client::{Client, ClientError};
use crate::labels;
use crate::ops::logs::split_time;
use crate::ops::{Context, OpError};

/// How long the last output of a container that has ended is waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);
const CHANNEL_EVENTS: usize = 256;
/// How much later than the first output a start may be told.
const START_SLACK_NANO: i64 = 500_000_000;

/// Something a follower wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MonitorEvent {
    /// A container is followed from now on.
    Started {
        container: String,
    },
    Output {
        container: String,
        stream: StdStream,
        bytes: Bytes,
    },
    /// Its process has ended, and its output came before this.
    Exited {
        container: String,
        id: String,
        service: String,
        code: i64,
        /// Its restart policy brings it back.
        restarting: bool,
        /// Its output is shown.
        shown: bool,
    },
    Warning(String),
}

/// Whose output is wanted.
#[derive(Clone)]
pub(crate) struct Shown(Arc<dyn Fn(&ContainerRow) -> bool + Send + Sync>);

impl Shown {
    pub(crate) fn new(shown: impl Fn(&ContainerRow) -> bool + Send + Sync + 'static) -> Self {
        Shown(Arc::new(shown))
    }

    fn wants(&self, row: &ContainerRow) -> bool {
        (self.0)(row)
    }
}

/// The running follower. Dropping it ends the following, not the containers.
pub(crate) struct Monitor {
    event_rx: mpsc::Receiver<MonitorEvent>,
    keep_tx: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Monitor {
    /// While `true`, the following does not end when no container is alive: somebody is about to bring one
    /// back.
    pub(crate) fn keep(&self, keep: bool) {
        self.keep_tx
            .send_if_modified(|kept| std::mem::replace(kept, keep) != keep);
    }

    /// The next event; `None` once no followed container is alive.
    pub(crate) async fn next(&mut self) -> Option<MonitorEvent> {
        self.event_rx.recv().await
    }
}

/// Connects to containers that are about to start (or run already): nothing of their output is lost.
///
/// # Errors
/// The engine.
pub(crate) async fn attach(
    ctx: &Context,
    rows: Vec<ContainerRow>,
    shown: Shown,
) -> Result<Monitor, OpError> {
    let since = now_for_engine();
    let mut outputs = Vec::new();
    for row in &rows {
        if shown.wants(row) {
            let attached = ctx
                .client
                .attach(&row.id, &AttachOptions::default())
                .await?;
            outputs.push((row.id.clone(), attached.output));
        }
    }
    let follower = Follower::new(ctx, shown, false, false);
    Ok(follower.spawn(rows, outputs, since, None))
}

/// Follows the logs of `rows` and of what starts later.
pub(crate) fn follow_logs(
    ctx: &Context,
    rows: Vec<ContainerRow>,
    request: LogOptions,
    timestamps: bool,
    shown: Shown,
) -> Monitor {
    let since = now_for_engine();
    let outputs = rows
        .iter()
        .map(|row| (row.id.clone(), ctx.client.logs(&row.id, &request)))
        .collect();
    let follower = Follower::new(ctx, shown, true, timestamps);
    follower.spawn(rows, outputs, since, Some(request))
}

fn now_for_engine() -> String {
    let now = jiff::Timestamp::now();
    format!("{}.{:09}", now.as_second(), now.subsec_nanosecond().max(0))
}

struct Followed {
    row: ContainerRow,
    alive: bool,
    /// Its output has not ended.
    open: bool,
    /// It has ended with this code; told when its output has ended too.
    ended: Option<(i64, bool)>,
    /// It has started again (nanoseconds since 1970) before the output of its last life ended.
    again: Option<i64>,
    /// When its last life ended; 0: none was seen.
    last_end: i64,
}

/// What the tasks that read say to the one that decides.
enum Signal {
    Chunk(String, Chunk),
    /// The output of a container has ended.
    Closed(String, Option<ClientError>),
    /// Its last words were waited for long enough.
    Late(String),
}

struct Follower {
    client: Client,
    project: String,
    shown: Shown,
    /// Messages begin with the engine's time.
    timed: bool,
    /// Keep that time.
    keep_time: bool,
    followed: HashMap<String, Followed>,
    signal_tx: mpsc::Sender<Signal>,
    signal_rx: mpsc::Receiver<Signal>,
    event_tx: mpsc::Sender<MonitorEvent>,
    event_rx: Option<mpsc::Receiver<MonitorEvent>>,
}

impl Follower {
    fn new(ctx: &Context, shown: Shown, timed: bool, keep_time: bool) -> Self {
        let (signal_tx, signal_rx) = mpsc::channel(CHANNEL_EVENTS);
        let (event_tx, event_rx) = mpsc::channel(CHANNEL_EVENTS);
        Follower {
            client: ctx.client.clone(),
            project: ctx.project_name.clone(),
            shown,
            timed,
            keep_time,
            followed: HashMap::new(),
            signal_tx,
            signal_rx,
            event_tx,
            event_rx: Some(event_rx),
        }
    }

    fn spawn(
        mut self,
        rows: Vec<ContainerRow>,
        outputs: Vec<(String, ChunkStream)>,
        since: String,
        logs: Option<LogOptions>,
    ) -> Monitor {
        // Attached containers are about to start; of followed logs only a running one can say more.
        let attaching = logs.is_none();
        for row in rows {
            let alive = attaching || row.state.is_alive();
            self.followed.insert(
                row.id.clone(),
                Followed {
                    row,
                    alive,
                    open: false,
                    ended: None,
                    again: None,
                    last_end: 0,
                },
            );
        }
        for (id, output) in outputs {
            self.read(&id, output);
        }
        let event_rx = self.event_rx.take().unwrap_or_else(|| mpsc::channel(1).1);
        let (keep_tx, keep_rx) = watch::channel(false);
        let task = tokio::spawn(async move { self.run(since, keep_rx).await });
        Monitor {
            event_rx,
            keep_tx,
            task,
        }
    }

    fn read(&mut self, id: &str, mut output: ChunkStream) {
        if let Some(followed) = self.followed.get_mut(id) {
            followed.open = true;
        }
        let signal_tx = self.signal_tx.clone();
        let id = id.to_owned();
        tokio::spawn(async move {
            let mut failed = None;
            while let Some(chunk) = output.next().await {
                match chunk {
                    Ok(chunk) => {
                        if signal_tx
                            .send(Signal::Chunk(id.clone(), chunk))
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            // Nobody listens any more: nothing to tell.
            let _ = signal_tx.send(Signal::Closed(id, failed)).await;
        });
    }

    async fn run(mut self, since: String, mut keep_rx: watch::Receiver<bool>) {
        let mut events = self.client.events(&EventFilter {
            labels: vec![format!("{}={}", labels::PROJECT, self.project)],
            kinds: vec!["container".to_owned()],
            since: Some(since),
            until: None,
        });
        loop {
            let kept = *keep_rx.borrow_and_update();
            let lives = self.followed.values().any(|one| one.alive || one.open);
            if !kept && !lives && !self.somebody_is_back().await {
                return;
            }
            let delivered = tokio::select! {
                biased;
                Some(signal) = self.signal_rx.recv() => self.signal(signal).await,
                event = events.next() => match event {
                    Some(Ok(event)) => self.engine_event(event).await,
                    Some(Err(error)) => {
                        self.send(MonitorEvent::Warning(format!("events: {error}"))).await;
                        false
                    }
                    None => false,
                },
                Ok(()) = keep_rx.changed() => true,
                () = self.event_tx.closed() => false,
            };
            if !delivered {
                return;
            }
        }
    }

    /// Whether a followed container runs again, the event of which is still on its way.
    async fn somebody_is_back(&mut self) -> bool {
        let Ok(rows) = self.client.container_rows(Some(&self.project), false).await else {
            return false;
        };
        let mut back = false;
        for row in rows {
            if let Some(followed) = self.followed.get_mut(&row.id) {
                followed.alive = true;
                back = true;
            }
        }
        back
    }

    /// `false`: nobody listens any more.
    async fn send(&self, event: MonitorEvent) -> bool {
        self.event_tx.send(event).await.is_ok()
    }

    async fn signal(&mut self, signal: Signal) -> bool {
        match signal {
            Signal::Chunk(id, chunk) => self.chunk(&id, chunk).await,
            Signal::Closed(id, failed) => {
                let Some(followed) = self.followed.get_mut(&id) else {
                    return true;
                };
                followed.open = false;
                let name = followed.row.short_name();
                if let Some(error) = failed
                    && !self
                        .send(MonitorEvent::Warning(format!("{name}: {error}")))
                        .await
                {
                    return false;
                }
                let told = self.tell_end(&id).await;
                self.begin_again(&id);
                told
            }
            Signal::Late(id) => {
                if let Some(followed) = self.followed.get_mut(&id)
                    && followed.ended.is_some()
                {
                    followed.open = false;
                }
                let told = self.tell_end(&id).await;
                self.begin_again(&id);
                told
            }
        }
    }

    async fn chunk(&mut self, id: &str, chunk: Chunk) -> bool {
        let Some(followed) = self.followed.get(id) else {
            return true;
        };
        let container = followed.row.short_name();
        let chunk = if self.timed && !self.keep_time {
            split_time(chunk).1
        } else {
            chunk
        };
        self.send(MonitorEvent::Output {
            container,
            stream: chunk.stream,
            bytes: chunk.bytes,
        })
        .await
    }

    async fn engine_event(&mut self, event: EngineEvent) -> bool {
        match event.action.as_str() {
            "start" => self.started(&event).await,
            "die" => self.died(&event).await,
            "destroy" => {
                if let Some(followed) = self.followed.get_mut(&event.id) {
                    followed.alive = false;
                }
                true
            }
            _ => true,
        }
    }

    async fn started(&mut self, event: &EngineEvent) -> bool {
        let is_new = match self.followed.get_mut(&event.id) {
            Some(followed) => {
                followed.alive = true;
                if followed.open && followed.ended.is_some() {
                    // First the last words and the end of the life before.
                    followed.again = Some(followed.last_end);
                    return true;
                }
                if followed.open {
                    return true;
                }
                false
            }
            None => true,
        };
        let row = match self.followed.get(&event.id) {
            Some(followed) => followed.row.clone(),
            None => row_of(event),
        };
        if is_new && (row.is_one_off() || !self.shown.wants(&row)) {
            return true;
        }
        let container = row.short_name();
        if is_new {
            self.followed.insert(
                event.id.clone(),
                Followed {
                    row: row.clone(),
                    alive: true,
                    open: false,
                    ended: None,
                    again: None,
                    last_end: 0,
                },
            );
        }
        if !self.shown.wants(&row) {
            return true;
        }
        // A process may write before its start is told: what counts is the end of the life before.
        let from = match self.followed.get(&event.id) {
            Some(followed) if followed.last_end > 0 => followed.last_end,
            _ if is_new => 0,
            _ => event.time_nano - START_SLACK_NANO,
        };
        self.read_since(&event.id, from);
        !is_new || self.send(MonitorEvent::Started { container }).await
    }

    /// Follows the log of a container from one of its starts on.
    fn read_since(&mut self, id: &str, from: i64) {
        let request = LogOptions {
            follow: true,
            since: from.div_euclid(1_000_000_000),
            until: 0,
            tail: "all".to_owned(),
            timestamps: true,
        };
        let timed = self.timed;
        let keep_time = self.keep_time;
        let output = self.client.logs(id, &request).filter_map(move |chunk| {
            futures_util::future::ready(match chunk {
                Ok(chunk) => later_than(from, timed, keep_time, chunk).map(Ok),
                Err(error) => Some(Err(error)),
            })
        });
        self.read(id, Box::pin(output));
    }

    /// Begins with the next life of a container once all of the last one is told.
    fn begin_again(&mut self, id: &str) {
        let Some(followed) = self.followed.get_mut(id) else {
            return;
        };
        if followed.open {
            return;
        }
        if let Some(from) = followed.again.take()
            && self.shown.wants(&followed.row)
        {
            self.read_since(id, from);
        }
    }

    async fn died(&mut self, event: &EngineEvent) -> bool {
        let Some(followed) = self.followed.get(&event.id) else {
            return true;
        };
        let code = event
            .attributes
            .get("exitCode")
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        let open = followed.open;
        let restarting = self.will_restart(&event.id).await;
        if let Some(followed) = self.followed.get_mut(&event.id) {
            followed.alive = restarting;
            followed.ended = Some((code, restarting));
            followed.last_end = event.time_nano;
        }
        if !open {
            return self.tell_end(&event.id).await;
        }
        let signal_tx = self.signal_tx.clone();
        let id = event.id.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LAST_WORDS).await;
            let _ = signal_tx.send(Signal::Late(id)).await;
        });
        true
    }

    async fn will_restart(&self, id: &str) -> bool {
        match self.client.container_detail(id).await {
            Ok(detail) => {
                let state = &detail.raw["State"];
                state["Restarting"].as_bool() == Some(true)
                    || state["Running"].as_bool() == Some(true)
            }
            Err(_) => false,
        }
    }

    /// Tells of an end once both are there: the exit code and the end of the output.
    async fn tell_end(&mut self, id: &str) -> bool {
        let Some(followed) = self.followed.get_mut(id) else {
            return true;
        };
        if followed.open {
            return true;
        }
        let Some((code, restarting)) = followed.ended.take() else {
            return true;
        };
        let row = followed.row.clone();
        let shown = self.shown.wants(&row);
        self.send(MonitorEvent::Exited {
            container: row.short_name(),
            id: row.id.clone(),
            service: row.service().to_owned(),
            code,
            restarting,
            shown,
        })
        .await
    }
}

/// A container that was not listed, as far as its start event describes it.
fn row_of(event: &EngineEvent) -> ContainerRow {
    use crate::plan::observed::{ContainerState, Health};
    let name = event
        .attributes
        .get("name")
        .cloned()
        .unwrap_or_else(|| event.id.clone());
    ContainerRow {
        id: event.id.clone(),
        names: vec![name.clone()],
        name,
        image: event.attributes.get("image").cloned().unwrap_or_default(),
        image_id: String::new(),
        command: String::new(),
        created: 0,
        ports: Vec::new(),
        labels: event.attributes.clone(),
        state: ContainerState::Running,
        status: String::new(),
        health: Health::None,
        networks: Vec::new(),
        mounts: Vec::new(),
        local_volumes: 0,
        size: 0,
    }
}

/// Drops what was written before the start that is followed; the engine counts whole seconds only.
fn later_than(from_nano: i64, timed: bool, keep_time: bool, chunk: Chunk) -> Option<Chunk> {
    let (time, rest) = split_time(chunk);
    let written = std::str::from_utf8(&time)
        .ok()
        .and_then(|time| time.parse::<jiff::Timestamp>().ok())
        .map(|time| time.as_nanosecond());
    if written.is_some_and(|written| written < i128::from(from_nano)) {
        return None;
    }
    if timed || keep_time {
        let mut bytes = time.to_vec();
        if !bytes.is_empty() {
            bytes.push(b' ');
        }
        bytes.extend_from_slice(&rest.bytes);
        return Some(Chunk {
            stream: rest.stream,
            bytes: Bytes::from(bytes),
        });
    }
    Some(rest)
}
