//! The file system of a container that does not run, as a descriptor: a detached overlay that no path
//! leads to, and files opened beneath it so that no link of the image leads out.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use crate::engine::base::{Error, Result};
use crate::engine::containers::user::Accounts;
use crate::oci::runtime_spec::{RootfsSource, RootfsSpec};

/// Account files larger than this are no account files.
const MAX_ACCOUNT_BYTES: u64 = 4 << 20;

/// Whether the view is for reading only; a reader need not wait for the disk when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Mounts the rootfs where nobody sees it. It goes when the descriptor does.
pub(crate) fn open(root: &RootfsSpec, access: Access) -> Result<OwnedFd> {
    match &root.source {
        RootfsSource::Directory(path) => open_directory(path).map_err(|error| failed(path, &error)),
        RootfsSource::Overlay {
            lowers,
            upper,
            work,
            ..
        } => {
            let mounted = mount_overlay(lowers, upper, work, access, true)
                .or_else(|_| mount_overlay(lowers, upper, work, access, false));
            mounted.map_err(|error| failed(upper, &error))
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::system(format!("open the rootfs {}: {error}", path.display()))
}

/// A directory as a root to resolve paths in.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// `by_one` gives each lower layer a parameter of its own (Linux 6.7), without the limit of one page.
fn mount_overlay(
    lowers: &[std::path::PathBuf],
    upper: &Path,
    work: &Path,
    access: Access,
    by_one: bool,
) -> io::Result<OwnedFd> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set = |key: &CStr, value: &CStr| fsconfig_set_string(context.as_fd(), key, value);
    // Without an upper directory the overlay is read-only, and its end syncs nothing.
    let mut layers: Vec<&Path> = Vec::new();
    if access == Access::Read {
        layers.push(upper);
    }
    layers.extend(lowers.iter().map(std::path::PathBuf::as_path));
    if by_one {
        for layer in &layers {
            set(c"lowerdir+", &text(layer)?)?;
        }
    } else {
        let joined = layers
            .iter()
            .map(|layer| layer.as_os_str().as_bytes())
            .collect::<Vec<_>>()
            .join(&b':');
        set(
            c"lowerdir",
            &CString::new(joined).map_err(io::Error::other)?,
        )?;
    }
    if access == Access::Write {
        set(c"upperdir", &text(upper)?)?;
        set(c"workdir", &text(work)?)?;
    } else {
        fsconfig_set_flag(context.as_fd(), c"ro")?;
    }
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?)
}

/// Opens `path` as if `root` were `/`: no link and no `..` leads out.
pub(crate) fn open_in(root: impl AsFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let relative = path.trim_start_matches('/');
    let relative = if relative.is_empty() { "." } else { relative };
    Ok(rustix::fs::openat2(
        root,
        relative,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?)
}

/// The account files of a rootfs. What is no ordinary file there counts as absent: an image may have a
/// pipe or a device in their place.
pub(crate) fn read_accounts(root: impl AsFd) -> Accounts {
    let root = root.as_fd();
    Accounts {
        passwd: read_small(root, "etc/passwd").unwrap_or_default(),
        group: read_small(root, "etc/group").unwrap_or_default(),
    }
}

fn read_small(root: impl AsFd, path: &str) -> io::Result<String> {
    let opened = open_in(
        root,
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
    )?;
    let stat = rustix::fs::fstat(&opened)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    File::from(opened)
        .take(MAX_ACCOUNT_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_do_not_lead_out_and_pipes_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::os::unix::fs::symlink(
            "../../../../../../etc/hostname",
            folder.path().join("etc/passwd"),
        )
        .unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path().join("etc/group"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let root = open_directory(folder.path()).unwrap();
        assert_eq!(read_accounts(&root), Accounts::default());
        std::fs::write(folder.path().join("etc/hostname"), "inside").unwrap();
        assert_eq!(read_accounts(&root).passwd, "inside");
    }
}
