//! The engine's process: start-up order, the socket, and its end. It is the only wiring of the
//! services; it decides nothing about containers.
//!
//! ```text
//! lock run and data roots → services open and restore → socket listens → ready → serve → end
//! ```
//! The engine ends on SIGTERM or SIGINT, and by itself when for a while no client is connected and
//! no container runs. Containers outlive it: their shims run on and the next engine adopts them.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::engine::api::{self, ApiState, Clients, Services};
use crate::engine::base::{Error, EventBus, Paths, Result};
use crate::engine::build::Builder;
use crate::engine::containers::Containers;
use crate::engine::images::Images;
use crate::engine::networks::Networks;
use crate::engine::volumes::Volumes;
use crate::sys::privileges::become_session_leader;

/// Set to `1` by a starter that waits on our standard output for one line: `ok`, or what went wrong.
const READY_FD: &str = "HOIST_READY_FD";
/// Seconds without client and without running container until the engine ends.
const IDLE_SECONDS: &str = "HOIST_ENGINE_IDLE_SECONDS";
const DEFAULT_IDLE: Duration = Duration::from_secs(300);

/// The roots of this user's engine: `HOIST_DATA_ROOT` and `HOIST_RUN_ROOT`, else the usual places.
pub(crate) fn paths_from_environment() -> Paths {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let is_root = fs::metadata("/proc/self")
        .is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0);
    let home = || PathBuf::from(variable("HOME").unwrap_or_else(|| "/".into()));
    let data_root = match variable("HOIST_DATA_ROOT") {
        Some(root) => root.into(),
        None if is_root => PathBuf::from("/var/lib/hoist"),
        None => variable("XDG_DATA_HOME")
            .map_or_else(|| home().join(".local/share"), PathBuf::from)
            .join("hoist"),
    };
    let run_root = match variable("HOIST_RUN_ROOT") {
        Some(root) => root.into(),
        None if is_root => PathBuf::from("/run/hoist"),
        None => variable("XDG_RUNTIME_DIR")
            .map_or_else(|| data_root.join("run"), PathBuf::from)
            .join("hoist"),
    };
    Paths::new(data_root, run_root)
}

/// Runs the engine until it ends.
pub(crate) fn main(paths: Paths) -> ExitCode {
    start_log();
    if let Err(error) = become_session_leader() {
        tracing::warn!(%error, "leave the starter's session");
    }
    let mut ready = ReadySender::from_environment();
    match run(paths, &mut ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the engine could not run");
            ready.send(&error.message);
            ExitCode::FAILURE
        }
    }
}

/// The log goes to stderr, which the starter has pointed at `<run root>/engine.log`.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HOIST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    // A second start in one process (a test) keeps the first log.
    drop(started);
}

/// The pipe to whoever started the engine: our standard output, when the starter says so.
struct ReadySender {
    waited_for: bool,
}

impl ReadySender {
    fn from_environment() -> Self {
        ReadySender {
            waited_for: std::env::var(READY_FD).is_ok_and(|number| number == "1"),
        }
    }

    /// Sends one line and closes the pipe; the starter may be gone, which is its own affair.
    fn send(&mut self, line: &str) {
        if !std::mem::take(&mut self.waited_for) {
            return;
        }
        let line = format!("{}\n", line.replace('\n', " "));
        let mut pipe = std::io::stdout();
        if let Err(error) = pipe.write_all(line.as_bytes()).and_then(|()| pipe.flush()) {
            tracing::debug!(%error, "nobody waits for the engine's start");
        }
        // The starter reads to the end of the pipe, which we hold open.
        let closed = File::options()
            .write(true)
            .open("/dev/null")
            .and_then(|null| Ok(rustix::stdio::dup2_stdout(null)?));
        if let Err(error) = closed {
            tracing::warn!(%error, "let go of the starter's pipe");
        }
    }
}

/// The locks that keep two engines apart, held for the life of the process.
struct Locks {
    _run: File,
    _data: File,
}

fn run(paths: Paths, ready: &mut ReadySender) -> Result<()> {
    make_root(paths.run_root(), 0o755)?;
    make_root(paths.data_root(), 0o711)?;
    let locks = Locks {
        _run: take_lock(
            &paths.lock_file(),
            "run root",
            paths.run_root(),
            patience(&paths.socket()),
        )?,
        _data: take_lock(
            &paths.data_lock_file(),
            "data root",
            paths.data_root(),
            ENDING_MAX,
        )?,
    };
    empty_directory(&paths.tmp());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("engine")
        .build()?;
    let result = runtime.block_on(serve(paths, ready));
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(locks);
    result
}

async fn serve(paths: Paths, ready: &mut ReadySender) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let state = open_services(paths).await?;
    let listener = listen(&state.paths.socket())?;
    // On a full disk the pid file is not worth refusing to start: `prune` needs the engine.
    if let Err(error) = fs::write(state.paths.pid_file(), format!("{}\n", std::process::id())) {
        tracing::warn!(%error, "write the pid file");
    }
    ready.send("ok");
    tracing::info!(socket = %state.paths.socket().display(), "the engine listens");
    let stopped = Arc::new(Notify::new());
    let server = tokio::spawn(api::serve(listener, state.clone(), Arc::clone(&stopped)));
    let idle = idle_for(&state, idle_time());
    tokio::pin!(idle);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {}
            () = &mut idle => {
                tracing::info!("no client and no running container: the engine ends");
                break;
            }
        }
    }
    stopped.notify_one();
    // A new engine may start as soon as the socket is gone; it then waits for the locks.
    for leftover in [state.paths.socket(), state.paths.pid_file()] {
        if let Err(error) = fs::remove_file(&leftover) {
            tracing::debug!(%error, path = %leftover.display(), "remove");
        }
    }
    if let Err(error) = server.await {
        tracing::error!(%error, "the API server failed");
    }
    // What no running container needs leaves the kernel with the engine.
    let networks = Arc::clone(&state.networks);
    if let Err(error) = api::blocking(move || networks.close()).await {
        tracing::warn!(%error, "take down idle networks");
    }
    Ok(())
}

/// Opens every service in the order of their dependence, and restores what an earlier engine left.
async fn open_services(paths: Paths) -> Result<ApiState> {
    let events = Arc::new(EventBus::new());
    let images = Images::open(&paths, Arc::clone(&events))?;
    let volumes = Volumes::open(&paths, Arc::clone(&events))?;
    let networks = Networks::open(
        &paths,
        Arc::clone(&events),
        tokio::runtime::Handle::current(),
    )?;
    let builder = Builder::open(Arc::clone(&images), Arc::clone(&networks), &paths)?;
    let containers = Containers::open(
        &paths,
        Arc::clone(&events),
        Arc::clone(&images),
        Arc::clone(&volumes),
        Arc::clone(&networks),
    );
    // Saves the first container a few milliseconds; a failure shows there.
    tokio::task::spawn_blocking(crate::shim::client::warm);
    containers.restore().await?;
    Ok(ApiState::new(Services {
        paths,
        events,
        images,
        volumes,
        networks,
        containers,
        builder,
        grpc: Arc::default(),
        clients: Clients::default(),
    }))
}

fn make_root(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|error| Error::system(format!("create {}: {error}", path.display())))
}

/// How long an engine that no longer listens may take to end.
const ENDING_MAX: Duration = Duration::from_secs(5);

/// An engine that listens keeps its lock; one that does not is about to let go of it.
fn patience(socket: &Path) -> Duration {
    match std::os::unix::net::UnixStream::connect(socket) {
        Ok(_) => Duration::ZERO,
        Err(_) => ENDING_MAX,
    }
}

/// Waits for a lock in a thread of its own: a lock cannot be waited for with a limit.
fn locked_within(file: &File, patience: Duration) -> std::io::Result<bool> {
    if patience.is_zero() {
        return Ok(false);
    }
    let waiting = file.try_clone()?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(waiting.lock()));
    match receiver.recv_timeout(patience) {
        Ok(locked) => locked.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Takes a lock or names the engine that holds it.
fn take_lock(path: &Path, what: &str, root: &Path, patience: Duration) -> Result<File> {
    let failed = |error: std::io::Error| Error::system(format!("lock {}: {error}", path.display()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) if locked_within(&file, patience).map_err(failed)? => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let holder = match file.read_to_string(&mut holder) {
                Ok(_) if !holder.trim().is_empty() => format!("process {}", holder.trim()),
                _ => "another process".to_owned(),
            };
            return Err(Error::conflict(format!(
                "an engine already runs on the {what} {}: {holder}",
                root.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // The holder's pid is for the message above only: a full disk is no reason not to start.
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()));
    if let Err(error) = written {
        tracing::warn!(%error, "write the lock file");
    }
    Ok(file)
}

/// Binds the socket under a temporary name and renames it, so that a client that finds the socket
/// finds a listener.
fn listen(socket: &Path) -> Result<UnixListener> {
    let failed =
        |error: std::io::Error| Error::system(format!("listen on {}: {error}", socket.display()));
    let temporary = socket.with_extension("new");
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    let listener = UnixListener::bind(&temporary).map_err(failed)?;
    fs::set_permissions(&temporary, Permissions::from_mode(0o660)).map_err(failed)?;
    fs::rename(&temporary, socket).map_err(failed)?;
    Ok(listener)
}

/// What an earlier engine was writing when it died.
fn empty_directory(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "empty the temporary directory");
    }
    if let Err(error) = fs::create_dir_all(path) {
        tracing::warn!(%error, path = %path.display(), "create the temporary directory");
    }
}

fn idle_time() -> Duration {
    std::env::var(IDLE_SECONDS)
        .ok()
        .and_then(|text| text.parse().ok())
        .map_or(DEFAULT_IDLE, Duration::from_secs)
}

/// Ends when the engine has been of no use for `idle`.
async fn idle_for(state: &ApiState, idle: Duration) {
    loop {
        if is_used(state) {
            changed(state).await;
            continue;
        }
        tokio::select! {
            () = changed(state) => {}
            () = tokio::time::sleep(idle) => if !is_used(state) { return },
        }
    }
}

async fn changed(state: &ApiState) {
    tokio::select! {
        () = state.clients.changed.notified() => {}
        () = state.containers.deps.activity.notified() => {}
    }
}

fn is_used(state: &ApiState) -> bool {
    state.clients.count() > 0 || state.containers.any_running()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_engine_on_a_root_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.lock");
        let held = take_lock(&path, "run root", folder.path(), Duration::ZERO).unwrap();
        let refused = take_lock(&path, "run root", folder.path(), Duration::ZERO).unwrap_err();
        assert!(
            refused
                .message
                .contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(held);
        take_lock(&path, "run root", folder.path(), Duration::ZERO).unwrap();
    }
}
