//! `logs`: what a container wrote, from its json-file log, and what it goes on writing. A follower sleeps on
//! inotify and on the container's view; it reads across rotations and ends with the run.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use crate::engine::base::{Error, Result};
use crate::engine::containers::log_file::{Entry, LineReader, entry_nanos, files, tail_offset};
use crate::engine::containers::record::log_path;
use crate::engine::containers::view::View;
use crate::engine::containers::{Container, Containers};

/// Bytes collected before they are handed to the client.
const BATCH_BYTES: usize = 64 << 10;
/// Batches in flight; a slow client holds the reader back, not the container.
const BATCHES: usize = 4;

/// Which lines, and how they look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogsOptions {
    pub(crate) follow: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) timestamps: bool,
    pub(crate) details: bool,
    /// `None`: all.
    pub(crate) tail: Option<u64>,
    /// Nanoseconds since the epoch.
    pub(crate) since: Option<i64>,
    pub(crate) until: Option<i64>,
    /// In stdcopy frames, as containers without a tty have them.
    pub(crate) framed: bool,
}

impl Containers {
    /// The log as chunks of bytes.
    pub(crate) fn logs(
        &self,
        container: &Container,
        options: LogsOptions,
    ) -> Result<mpsc::Receiver<io::Result<Bytes>>> {
        let view = container.view();
        if view.record.host.log_config.kind == "none" {
            return Err(Error::not_implemented(
                "configured logging driver does not support reading",
            ));
        }
        let (chunks_tx, chunks_rx) = mpsc::channel(BATCHES);
        let follower = Follower {
            path: log_path(&self.deps.paths, view.id()),
            options,
            chunks_tx,
            batch: BytesMut::new(),
            first_exits: view.exits,
            view: container.watch(),
        };
        let entered = options.follow.then(|| container.followers.enter());
        tokio::spawn(async move {
            follower.run().await;
            drop(entered);
        });
        Ok(chunks_rx)
    }
}

/// The client is gone, or the log has ended.
struct Ended;

struct Follower {
    path: PathBuf,
    options: LogsOptions,
    chunks_tx: mpsc::Sender<io::Result<Bytes>>,
    batch: BytesMut,
    first_exits: u64,
    view: watch::Receiver<Arc<View>>,
}

impl Follower {
    async fn run(mut self) {
        // Watch before reading: what comes in between wakes us.
        let watcher = if self.options.follow {
            self.path
                .parent()
                .and_then(|folder| DirectoryWatch::new(folder).ok())
        } else {
            None
        };
        let reader = match self.read_present().await {
            Ok(reader) => reader,
            Err(Ended) => return,
        };
        if self.flush().await.is_err() {
            return;
        }
        if let Some(watcher) = watcher {
            // Both ways of ending mean the same to the client.
            let _ = self.follow(reader, watcher).await;
            let _ = self.flush().await;
        }
    }

    /// Everything there is now; the reader of the newest file, at its end.
    async fn read_present(&mut self) -> Result<Option<LineReader>, Ended> {
        let mut opened: Vec<File> = files(&self.path)
            .iter()
            .filter_map(|path| File::open(path).ok())
            .collect();
        if let Some(count) = self.options.tail {
            let mut missing = count;
            let mut first = opened.len();
            for (index, file) in opened.iter_mut().enumerate().rev() {
                first = index;
                let (offset, found) = match missing {
                    0 => (file.seek(SeekFrom::End(0)).unwrap_or(0), 0),
                    _ => tail_offset(file, missing).map_err(|_| Ended)?,
                };
                file.seek(SeekFrom::Start(offset)).map_err(|_| Ended)?;
                missing = missing.saturating_sub(found);
                if missing == 0 {
                    break;
                }
            }
            opened.drain(..first);
        }
        let mut last = None;
        for file in opened {
            let mut reader = LineReader::new(file);
            self.read_to_end(&mut reader).await?;
            last = Some(reader);
        }
        Ok(last)
    }

    async fn read_to_end(&mut self, reader: &mut LineReader) -> Result<(), Ended> {
        while reader.fill().map_err(|_| Ended)? {
            while let Some(line) = reader.next_line() {
                if !push_line(&mut self.batch, line, &self.options) {
                    return Err(Ended);
                }
            }
            if self.batch.len() >= BATCH_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let bytes = self.batch.split().freeze();
        self.chunks_tx.send(Ok(bytes)).await.map_err(|_| Ended)
    }

    async fn follow(
        &mut self,
        mut reader: Option<LineReader>,
        mut watcher: DirectoryWatch,
    ) -> Result<(), Ended> {
        loop {
            // Looked at before reading: what was written before the end is read after it.
            let over = {
                let view = self.view.borrow_and_update();
                view.removed
                    || view.exits != self.first_exits
                    || !view.run.state.counts_as_running()
            };
            if let Some(reader) = &mut reader {
                self.read_to_end(reader).await?;
            }
            while let Some(newer) = self.rotated(reader.as_ref()) {
                let mut newer = LineReader::new(newer);
                self.read_to_end(&mut newer).await?;
                reader = Some(newer);
            }
            self.flush().await?;
            if over {
                return Err(Ended);
            }
            let chunks_tx = self.chunks_tx.clone();
            tokio::select! {
                changed = watcher.changed() => changed.map_err(|_| Ended)?,
                changed = self.view.changed() => changed.map_err(|_| Ended)?,
                () = chunks_tx.closed() => return Err(Ended),
            }
        }
    }

    /// The file at the path, when it is not the one being read.
    fn rotated(&self, reader: Option<&LineReader>) -> Option<File> {
        let present = std::fs::metadata(&self.path).ok()?;
        let same = reader
            .and_then(|reader| reader.metadata().ok())
            .is_some_and(|reading| reading.ino() == present.ino());
        if same {
            return None;
        }
        File::open(&self.path).ok()
    }
}

/// Adds one line of the file to the batch. False when `until` has passed.
fn push_line(batch: &mut BytesMut, line: &[u8], options: &LogsOptions) -> bool {
    // A line that a crash cut short is skipped.
    let Ok(entry) = serde_json::from_slice::<Entry>(line) else {
        return true;
    };
    let is_stderr = entry.stream == "stderr";
    if (is_stderr && !options.stderr) || (!is_stderr && !options.stdout) {
        return true;
    }
    if options.since.is_some() || options.until.is_some() {
        let Some(nanos) = entry_nanos(&entry.time) else {
            return true;
        };
        if options.since.is_some_and(|since| nanos < since) {
            return true;
        }
        if options.until.is_some_and(|until| nanos > until) {
            return false;
        }
    }
    let mut prefix = String::new();
    if options.timestamps {
        prefix.push_str(&padded_time(&entry.time));
        prefix.push(' ');
    }
    if options.details {
        let pairs: Vec<String> = entry
            .attrs
            .iter()
            .map(|(key, value)| format!("{}={}", escape(key), escape(value)))
            .collect();
        prefix.push_str(&pairs.join(","));
        prefix.push(' ');
    }
    if options.framed {
        let length = prefix.len() + entry.log.len();
        batch.put_u8(if is_stderr { 2 } else { 1 });
        batch.put_bytes(0, 3);
        batch.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    }
    batch.extend_from_slice(prefix.as_bytes());
    batch.extend_from_slice(entry.log.as_bytes());
    true
}

/// Nine decimals always, so that columns line up.
fn padded_time(time: &str) -> String {
    let Some(bare) = time.strip_suffix('Z') else {
        return time.to_owned();
    };
    match bare.split_once('.') {
        Some((seconds, fraction)) => format!("{seconds}.{fraction:0<9}Z"),
        None => format!("{bare}.000000000Z"),
    }
}

/// Percent-encoding of what would break `k=v,k=v`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Told of every write and rename in a directory.
struct DirectoryWatch {
    inotify: AsyncFd<OwnedFd>,
}

impl DirectoryWatch {
    #[expect(
        deprecated,
        reason = "the descriptor is owned and never swapped, which is what its successor wants promised unsafely"
    )]
    fn new(folder: &Path) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let descriptor = inotify::init(flags)?;
        inotify::add_watch(
            &descriptor,
            folder,
            inotify::WatchFlags::MODIFY
                | inotify::WatchFlags::CREATE
                | inotify::WatchFlags::MOVED_TO
                | inotify::WatchFlags::DELETE_SELF,
        )?;
        Ok(DirectoryWatch {
            inotify: AsyncFd::new(descriptor)?,
        })
    }

    /// Waits for something to happen; what exactly does not matter.
    async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let mut buffer = [0; 4096];
            let read =
                ready.try_io(|descriptor| Ok(rustix::io::read(descriptor, &mut buffer[..])?));
            match read {
                Ok(result) => return result.map(drop),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> LogsOptions {
        LogsOptions {
            follow: false,
            stdout: true,
            stderr: true,
            timestamps: false,
            details: false,
            tail: None,
            since: None,
            until: None,
            framed: false,
        }
    }

    #[test]
    fn lines_are_selected_and_formatted() {
        let line = br#"{"log":"hi\n","stream":"stderr","time":"2026-01-02T03:04:05.12Z","attrs":{"a":"b c"}}"#;
        let mut batch = BytesMut::new();
        let with = LogsOptions {
            timestamps: true,
            details: true,
            framed: true,
            ..options()
        };
        assert!(push_line(&mut batch, line, &with));
        assert_eq!(batch[0], 2);
        assert_eq!(&batch[8..], b"2026-01-02T03:04:05.120000000Z a=b%20c hi\n");
        batch.clear();
        let without = LogsOptions {
            stderr: false,
            ..options()
        };
        assert!(push_line(&mut batch, line, &without) && batch.is_empty());
        assert!(push_line(&mut batch, b"{\"log\":\"cut", &options()) && batch.is_empty());
        let until = LogsOptions {
            until: Some(1),
            ..options()
        };
        assert!(!push_line(&mut batch, line, &until));
    }
}
