//! What each request to a shim does.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::oci::runtime_spec::{ConsoleSize, Resources};
use crate::runtime::start_error::StartError;
use crate::runtime::stdio::ProcessStdio;
use crate::runtime::{join, limits, parent};
use crate::shim::backlog::Backlog;
use crate::shim::connection::Purpose;
use crate::shim::container::Container;
use crate::shim::leftovers::{self, now_ns};
use crate::shim::log_file::LogFile;
use crate::shim::protocol::{
    AttachRequest, Call, CreateRequest, ExecRequest, Reply, Request, SOCKET_FILE, Started, Target,
};
use crate::shim::server::{MAIN, Server, Watched};
use crate::shim::streams::Streams;
use crate::sys::fds;
use crate::sys::process::{self, wait_child};

impl Server {
    /// Carries out one call of one connection.
    pub(crate) fn handle(&mut self, connection_id: u64, call: Call) {
        let purpose = match &call.request {
            Request::Attach(_) | Request::Exec(_) => None,
            _ => Some(Purpose::Control),
        };
        if let (Some(purpose), Some(connection)) =
            (purpose, self.connections.get_mut(&connection_id))
        {
            connection.purpose = purpose;
        }
        let reply = match call.request {
            Request::Create(request) => self.create(*request),
            Request::Subscribe => self.state(),
            Request::Start => self.start(),
            Request::Signal { signal, target } => done(self.signal(signal, &target)),
            Request::Resize { target, size } => done(self.resize(&target, size)),
            Request::Update(resources) => done(self.update(&resources)),
            Request::Attach(wants) => {
                self.attach(connection_id, call.id, MAIN, wants);
                return;
            }
            Request::Exec(request) => {
                self.exec(connection_id, call.id, *request);
                return;
            }
            Request::Release => {
                let released = done(self.release());
                self.done = matches!(released, Reply::Done);
                released
            }
        };
        if let Some(connection) = self.connections.get_mut(&connection_id) {
            connection.reply(call.id, reply);
        }
    }

    fn create(&mut self, request: CreateRequest) -> Reply {
        if self.container.is_some() {
            return Reply::Failed("the shim has a container".to_owned());
        }
        let log = match request.log.clone().map(LogFile::open).transpose() {
            Ok(log) => log,
            Err(error) => return Reply::Failed(format!("open the log: {error}")),
        };
        let state_dir = request.state_dir.clone();
        let made = Container::create(request).and_then(|container| {
            self.listener = Some(listen(&container.state_dir)?);
            Ok(container)
        });
        match made {
            Ok(container) => {
                let state = container.state();
                self.container = Some(container);
                self.streams.insert(MAIN, Streams::new(log));
                Reply::State(state)
            }
            Err(error) => {
                let _ = leftovers::remove(&state_dir);
                self.done = true;
                Reply::Failed(format!("make the shim's state directory: {error}"))
            }
        }
    }

    fn state(&self) -> Reply {
        match &self.container {
            Some(container) => Reply::State(container.state()),
            None => Reply::Failed("the shim has no container".to_owned()),
        }
    }

    fn start(&mut self) -> Reply {
        match self.start_container() {
            Ok(started) => Reply::Started(started),
            Err(error) => Reply::StartFailed(error),
        }
    }

    fn start_container(&mut self) -> Result<Started, StartError> {
        let container = self
            .container
            .as_mut()
            .filter(|container| container.started.is_none())
            .ok_or_else(|| StartError::other("the container was started before"))?;
        let streams = self.streams.entry(MAIN).or_default();
        let spec = &container.spec;
        let stdio = if spec.process.tty {
            ProcessStdio::Terminal(spec.process.console_size)
        } else {
            streams
                .open_pipes(container.open_stdin)
                .map_err(|error| StartError::doing("making the pipes", &error))?
        };
        let running = match parent::start(spec, stdio, &container.state_dir) {
            Ok(running) => running,
            Err(error) => {
                // A second try makes new pipes.
                let log = streams.log.take();
                self.streams.insert(MAIN, Streams::new(log));
                return Err(error);
            }
        };
        if let Some(terminal) = running.terminal {
            streams
                .adopt_terminal(terminal)
                .map_err(|error| StartError::doing("taking the terminal", &error))?;
        }
        streams.flush_input();
        // Every further child is for this container's pid namespace. A container that has ended by now has none.
        let _ = join::adopt_pid_namespace(&running.child.pidfd);
        let started = Started {
            pid: running.child.pid,
            started_at_ns: now_ns(),
        };
        container.started = Some(started);
        container.rootfs = Some(running.rootfs);
        self.processes.insert(
            MAIN,
            Watched {
                exec_id: None,
                pid: running.child.pid,
                pidfd: running.child.pidfd,
            },
        );
        Ok(started)
    }

    fn attach(&mut self, connection_id: u64, call_id: u64, key: u64, wants: AttachRequest) {
        let overflow = self.streams.get(&key).and_then(Streams::overflow_dir);
        let there = self.streams.contains_key(&key);
        let Some(connection) = self.connections.get_mut(&connection_id) else {
            return;
        };
        connection.backlog = Backlog::with_overflow(overflow);
        connection.purpose = Purpose::Raw {
            process: key,
            wants,
        };
        // After the end there is nothing to see, which is no error: the client finds the end at once.
        connection.finishing = !there;
        connection.reply(call_id, Reply::Done);
    }

    fn exec(&mut self, connection_id: u64, call_id: u64, request: ExecRequest) {
        self.last_key += 1;
        let key = self.last_key;
        let wants = request.attach;
        let started = self.start_exec(key, request);
        if started.is_err() {
            self.streams.remove(&key);
        }
        let Some(connection) = self.connections.get_mut(&connection_id) else {
            return;
        };
        connection.purpose = Purpose::Raw {
            process: key,
            wants,
        };
        match started {
            Ok(started) => connection.reply(call_id, Reply::Started(started)),
            Err(error) => {
                connection.finishing = true;
                connection.reply(call_id, Reply::StartFailed(error));
            }
        }
    }

    fn start_exec(&mut self, key: u64, request: ExecRequest) -> Result<Started, StartError> {
        let (Some(container), Some(main)) = (&self.container, self.processes.get(&MAIN)) else {
            return Err(StartError::other("container is not running"));
        };
        let mut streams = Streams::new(None);
        let stdio = if request.process.tty {
            ProcessStdio::Terminal(request.process.console_size)
        } else {
            streams
                .open_pipes(request.attach.stdin)
                .map_err(|error| StartError::doing("making the pipes", &error))?
        };
        let joined = join::start(&main.pidfd, &container.cgroup(), &request.process, stdio)?;
        if let Some(terminal) = joined.terminal {
            streams
                .adopt_terminal(terminal)
                .map_err(|error| StartError::doing("taking the terminal", &error))?;
        }
        let started = Started {
            pid: joined.child.pid,
            started_at_ns: now_ns(),
        };
        self.streams.insert(key, streams);
        self.processes.insert(
            key,
            Watched {
                exec_id: Some(request.exec_id),
                pid: joined.child.pid,
                pidfd: joined.child.pidfd,
            },
        );
        Ok(started)
    }

    fn signal(&self, signal: i32, target: &Target) -> io::Result<()> {
        let key = match target {
            Target::All => {
                let container = self.container.as_ref().ok_or_else(no_process)?;
                return container.cgroup().signal_all(signal);
            }
            target => self.key_of(target)?,
        };
        self.processes
            .get(&key)
            .ok_or_else(no_process)?
            .pidfd
            .signal(signal)
    }

    fn resize(&self, target: &Target, size: ConsoleSize) -> io::Result<()> {
        let key = self.key_of(target)?;
        self.streams.get(&key).ok_or_else(no_process)?.resize(size)
    }

    fn key_of(&self, target: &Target) -> io::Result<u64> {
        match target {
            Target::Main | Target::All => Ok(MAIN),
            Target::Exec(wanted) => self
                .processes
                .iter()
                .find(|(_, watched)| watched.exec_id.as_ref() == Some(wanted))
                .map(|(key, _)| *key)
                .ok_or_else(no_process),
        }
    }

    fn update(&mut self, resources: &Resources) -> io::Result<()> {
        let container = self.container.as_mut().ok_or_else(no_process)?;
        if container.started.is_some() {
            limits::update(&container.cgroup(), resources)?;
        }
        container.spec.resources = resources.clone();
        Ok(())
    }

    fn release(&mut self) -> io::Result<()> {
        let Some(container) = &mut self.container else {
            return Ok(());
        };
        // What still runs is killed: the first process, and with it all others of its namespace.
        for watched in self.processes.values() {
            let _ = watched.pidfd.signal(libc::SIGKILL);
        }
        let _ = container.cgroup().kill_and_wait();
        for watched in self.processes.values().rev() {
            let _ = wait_child(watched.pid);
        }
        while process::reap_any().is_some() {}
        self.streams.clear();
        container.remove()
    }
}

fn done(result: io::Result<()>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(error) => Reply::Failed(error.to_string()),
    }
}

fn no_process() -> io::Error {
    io::Error::other("no such process")
}

/// By way of the directory's descriptor: a socket's path may have 107 bytes only.
fn listen(state_dir: &Path) -> io::Result<UnixListener> {
    let folder = File::open(state_dir)?;
    let path = format!("{}/{SOCKET_FILE}", fds::fd_path(folder.as_fd()));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
