//! The loop of a shim: waits for connections, requests, output and ends of children, one thing after the other, in one
//! thread. What a request means is in `requests`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags};

use crate::shim::connection::{Connection, Purpose, Received};
use crate::shim::container::Container;
use crate::shim::leftovers::now_ns;
use crate::shim::protocol::{Exit, Message, output_header};
use crate::shim::streams::{Chunk, Streams};
use crate::sys::process::{self, PidFd, Reaped};
use crate::sys::{clone, privileges};

/// The key of the container's first process.
pub(crate) const MAIN: u64 = 0;
/// The most that an unlogged process may be ahead of its slowest client.
const AHEAD_MAX_BYTES: usize = 256 << 10;
/// Reads after the end of a process: as much as a pipe can hold. A child that stays behind may write for ever.
const DRAIN_ROUNDS: u32 = 32;
/// Shims go last when memory runs out: their containers would go with them.
const OOM_SCORE: &str = "-998";

/// A process that the shim watches.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) exec_id: Option<String>,
    pub(crate) pid: i32,
    pub(crate) pidfd: PidFd,
}

#[derive(Debug)]
pub(crate) struct Server {
    signals: OwnedFd,
    pub(crate) listener: Option<UnixListener>,
    pub(crate) container: Option<Container>,
    pub(crate) connections: BTreeMap<u64, Connection>,
    /// By key: the streams exist before the process does, and stay until its clients have read them.
    pub(crate) streams: BTreeMap<u64, Streams>,
    pub(crate) processes: BTreeMap<u64, Watched>,
    pub(crate) last_key: u64,
    pub(crate) done: bool,
}

/// What a descriptor of the poll set belongs to.
#[derive(Debug, Clone, Copy)]
enum Token {
    Signals,
    Listener,
    Connection(u64),
    Output(u64, u8),
    Input(u64),
}

/// The life of one shim, from its first request to its release.
pub(crate) fn main(connection: UnixStream) -> ExitCode {
    match serve(connection) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(connection: UnixStream) -> io::Result<()> {
    privileges::become_session_leader()?;
    privileges::become_subreaper()?;
    clone::remember_children()?;
    // Refused without CAP_SYS_RESOURCE, which costs the protection only.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let mut server = Server {
        signals: process::signal_fd(&[libc::SIGCHLD])?,
        listener: None,
        container: None,
        connections: BTreeMap::from([(1, Connection::new(connection)?)]),
        streams: BTreeMap::new(),
        processes: BTreeMap::new(),
        last_key: 1,
        done: false,
    };
    while !server.done {
        server.turn()?;
    }
    server.drain_connections();
    Ok(())
}

impl Server {
    fn turn(&mut self) -> io::Result<()> {
        for (token, flags) in self.poll()? {
            match token {
                Token::Signals => self.children_ended(),
                Token::Listener => self.accept(),
                Token::Connection(id) => self.connection_ready(id, flags),
                Token::Output(key, stream) => {
                    self.pump(key, stream);
                }
                Token::Input(key) => {
                    if let Some(streams) = self.streams.get_mut(&key) {
                        streams.flush_input();
                    }
                }
            }
        }
        self.let_go();
        Ok(())
    }

    fn poll(&self) -> io::Result<Vec<(Token, PollFlags)>> {
        let mut tokens = vec![Token::Signals];
        let mut watched = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if let Some(listener) = &self.listener {
            tokens.push(Token::Listener);
            watched.push(PollFd::new(listener, PollFlags::IN));
        }
        for (id, connection) in &self.connections {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.wants_to_read(connection));
            flags.set(PollFlags::OUT, !connection.backlog.is_empty());
            tokens.push(Token::Connection(*id));
            watched.push(PollFd::new(&connection.stream, flags));
        }
        for (key, streams) in &self.streams {
            let held_back = streams.log.is_none() && self.is_far_ahead(*key);
            for (fd, stream) in streams.outputs().filter(|_| !held_back) {
                tokens.push(Token::Output(*key, stream));
                watched.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
            if let Some(fd) = streams.blocked_input() {
                tokens.push(Token::Input(*key));
                watched.push(PollFd::from_borrowed_fd(fd, PollFlags::OUT));
            }
        }
        match rustix::event::poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = tokens
            .into_iter()
            .zip(watched)
            .map(|(token, fd)| (token, fd.revents()));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    fn wants_to_read(&self, connection: &Connection) -> bool {
        match connection.purpose {
            Purpose::New | Purpose::Control => true,
            Purpose::Raw { process, wants } => {
                wants.stdin
                    && !connection.ended
                    && self.streams.get(&process).is_none_or(Streams::takes_input)
            }
        }
    }

    /// Whether some client of an unlogged process has not taken what it was sent.
    fn is_far_ahead(&self, key: u64) -> bool {
        self.connections.values().any(|connection| {
            matches!(connection.purpose, Purpose::Raw { process, .. } if process == key)
                && connection.backlog.memory_bytes() > AHEAD_MAX_BYTES
        })
    }

    fn accept(&mut self) {
        let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) else {
            return;
        };
        // Only the engine's user: the directory's mode says so, this says it again.
        let uid = rustix::net::sockopt::socket_peercred(&stream).map(|peer| peer.uid);
        let own = rustix::process::geteuid();
        if !uid.is_ok_and(|uid| uid == own || uid.is_root()) {
            return;
        }
        if let Ok(connection) = Connection::new(stream) {
            self.last_key += 1;
            self.connections.insert(self.last_key, connection);
        }
    }

    fn connection_ready(&mut self, id: u64, flags: PollFlags) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if flags.contains(PollFlags::OUT) {
            connection.flush();
        }
        let mut gone = flags.intersects(PollFlags::HUP | PollFlags::ERR);
        if flags.contains(PollFlags::IN) {
            match connection.read() {
                Received::Bytes(bytes) => {
                    // More may wait behind a hang-up.
                    gone = false;
                    self.take_bytes(id, &bytes);
                }
                Received::Nothing => {}
                Received::End => match connection.purpose {
                    Purpose::Raw { process, .. } => {
                        connection.ended = true;
                        self.client_ended_input(process);
                    }
                    Purpose::New | Purpose::Control => connection.broken = true,
                },
            }
        }
        if gone && let Some(connection) = self.connections.get_mut(&id) {
            connection.broken = true;
            if let Purpose::Raw { process, wants } = connection.purpose
                && wants.stdin
                && !connection.ended
            {
                self.client_ended_input(process);
            }
        }
    }

    fn take_bytes(&mut self, id: u64, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if let Purpose::Raw { process, .. } = connection.purpose {
            if let Some(streams) = self.streams.get_mut(&process) {
                streams.push_input(bytes);
            }
            return;
        }
        connection.keep(bytes);
        while let Some(connection) = self.connections.get_mut(&id)
            && !matches!(connection.purpose, Purpose::Raw { .. })
            && let Some(call) = connection.next_call()
        {
            self.handle(id, call);
        }
        // A client may send stdin right behind its request.
        if let Some(connection) = self.connections.get_mut(&id)
            && let Purpose::Raw { process, wants } = connection.purpose
        {
            let early = connection.take_received();
            if wants.stdin
                && let Some(streams) = self.streams.get_mut(&process)
            {
                streams.push_input(&early);
            }
        }
    }

    /// An exec's stdin ends with its client's; the container's only when it was made so (`StdinOnce`).
    fn client_ended_input(&mut self, key: u64) {
        let once = key != MAIN || self.container.as_ref().is_some_and(|c| c.stdin_once);
        if let Some(streams) = self.streams.get_mut(&key)
            && once
            && !streams.is_terminal()
        {
            streams.end_input();
        }
    }

    /// Moves one read's worth of output to the log and the clients. `false` when there was nothing.
    fn pump(&mut self, key: u64, stream: u8) -> bool {
        let Some(streams) = self.streams.get_mut(&key) else {
            return false;
        };
        let Chunk::Bytes(bytes) = streams.read(stream) else {
            return false;
        };
        if let Some(log) = &mut streams.log {
            log.write(stream, &bytes);
        }
        let mut frame: Option<Rc<[u8]>> = None;
        for connection in self.connections.values_mut() {
            if connection.follows(key, stream) && !connection.broken {
                let frame = frame.get_or_insert_with(|| {
                    let header = output_header(stream, bytes.len());
                    [header.as_slice(), &bytes].concat().into()
                });
                connection.push(frame);
            }
        }
        true
    }

    fn children_ended(&mut self) {
        while process::next_signal(self.signals.as_fd()).is_some() {}
        while let Some(ended) = process::reap_any() {
            self.child_ended(ended);
        }
    }

    /// An orphan of the container that came to the shim is reaped, and that is all.
    pub(crate) fn child_ended(&mut self, ended: Reaped) {
        let found = self
            .processes
            .iter()
            .find(|(_, watched)| watched.pid == ended.pid);
        let Some(key) = found.map(|(key, _)| *key) else {
            return;
        };
        let Some(watched) = self.processes.remove(&key) else {
            return;
        };
        match watched.exec_id {
            None => self.main_ended(ended.code),
            Some(exec_id) => {
                self.close_streams(key);
                self.tell(&Message::ExecExited {
                    exec_id,
                    code: ended.code,
                });
            }
        }
    }

    fn main_ended(&mut self, code: i32) {
        let Some(container) = &mut self.container else {
            return;
        };
        container.kill_rest();
        let exit = Exit {
            code,
            oom_killed: container.was_short_of_memory(),
            exited_at_ns: now_ns(),
        };
        self.close_streams(MAIN);
        if let Some(container) = &mut self.container {
            // On disk before anybody is told. A full disk must not keep the engine from knowing.
            let _ = container.record_exit(exit);
        }
        self.tell(&Message::Exited(exit));
        if let Some(container) = &mut self.container {
            container.let_rootfs_go();
        }
    }

    /// Takes what the process has left in its pipes and lets the clients have it; then they are told the end.
    fn close_streams(&mut self, key: u64) {
        for stream in [1, 2] {
            for _ in 0..DRAIN_ROUNDS {
                if !self.pump(key, stream) {
                    break;
                }
            }
        }
        if let Some(mut streams) = self.streams.remove(&key)
            && let Some(log) = &mut streams.log
        {
            log.finish();
        }
        for connection in self.connections.values_mut() {
            if matches!(connection.purpose, Purpose::Raw { process, .. } if process == key) {
                connection.finishing = true;
            }
        }
    }

    fn tell(&mut self, message: &Message) {
        for connection in self.connections.values_mut() {
            if connection.purpose == Purpose::Control {
                connection.send(message);
            }
        }
    }

    fn let_go(&mut self) {
        self.connections
            .retain(|_, connection| !connection.is_done());
        // With the end on disk and no engine to tell, there is nothing left to do.
        let ended = self.container.as_ref().is_some_and(|c| c.exit.is_some());
        let born = self.container.is_some() || !self.connections.is_empty();
        if !born || (ended && self.connections.is_empty()) {
            if let Some(container) = &mut self.container {
                container.retire();
            }
            self.done = true;
        }
    }

    /// Last replies are small, and their readers wait for them.
    fn drain_connections(&mut self) {
        for connection in self.connections.values_mut() {
            let _ = connection.stream.set_nonblocking(false);
            connection.flush();
        }
    }
}
