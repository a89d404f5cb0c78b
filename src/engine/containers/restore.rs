//! After a start of the engine: finds the containers on disk, adopts those whose shim still runs, ends those
//! whose shim has gone, and sweeps what no record claims.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use crate::engine::base::{ErrorKind, Result, records};
use crate::engine::containers::actor::{Actor, Adopted, Message};
use crate::engine::containers::record::{Record, RunState, record_path, state_path};
use crate::engine::containers::removal::remove_parts;
use crate::engine::containers::state::State;
use crate::engine::containers::view::NetworkView;
use crate::engine::containers::{Containers, Deps, devices};
use crate::oci::Digest;
use crate::shim::client::{Exit, Reconnected, Shim};

impl Containers {
    /// Restores everything. Containers whose record is damaged stay on disk and are named in the log.
    pub(crate) async fn restore(&self) -> Result<()> {
        let mut known = HashSet::new();
        let folder = self.deps.paths.containers();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.sweep_shims(&known).await;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            match records::load::<Record>(&record_path(&self.deps.paths, &id)) {
                Ok(record) if record.id == id => found.push(record),
                Ok(_) => {
                    broken(&self.deps, &id, "it is the record of another container");
                    known.insert(id);
                }
                // A creation that did not come to its end: nobody was told of it.
                Err(error) if error.kind == ErrorKind::NotFound => half_made(&self.deps, &id),
                Err(error) => {
                    broken(&self.deps, &id, &error.message);
                    known.insert(id);
                }
            }
        }
        // Older ones first: who shares a namespace comes after the one it shares.
        found.sort_by(|a, b| a.created.cmp(&b.created));
        let mut interrupted = Vec::new();
        for record in found {
            let id = record.id.clone();
            if self.restore_one(record).await {
                interrupted.push(id.clone());
            }
            if self.deps.get(&id).is_ok() {
                known.insert(id);
            }
        }
        self.sweep_shims(&known).await;
        if let Err(error) = self.deps.networks.sweep() {
            tracing::warn!(%error, "sweep networks");
        }
        for id in interrupted {
            if let Ok(container) = self.deps.get(&id) {
                // Its task has just been started.
                let _ = container.messages.send(Message::Revive);
            }
        }
        Ok(())
    }

    /// Whether a run was interrupted, so that the restart policy has a say.
    async fn restore_one(&self, record: Record) -> bool {
        let id = record.id.clone();
        let mut run = match records::load::<RunState>(&state_path(&self.deps.paths, &id)) {
            Ok(run) => run,
            Err(error) => {
                if error.kind != ErrorKind::NotFound {
                    tracing::error!(container.id = %id, %error, "the state is lost; taken as ended");
                }
                RunState::created()
            }
        };
        if run.state == State::Removing {
            for failure in remove_parts(&self.deps, &record, false) {
                tracing::warn!(container.id = %id, failure, "end an interrupted removal");
            }
            return false;
        }
        if let Err(error) = self.deps.reserve_name(&record.name, &id) {
            tracing::error!(container.id = %id, %error, "two containers of one name");
        }
        self.hold(&record);
        let shim_directory = self.deps.paths.shim(&id);
        let had_run = run.state.counts_as_running();
        let adopted = if shim_directory.exists() {
            self.reconnect(&record, &mut run).await
        } else {
            if run.state.has_process() {
                self.ended_meanwhile(&record, &mut run, None);
            }
            None
        };
        if run.state == State::Restarting {
            run.state = State::Exited;
        }
        let interrupted = had_run && adopted.is_none();
        Actor::spawn(Arc::clone(&self.deps), record, run, adopted);
        interrupted
    }

    /// Images and volumes that the container needs are in use again.
    fn hold(&self, record: &Record) {
        self.deps.images.hold(&record.id, &record.image_id);
        for point in &record.mounts {
            if let Some(name) = point.volume_name()
                && let Err(error) = self.deps.volumes.hold(name, &record.id)
            {
                tracing::warn!(container.id = %record.id, %error, "a volume of the container is gone");
            }
            if let crate::engine::containers::mounts::MountSource::Image { reference, .. } =
                &point.source
                && let Ok(digest) = Digest::parse(reference)
            {
                let id = crate::engine::containers::create::image_mount_id(
                    &record.id,
                    &point.destination,
                );
                self.deps.images.hold(&id, &digest);
            }
        }
    }

    async fn reconnect(&self, record: &Record, run: &mut RunState) -> Option<Adopted> {
        let directory = self.deps.paths.shim(&record.id);
        match Shim::reconnect(&directory).await {
            Ok(Reconnected::Running(shim)) => match shim.started() {
                Some(started) => Some(self.adopt(record, run, shim, started.pid)),
                None => {
                    // Made, but the engine died before it started the container: as if never made.
                    release(record, &shim).await;
                    self.forget_run(record);
                    if run.state.has_process() {
                        self.ended_meanwhile(record, run, None);
                    }
                    None
                }
            },
            Ok(Reconnected::Exited(exit)) => {
                self.ended_meanwhile(record, run, Some(exit));
                remove_shim_directory(&directory);
                None
            }
            Ok(Reconnected::Gone) => {
                if run.state.has_process() {
                    self.ended_meanwhile(record, run, None);
                } else {
                    self.forget_run(record);
                }
                remove_shim_directory(&directory);
                None
            }
            Err(error) => {
                tracing::error!(container.id = %record.id, %error, "reconnect to the shim");
                if run.state.has_process() {
                    self.ended_meanwhile(record, run, None);
                }
                None
            }
        }
    }

    fn adopt(&self, record: &Record, run: &mut RunState, shim: Shim, pid: i32) -> Adopted {
        let mut network = NetworkView::default();
        match self.deps.networks.restore(&record.id) {
            Ok(sandbox) => {
                network.netns_path = sandbox.netns_path;
                network.endpoints = self.deps.networks.endpoints(&record.id);
                network.ports = self.deps.networks.published(&record.id);
            }
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(container.id = %record.id, %error, "bring the container's network back");
            }
        }
        run.pid = pid;
        if !run.state.has_process() {
            // The engine died between the start and the record of it.
            run.state = State::Running;
            run.exit_code = 0;
            if let Some(started) = shim.started() {
                run.started_at = nanoseconds(started.started_at_ns);
            }
        }
        tracing::info!(container.id = %record.id, pid, "adopted");
        Adopted { shim, network }
    }

    /// The run ended while no engine looked.
    fn ended_meanwhile(&self, record: &Record, run: &mut RunState, exit: Option<Exit>) {
        run.state = State::Exited;
        run.pid = 0;
        match exit {
            Some(exit) => {
                run.exit_code = exit.code;
                run.oom_killed = exit.oom_killed;
                run.finished_at = nanoseconds(exit.exited_at_ns);
            }
            None => {
                run.exit_code = 137;
                run.finished_at = crate::engine::containers::record::now_rfc3339();
            }
        }
        self.forget_run(record);
        if let Err(error) =
            crate::engine::containers::record::save_state(&self.deps.paths, &record.id, run)
        {
            tracing::error!(container.id = %record.id, %error, "keep the state");
        }
    }

    fn forget_run(&self, record: &Record) {
        let network = self.deps.networks.remove_sandbox(&record.id);
        let volumes = self.deps.volumes.unmount(&record.id);
        devices::unmount_images(&self.deps.paths, record);
        for result in [network, volumes] {
            if let Err(error) = result {
                tracing::warn!(container.id = %record.id, %error, "clean up after a run");
            }
        }
    }

    /// Shims of containers that nobody knows any more: killed, with what they hold.
    async fn sweep_shims(&self, known: &HashSet<String>) {
        let Ok(entries) = fs::read_dir(self.deps.paths.shims()) else {
            return;
        };
        for entry in entries.flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if known.contains(&id) || id.starts_with("build-") {
                continue;
            }
            if let Ok(Reconnected::Running(shim)) = Shim::reconnect(&entry.path()).await
                && let Err(error) = shim.release().await
            {
                tracing::warn!(container.id = %id, %error, "release a shim without a container");
            }
            remove_shim_directory(&entry.path());
        }
    }
}

async fn release(record: &Record, shim: &Shim) {
    if let Err(error) = shim.release().await {
        tracing::warn!(container.id = %record.id, %error, "release the shim");
    }
}

fn remove_shim_directory(path: &std::path::Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "remove a shim's directory");
    }
}

fn nanoseconds(since_epoch: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(since_epoch))
        .map(crate::engine::containers::record::rfc3339)
        .unwrap_or_else(|_| crate::engine::containers::record::now_rfc3339())
}

/// A container whose record cannot be read is shown as dead under its id, so that it can be removed.
fn broken(deps: &Arc<Deps>, id: &str, reason: &str) {
    tracing::error!(
        container.id = id,
        reason,
        "the container's record cannot be read"
    );
    let mut record = empty_record(id);
    record.name = format!("broken-{}", id.get(..12).unwrap_or(id));
    let mut run = RunState::created();
    run.state = State::Dead;
    run.error = format!("its record cannot be read: {reason}");
    if let Err(error) = deps.reserve_name(&record.name, id) {
        tracing::warn!(container.id = id, %error, "name a broken container");
    }
    Actor::spawn(Arc::clone(deps), record, run, None);
}

fn empty_record(id: &str) -> Record {
    Record {
        id: id.to_owned(),
        name: String::new(),
        created: crate::engine::containers::record::ZERO_TIME.to_owned(),
        image_id: Digest::of(b""),
        config: crate::engine::containers::config::Config::default(),
        host: crate::engine::containers::config::HostConfig::default(),
        mounts: Vec::new(),
        networks: indexmap::IndexMap::new(),
        platform: String::new(),
    }
}

/// What a creation left that did not come to its end.
fn half_made(deps: &Deps, id: &str) {
    for failure in remove_parts(deps, &empty_record(id), false) {
        tracing::warn!(
            container.id = id,
            failure,
            "sweep a container that was never made whole"
        );
    }
}
