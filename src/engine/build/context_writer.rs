//! A context that comes file by file instead of as a tar: written below a folder that nothing of it can leave. Paths,
//! links, modes and sizes are a client's word and are treated so. It knows no protocol.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, linkat, mkdirat, mknodat, openat,
    symlinkat, utimensat,
};

use crate::engine::base::{Error, Result};
use crate::engine::images::unpack::check_space;
use crate::sys::rooted::{Root, split_parent, stat_at};

const ENTRIES_MAX: u64 = 2_000_000;
const PATH_MAX_BYTES: usize = 4096;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    Symlink,
    Fifo,
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
}

/// A file, a directory or a link of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContextEntry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    /// Target of a link; of a file with several names, an earlier name.
    pub(crate) link: Vec<u8>,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    /// Nanoseconds since the epoch.
    pub(crate) modified: i64,
}

/// The folder being filled. Files are known by the numbers of their entries, from 0.
pub(crate) struct ContextWriter {
    root: Root,
    /// Files whose content is not there yet.
    expected: HashMap<u64, ContextEntry>,
    open: HashMap<u64, File>,
    count: u64,
    directories: Vec<ContextEntry>,
    links: Vec<(Vec<u8>, Vec<u8>)>,
}

fn io(error: rustix::io::Errno) -> Error {
    std::io::Error::from(error).into()
}

fn checked(path: &[u8]) -> Result<Vec<u8>> {
    let bad = path.is_empty()
        || path.len() > PATH_MAX_BYTES
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

fn times(entry: &ContextEntry) -> Timestamps {
    let time = Timespec {
        tv_sec: entry.modified.div_euclid(1_000_000_000),
        tv_nsec: entry.modified.rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

impl ContextWriter {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        Ok(ContextWriter {
            root: Root::open(folder)?,
            expected: HashMap::new(),
            open: HashMap::new(),
            count: 0,
            directories: Vec::new(),
            links: Vec::new(),
        })
    }

    /// Whether all files that were announced are there.
    pub(crate) fn is_complete(&self) -> bool {
        self.expected.is_empty()
    }

    /// Takes the next entry; the number of a file whose content is wanted.
    pub(crate) fn entry(&mut self, mut entry: ContextEntry) -> Result<Option<u64>> {
        let number = self.count;
        self.count += 1;
        if self.count > ENTRIES_MAX {
            return Err(Error::invalid("the context has more than 2 million files"));
        }
        entry.path = checked(&entry.path)?;
        let (parent, name) = split_parent(&entry.path);
        let parent = self.root.ensure_dir(parent, &mut |_, _| Ok(()))?;
        let mode = Mode::from_raw_mode(entry.mode);
        let node = |kind, major, minor| {
            let device = rustix::fs::makedev(major, minor);
            mknodat(&parent, name, kind, mode, device).map_err(io)
        };
        match entry.kind {
            EntryKind::Directory => {
                if stat_at(parent.as_fd(), name)?.is_none() {
                    mkdirat(&parent, name, Mode::from_raw_mode(0o755)).map_err(io)?;
                }
                self.directories.push(entry);
            }
            EntryKind::Symlink => {
                symlinkat(entry.link.as_slice(), &parent, name).map_err(io)?;
                utimensat(&parent, name, &times(&entry), AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
            }
            EntryKind::Fifo => node(FileType::Fifo, 0, 0)?,
            EntryKind::CharDevice { major, minor } => {
                node(FileType::CharacterDevice, major, minor)?
            }
            EntryKind::BlockDevice { major, minor } => node(FileType::BlockDevice, major, minor)?,
            EntryKind::File if !entry.link.is_empty() => {
                self.links.push((checked(&entry.link)?, entry.path));
            }
            EntryKind::File => {
                self.expected.insert(number, entry);
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// An entry of a kind that has no place here; it only counts.
    pub(crate) fn skip(&mut self) {
        self.count += 1;
    }

    fn file(&mut self, number: u64) -> Result<&mut File> {
        if !self.open.contains_key(&number) {
            let entry = self
                .expected
                .get(&number)
                .ok_or_else(|| Error::invalid("the client sent a file that was not asked for"))?;
            let (parent, name) = split_parent(&entry.path);
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

    /// The next piece of a file; an empty one ends it.
    pub(crate) fn data(&mut self, number: u64, data: &[u8]) -> Result<()> {
        let file = self.file(number)?;
        if !data.is_empty() {
            check_space(file.as_fd(), data.len() as u64)?;
            return Ok(file.write_all(data)?);
        }
        let file = self.open.remove(&number);
        if let (Some(file), Some(entry)) = (file, self.expected.remove(&number)) {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(io)?;
            rustix::fs::futimens(&file, &times(&entry)).map_err(io)?;
        }
        Ok(())
    }

    /// Hard links, and the modes and times of directories, when all files are there.
    pub(crate) fn finish(&mut self) -> Result<()> {
        for (first, second) in std::mem::take(&mut self.links) {
            let (from_parent, from_name) = split_parent(&first);
            let (to_parent, to_name) = split_parent(&second);
            let from = self.root.open_dir(from_parent)?;
            let to = self.root.open_dir(to_parent)?;
            linkat(&from, from_name, &to, to_name, AtFlags::empty()).map_err(io)?;
        }
        for entry in std::mem::take(&mut self.directories).into_iter().rev() {
            let fd = self.root.open_dir(&entry.path)?;
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(entry.mode)).map_err(io)?;
            rustix::fs::futimens(&fd, &times(&entry)).map_err(io)?;
        }
        Ok(())
    }
}
