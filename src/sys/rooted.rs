//! Paths resolved beneath a directory that cannot be left, whatever links lie in it: openat2 with
//! RESOLVE_IN_ROOT, never a path of strings. It knows nothing of archives.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
    XattrFlags, fchmod, fchown, openat, openat2, unlinkat,
};
use rustix::io::Errno;

/// `openat2` gives up with EAGAIN when something was renamed meanwhile.
const RESOLVE_TRIES: usize = 64;
/// Directories below this depth are first moved up when a tree is removed: descriptors stay few.
const REMOVE_MAX_DEPTH: usize = 32;

/// A directory that acts as `/` for all paths given to it.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
}

impl Root {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Root {
            fd: rustix::fs::open(path, flags, Mode::empty())?,
        })
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Root { fd }
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let relative = relative(path);
        for _ in 0..RESOLVE_TRIES {
            match openat2(
                &self.fd,
                relative,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            ) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// A directory, links followed beneath the root.
    pub(crate) fn open_dir(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Anything, as a place only; the last component is not followed.
    pub(crate) fn open_place(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW)
    }

    /// Anything, as a place only; links are followed beneath the root.
    pub(crate) fn open_target(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.resolve(path, OFlags::PATH)
    }

    /// A regular file for reading; a FIFO or a device does not block and is refused.
    pub(crate) fn open_file(&self, path: &[u8]) -> io::Result<File> {
        let fd = self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} is not a regular file", shown(path)),
            ));
        }
        Ok(File::from(fd))
    }

    /// What is at `path`, the last component not followed; `None` where there is nothing.
    pub(crate) fn stat(&self, path: &[u8]) -> io::Result<Option<Stat>> {
        match self.open_place(path) {
            Ok(fd) => Ok(Some(rustix::fs::fstat(&fd)?)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What `path` leads to, links followed beneath the root.
    pub(crate) fn stat_target(&self, path: &[u8]) -> io::Result<Option<Stat>> {
        match self.open_target(path) {
            Ok(fd) => Ok(Some(rustix::fs::fstat(&fd)?)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The directory at `path`, made with its parents where missing; `made` is called for each new one with its
    /// path below the root.
    pub(crate) fn ensure_dir(
        &self,
        path: &[u8],
        made: &mut dyn FnMut(&[u8], BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<OwnedFd> {
        match self.open_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let path = relative(path);
        let mut current = self.open_dir(b".")?;
        let mut done = Vec::new();
        for component in path
            .split(|b| *b == b'/')
            .filter(|c| !c.is_empty() && *c != b".")
        {
            if component == b".." {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{} contains ..", shown(path)),
                ));
            }
            if !done.is_empty() {
                done.push(b'/');
            }
            done.extend_from_slice(component);
            current = match self.open_dir(&done) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    rustix::fs::mkdirat(&current, component, Mode::from_raw_mode(0o755))?;
                    let fd = open_dir_at(current.as_fd(), component)?;
                    rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755))?;
                    made(&done, fd.as_fd())?;
                    fd
                }
                other => other?,
            };
        }
        Ok(current)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The path without leading slashes; `.` for the root itself.
fn relative(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|b| *b != b'/').unwrap_or(path.len());
    match &path[start..] {
        [] => b".",
        rest => rest,
    }
}

pub(crate) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
    )
}

/// A directory right below `parent`, not through a link.
pub(crate) fn open_dir_at(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

pub(crate) fn stat_at(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Names in a directory, sorted by bytes, without `.` and `..`.
pub(crate) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Removes whatever `name` is in `parent`; nothing there is fine. Links are removed, not followed; depth and
/// width of a tree do not matter.
pub(crate) fn remove_at(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let top = open_dir_at(parent, name)?;
    let mut moved = 0u64;
    empty_dir(top.as_fd(), top.as_fd(), 0, &mut moved)?;
    // Deep directories were moved to the top while it was read: repeat until nothing was.
    while moved > 0 {
        let before = moved;
        moved = 0;
        empty_dir(top.as_fd(), top.as_fd(), 0, &mut moved)?;
        if moved > before.saturating_mul(1 << 20) {
            return Err(Errno::LOOP.into());
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

fn empty_dir(
    dir: BorrowedFd<'_>,
    top: BorrowedFd<'_>,
    depth: usize,
    moved: &mut u64,
) -> io::Result<()> {
    for name in names(dir)? {
        remove_one(dir, &name, top, depth, moved)?;
    }
    Ok(())
}

fn remove_one(
    dir: BorrowedFd<'_>,
    name: &CStr,
    top: BorrowedFd<'_>,
    depth: usize,
    moved: &mut u64,
) -> io::Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    if depth >= REMOVE_MAX_DEPTH {
        for attempt in 0..u32::MAX {
            let target = format!(".deep-{}-{}-{attempt}", std::process::id(), *moved);
            match rustix::fs::renameat_with(
                dir,
                name,
                top,
                target.as_str(),
                rustix::fs::RenameFlags::NOREPLACE,
            ) {
                Err(Errno::EXIST) => {}
                Ok(()) => {
                    *moved += 1;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        return Err(Errno::EXIST.into());
    }
    let child = open_dir_at(dir, name.to_bytes())?;
    empty_dir(child.as_fd(), top, depth + 1, moved)?;
    drop(child);
    Ok(unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// Removes the tree at `path`; nothing there is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL.into());
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::open(parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    remove_at(parent.as_fd(), name.as_bytes())
}

/// `/proc/self/fd/N`: for calls that take no descriptor of a place.
pub(crate) fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Extended attributes of a file, a directory or a link, by name.
pub(crate) fn xattrs(fd: BorrowedFd<'_>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let path = proc_path(fd);
    let mut list = vec![0; 64 << 10];
    let count = match rustix::fs::listxattr(path.as_str(), &mut list[..]) {
        Ok(count) => count,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in list[..count]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
    {
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        let mut value = vec![0; 64 << 10];
        match rustix::fs::getxattr(path.as_str(), name, &mut value[..]) {
            Ok(count) => {
                value.truncate(count);
                found.push((name.to_owned(), value));
            }
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.sort();
    Ok(found)
}

/// Whether an attribute belongs to the content of a layer: file capabilities and the user's own, but never what
/// steers overlayfs.
pub(crate) fn is_kept_xattr(name: &str) -> bool {
    name == "security.capability"
        || (name.starts_with("user.") && !name.starts_with("user.overlay."))
}

/// Splits into parent and last component: `a/b/c` → (`a/b`, `c`).
pub(crate) fn split_parent(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

pub(crate) fn os(path: &[u8]) -> &OsStr {
    OsStr::from_bytes(path)
}

/// Owner, mode, kept attributes and times of `from` put on `to`.
pub(crate) fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    fchown(
        to,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (name, value) in xattrs(from)? {
        if is_kept_xattr(&name) {
            match rustix::fs::fsetxattr(to, name.as_str(), &value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::NOTSUP) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(rustix::fs::futimens(to, &stat_times(&stat))?)
}

pub(crate) fn stat_times(stat: &rustix::fs::Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec.cast_signed(),
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec.cast_signed(),
        },
    }
}

/// Bytes in regular files below `path`, files with several names once.
pub(crate) fn tree_size(path: &Path) -> io::Result<u64> {
    let mut seen = std::collections::HashSet::new();
    let mut total = 0;
    let mut folders = vec![Root::open(path)?.open_dir(b".")?];
    while let Some(folder) = folders.pop() {
        for name in names(folder.as_fd())? {
            let Some(stat) = stat_at(folder.as_fd(), name.to_bytes())? else {
                continue;
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile
                    if stat.st_nlink > 1 && !seen.insert((stat.st_dev, stat.st_ino)) => {}
                FileType::RegularFile => total += stat.st_size.cast_unsigned(),
                FileType::Directory => {
                    folders.push(open_dir_at(folder.as_fd(), name.to_bytes())?);
                }
                _ => {}
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_out_lead_to_the_root() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("etc"), "inside").unwrap();
        std::os::unix::fs::symlink("../../../../etc", folder.path().join("link")).unwrap();
        let root = Root::open(folder.path()).unwrap();
        let content = io::read_to_string(root.open_file(b"/link").unwrap()).unwrap();
        assert_eq!(content, "inside");
        assert!(
            root.open_dir(b"../..")
                .is_ok_and(|fd| stat_at(fd.as_fd(), b"etc").unwrap().is_some())
        );
    }

    #[test]
    fn a_tree_of_any_depth_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut fd = Root::open(folder.path()).unwrap().fd;
        rustix::fs::mkdirat(&fd, "tree", Mode::from_raw_mode(0o755)).unwrap();
        fd = open_dir_at(fd.as_fd(), b"tree").unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&fd, "d", Mode::from_raw_mode(0o755)).unwrap();
            fd = open_dir_at(fd.as_fd(), b"d").unwrap();
        }
        drop(fd);
        remove_tree(&folder.path().join("tree")).unwrap();
        assert!(!folder.path().join("tree").exists());
        remove_tree(&folder.path().join("tree")).unwrap();
    }
}
