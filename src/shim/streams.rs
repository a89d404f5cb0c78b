//! The shim's ends of one process's streams: pipes or a terminal, what waits for its stdin, and where its output goes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::oci::runtime_spec::ConsoleSize;
use crate::runtime::stdio::ProcessStdio;
use crate::shim::log_file::LogFile;
use crate::sys::{fds, pty};

/// A client's stdin is not read further while more than this waits for the process.
const INPUT_MAX_BYTES: usize = 64 << 10;
/// A terminal's end of file (`VEOF`), sent for a client's end of file where that ends stdin.
const OUTPUT_CHUNK_BYTES: usize = 32 << 10;

/// One process's streams, from before its start to its end.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    outputs: Vec<OutputPipe>,
    input: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    /// Stdin ends when nothing waits any more.
    closing: bool,
    /// The master side; it is in `outputs` and `input` as well, as copies.
    terminal: Option<OwnedFd>,
    pub(crate) log: Option<LogFile>,
}

#[derive(Debug)]
pub(crate) struct OutputPipe {
    fd: OwnedFd,
    pub(crate) stream: u8,
}

/// What one read of an output gave.
#[derive(Debug)]
pub(crate) enum Chunk {
    Bytes(Vec<u8>),
    /// Nothing now.
    Empty,
    /// Nothing ever again.
    End,
}

impl Streams {
    pub(crate) fn new(log: Option<LogFile>) -> Self {
        Streams {
            log,
            ..Streams::default()
        }
    }

    /// Makes the pipes of a process without a terminal and gives its ends.
    pub(crate) fn open_pipes(&mut self, with_stdin: bool) -> io::Result<ProcessStdio> {
        let (stdout_reader, stdout) = fds::pipe()?;
        let (stderr_reader, stderr) = fds::pipe()?;
        for (fd, stream) in [(stdout_reader, 1), (stderr_reader, 2)] {
            fds::set_nonblocking(&fd)?;
            self.outputs.push(OutputPipe { fd, stream });
        }
        let stdin = if with_stdin {
            let (stdin, writer) = fds::pipe()?;
            fds::set_nonblocking(&writer)?;
            self.input = Some(writer);
            Some(stdin)
        } else {
            None
        };
        Ok(ProcessStdio::Pipes {
            stdin,
            stdout,
            stderr,
        })
    }

    /// Takes the master side of the terminal that the process has got.
    pub(crate) fn adopt_terminal(&mut self, master: OwnedFd) -> io::Result<()> {
        fds::set_nonblocking(&master)?;
        self.outputs.push(OutputPipe {
            fd: master.try_clone()?,
            stream: 1,
        });
        self.input = Some(master.try_clone()?);
        self.terminal = Some(master);
        Ok(())
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    pub(crate) fn resize(&self, size: ConsoleSize) -> io::Result<()> {
        match &self.terminal {
            Some(terminal) => pty::resize(terminal, size.rows, size.columns),
            None => Err(io::Error::other("the process has no terminal")),
        }
    }

    /// Output descriptors with their stream numbers.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = (BorrowedFd<'_>, u8)> {
        self.outputs
            .iter()
            .map(|output| (output.fd.as_fd(), output.stream))
    }

    pub(crate) fn read(&mut self, stream: u8) -> Chunk {
        let Some(index) = self
            .outputs
            .iter()
            .position(|output| output.stream == stream)
        else {
            return Chunk::End;
        };
        let mut bytes = vec![0; OUTPUT_CHUNK_BYTES];
        match rustix::io::read(&self.outputs[index].fd, &mut bytes) {
            Ok(read) if read > 0 => {
                bytes.truncate(read);
                Chunk::Bytes(bytes)
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Chunk::Empty,
            // A terminal whose other side is closed everywhere answers EIO.
            Ok(_) | Err(_) => {
                self.outputs.remove(index);
                Chunk::End
            }
        }
    }

    /// The descriptor to be watched for room, while something waits.
    pub(crate) fn blocked_input(&self) -> Option<BorrowedFd<'_>> {
        if self.waiting.is_empty() {
            return None;
        }
        self.input.as_ref().map(OwnedFd::as_fd)
    }

    pub(crate) fn takes_input(&self) -> bool {
        self.waiting.len() < INPUT_MAX_BYTES
    }

    /// What comes after the end is dropped, as a closed pipe would.
    pub(crate) fn push_input(&mut self, bytes: &[u8]) {
        if !self.closing {
            self.waiting.extend(bytes);
            self.flush_input();
        }
    }

    /// No more stdin. A terminal gets its end-of-file character instead, as it cannot be half closed.
    pub(crate) fn end_input(&mut self) {
        self.closing = true;
        self.flush_input();
    }

    pub(crate) fn flush_input(&mut self) {
        let Some(input) = &self.input else {
            // Before the start it waits; after stdin was closed it is of no use.
            return;
        };
        while !self.waiting.is_empty() {
            let (bytes, _) = self.waiting.as_slices();
            match rustix::io::write(input, bytes) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => {
                    // The process has closed its end.
                    self.waiting.clear();
                    self.closing = true;
                }
            }
        }
        if self.closing {
            self.input = None;
        }
    }

    /// Where followers' overflow may be kept: beside the log.
    pub(crate) fn overflow_dir(&self) -> Option<PathBuf> {
        self.log.as_ref().map(|log| log.folder().to_owned())
    }
}
