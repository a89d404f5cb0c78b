//! One connection to a shim: what is read from it and what waits to be written to it.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use serde::Serialize;

use crate::shim::backlog::Backlog;
use crate::shim::protocol::{AttachRequest, Call, Message, Reply, decode, encode};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The first frame decides.
    New,
    /// Calls in, replies and events out.
    Control,
    /// Attached to the process with this key.
    Raw { process: u64, wants: AttachRequest },
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    pub(crate) purpose: Purpose,
    received: Vec<u8>,
    pub(crate) backlog: Backlog,
    /// To be closed once everything is written.
    pub(crate) finishing: bool,
    /// The client has ended what it sends.
    pub(crate) ended: bool,
    /// Of no use any more.
    pub(crate) broken: bool,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Received {
    Bytes(Vec<u8>),
    Nothing,
    End,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            purpose: Purpose::New,
            received: Vec::new(),
            backlog: Backlog::default(),
            finishing: false,
            ended: false,
            broken: false,
        })
    }

    pub(crate) fn read(&mut self) -> Received {
        let mut bytes = vec![0; 16 << 10];
        match (&self.stream).read(&mut bytes) {
            Ok(0) => Received::End,
            Ok(read) => {
                bytes.truncate(read);
                Received::Bytes(bytes)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Received::Nothing
            }
            Err(_) => Received::End,
        }
    }

    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// The next whole call of what was kept.
    pub(crate) fn next_call(&mut self) -> Option<Call> {
        match decode(&mut self.received) {
            Ok(call) => call,
            Err(_) => {
                self.broken = true;
                None
            }
        }
    }

    /// What was kept beyond the first frame: already stdin.
    pub(crate) fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    pub(crate) fn reply(&mut self, id: u64, reply: Reply) {
        self.send(&Message::Reply { id, reply });
    }

    pub(crate) fn send<T: Serialize>(&mut self, message: &T) {
        self.push(&encode(message).into());
    }

    pub(crate) fn push(&mut self, bytes: &Rc<[u8]>) {
        if self.backlog.push(bytes).is_err() {
            self.broken = true;
            return;
        }
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        if self.backlog.flush(&self.stream).is_err() {
            self.broken = true;
        }
    }

    /// Whether it can be let go.
    pub(crate) fn is_done(&self) -> bool {
        self.broken || (self.finishing && self.backlog.is_empty())
    }

    pub(crate) fn follows(&self, key: u64, stream: u8) -> bool {
        match self.purpose {
            Purpose::Raw { process, wants } => {
                process == key
                    && if stream == 2 {
                        wants.stderr
                    } else {
                        wants.stdout
                    }
            }
            Purpose::New | Purpose::Control => false,
        }
    }
}
