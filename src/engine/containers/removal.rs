//! Removing a container: everything of it that can go goes, and what cannot is reported as one error.

use std::path::Path;
use std::sync::Arc;

use crate::engine::base::{Error, Result};
use crate::engine::containers::actor::{Actor, AfterExit, RemoveOptions, answer};
use crate::engine::containers::create::image_mount_id;
use crate::engine::containers::mounts::MountSource;
use crate::engine::containers::record::Record;
use crate::engine::containers::state::{Happened, Request, State};
use crate::engine::containers::{Deps, Reply};
use crate::sys::rooted::remove_tree;

impl Actor {
    pub(crate) async fn remove_requested(&mut self, options: RemoveOptions, reply: Reply<()>) {
        let request = if options.force {
            Request::ForceRemove
        } else {
            Request::Remove
        };
        if let Err(error) = self.admit(request) {
            answer(reply, Err(error));
            return;
        }
        if !self.run.state.has_process() {
            let removed = self.remove_now(options.volumes).await;
            answer(reply, removed);
            return;
        }
        match self.after_exit.take() {
            earlier @ Some(AfterExit::Remove(..)) => {
                self.after_exit = earlier;
                let text = format!(
                    "removal of container {} is already in progress",
                    self.record.id
                );
                answer(reply, Err(Error::conflict(text)));
                return;
            }
            Some(AfterExit::Restart(restart)) => {
                answer(
                    restart,
                    Err(Error::conflict("the container is being removed")),
                );
            }
            None => {}
        }
        self.after_exit = Some(AfterExit::Remove(options, reply));
        self.run.stopped_by_user = true;
        self.event("kill", &[("signal", "9".to_owned())]);
        self.kill_process().await;
    }

    /// An auto-removed container after its end.
    pub(crate) async fn remove_self(&mut self, volumes: bool) {
        if let Err(error) = self.remove_now(volumes).await {
            tracing::error!(container.id = %self.record.id, %error, "remove at its end");
        }
    }

    /// Removes a container without a process.
    pub(crate) async fn remove_now(&mut self, volumes: bool) -> Result<()> {
        self.restart_at = None;
        self.happened(Happened::RemovalBegan);
        // An engine that dies meanwhile ends what was begun when it comes back.
        self.save_state();
        self.publish();
        tracing::trace!(container.id = %self.record.id, "remove");
        let (deps, record) = (Arc::clone(&self.deps), Arc::clone(&self.record));
        let failures = tokio::task::spawn_blocking(move || remove_parts(&deps, &record, volumes))
            .await
            .unwrap_or_else(|error| vec![error.to_string()]);
        if !failures.is_empty() {
            self.happened(Happened::RemovalFailed);
            self.run.error = failures.join("; ");
            self.save_state();
            self.publish();
            return Err(Error::system(format!(
                "container {}: {}",
                self.record.id, self.run.error
            )));
        }
        tracing::trace!(container.id = %self.record.id, "removed");
        self.happened(Happened::Removed);
        debug_assert_eq!(self.run.state, State::Removed);
        self.removed = true;
        self.waiting_attaches.clear();
        self.deps.forget(&self.record.id, &self.record.name);
        self.publish();
        self.event("destroy", &[]);
        Ok(())
    }
}

/// Takes everything of a container from the disk; the failures, if any. Blocking. The record goes last:
/// what an interrupted removal leaves is found again by it.
pub(crate) fn remove_parts(deps: &Deps, record: &Record, volumes: bool) -> Vec<String> {
    let mut failures = Vec::new();
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            failures.push(error.message);
        }
    };
    note(deps.networks.remove_sandbox(&record.id));
    note(discard(
        deps,
        &deps.paths.snapshots().join(&record.id),
        &record.id,
        "snapshot",
    ));
    note(deps.images.snapshots().remove(&record.id));
    note(deps.volumes.release(&record.id));
    if volumes {
        for point in &record.mounts {
            if let MountSource::Volume {
                name,
                anonymous: true,
                ..
            } = &point.source
                && !name.is_empty()
                && deps.volumes.users(name).is_empty()
            {
                note(deps.volumes.remove(name, true));
            }
        }
    }
    for point in &record.mounts {
        if let MountSource::Image { .. } = &point.source {
            let id = image_mount_id(&record.id, &point.destination);
            note(deps.images.snapshots().remove(&id));
            deps.images.release(&id);
        }
    }
    deps.images.release(&record.id);
    note(discard(
        deps,
        &deps.paths.container(&record.id),
        &record.id,
        "record",
    ));
    failures
}

/// Takes a tree out of its place at once and deletes it behind: on a busy disk every unlink may wait for the
/// journal. What a crash leaves in the temporary directory goes with the next start.
fn discard(deps: &Deps, path: &Path, id: &str, what: &str) -> Result<()> {
    let trash = deps.paths.tmp().join(format!("removed-{id}-{what}"));
    match std::fs::rename(path, &trash) {
        Ok(()) => {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = remove_tree(&trash) {
                    tracing::warn!(%error, path = %trash.display(), "delete what was removed");
                }
            });
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.exists() => Ok(()),
        Err(_) => remove_tree(path)
            .map_err(|error| Error::system(format!("remove {}: {error}", path.display()))),
    }
}
