//! Containers: one task owns each (`actor`), everybody else sends it requests and reads the view it
//! publishes. This file is the door: it finds containers by name or id and keeps the lists.
//!
//! ```text
//! api ─Request→ actor ─admit (state)→ effects (start, stop, remove …) ─View→ watch channel → api
//! shim ─exit→ actor            health ─probe→ actor
//! ```

pub(crate) mod actor;
pub(crate) mod archive;
pub(crate) mod attach;
pub(crate) mod commit;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod devices;
pub(crate) mod exec;
pub(crate) mod filter;
pub(crate) mod followers;
pub(crate) mod health;
pub(crate) mod log_file;
pub(crate) mod logs;
pub(crate) mod merge;
pub(crate) mod mounts;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod record;
pub(crate) mod removal;
pub(crate) mod restart_policy;
pub(crate) mod restore;
pub(crate) mod rootfs;
pub(crate) mod spec;
pub(crate) mod spec_mounts;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod update;
pub(crate) mod user;
pub(crate) mod validate;
pub(crate) mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Event, EventBus, Paths, Result};
use crate::engine::containers::actor::Message;
use crate::engine::containers::exec::Exec;
use crate::engine::containers::followers::Followers;
use crate::engine::containers::record::{Record, event_attributes};
use crate::engine::containers::view::View;
use crate::engine::images::Images;
use crate::engine::networks::Networks;
use crate::engine::volumes::Volumes;

/// The services that containers stand on, and the lists.
pub(crate) struct Deps {
    pub(crate) paths: Paths,
    pub(crate) events: Arc<EventBus>,
    pub(crate) images: Arc<Images>,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) networks: Arc<Networks>,
    /// Below the root of each hierarchy.
    pub(crate) cgroup_parent: String,
    /// Held for lookups and changes of the lists only, never while waiting.
    index: Mutex<Index>,
    /// Told when a container starts or ends, for the daemon's idle time.
    pub(crate) activity: Notify,
}

#[derive(Default)]
struct Index {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Also names of containers that are being created: name → id.
    by_name: HashMap<String, String>,
    execs: HashMap<String, Arc<Exec>>,
}

/// The handle on one container's task.
pub(crate) struct Container {
    pub(crate) id: String,
    messages: mpsc::UnboundedSender<Message>,
    view: watch::Receiver<Arc<View>>,
    /// Those who copy the container's output to clients.
    pub(crate) followers: Arc<Followers>,
}

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

impl Container {
    /// The container as of now.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// For waiting on what comes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Sends a request now; the answer comes later.
    pub(crate) fn send<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> Message,
    ) -> oneshot::Receiver<Result<T>> {
        let (reply_tx, reply_rx) = oneshot::channel();
        // A task that has ended drops the sender, which the receiver sees.
        let _ = self.messages.send(request(reply_tx));
        reply_rx
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Message) -> Result<T> {
        self.send(request)
            .await
            .unwrap_or_else(|_| Err(Error::not_found(format!("No such container: {}", self.id))))
    }
}

/// The container service.
pub(crate) struct Containers {
    pub(crate) deps: Arc<Deps>,
}

impl Containers {
    /// Opens the service with no container; [`Containers::restore`] finds those on disk.
    pub(crate) fn open(
        paths: &Paths,
        events: Arc<EventBus>,
        images: Arc<Images>,
        volumes: Arc<Volumes>,
        networks: Arc<Networks>,
    ) -> Arc<Self> {
        Arc::new(Containers {
            deps: Arc::new(Deps {
                paths: paths.clone(),
                events,
                images,
                volumes,
                networks,
                cgroup_parent: "hoist".to_owned(),
                index: Mutex::new(Index::default()),
                activity: Notify::new(),
            }),
        })
    }

    /// By id, name (with or without slash) or unique prefix of an id.
    pub(crate) fn get(&self, name_or_id: &str) -> Result<Arc<Container>> {
        self.deps.get(name_or_id)
    }

    /// Newest first, as `ps` shows them.
    pub(crate) fn list(&self) -> Vec<Arc<View>> {
        let mut views = self.deps.views();
        views.sort_by(|a, b| b.record.created.cmp(&a.record.created));
        views
    }

    /// Whether any container has a process or will have one again by itself.
    pub(crate) fn any_running(&self) -> bool {
        self.deps
            .views()
            .iter()
            .any(|view| view.run.state.counts_as_running())
    }

    pub(crate) fn exec(&self, exec_id: &str) -> Result<Arc<Exec>> {
        lock(&self.deps.index)
            .execs
            .get(exec_id)
            .cloned()
            .ok_or_else(|| Error::not_found(format!("No such exec instance: {exec_id}")))
    }
}

impl Deps {
    pub(crate) fn get(&self, name_or_id: &str) -> Result<Arc<Container>> {
        let index = lock(&self.index);
        let bare = name_or_id.strip_prefix('/').unwrap_or(name_or_id);
        if let Some(container) = index.by_id.get(bare) {
            return Ok(Arc::clone(container));
        }
        if let Some(container) = index.by_name.get(bare).and_then(|id| index.by_id.get(id)) {
            return Ok(Arc::clone(container));
        }
        let missing = || Error::not_found(format!("No such container: {name_or_id}"));
        if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let mut matching = index
            .by_id
            .range(bare.to_owned()..)
            .take_while(|(id, _)| id.starts_with(bare));
        match (matching.next(), matching.next()) {
            (Some((_, container)), None) => Ok(Arc::clone(container)),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "Multiple IDs found with provided prefix: {bare}"
            ))),
            _ => Err(missing()),
        }
    }

    pub(crate) fn views(&self) -> Vec<Arc<View>> {
        lock(&self.index)
            .by_id
            .values()
            .map(|container| container.view())
            .collect()
    }

    /// Takes a name for an id, or says who has it.
    pub(crate) fn reserve_name(&self, name: &str, id: &str) -> Result<()> {
        let mut index = lock(&self.index);
        if let Some(holder) = index.by_name.get(name) {
            return Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". \
                 You have to remove (or rename) that container to be able to reuse that name."
            )));
        }
        index.by_name.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    pub(crate) fn is_name_taken(&self, name: &str) -> bool {
        lock(&self.index).by_name.contains_key(name)
    }

    /// Gives a name back if the id still has it.
    pub(crate) fn release_name(&self, name: &str, id: &str) {
        let mut index = lock(&self.index);
        if index.by_name.get(name).is_some_and(|holder| holder == id) {
            index.by_name.remove(name);
        }
    }

    pub(crate) fn insert(&self, container: Arc<Container>) {
        lock(&self.index)
            .by_id
            .insert(container.id.clone(), container);
    }

    /// Forgets a removed container, its name and its execs.
    pub(crate) fn forget(&self, id: &str, name: &str) {
        let mut index = lock(&self.index);
        index.by_id.remove(id);
        if index.by_name.get(name).is_some_and(|holder| holder == id) {
            index.by_name.remove(name);
        }
        index.execs.retain(|_, exec| exec.container_id != id);
    }

    pub(crate) fn insert_exec(&self, exec: Arc<Exec>) {
        lock(&self.index).execs.insert(exec.id.clone(), exec);
    }

    pub(crate) fn forget_exec(&self, exec_id: &str) {
        lock(&self.index).execs.remove(exec_id);
    }

    /// Execs of a container that have not ended.
    pub(crate) fn exec_ids(&self, container_id: &str) -> Vec<String> {
        let mut ids: Vec<String> = lock(&self.index)
            .execs
            .values()
            .filter(|exec| exec.container_id == container_id && exec.is_running())
            .map(|exec| exec.id.clone())
            .collect();
        ids.sort();
        ids
    }

    /// Publishes an event of a container, with its labels, image and name and some more.
    pub(crate) fn publish(
        &self,
        record: &Record,
        action: impl Into<String>,
        more: &[(&str, String)],
    ) {
        let mut attributes = event_attributes(record);
        for (key, value) in more {
            attributes.insert((*key).to_owned(), value.clone());
        }
        self.events
            .publish(Event::now("container", action, &record.id, attributes));
    }
}

/// Runs a call that blocks off the threads that serve connections.
pub(crate) async fn run_blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(call)
        .await
        .unwrap_or_else(|error| Err(Error::system(format!("internal error: {error}"))))
}
