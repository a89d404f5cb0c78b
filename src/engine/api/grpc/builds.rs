//! Builds of BuildKit clients by their ref: what `Control.Solve` asked for, what the build reports, how it ended.
//! `Solve`, `Status` and the frontend's calls come on several connections and in any order; here they meet.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::engine::api::grpc::proto::Writer;
use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Result};
use crate::engine::build::BuildEvent;
use crate::oci::Digest;

const WAIT: Duration = Duration::from_secs(10);

/// What `Control.Solve` says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) session: String,
    pub(crate) frontend: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) exporters: Vec<(String, BTreeMap<String, String>)>,
}

/// One build.
#[derive(Debug)]
pub(crate) struct BuildEntry {
    pub(crate) asked: watch::Sender<Option<Asked>>,
    /// Messages of `Status`, whole: a reader that comes late gets them all.
    log: Mutex<Vec<Bytes>>,
    /// How many messages there are; the build is over when it is closed.
    pub(crate) logged: watch::Sender<usize>,
    pub(crate) over: watch::Sender<bool>,
    /// What the frontend's `Return` said.
    pub(crate) returned: watch::Sender<Option<Result<()>>>,
    /// The image that was built.
    pub(crate) response: Mutex<BTreeMap<String, String>>,
    pub(crate) cancel: CancellationToken,
    started: Mutex<HashMap<usize, (Writer, Writer)>>,
}

/// All builds under way.
#[derive(Debug, Default)]
pub(crate) struct Builds {
    entries: Mutex<HashMap<String, Arc<BuildEntry>>>,
}

impl Builds {
    pub(crate) fn entry(&self, build_ref: &str) -> Arc<BuildEntry> {
        lock(&self.entries)
            .entry(build_ref.to_owned())
            .or_insert_with(|| {
                Arc::new(BuildEntry {
                    asked: watch::Sender::new(None),
                    log: Mutex::new(Vec::new()),
                    logged: watch::Sender::new(0),
                    over: watch::Sender::new(false),
                    returned: watch::Sender::new(None),
                    response: Mutex::new(BTreeMap::new()),
                    cancel: CancellationToken::new(),
                    started: Mutex::new(HashMap::new()),
                })
            })
            .clone()
    }

    pub(crate) fn forget(&self, build_ref: &str) {
        lock(&self.entries).remove(build_ref);
    }
}

fn timestamp() -> Writer {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Writer::new()
        .number(1, now.as_secs())
        .number(2, u64::from(now.subsec_nanos()))
}

/// The id of a step in `Status`: any digest, the same for the whole build.
fn vertex_digest(step: usize) -> String {
    Digest::of(format!("step {step}").as_bytes()).to_string()
}

impl BuildEntry {
    /// What `Control.Solve` asked for; it may be a moment late.
    pub(crate) async fn asked(&self) -> Result<Asked> {
        let mut asked = self.asked.subscribe();
        let found = tokio::time::timeout(WAIT, asked.wait_for(Option::is_some))
            .await
            .map_err(|_| Error::not_found("no such job: nobody asked for this build"))?
            .map_err(|_| Error::system("the build was cancelled"))?
            .clone();
        found.ok_or_else(|| Error::system("the build was cancelled"))
    }

    fn push(&self, message: Writer) {
        let mut log = lock(&self.log);
        log.push(message.done().into());
        self.logged.send_replace(log.len());
    }

    /// Messages from `from` on.
    pub(crate) fn messages(&self, from: usize) -> Vec<Bytes> {
        lock(&self.log)
            .get(from..)
            .map(<[Bytes]>::to_vec)
            .unwrap_or_default()
    }

    /// Tells the readers of `Status` what happened.
    pub(crate) fn report(&self, event: BuildEvent) {
        match event {
            BuildEvent::Started {
                step,
                total,
                stage,
                name,
            } => {
                let shown = format!("[{stage} {}/{total}] {name}", step + 1);
                let vertex = Writer::new().text(1, &vertex_digest(step)).text(3, &shown);
                let started = timestamp();
                let message = vertex.clone().message(5, started.clone());
                lock(&self.started).insert(step, (vertex, started));
                self.push(Writer::new().message(1, message));
            }
            BuildEvent::Cached { step } => {
                if let Some((vertex, _)) = lock(&self.started).get_mut(&step) {
                    *vertex = vertex.clone().flag(4, true);
                }
            }
            BuildEvent::Done { step } => self.complete(step, ""),
            BuildEvent::Failed { step, message } => self.complete(step, &message),
            BuildEvent::Output {
                step,
                stderr,
                bytes,
            } => {
                let log = Writer::new()
                    .text(1, &vertex_digest(step))
                    .message(2, timestamp())
                    .number(3, if stderr { 2 } else { 1 })
                    .bytes(4, &bytes);
                self.push(Writer::new().message(3, log));
            }
            BuildEvent::Pull { step, message } => {
                let detail = message.detail.unwrap_or_default();
                let id = message.id.unwrap_or_default();
                let status = Writer::new()
                    .text(1, &format!("{} {id}", message.status.unwrap_or_default()))
                    .text(2, &vertex_digest(step))
                    .text(3, &id)
                    .number(4, detail.current.unwrap_or(0))
                    .number(5, detail.total.unwrap_or(0))
                    .message(6, timestamp());
                self.push(Writer::new().message(2, status));
            }
            BuildEvent::Warning(text) => {
                let warning = Writer::new()
                    .text(1, &vertex_digest(0))
                    .number(2, 1)
                    .bytes(3, text.as_bytes());
                self.push(Writer::new().message(4, warning));
            }
        }
    }

    fn complete(&self, step: usize, error: &str) {
        let Some((vertex, started)) = lock(&self.started).remove(&step) else {
            return;
        };
        let message = vertex
            .message(5, started)
            .message(6, timestamp())
            .text(7, error);
        self.push(Writer::new().message(1, message));
    }
}
