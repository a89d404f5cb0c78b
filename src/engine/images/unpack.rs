//! Unpacks a tar below a directory: a layer (whiteouts become overlayfs marks) or a plain archive. Every step is
//! relative to a descriptor, nothing in the archive can reach outside, and what steers overlayfs is dropped.
//! It checks no digest and cleans nothing up: the caller throws the directory away on an error.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown,
    linkat, makedev, mkdirat, mknodat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use crate::engine::images::tar_reader::{Entry, Kind, TarReader};
use crate::sys::rooted::{self, Root, is_kept_xattr, shown, split_parent, stat_at};

const ENTRIES_MAX: u64 = 4_000_000;
const DEPTH_MAX: usize = 256;
const NAME_MAX_BYTES: usize = 255;
const COPY_BUFFER_BYTES: usize = 256 << 10;
/// Free space is looked at again after so much was written.
const SPACE_CHECK_BYTES: u64 = 32 << 20;
/// Never fill the disk to its last block: at most this much stays free, less on a small one.
const SPACE_RESERVE_BYTES: u64 = 32 << 20;
const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARK: &[u8] = b".wh..wh..opq";
/// aufs wrote its bookkeeping into layers under such names.
const METADATA_PREFIX: &[u8] = b".wh..wh.";
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// What names that start with `.wh.` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whiteouts {
    /// Deletions in the layers below.
    Overlay,
    /// Ordinary names.
    Literal,
}

/// Where and how to unpack.
pub(crate) struct Unpack<'a> {
    pub(crate) root: &'a Root,
    pub(crate) whiteouts: Whiteouts,
    /// The layers below, top first: they lend the attributes of directories that the archive leaves out, and
    /// the targets of hard links.
    pub(crate) lowers: &'a [Root],
    /// Everything gets this owner (`--chown`).
    pub(crate) owner: Option<(u32, u32)>,
    /// A directory and something else never replace each other: that is an error.
    pub(crate) keep_directories: bool,
    pub(crate) cancel: &'a CancellationToken,
}

/// What came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Bytes in files.
    pub(crate) bytes: u64,
    /// An entry replaced an earlier one: the tree is not enough to make the archive again.
    pub(crate) replaced: bool,
}

struct Unpacker<'a, R> {
    reader: &'a mut TarReader<R>,
    options: &'a Unpack<'a>,
    unpacked: Unpacked,
    /// The directory of the last entry, which is mostly that of the next.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Set at the end: making entries changes their directory's time.
    directory_times: Vec<(Vec<u8>, Timestamps)>,
    unchecked_bytes: u64,
    buffer: Vec<u8>,
}

/// Unpacks all entries of `reader`.
pub(crate) fn unpack<R: Read>(
    reader: &mut TarReader<R>,
    options: &Unpack<'_>,
) -> io::Result<Unpacked> {
    let mut unpacker = Unpacker {
        reader,
        options,
        unpacked: Unpacked::default(),
        parent: None,
        directory_times: Vec::new(),
        unchecked_bytes: 0,
        buffer: vec![0; COPY_BUFFER_BYTES],
    };
    check_space(options.root.as_fd(), 0)?;
    let mut count = 0;
    while let Some(entry) = unpacker.reader.next_entry()? {
        count += 1;
        if count > ENTRIES_MAX {
            return Err(invalid("the archive has more than 4 million entries"));
        }
        if options.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        unpacker.entry(&entry).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", shown(&entry.path)))
        })?;
    }
    unpacker.set_directory_times()?;
    Ok(unpacker.unpacked)
}

fn invalid(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// `./a//b/` → `a/b`; empty is the root. Nothing with `..` passes.
fn clean(path: &[u8]) -> io::Result<Vec<u8>> {
    let mut cleaned = Vec::with_capacity(path.len());
    let mut depth = 0;
    for component in path.split(|b| *b == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(invalid("a name with .. leaves the archive")),
            _ => {}
        }
        if component.len() > NAME_MAX_BYTES {
            return Err(invalid("a name is longer than 255 bytes"));
        }
        depth += 1;
        if depth > DEPTH_MAX {
            return Err(invalid("directories are nested deeper than 256 levels"));
        }
        if !cleaned.is_empty() {
            cleaned.push(b'/');
        }
        cleaned.extend_from_slice(component);
    }
    Ok(cleaned)
}

/// Fails early when `wanted` bytes would fill the file system.
pub(crate) fn check_space(fd: BorrowedFd<'_>, wanted: u64) -> io::Result<()> {
    let stat = rustix::fs::fstatvfs(fd)?;
    let reserve = SPACE_RESERVE_BYTES.min(stat.f_blocks.saturating_mul(stat.f_frsize) / 50);
    let available = stat.f_bavail.saturating_mul(stat.f_frsize);
    if available < wanted.saturating_add(reserve) {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("no space left on device: {wanted} bytes are needed, {available} are free"),
        ));
    }
    Ok(())
}

impl<R: Read> Unpacker<'_, R> {
    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let path = clean(&entry.path)?;
        if path.is_empty() {
            return match entry.kind {
                Kind::Directory => {
                    let fd = self.options.root.open_dir(b".")?;
                    self.directory_attributes(fd.as_fd(), path, entry)
                }
                _ => Err(invalid("the root is not a directory")),
            };
        }
        let (parent_path, name) = split_parent(&path);
        let parent = self.parent_fd(parent_path)?;
        if self.options.whiteouts == Whiteouts::Overlay && name.starts_with(WHITEOUT_PREFIX) {
            return self.whiteout(&parent, name);
        }
        if entry.kind == Kind::Directory {
            return self.directory(&parent, name, path.clone(), entry);
        }
        if entry.kind == Kind::HardLink && clean(&entry.link)? == path {
            return Ok(());
        }
        self.check_kept(&parent, name, false)?;
        self.clear(&parent, name)?;
        match entry.kind {
            Kind::File => self.file(&parent, name, &path, entry),
            Kind::HardLink => self.hard_link(&parent, name, entry),
            _ => self.special(&parent, name, entry),
        }
    }

    /// The directory an entry goes to, made when the archive leaves it out.
    fn parent_fd(&mut self, path: &[u8]) -> io::Result<OwnedFd> {
        if let Some((cached, fd)) = &self.parent
            && cached == path
        {
            return fd.try_clone();
        }
        let lowers = self.options.lowers;
        let owner = self.options.owner;
        let fd = self.options.root.ensure_dir(path, &mut |path, fd| {
            inherit(lowers, path, fd)?;
            match owner {
                Some((uid, gid)) => own(fd, uid, gid),
                None => Ok(()),
            }
        })?;
        self.parent = Some((path.to_vec(), fd.try_clone()?));
        Ok(fd)
    }

    /// Refuses to put a directory in the place of something else, or the other way round, when asked to.
    fn check_kept(&self, parent: &OwnedFd, name: &[u8], is_directory: bool) -> io::Result<()> {
        if !self.options.keep_directories {
            return Ok(());
        }
        let Some(stat) = stat_at(parent.as_fd(), name)? else {
            return Ok(());
        };
        let was_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        match (was_directory, is_directory) {
            (true, false) => Err(invalid("cannot overwrite directory with non-directory")),
            (false, true) => Err(invalid("cannot overwrite non-directory with directory")),
            _ => Ok(()),
        }
    }

    /// Makes room for an entry at `name`.
    fn clear(&mut self, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        if stat_at(parent.as_fd(), name)?.is_some() {
            self.unpacked.replaced = true;
            self.parent = None;
            rooted::remove_at(parent.as_fd(), name)?;
        }
        Ok(())
    }

    fn whiteout(&mut self, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        if name == OPAQUE_MARK {
            rustix::fs::fsetxattr(parent, OPAQUE_XATTR, b"y", XattrFlags::empty())?;
            return Ok(());
        }
        if name.starts_with(METADATA_PREFIX) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT_PREFIX.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(invalid("a whiteout names no file"));
        }
        self.clear(parent, hidden)?;
        let mode = Mode::empty();
        Ok(mknodat(parent, hidden, FileType::CharacterDevice, mode, 0)?)
    }

    fn directory(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: Vec<u8>,
        entry: &Entry,
    ) -> io::Result<()> {
        let existing = stat_at(parent.as_fd(), name)?;
        let is_directory = existing
            .is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if !is_directory {
            self.check_kept(parent, name, true)?;
            self.clear(parent, name)?;
            mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
        }
        let fd = rooted::open_dir_at(parent.as_fd(), name)?;
        self.directory_attributes(fd.as_fd(), path, entry)
    }

    fn directory_attributes(
        &mut self,
        fd: BorrowedFd<'_>,
        path: Vec<u8>,
        entry: &Entry,
    ) -> io::Result<()> {
        self.attributes(fd, entry)?;
        self.directory_times.push((path, times(entry)));
        Ok(())
    }

    fn attributes(&self, fd: BorrowedFd<'_>, entry: &Entry) -> io::Result<()> {
        let (uid, gid) = self.options.owner.unwrap_or((entry.uid, entry.gid));
        own(fd, uid, gid)?;
        fchmod(fd, Mode::from_raw_mode(entry.mode))?;
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_kept_xattr(name)) {
            match rustix::fs::fsetxattr(fd, name.as_str(), value, XattrFlags::empty()) {
                Ok(()) => {}
                // The file system has no such attributes: nothing to keep them in.
                Err(Errno::NOTSUP) => tracing::debug!(attribute = name, "attribute dropped"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
    ) -> io::Result<()> {
        self.unchecked_bytes += entry.size;
        if self.unchecked_bytes >= SPACE_CHECK_BYTES {
            check_space(self.options.root.as_fd(), entry.size)?;
            self.unchecked_bytes = 0;
        }
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, Mode::from_raw_mode(0o600))?);
        self.reader.content_is_in_tree(path)?;
        let mut written = 0u64;
        let mut last_check = 0u64;
        loop {
            let n = self.reader.read(&mut self.buffer)?;
            if n == 0 {
                break;
            }
            file.write_all(&self.buffer[..n])?;
            written += n as u64;
            if written - last_check >= SPACE_CHECK_BYTES {
                last_check = written;
                check_space(self.options.root.as_fd(), 0)?;
                if self.options.cancel.is_cancelled() {
                    return Err(io::Error::other("cancelled"));
                }
            }
        }
        self.unpacked.bytes += written;
        self.attributes(file.as_fd(), entry)?;
        Ok(rustix::fs::futimens(&file, &times(entry))?)
    }

    fn hard_link(&mut self, parent: &OwnedFd, name: &[u8], entry: &Entry) -> io::Result<()> {
        let target = clean(&entry.link)?;
        if target.is_empty() {
            return Err(invalid("a hard link has no target"));
        }
        let (target_parent, target_name) = split_parent(&target);
        let linked = match self.options.root.open_dir(target_parent) {
            Ok(from) => match linkat(&from, target_name, parent, name, AtFlags::empty()) {
                Ok(()) => true,
                Err(Errno::NOENT) => false,
                Err(error) => return Err(error.into()),
            },
            Err(error) if rooted::is_absent(&error) => false,
            Err(error) => return Err(error),
        };
        if linked {
            return Ok(());
        }
        self.copy_from_below(parent, name, &target)
    }

    /// A hard link to a file of a layer below: overlayfs has no such thing, so the file is copied.
    fn copy_from_below(&mut self, parent: &OwnedFd, name: &[u8], target: &[u8]) -> io::Result<()> {
        for lower in self.options.lowers {
            let Some(stat) = lower.stat(target)? else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                break;
            }
            let mut from = lower.open_file(target)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let mut to = File::from(openat(parent, name, flags, Mode::from_raw_mode(0o600))?);
            check_space(self.options.root.as_fd(), from.metadata()?.len())?;
            self.unpacked.bytes += io::copy(&mut from, &mut to)?;
            return rooted::copy_attributes(from.as_fd(), to.as_fd());
        }
        Err(invalid(format_args!(
            "the hard link's target {} does not exist",
            shown(target)
        )))
    }

    /// Links, devices and FIFOs: what is changed by name, in a directory only we write to.
    fn special(&mut self, parent: &OwnedFd, name: &[u8], entry: &Entry) -> io::Result<()> {
        let mode = Mode::from_raw_mode(entry.mode);
        if entry.kind == Kind::Symlink {
            if entry.link.is_empty() {
                return Err(invalid("a link has no target"));
            }
            symlinkat(entry.link.as_slice(), parent, name)?;
        } else {
            let (kind, device) = match entry.kind {
                Kind::CharDevice => (
                    FileType::CharacterDevice,
                    makedev(entry.device_major, entry.device_minor),
                ),
                Kind::BlockDevice => (
                    FileType::BlockDevice,
                    makedev(entry.device_major, entry.device_minor),
                ),
                _ => (FileType::Fifo, 0),
            };
            mknodat(parent, name, kind, mode, device)?;
            // mknod heeds the umask.
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
        }
        let (uid, gid) = self.options.owner.unwrap_or((entry.uid, entry.gid));
        rustix::fs::chownat(
            parent,
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        if entry.kind != Kind::Symlink {
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
        }
        Ok(utimensat(
            parent,
            name,
            &times(entry),
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    fn set_directory_times(&mut self) -> io::Result<()> {
        for (path, times) in self.directory_times.drain(..).rev() {
            let Some(stat) = self.options.root.stat(&path)? else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let fd = self.options.root.open_dir(&path)?;
                rustix::fs::futimens(&fd, &times)?;
            }
        }
        Ok(())
    }
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec {
        tv_sec: entry.mtime_seconds,
        tv_nsec: i64::from(entry.mtime_nanoseconds),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Sets the owner; skipped when it is right, which is most of the time.
fn own(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    let is_self =
        uid == rustix::process::geteuid().as_raw() && gid == rustix::process::getegid().as_raw();
    if is_self {
        let stat = rustix::fs::fstat(fd)?;
        if (stat.st_uid, stat.st_gid) == (uid, gid) {
            return Ok(());
        }
    }
    Ok(fchown(
        fd,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
    )?)
}

/// A directory the archive did not name looks as it does in the layers below.
pub(crate) fn inherit(lowers: &[Root], path: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
    for lower in lowers {
        let Some(stat) = lower.stat(path)? else {
            continue;
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let from = lower.open_dir(path)?;
            return rooted::copy_attributes(from.as_fd(), fd);
        }
        return Ok(());
    }
    Ok(())
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
