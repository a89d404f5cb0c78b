//! Starting a container: snapshot, volumes, sandbox with endpoints and ports, spec, shim, start. Each step
//! that succeeded is on an undo stack; when a later one fails, the stack runs backwards.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;

use crate::engine::base::{Error, ErrorKind, Result};
use crate::engine::containers::actor::{Actor, Message, answer};
use crate::engine::containers::config::{SharedWith, shared_with};
use crate::engine::containers::create::image_mount_id;
use crate::engine::containers::mounts::MountSource;
use crate::engine::containers::record::{Record, log_path, rfc3339};
use crate::engine::containers::rootfs::{self, Access};
use crate::engine::containers::spec::{self, EtcFiles, Inputs};
use crate::engine::containers::state::{Happened, Request};
use crate::engine::containers::view::NetworkView;
use crate::engine::containers::{Deps, Reply, devices, network, user};
use crate::engine::networks::{Sandbox, SandboxKind};
use crate::oci::runtime_spec::{ContainerSpec, Namespace, RootfsSource};
use crate::shim::client::{LogOptions, Shim, ShimOptions, StartError, StartErrorKind};
use crate::sys::mount;

/// Things to take back, last first.
#[derive(Default)]
struct UndoStack {
    steps: Vec<Box<dyn FnOnce() -> Result<()> + Send>>,
}

impl UndoStack {
    fn push(&mut self, step: impl FnOnce() -> Result<()> + Send + 'static) {
        self.steps.push(Box::new(step));
    }

    fn undo(self, container_id: &str) {
        for step in self.steps.into_iter().rev() {
            if let Err(error) = step() {
                tracing::warn!(container.id = container_id, %error, "undo a failed start");
            }
        }
    }
}

/// Everything that is ready before the shim is.
struct Prepared {
    spec: ContainerSpec,
    network: NetworkView,
    undo: UndoStack,
}

impl Actor {
    pub(crate) async fn start_requested(&mut self, reply: Reply<()>) {
        let result = match self.admit(Request::Start) {
            Ok(true) => {
                self.back_off.reset();
                self.run.restart_count = 0;
                self.run.stopped_by_user = false;
                let started = self.start().await;
                if let Err(error) = &started {
                    // The client learns of the failure before an auto-removed container is gone.
                    let error = error.clone();
                    self.start_failed(&error).await;
                }
                started.map_err(|failure| failure.error)
            }
            Ok(false) => Err(Error::not_modified("container already running")),
            Err(error) => Err(error),
        };
        answer(reply, result);
    }

    /// Starts the container. On an error nothing of the attempt is left, and the caller tells the machine.
    pub(crate) async fn start(&mut self) -> Result<(), StartFailure> {
        self.restart_at = None;
        if let Some(releasing) = self.releasing.take()
            && let Err(error) = releasing.await
        {
            tracing::error!(container.id = %self.record.id, %error, "release the shim");
        }
        tracing::trace!(container.id = %self.record.id, "start");
        let prepared = {
            let (deps, record) = (Arc::clone(&self.deps), Arc::clone(&self.record));
            let joined = tokio::task::spawn_blocking(move || prepare(&deps, &record)).await;
            joined.map_err(|error| Error::system(format!("prepare the start: {error}")))??
        };
        tracing::trace!(container.id = %self.record.id, "prepared");
        let Prepared {
            spec,
            network,
            undo,
        } = prepared;
        let shim = match self.create_shim(spec).await {
            Ok(shim) => shim,
            Err(error) => {
                undo.undo(&self.record.id);
                return Err(error.into());
            }
        };
        tracing::trace!(container.id = %self.record.id, "shim created");
        self.give_to_waiting(&shim).await;
        match shim.start().await {
            Ok(started) => {
                self.shim = Some(shim);
                self.network = Arc::new(network);
                self.run.pid = started.pid;
                self.run.started_at = rfc3339_of(started.started_at_ns);
            }
            Err(error) => {
                if let Err(error) = shim.release().await {
                    tracing::warn!(container.id = %self.record.id, %error, "release a shim");
                }
                undo.undo(&self.record.id);
                return Err(StartFailure::from(error));
            }
        }
        tracing::trace!(container.id = %self.record.id, "started");
        self.started = Some(Instant::now());
        self.run.exit_code = 0;
        self.run.error.clear();
        self.run.oom_killed = false;
        self.happened(Happened::Started);
        self.save_state();
        self.follow_run();
        self.publish();
        self.event("start", &[]);
        Ok(())
    }

    async fn create_shim(&self, spec: ContainerSpec) -> Result<Shim> {
        let options = ShimOptions {
            state_dir: self.deps.paths.shim(&self.record.id),
            spec,
            log: log_options(&self.deps, &self.record)?,
            open_stdin: self.record.config.open_stdin,
            stdin_once: self.record.config.stdin_once,
        };
        Shim::create(options)
            .await
            .map_err(|error| Error::system(error.message))
    }

    /// Clients that attached before the start get their streams before the first byte.
    async fn give_to_waiting(&mut self, shim: &Shim) {
        for (options, reply) in std::mem::take(&mut self.waiting_attaches) {
            let attached = shim
                .attach(options)
                .await
                .map_err(|error| Error::system(error.message));
            answer(reply, attached);
        }
    }

    /// Watches the run of `self.shim`: its end, and its health.
    pub(crate) fn follow_run(&mut self) {
        let Some(shim) = self.shim.clone() else {
            return;
        };
        self.run_number += 1;
        let (run_number, messages) = (self.run_number, self.messages_tx.clone());
        tokio::spawn(async move {
            let exit = shim.wait().await;
            // The task of the container has ended when nobody receives.
            let _ = messages.send(Message::Exited(run_number, exit));
        });
        self.started.get_or_insert_with(Instant::now);
        self.restart_probes();
    }

    /// What a failed start leaves: the reason, an exit code, and those who waited are told.
    pub(crate) async fn start_failed(&mut self, failure: &StartFailure) {
        self.run.exit_code = failure.exit_code;
        self.run.error.clone_from(&failure.error.message);
        self.run.pid = 0;
        self.happened(Happened::StartFailed);
        self.exits += 1;
        self.waiting_attaches.clear();
        self.save_state();
        self.publish();
        if self.record.host.auto_remove {
            self.remove_self(true).await;
        }
    }
}

/// Why a container did not start, and the exit code it is shown with.
#[derive(Debug, Clone)]
pub(crate) struct StartFailure {
    pub(crate) error: Error,
    pub(crate) exit_code: i32,
}

impl std::fmt::Display for StartFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl From<Error> for StartFailure {
    fn from(error: Error) -> Self {
        StartFailure {
            error,
            exit_code: 128,
        }
    }
}

impl From<StartError> for StartFailure {
    fn from(error: StartError) -> Self {
        let kind = match error.kind {
            StartErrorKind::NotFound | StartErrorKind::PermissionDenied => ErrorKind::Invalid,
            StartErrorKind::Other => ErrorKind::System,
        };
        StartFailure {
            exit_code: error.exit_code(),
            error: Error::new(kind, error.message),
        }
    }
}

fn rfc3339_of(nanoseconds: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds))
        .map(rfc3339)
        .unwrap_or_else(|_| crate::engine::containers::record::now_rfc3339())
}

/// All that needs no shim. Blocking.
fn prepare(deps: &Arc<Deps>, record: &Arc<Record>) -> Result<Prepared> {
    let mut undo = UndoStack::default();
    match prepare_parts(deps, record, &mut undo) {
        Ok((spec, network)) => Ok(Prepared {
            spec,
            network,
            undo,
        }),
        Err(error) => {
            undo.undo(&record.id);
            Err(error)
        }
    }
}

fn prepare_parts(
    deps: &Arc<Deps>,
    record: &Arc<Record>,
    undo: &mut UndoStack,
) -> Result<(ContainerSpec, NetworkView)> {
    let pid_of = shared_pid(deps, &record.host.pid_mode, "PID")?;
    let ipc_of = shared_pid(deps, &record.host.ipc_mode, "IPC")?;
    let image = deps.images.get(&record.image_id)?;
    let mut root = deps.images.snapshots().prepare(&record.id, &image)?;
    root.readonly = record.host.readonly_rootfs;
    // The container was to be removed at its end: what a crash of the machine took is not missed.
    if let RootfsSource::Overlay { work, .. } = &root.source
        && let Err(error) = mount::clear_volatile_mark(work)
    {
        tracing::warn!(%error, work = %work.display(), "clear the volatile mark");
    }
    let view = rootfs::open(&root, Access::Read)?;
    let accounts = rootfs::read_accounts(&view);
    let groups = record.host.group_add.clone().unwrap_or_default();
    let user = user::resolve(&record.config.user, &groups, &accounts)?;
    {
        let (deps, id) = (Arc::clone(deps), record.id.clone());
        undo.push(move || deps.volumes.unmount(&id));
    }
    let volumes = acquire_volumes(deps, record, &view)?;
    drop(view);
    let images = image_mounts(deps, record)?;
    make_bind_sources(record)?;
    let (netns, etc, network) = join_networks(deps, record, undo)?;
    if let RootfsSource::Overlay { volatile, .. } = &mut root.source {
        *volatile = record.host.auto_remove;
    }
    let (devices, block_devices) = devices::collect(record)?;
    let cgroup_parent = match record.host.resources.cgroup_parent.trim_matches('/') {
        "" => deps.cgroup_parent.clone(),
        own => own.to_owned(),
    };
    let inputs = Inputs {
        root,
        user,
        hostname: network::hostname(record),
        netns,
        pid_of,
        ipc_of,
        etc,
        volumes,
        images,
        devices,
        block_devices,
        cgroup_parent,
        link_env: network::link_environment(deps, record),
    };
    Ok((spec::build(record, inputs)?, network))
}

fn shared_pid(deps: &Deps, mode: &str, what: &str) -> Result<Option<i32>> {
    let SharedWith::Container(target) = shared_with(mode) else {
        return Ok(None);
    };
    let view = deps.get(target)?.view();
    if !view.run.state.has_process() {
        return Err(Error::conflict(format!(
            "cannot join {what} of a non running container: {target}"
        )));
    }
    if what == "IPC" && view.record.host.ipc_mode != "shareable" {
        return Err(Error::invalid(format!(
            "can't join IPC of container {target}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
        )));
    }
    Ok(Some(view.run.pid))
}

fn acquire_volumes(
    deps: &Deps,
    record: &Record,
    rootfs: &std::os::fd::OwnedFd,
) -> Result<BTreeMap<String, PathBuf>> {
    let mut paths = BTreeMap::new();
    for point in &record.mounts {
        let MountSource::Volume {
            name,
            copy,
            subpath,
            ..
        } = &point.source
        else {
            continue;
        };
        let volume = deps.volumes.acquire(name, &record.id)?;
        if *copy && subpath.is_empty() {
            let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
            // Nothing at the destination, or a file: nothing to copy.
            if let Ok(source) = rootfs::open_in(rootfs, &point.destination, flags) {
                use std::os::fd::AsFd as _;
                deps.volumes.copy_up(&volume, source.as_fd())?;
            }
        }
        paths.insert(name.clone(), volume.mountpoint);
    }
    Ok(paths)
}

/// The content of image mounts: a mount of the image's layers that goes with the container.
fn image_mounts(deps: &Deps, record: &Record) -> Result<BTreeMap<String, PathBuf>> {
    let mut paths = BTreeMap::new();
    for point in &record.mounts {
        let MountSource::Image { reference, .. } = &point.source else {
            continue;
        };
        let image = deps.images.resolve(reference)?;
        let id = image_mount_id(&record.id, &point.destination);
        let root = deps.images.snapshots().prepare(&id, &image)?;
        let path = crate::engine::containers::devices::mount_image(&deps.paths, &id, &root)?;
        paths.insert(point.destination.clone(), path);
    }
    Ok(paths)
}

fn make_bind_sources(record: &Record) -> Result<()> {
    for point in &record.mounts {
        let MountSource::Bind { path, create, .. } = &point.source else {
            continue;
        };
        let path = std::path::Path::new(path);
        if path.exists() {
            continue;
        }
        if !create {
            return Err(Error::invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                path.display()
            )));
        }
        std::fs::create_dir_all(path).map_err(|error| {
            Error::system(format!(
                "error while creating mount source path '{0}': mkdir {0}: {error}",
                path.display()
            ))
        })?;
    }
    Ok(())
}

fn join_networks(
    deps: &Arc<Deps>,
    record: &Arc<Record>,
    undo: &mut UndoStack,
) -> Result<(Namespace, Option<EtcFiles>, NetworkView)> {
    let Some(kind) = network::sandbox_kind(record) else {
        return shared_network(deps, record);
    };
    {
        let (deps, id) = (Arc::clone(deps), record.id.clone());
        undo.push(move || deps.networks.remove_sandbox(&id));
    }
    let sandbox = deps
        .networks
        .create_sandbox(&record.id, network::sandbox_config(record, kind))?;
    let mut view = NetworkView {
        netns_path: sandbox.netns_path.clone(),
        ..NetworkView::default()
    };
    for (name, asked) in &record.networks {
        let config = network::endpoint_config(record, name, asked)?;
        view.endpoints
            .push(deps.networks.join(&record.id, name, config)?);
    }
    if kind == SandboxKind::Isolated {
        view.ports = deps
            .networks
            .publish(&record.id, &network::port_requests(record)?)?;
    }
    let namespace = match &sandbox.netns_path {
        Some(path) => Namespace::Path(path.clone()),
        None => Namespace::Host,
    };
    Ok((namespace, Some(etc_files(&sandbox)), view))
}

fn etc_files(sandbox: &Sandbox) -> EtcFiles {
    EtcFiles {
        hosts: sandbox.hosts_path.clone(),
        resolv_conf: sandbox.resolv_conf_path.clone(),
        hostname: sandbox.hostname_path.clone(),
    }
}

fn shared_network(
    deps: &Deps,
    record: &Record,
) -> Result<(Namespace, Option<EtcFiles>, NetworkView)> {
    let SharedWith::Container(target) = shared_with(&record.host.network_mode) else {
        return Ok((Namespace::New, None, NetworkView::default()));
    };
    let other = deps.get(target)?.view();
    if !other.run.state.has_process() {
        return Err(Error::conflict(format!(
            "cannot join network namespace of a non running container: {target}"
        )));
    }
    let etc = deps
        .networks
        .sandbox(&other.record.id)
        .map(|sandbox| etc_files(&sandbox));
    let namespace = match &other.network.netns_path {
        Some(path) => Namespace::Path(path.clone()),
        None => Namespace::Host,
    };
    let view = NetworkView {
        netns_path: other.network.netns_path.clone(),
        ..NetworkView::default()
    };
    Ok((namespace, etc, view))
}

/// Where the output goes, by the log driver's options.
fn log_options(deps: &Deps, record: &Record) -> Result<Option<LogOptions>> {
    let log = &record.host.log_config;
    if log.kind == "none" {
        return Ok(None);
    }
    let option = |name: &str| log.config.get(name).map(String::as_str);
    let max_size_bytes = match option("max-size") {
        None | Some("-1") => None,
        Some(text) => {
            let bytes = crate::units::parse_bytes(text)
                .map_err(|error| Error::invalid(format!("invalid value for max-size: {error}")))?;
            u64::try_from(bytes).ok().filter(|bytes| *bytes > 0)
        }
    };
    let max_files = option("max-file")
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let mut attrs = BTreeMap::new();
    for key in option("labels")
        .unwrap_or("")
        .split(',')
        .filter(|key| !key.is_empty())
    {
        if let Some(value) = record.config.labels.get(key) {
            attrs.insert(key.to_owned(), value.clone());
        }
    }
    for key in option("env")
        .unwrap_or("")
        .split(',')
        .filter(|key| !key.is_empty())
    {
        let found = record
            .config
            .env
            .iter()
            .find_map(|entry| entry.split_once('=').filter(|(name, _)| *name == key));
        if let Some((name, value)) = found {
            attrs.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(Some(LogOptions {
        path: log_path(&deps.paths, &record.id),
        max_size_bytes,
        max_files,
        attrs,
    }))
}
