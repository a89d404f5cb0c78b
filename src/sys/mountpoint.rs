//! Places for mounts inside a root that is not to be trusted: resolved by the kernel so that no link leads out of it
//! (openat2(2), `RESOLVE_IN_ROOT`), and made one directory at a time. Contents of files are none of its business.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Links followed while directories are made, as the kernel follows.
const LINKS_MAX: u32 = 40;

/// How links on the way are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Followed, within the root.
    Inside,
    /// Any link is an error (`ELOOP`).
    Refused,
}

/// Opens `path` inside `root`, with these flags beside `O_CLOEXEC`. Links of `/proc/<pid>/fd` kind are never followed.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    links: Links,
) -> io::Result<OwnedFd> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    resolve.set(ResolveFlags::NO_SYMLINKS, links == Links::Refused);
    retrying(|| rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// A handle on `path` inside `root`, without opening what is there.
pub(crate) fn locate(root: BorrowedFd<'_>, path: &str, links: Links) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { "/" } else { path };
    open(root, path, OFlags::PATH, links)
}

/// As [`locate`], for a path below `root` that may not even try to leave it.
pub(crate) fn locate_beneath(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let path = path.trim_start_matches('/');
    let path = if path.is_empty() { "." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    retrying(|| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
    })
}

/// A rename somewhere on the machine can make openat2 give up with `EAGAIN`.
fn retrying(mut call: impl FnMut() -> rustix::io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    for _ in 0..100 {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
    Ok(call()?)
}

/// A handle on the directory `path` inside `root`, made with its parents where missing.
pub(crate) fn ensure_dir(root: BorrowedFd<'_>, path: &str, mode: u32) -> io::Result<OwnedFd> {
    match open(root, path, OFlags::PATH | OFlags::DIRECTORY, Links::Inside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    make_dirs(root, Path::new(path), mode, LINKS_MAX)
}

fn make_dirs(root: BorrowedFd<'_>, path: &Path, mode: u32, links_left: u32) -> io::Result<OwnedFd> {
    let names: Vec<OsString> = normal_names(path);
    let mut folder = locate(root, "/", Links::Inside)?;
    let mut walked = PathBuf::from("/");
    for (index, name) in names.iter().enumerate() {
        walked.push(name);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        folder = match open(root, path_text(&walked)?, flags, Links::Inside) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match rustix::fs::mkdirat(&folder, name.as_os_str(), Mode::from_raw_mode(mode)) {
                    Ok(()) => {}
                    Err(Errno::EXIST) => {
                        // Somebody was faster, or it is a link to what is not there yet.
                        return through_link(
                            root,
                            &folder,
                            &walked,
                            &names[index..],
                            (mode, links_left),
                        );
                    }
                    Err(error) => return Err(error.into()),
                }
                open(root, path_text(&walked)?, flags, Links::Inside)?
            }
            Err(error) => return Err(error),
        };
    }
    Ok(folder)
}

fn through_link(
    root: BorrowedFd<'_>,
    folder: &OwnedFd,
    walked: &Path,
    names: &[OsString],
    (mode, links_left): (u32, u32),
) -> io::Result<OwnedFd> {
    let links_left = links_left.checked_sub(1).ok_or(Errno::LOOP)?;
    let target = match rustix::fs::readlinkat(folder, names[0].as_os_str(), Vec::new()) {
        Ok(target) => PathBuf::from(OsStr::from_bytes(target.as_bytes())),
        Err(Errno::INVAL) => walked.to_owned(),
        Err(error) => return Err(error.into()),
    };
    let mut path = walked.parent().unwrap_or(Path::new("/")).join(target);
    path.extend(&names[1..]);
    make_dirs(root, &path, mode, links_left)
}

/// The names of a path, with `.` and `..` worked out by text: what lies beyond is not there yet, so no link can be.
fn normal_names(path: &Path) -> Vec<OsString> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    names
}

/// A handle on the file `path` inside `root`; an empty one is made, with its parents, where nothing is.
pub(crate) fn ensure_file(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    match locate(root, path, Links::Inside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let (folder, name) = parent(root, path)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::openat(&folder, name.as_os_str(), flags, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => locate(root, path, Links::Inside),
        Err(error) => Err(error.into()),
    }
}

/// The directory that `path` is in (made where missing), and its last name.
pub(crate) fn parent(root: BorrowedFd<'_>, path: &str) -> io::Result<(OwnedFd, OsString)> {
    let mut names = normal_names(Path::new(path));
    let name = names.pop().ok_or(Errno::INVAL)?;
    let folder: PathBuf = names.iter().collect();
    let folder = Path::new("/").join(folder);
    Ok((ensure_dir(root, path_text(&folder)?, 0o755)?, name))
}

/// Makes a device node at `path` inside `root`, in the place of whatever file is there.
pub(crate) fn make_device(root: BorrowedFd<'_>, path: &str, device: &DeviceNode) -> io::Result<()> {
    let (folder, name) = parent(root, path)?;
    make_device_at(folder.as_fd(), &name, device)
}

/// What to make: permission bits, numbers, owner.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeviceNode {
    pub(crate) block: bool,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// As [`make_device`], in a directory.
pub(crate) fn make_device_at(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    device: &DeviceNode,
) -> io::Result<()> {
    let kind = if device.block {
        FileType::BlockDevice
    } else {
        FileType::CharacterDevice
    };
    let number = rustix::fs::makedev(device.major, device.minor);
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    match rustix::fs::mknodat(folder, name, kind, mode, number) {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
            rustix::fs::mknodat(folder, name, kind, mode, number)?;
        }
        other => other?,
    }
    rustix::fs::chownat(
        folder,
        name,
        Some(rustix::fs::Uid::from_raw(device.uid)),
        Some(rustix::fs::Gid::from_raw(device.gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    Ok(())
}

fn path_text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is not UTF-8", path.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root(folder: &Path) -> OwnedFd {
        rustix::fs::open(folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn links_stay_inside_and_directories_are_made_behind_them() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let path = folder.path();
        symlink("/run", path.join("var")).unwrap();
        symlink(outside.path(), path.join("out")).unwrap();
        symlink("../../../../..", path.join("up")).unwrap();
        let root = root(path);
        ensure_dir(root.as_fd(), "/var/lib/x", 0o755).unwrap();
        assert!(path.join("run/lib/x").is_dir());
        ensure_file(root.as_fd(), "/up/etc/hosts").unwrap();
        assert!(path.join("etc/hosts").is_file());
        ensure_dir(root.as_fd(), "/out/made", 0o755).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(locate_beneath(root.as_fd(), "up").is_err());
        assert!(locate(root.as_fd(), "/var", Links::Refused).is_err());
    }

    #[test]
    fn a_circle_of_links_ends() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert!(ensure_dir(root(folder.path()).as_fd(), "/a/c", 0o755).is_err());
    }
}
