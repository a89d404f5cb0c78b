//! The engine's side of a shim: make one, find one again, call it. Async; it never touches the container itself,
//! except to kill what a dead shim left behind.

mod attached;

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{oneshot, watch};

use crate::oci::runtime_spec::{ConsoleSize, ContainerSpec, ProcessSpec, Resources};

use crate::shim::protocol::{
    Call, CreateRequest, ExecRequest, Message, Reply, Request, SOCKET_FILE, ShimState, decode,
    encode,
};
use crate::shim::{leftovers, zygote};

pub(crate) use attached::{Attached, Input, Output, StdStream};

pub(crate) use crate::shim::protocol::{
    AttachRequest as AttachOptions, Exit, LogOptions, StartError, StartErrorKind, Started, Target,
};
pub(crate) use crate::shim::zygote::warm;

/// What a shim is told when it is made.
#[derive(Debug, Clone)]
pub(crate) struct ShimOptions {
    /// Made when missing, removed on release. One a container.
    pub(crate) state_dir: PathBuf,
    pub(crate) spec: ContainerSpec,
    /// `None`: output that nobody is attached to is dropped.
    pub(crate) log: Option<LogOptions>,
    /// The container gets a stdin; without, it reads `/dev/null`.
    pub(crate) open_stdin: bool,
    /// Stdin ends for good when the first client that sends it is done.
    pub(crate) stdin_once: bool,
}

/// An exec to start.
#[derive(Debug, Clone)]
pub(crate) struct ExecSpec {
    pub(crate) exec_id: String,
    /// `process.tty` decides whether the exec gets a pty.
    pub(crate) process: ProcessSpec,
    /// `stdin: false` gives the process `/dev/null`. Streams that are not attached are dropped.
    pub(crate) attach: AttachOptions,
}

/// A call to a shim failed: it is gone, or refused with a reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ShimError {
    pub(crate) message: String,
}

impl ShimError {
    fn new(message: impl Into<String>) -> Self {
        ShimError {
            message: message.into(),
        }
    }

    fn io(doing: &str, error: &io::Error) -> Self {
        Self::new(format!("shim: {doing}: {error}"))
    }
}

/// A handle on one container's shim. Cheap to clone; dropping it leaves the container running.
#[derive(Debug, Clone)]
pub(crate) struct Shim {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state_dir: PathBuf,
    #[cfg(test)]
    shim_pid: i32,
    cgroup_path: String,
    /// Held while one frame is written.
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    shared: Arc<Shared>,
}

/// What the reading task fills.
#[derive(Debug)]
struct Shared {
    calls: Mutex<Calls>,
    exit_tx: watch::Sender<Option<Exit>>,
    started_tx: watch::Sender<Option<Started>>,
    execs: Mutex<HashMap<String, watch::Sender<Option<i32>>>>,
}

#[derive(Debug, Default)]
struct Calls {
    last_id: u64,
    /// The connection has ended; nobody will be answered.
    closed: bool,
    released: bool,
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
}

/// What an engine finds of a container that ran before the engine did.
#[derive(Debug)]
pub(crate) enum Reconnected {
    /// Its shim is there; the container is created, running, or has ended and says so through [`Shim::exit`].
    Running(Shim),
    /// It ended while no engine looked, and the shim has ended too.
    Exited(Exit),
    /// The shim died without a word. Whatever it left of the container has been killed.
    Gone,
}

impl Shim {
    /// Makes the shim process and hands it the spec. The container does not run yet.
    pub(crate) async fn create(options: ShimOptions) -> Result<Shim, ShimError> {
        let state_dir = options.state_dir.clone();
        let cgroup_path = options.spec.cgroup_path.clone();
        let stream = zygote::fork_shim().map_err(|error| ShimError::io("start", &error))?;
        let stream = to_tokio(stream).map_err(|error| ShimError::io("connect", &error))?;
        let request = Request::Create(Box::new(CreateRequest {
            state_dir: options.state_dir,
            spec: options.spec,
            log: options.log,
            open_stdin: options.open_stdin,
            stdin_once: options.stdin_once,
        }));
        let (shim, state) = Self::over(stream, state_dir, cgroup_path, request).await?;
        shim.inner.shared.adopt(&state);
        Ok(shim)
    }

    /// Finds the shim of an earlier engine by its state directory. Whatever the answer, no process of a container
    /// without a shim is left.
    pub(crate) async fn reconnect(state_dir: &Path) -> Result<Reconnected, ShimError> {
        if let Ok(stream) = connect(state_dir) {
            let opened = Self::over(
                stream,
                state_dir.to_owned(),
                String::new(),
                Request::Subscribe,
            )
            .await;
            if let Ok((shim, state)) = opened {
                shim.inner.shared.adopt(&state);
                return Ok(Reconnected::Running(shim));
            }
        }
        let folder = state_dir.to_owned();
        let exit = tokio::task::spawn_blocking(move || leftovers::sweep(&folder))
            .await
            .map_err(|error| ShimError::new(format!("shim: {error}")))?
            .map_err(|error| ShimError::io("clean up after a dead shim", &error))?;
        Ok(exit.map_or(Reconnected::Gone, Reconnected::Exited))
    }

    async fn over(
        stream: UnixStream,
        state_dir: PathBuf,
        cgroup_path: String,
        first: Request,
    ) -> Result<(Shim, ShimState), ShimError> {
        let (reader, mut writer) = stream.into_split();
        let (reply_tx, reply_rx) = oneshot::channel();
        let shared = Arc::new(Shared {
            calls: Mutex::new(Calls {
                waiting: HashMap::from([(0, reply_tx)]),
                ..Calls::default()
            }),
            exit_tx: watch::channel(None).0,
            started_tx: watch::channel(None).0,
            execs: Mutex::new(HashMap::new()),
        });
        tokio::spawn(read_messages(
            reader,
            Arc::clone(&shared),
            state_dir.clone(),
        ));
        let frame = encode(&Call {
            id: 0,
            request: first,
        });
        writer
            .write_all(&frame)
            .await
            .map_err(|error| ShimError::io("send", &error))?;
        let reply = reply_rx
            .await
            .map_err(|_| ShimError::new("shim: ended before it answered"))?;
        let state = match reply {
            Reply::State(state) => state,
            Reply::Failed(message) => return Err(ShimError::new(message)),
            other => return Err(unexpected(&other)),
        };
        let inner = Inner {
            state_dir,
            #[cfg(test)]
            shim_pid: state.shim_pid,
            cgroup_path: if cgroup_path.is_empty() {
                state.cgroup_path.clone()
            } else {
                cgroup_path
            },
            writer: tokio::sync::Mutex::new(writer),
            shared,
        };
        Ok((
            Shim {
                inner: Arc::new(inner),
            },
            state,
        ))
    }

    /// Runs the container. An error leaves the shim in place, to be released.
    pub(crate) async fn start(&self) -> Result<Started, StartError> {
        match self.call(Request::Start).await {
            Ok(Reply::Started(started)) => {
                self.inner.shared.started_tx.send_replace(Some(started));
                Ok(started)
            }
            Ok(Reply::StartFailed(error)) => Err(error),
            Ok(Reply::Failed(message)) => Err(StartError::other(message)),
            Ok(other) => Err(StartError::other(unexpected(&other).message)),
            Err(error) => Err(StartError::other(error.message)),
        }
    }

    /// The container's first process in the host's pid namespace, once started.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.inner
            .shared
            .started_tx
            .borrow()
            .map(|started| started.pid)
    }

    /// When and as which process the container started.
    pub(crate) fn started(&self) -> Option<Started> {
        *self.inner.shared.started_tx.borrow()
    }

    #[cfg(test)]
    pub(crate) fn shim_pid(&self) -> i32 {
        self.inner.shim_pid
    }

    /// For `sys::cgroup`: freeze, statistics, the list of processes.
    pub(crate) fn cgroup_path(&self) -> &str {
        &self.inner.cgroup_path
    }

    pub(crate) async fn signal(&self, signal: i32, target: Target) -> Result<(), ShimError> {
        self.done(Request::Signal { signal, target }).await
    }

    pub(crate) async fn resize(&self, size: ConsoleSize) -> Result<(), ShimError> {
        self.done(Request::Resize {
            target: Target::Main,
            size,
        })
        .await
    }

    pub(crate) async fn update(&self, resources: Resources) -> Result<(), ShimError> {
        self.done(Request::Update(Box::new(resources))).await
    }

    /// Waits for the end of the first process.
    pub(crate) async fn wait(&self) -> Exit {
        let mut exit_rx = self.inner.shared.exit_tx.subscribe();
        let seen = exit_rx
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|exit| *exit);
        seen.unwrap_or_else(lost)
    }

    /// How it ended, if it has.
    pub(crate) fn exit(&self) -> Option<Exit> {
        *self.inner.shared.exit_tx.borrow()
    }

    /// Joins the container's streams. Before `start` nothing of the output is missed.
    pub(crate) async fn attach(&self, options: AttachOptions) -> Result<Attached, ShimError> {
        let (reply, attached) = self.raw(Request::Attach(options), options).await?;
        match reply {
            Reply::Done => Ok(attached),
            Reply::Failed(message) => Err(ShimError::new(message)),
            other => Err(unexpected(&other)),
        }
    }

    /// Starts a further process in the container.
    pub(crate) async fn exec(&self, spec: ExecSpec) -> Result<ExecProcess, StartError> {
        let exit_tx = watch::channel(None).0;
        let exit_rx = exit_tx.subscribe();
        let exec_id = spec.exec_id.clone();
        lock(&self.inner.shared.execs).insert(exec_id.clone(), exit_tx);
        let request = Request::Exec(Box::new(ExecRequest {
            exec_id: spec.exec_id,
            process: spec.process,
            attach: spec.attach,
        }));
        let failed = match self.raw(request, spec.attach).await {
            Ok((Reply::Started(started), attached)) => {
                return Ok(ExecProcess {
                    shim: self.clone(),
                    exec_id,
                    pid: started.pid,
                    attached: Some(attached),
                    exit_rx,
                });
            }
            Ok((Reply::StartFailed(error), _)) => error,
            Ok((Reply::Failed(message), _)) => StartError::other(message),
            Ok((other, _)) => StartError::other(unexpected(&other).message),
            Err(error) => StartError::other(error.message),
        };
        lock(&self.inner.shared.execs).remove(&exec_id);
        Err(failed)
    }

    /// Ends the shim, once the exit is recorded (or the container never started). It removes its cgroups and its state
    /// directory, and lets go of the rootfs, before this returns. A container that runs is killed.
    pub(crate) async fn release(&self) -> Result<(), ShimError> {
        lock(&self.inner.shared.calls).released = true;
        match self.call(Request::Release).await {
            Ok(Reply::Done) => Ok(()),
            Ok(Reply::Failed(message)) => Err(ShimError::new(message)),
            Ok(other) => Err(unexpected(&other)),
            // A shim that is gone is released as well; what it left is swept.
            Err(_) => {
                let folder = self.inner.state_dir.clone();
                let swept = tokio::task::spawn_blocking(move || {
                    leftovers::sweep(&folder)?;
                    leftovers::remove(&folder)
                });
                swept
                    .await
                    .map_err(|error| ShimError::new(format!("shim: {error}")))?
                    .map_err(|error| ShimError::io("clean up after a dead shim", &error))
            }
        }
    }

    async fn done(&self, request: Request) -> Result<(), ShimError> {
        match self.call(request).await? {
            Reply::Done => Ok(()),
            Reply::Failed(message) => Err(ShimError::new(message)),
            other => Err(unexpected(&other)),
        }
    }

    async fn call(&self, request: Request) -> Result<Reply, ShimError> {
        let (reply_tx, reply_rx) = oneshot::channel();
        let id = {
            let mut calls = lock(&self.inner.shared.calls);
            if calls.closed {
                return Err(ShimError::new("shim: gone"));
            }
            calls.last_id += 1;
            let id = calls.last_id;
            calls.waiting.insert(id, reply_tx);
            id
        };
        let frame = encode(&Call { id, request });
        let written = self.inner.writer.lock().await.write_all(&frame).await;
        written.map_err(|error| ShimError::io("send", &error))?;
        reply_rx.await.map_err(|_| ShimError::new("shim: gone"))
    }

    async fn raw(
        &self,
        request: Request,
        options: AttachOptions,
    ) -> Result<(Reply, Attached), ShimError> {
        let mut stream =
            connect(&self.inner.state_dir).map_err(|error| ShimError::io("connect", &error))?;
        let frame = encode(&Call { id: 0, request });
        stream
            .write_all(&frame)
            .await
            .map_err(|error| ShimError::io("send", &error))?;
        let mut buffer = Vec::new();
        let reply = read_first_reply(&mut stream, &mut buffer).await?;
        let (reader, writer) = stream.into_split();
        let attached = Attached {
            output: Output::new(reader, buffer),
            input: options.stdin.then(|| Input::new(writer)),
        };
        Ok((reply, attached))
    }
}

/// A further process in a container.
#[derive(Debug)]
pub(crate) struct ExecProcess {
    shim: Shim,
    pub(crate) exec_id: String,
    /// In the host's pid namespace.
    pub(crate) pid: i32,
    /// Taken by whoever copies the streams. Dropping it detaches; the process runs on.
    pub(crate) attached: Option<Attached>,
    exit_rx: watch::Receiver<Option<i32>>,
}

impl ExecProcess {
    /// Waits for the end and gives the exit code (128 and the signal for a killed one).
    pub(crate) async fn wait(&self) -> i32 {
        let mut exit_rx = self.exit_rx.clone();
        let seen = exit_rx
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|code| *code);
        seen.unwrap_or(137)
    }

    pub(crate) async fn resize(&self, size: ConsoleSize) -> Result<(), ShimError> {
        self.shim
            .done(Request::Resize {
                target: Target::Exec(self.exec_id.clone()),
                size,
            })
            .await
    }

    pub(crate) async fn signal(&self, signal: i32) -> Result<(), ShimError> {
        self.shim
            .signal(signal, Target::Exec(self.exec_id.clone()))
            .await
    }
}

impl Shared {
    fn adopt(&self, state: &ShimState) {
        if let Some(started) = state.started {
            self.started_tx.send_replace(Some(started));
        }
        if let Some(exit) = state.exit {
            self.exit_tx.send_replace(Some(exit));
        }
    }

    fn take(&self, message: Message) {
        match message {
            Message::Reply { id, reply } => {
                let waiter = lock(&self.calls).waiting.remove(&id);
                if let Some(waiter) = waiter {
                    // The caller may have given up.
                    let _ = waiter.send(reply);
                }
            }
            Message::Exited(exit) => {
                self.exit_tx.send_replace(Some(exit));
            }
            Message::ExecExited { exec_id, code } => {
                if let Some(exit_tx) = lock(&self.execs).remove(&exec_id) {
                    exit_tx.send_replace(Some(code));
                }
            }
        }
    }
}

async fn read_messages(mut reader: OwnedReadHalf, shared: Arc<Shared>, state_dir: PathBuf) {
    let mut buffer = Vec::new();
    'connection: while matches!(reader.read_buf(&mut buffer).await, Ok(read) if read > 0) {
        loop {
            match decode(&mut buffer) {
                Ok(Some(message)) => shared.take(message),
                Ok(None) => break,
                Err(_) => break 'connection,
            }
        }
    }
    let released = {
        let mut calls = lock(&shared.calls);
        calls.closed = true;
        calls.waiting.clear();
        calls.released
    };
    if !released && shared.exit_tx.borrow().is_none() {
        // The shim was killed: the container must not outlive it, and its end must be told.
        let swept = tokio::task::spawn_blocking(move || leftovers::sweep(&state_dir)).await;
        let exit = swept.ok().and_then(Result::ok).flatten();
        shared.exit_tx.send_replace(Some(exit.unwrap_or_else(lost)));
    }
    lock(&shared.execs).clear();
}

async fn read_first_reply(
    stream: &mut UnixStream,
    buffer: &mut Vec<u8>,
) -> Result<Reply, ShimError> {
    loop {
        match decode(buffer).map_err(ShimError::new)? {
            Some(Message::Reply { reply, .. }) => return Ok(reply),
            Some(_) => {}
            None => {
                let read = stream
                    .read_buf(buffer)
                    .await
                    .map_err(|error| ShimError::io("receive", &error))?;
                if read == 0 {
                    return Err(ShimError::new("shim: ended before it answered"));
                }
            }
        }
    }
}

/// The end of a container whose shim was killed: as if by SIGKILL, now.
fn lost() -> Exit {
    Exit {
        code: 137,
        oom_killed: false,
        exited_at_ns: leftovers::now_ns(),
    }
}

fn connect(state_dir: &Path) -> io::Result<UnixStream> {
    // By way of the directory's descriptor: a socket's path may have 107 bytes only.
    let folder = std::fs::File::open(state_dir)?;
    let path = format!("/proc/self/fd/{}/{SOCKET_FILE}", folder.as_raw_fd());
    to_tokio(std::os::unix::net::UnixStream::connect(path)?)
}

fn to_tokio(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn unexpected(reply: &Reply) -> ShimError {
    ShimError::new(format!("shim: unexpected answer {reply:?}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
