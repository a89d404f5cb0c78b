//! What waits to be written to a connection: in memory up to a bound, beyond it in a file without a name. So a client that
//! does not read loses nothing, and holds nobody up.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;

/// Kept in memory before the file is begun.
const MEMORY_MAX_BYTES: usize = 1 << 20;
/// More than this behind, the client is cut off.
const FILE_MAX_BYTES: u64 = 1 << 30;
const CHUNK_BYTES: usize = 64 << 10;

/// A queue of bytes for one connection.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    memory: VecDeque<Rc<[u8]>>,
    memory_bytes: usize,
    /// Of the first piece, what is written already.
    written: usize,
    overflow: Option<Overflow>,
    /// `None`: the caller sees to it that it does not grow beyond memory.
    overflow_dir: Option<PathBuf>,
}

#[derive(Debug)]
struct Overflow {
    file: File,
    start: u64,
    end: u64,
}

impl Backlog {
    pub(crate) fn with_overflow(folder: Option<PathBuf>) -> Self {
        Backlog {
            overflow_dir: folder,
            ..Backlog::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.overflow.is_none()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// An error means that the client is too far behind, or that its bytes cannot be kept.
    pub(crate) fn push(&mut self, bytes: &Rc<[u8]>) -> io::Result<()> {
        let room = self.memory_bytes < MEMORY_MAX_BYTES;
        let folder = match &self.overflow_dir {
            Some(folder) if self.overflow.is_some() || !room => folder,
            _ => {
                self.memory_bytes += bytes.len();
                self.memory.push_back(Rc::clone(bytes));
                return Ok(());
            }
        };
        let overflow = match &mut self.overflow {
            Some(overflow) => overflow,
            None => self.overflow.insert(Overflow {
                file: tempfile::tempfile_in(folder)?,
                start: 0,
                end: 0,
            }),
        };
        if overflow.end - overflow.start > FILE_MAX_BYTES {
            return Err(io::Error::other("too far behind"));
        }
        overflow.file.write_all_at(bytes, overflow.end)?;
        overflow.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes what the connection takes now.
    pub(crate) fn flush(&mut self, mut stream: &UnixStream) -> io::Result<()> {
        loop {
            if self.memory.is_empty() && !self.refill()? {
                return Ok(());
            }
            let Some(first) = self.memory.front() else {
                return Ok(());
            };
            match stream.write(&first[self.written..]) {
                Ok(written) => {
                    self.written += written;
                    if self.written == first.len() {
                        self.memory_bytes -= first.len();
                        self.written = 0;
                        self.memory.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// `false` when nothing is left anywhere.
    fn refill(&mut self) -> io::Result<bool> {
        let Some(overflow) = &mut self.overflow else {
            return Ok(false);
        };
        let mut chunk = vec![0; CHUNK_BYTES];
        let wanted = usize::try_from(overflow.end - overflow.start)
            .map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let read = overflow
            .file
            .read_at(&mut chunk[..wanted], overflow.start)?;
        if read == 0 {
            self.overflow = None;
            return Ok(false);
        }
        chunk.truncate(read);
        overflow.start += read as u64;
        if overflow.start == overflow.end {
            self.overflow = None;
        }
        self.memory_bytes += read;
        self.memory.push_back(chunk.into());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_slow_reader_gets_everything_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut backlog = Backlog::with_overflow(Some(folder.path().to_owned()));
        let mut sent = Vec::new();
        for number in 0..100u8 {
            let piece: Rc<[u8]> = vec![number; 50_000].into();
            backlog.push(&piece).unwrap();
            sent.extend_from_slice(&piece);
        }
        assert!(backlog.memory_bytes() < MEMORY_MAX_BYTES + 50_000);
        let mut received = Vec::new();
        while !backlog.is_empty() {
            backlog.flush(&ours).unwrap();
            let mut chunk = vec![0; 1 << 20];
            while let Ok(read) = theirs.read(&mut chunk) {
                received.extend_from_slice(&chunk[..read]);
            }
        }
        assert!(sent == received);
    }
}
