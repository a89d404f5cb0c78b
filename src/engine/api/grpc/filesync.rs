//! Files of a client over its session (fsutil's DiffCopy): the client walks, the engine asks for every file and writes
//! it below a folder of its own. Paths, links and sizes are the client's word and are treated so.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, linkat, mkdirat, mknodat, openat,
    symlinkat, utimensat,
};
use tokio::sync::mpsc;

use crate::engine::api::grpc::proto::{Message, Writer};
use crate::engine::api::grpc::session::Session;
use crate::engine::api::grpc::wire::framed;
use crate::engine::base::{Error, Result};
use crate::sys::rooted::{Root, split_parent, stat_at};

const STAT: u64 = 0;
const REQUEST: u64 = 1;
const DATA: u64 = 2;
const FIN: u64 = 3;
const FAILURE: u64 = 4;
const ENTRIES_MAX: u64 = 2_000_000;
/// Modes of Go's `os.FileMode`.
const GO_DIR: u64 = 1 << 31;
const GO_SYMLINK: u64 = 1 << 27;
const GO_DEVICE: u64 = 1 << 26;
const GO_FIFO: u64 = 1 << 25;
const GO_SOCKET: u64 = 1 << 24;
const GO_SETUID: u64 = 1 << 23;
const GO_SETGID: u64 = 1 << 22;
const GO_CHAR: u64 = 1 << 21;
const GO_STICKY: u64 = 1 << 20;

/// What of a client's directory is wanted.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// `context`, `dockerfile`, or a named context.
    pub(crate) name: &'a str,
    pub(crate) follow: &'a [String],
    pub(crate) exclude: &'a [String],
}

/// Copies a directory of the client into `folder`.
pub(crate) async fn receive(session: &Session, wanted: &Wanted<'_>, folder: &Path) -> Result<()> {
    let mut metadata = HeaderMap::new();
    let mut add = |name: &'static str, value: &str| -> Result<()> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| Error::invalid(format!("{value:?} cannot be asked for")))?;
        metadata.append(HeaderName::from_static(name), value);
        Ok(())
    };
    add("dir-name", wanted.name)?;
    for path in wanted.follow {
        add("followpaths", path)?;
    }
    for pattern in wanted.exclude {
        add("exclude-patterns", pattern)?;
    }
    let (frames, mut messages) = session
        .call("/moby.filesync.v1.FileSync/DiffCopy", metadata)
        .await?;
    let (packets, received) = mpsc::channel::<bytes::Bytes>(64);
    let (answers, mut replies) = mpsc::unbounded_channel::<Vec<u8>>();
    let root = Root::open(folder)?;
    let writer = tokio::task::spawn_blocking(move || Receiver::new(root, answers).run(received));
    let sending = async {
        while let Some(reply) = replies.recv().await {
            if frames.send(framed(&reply)).await.is_err() {
                break;
            }
        }
    };
    let reading = async {
        while let Some(message) = messages.next().await? {
            if packets.send(message).await.is_err() {
                break;
            }
        }
        drop(packets);
        Ok::<(), Error>(())
    };
    let (read, ()) = tokio::join!(reading, sending);
    let written = writer
        .await
        .map_err(|error| Error::system(error.to_string()))?;
    written
        .and(read)
        .map_err(|error| error.context(format!("transfer of {}", wanted.name)))
}

struct Receiver {
    root: Root,
    answers: mpsc::UnboundedSender<Vec<u8>>,
    /// Files asked for, by number.
    expected: HashMap<u64, (Vec<u8>, Entry)>,
    open: HashMap<u64, File>,
    count: u64,
    all_known: bool,
    directories: Vec<(Vec<u8>, Entry)>,
    links: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    mode: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Entry {
    fn permissions(self) -> Mode {
        let mut bits = (self.mode & 0o777) as u32;
        for (go, unix) in [
            (GO_SETUID, 0o4000),
            (GO_SETGID, 0o2000),
            (GO_STICKY, 0o1000),
        ] {
            if self.mode & go != 0 {
                bits |= unix;
            }
        }
        Mode::from_raw_mode(bits)
    }

    fn times(self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.seconds,
            tv_nsec: self.nanoseconds,
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }
}

fn io(error: rustix::io::Errno) -> Error {
    std::io::Error::from(error).into()
}

fn checked(path: &[u8]) -> Result<Vec<u8>> {
    let bad = path.is_empty()
        || path.len() > 4096
        || path.contains(&0)
        || path.split(|b| *b == b'/').any(|part| part == b"..");
    match bad {
        true => Err(Error::invalid(format!(
            "the path {:?} is not allowed",
            String::from_utf8_lossy(path)
        ))),
        false => Ok(path.iter().copied().skip_while(|b| *b == b'/').collect()),
    }
}

impl Receiver {
    fn new(root: Root, answers: mpsc::UnboundedSender<Vec<u8>>) -> Self {
        Receiver {
            root,
            answers,
            expected: HashMap::new(),
            open: HashMap::new(),
            count: 0,
            all_known: false,
            directories: Vec::new(),
            links: Vec::new(),
        }
    }

    fn run(mut self, mut packets: mpsc::Receiver<bytes::Bytes>) -> Result<()> {
        let mut finished = false;
        while let Some(packet) = packets.blocking_recv() {
            let packet = Message::parse(&packet)?;
            match packet.number(1) {
                STAT => match packet.bytes(2) {
                    None => self.all_known = true,
                    Some([]) => self.all_known = true,
                    Some(stat) => self.stat(&Message::parse(stat)?)?,
                },
                DATA => self.data(packet.number(3), packet.bytes(4).unwrap_or_default())?,
                FIN => break,
                FAILURE => return Err(Error::invalid(packet.text(4))),
                _ => {}
            }
            if self.all_known && self.expected.is_empty() && !finished {
                finished = true;
                self.finish()?;
                self.send(Writer::new().number(1, FIN));
            }
        }
        match finished {
            true => Ok(()),
            false => Err(Error::system("the client ended the transfer early")),
        }
    }

    fn send(&self, packet: Writer) {
        // A client that is gone is found out by reading.
        let _ = self.answers.send(packet.done());
    }

    fn stat(&mut self, stat: &Message<'_>) -> Result<()> {
        let number = self.count;
        self.count += 1;
        if self.count > ENTRIES_MAX {
            return Err(Error::invalid("the context has more than 2 million files"));
        }
        let path = checked(stat.bytes(1).unwrap_or_default())?;
        let nanoseconds = stat.number(6).cast_signed();
        let entry = Entry {
            mode: stat.number(2),
            seconds: nanoseconds.div_euclid(1_000_000_000),
            nanoseconds: nanoseconds.rem_euclid(1_000_000_000),
        };
        let link = stat.bytes(7).unwrap_or_default();
        let (parent, name) = split_parent(&path);
        let parent_fd = self.root.ensure_dir(parent, &mut |_, _| Ok(()))?;
        if entry.mode & GO_DIR != 0 {
            if stat_at(parent_fd.as_fd(), name)?.is_none() {
                mkdirat(&parent_fd, name, Mode::from_raw_mode(0o755)).map_err(io)?;
            }
            self.directories.push((path, entry));
        } else if entry.mode & GO_SYMLINK != 0 {
            symlinkat(link, &parent_fd, name).map_err(io)?;
            utimensat(&parent_fd, name, &entry.times(), AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
        } else if entry.mode & (GO_DEVICE | GO_FIFO | GO_SOCKET) != 0 {
            let kind = match entry.mode {
                mode if mode & GO_FIFO != 0 => FileType::Fifo,
                mode if mode & GO_SOCKET != 0 => return Ok(()),
                mode if mode & GO_CHAR != 0 => FileType::CharacterDevice,
                _ => FileType::BlockDevice,
            };
            let device = rustix::fs::makedev(stat.number(8) as u32, stat.number(9) as u32);
            mknodat(&parent_fd, name, kind, entry.permissions(), device).map_err(io)?;
        } else if !link.is_empty() {
            self.links.push((checked(link)?, path));
        } else {
            self.expected.insert(number, (path, entry));
            self.send(Writer::new().number(1, REQUEST).number(3, number));
        }
        Ok(())
    }

    fn file(&mut self, number: u64) -> Result<&mut File> {
        if !self.open.contains_key(&number) {
            let (path, _) = self
                .expected
                .get(&number)
                .ok_or_else(|| Error::invalid("the client sent a file that was not asked for"))?;
            let (parent, name) = split_parent(path);
            let parent = self.root.open_dir(parent)?;
            let flags =
                OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(&parent, name, flags, Mode::from_raw_mode(0o600)).map_err(io)?;
            self.open.insert(number, File::from(fd));
        }
        self.open
            .get_mut(&number)
            .ok_or_else(|| Error::system("a file of the context was lost"))
    }

    fn data(&mut self, number: u64, data: &[u8]) -> Result<()> {
        let file = self.file(number)?;
        if !data.is_empty() {
            crate::engine::images::unpack::check_space(file.as_fd(), data.len() as u64)?;
            return Ok(file.write_all(data)?);
        }
        let file = self.open.remove(&number);
        if let (Some(file), Some((_, entry))) = (file, self.expected.remove(&number)) {
            rustix::fs::fchmod(&file, entry.permissions()).map_err(io)?;
            rustix::fs::futimens(&file, &entry.times()).map_err(io)?;
        }
        Ok(())
    }

    /// Hard links, and the modes and times of directories, when all files are there.
    fn finish(&mut self) -> Result<()> {
        for (first, second) in std::mem::take(&mut self.links) {
            let (from_parent, from_name) = split_parent(&first);
            let (to_parent, to_name) = split_parent(&second);
            let from = self.root.open_dir(from_parent)?;
            let to = self.root.open_dir(to_parent)?;
            linkat(&from, from_name, &to, to_name, AtFlags::empty()).map_err(io)?;
        }
        for (path, entry) in std::mem::take(&mut self.directories).into_iter().rev() {
            let fd = self.root.open_dir(&path)?;
            rustix::fs::fchmod(&fd, entry.permissions()).map_err(io)?;
            rustix::fs::futimens(&fd, &entry.times()).map_err(io)?;
        }
        Ok(())
    }
}
