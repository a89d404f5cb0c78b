//! The filesystems that are made for a container rather than bound into it: proc, dev, devpts, mqueue, sysfs, the
//! cgroup view, tmpfs. Each is made detached, before the root changes, and filled by descriptor where it can be.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use crate::oci::runtime_spec::TmpfsMount;
use crate::sys::cgroup::{Cgroup, Hierarchies, hierarchies};
use crate::sys::clone::{self, Cloned};
use crate::sys::mount::{self, Atime, Attributes, Depth, FsOption};
use crate::sys::mountpoint::{self, DeviceNode, Links};
use crate::sys::process::{PidFd, wait_child};
use crate::sys::{fds, namespace};

/// Name, major, minor: what every container has (runc's list).
const STANDARD_DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

pub(crate) fn proc() -> io::Result<OwnedFd> {
    mount::filesystem("proc", &[], Attributes::INERT)
}

pub(crate) fn mqueue() -> io::Result<OwnedFd> {
    mount::filesystem("mqueue", &[], Attributes::INERT)
}

pub(crate) fn sysfs(readonly: bool) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        readonly,
        ..Attributes::INERT
    };
    mount::filesystem("sysfs", &[], attributes)
}

pub(crate) fn devpts() -> io::Result<OwnedFd> {
    let options = [
        FsOption::Flag("newinstance"),
        FsOption::text("ptmxmode", "0666"),
        FsOption::text("mode", "0620"),
        FsOption::text("gid", "5"),
    ];
    let attributes = Attributes {
        nodev: false,
        ..Attributes::INERT
    };
    mount::filesystem("devpts", &options, attributes)
}

/// The `/dev` tmpfs with its nodes and links. The umask must be 0.
pub(crate) fn dev() -> io::Result<OwnedFd> {
    let options = [
        FsOption::text("mode", "755"),
        FsOption::text("size", "65536k"),
    ];
    let attributes = Attributes {
        nosuid: true,
        atime: Atime::Strict,
        ..Attributes::default()
    };
    let dev = mount::filesystem("tmpfs", &options, attributes)?;
    for (name, major, minor) in STANDARD_DEVICES {
        let node = DeviceNode {
            block: false,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        };
        mountpoint::make_device_at(dev.as_fd(), OsStr::new(name), &node)?;
    }
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ];
    for (name, target) in links {
        rustix::fs::symlinkat(target, &dev, name)?;
    }
    if Path::new("/proc/kcore").exists() {
        rustix::fs::symlinkat("/proc/kcore", &dev, "core")?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)] {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(mode))?;
    }
    Ok(dev)
}

pub(crate) fn tmpfs(wanted: &TmpfsMount) -> io::Result<OwnedFd> {
    let mut pairs: Vec<(String, Option<String>)> = Vec::new();
    let mut push = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            pairs.push((key.to_owned(), Some(value)));
        }
    };
    push("size", wanted.size_bytes.map(|bytes| bytes.to_string()));
    push("mode", wanted.mode.map(|mode| format!("{mode:o}")));
    push("uid", wanted.uid.map(|uid| uid.to_string()));
    push("gid", wanted.gid.map(|gid| gid.to_string()));
    for option in &wanted.extra {
        pairs.push(match option.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (option.clone(), None),
        });
    }
    let options: Vec<FsOption<'_>> = pairs
        .iter()
        .map(|(key, value)| match value {
            Some(value) => FsOption::text(key, value),
            None => FsOption::Flag(key),
        })
        .collect();
    let attributes = Attributes {
        readonly: wanted.flags.readonly,
        nosuid: wanted.flags.nosuid,
        nodev: wanted.flags.nodev,
        noexec: wanted.flags.noexec,
        atime: if wanted.flags.noatime {
            Atime::None
        } else {
            Atime::Relative
        },
    };
    mount::filesystem("tmpfs", &options, attributes)
}

/// The cgroup view of a container.
#[derive(Debug)]
pub(crate) struct CgroupView {
    /// On v1 a tmpfs with a directory a hierarchy; on v2 the whole view.
    pub(crate) base: OwnedFd,
    /// Directory below the base, what goes there.
    pub(crate) hierarchies: Vec<(String, OwnedFd)>,
}

/// Only the container's own part of each hierarchy, whatever its cgroup namespace is.
pub(crate) fn cgroup_view(cgroup: &Cgroup, readonly: bool) -> io::Result<CgroupView> {
    let attributes = Attributes {
        readonly,
        ..Attributes::INERT
    };
    let part = |folder: &Path| -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, folder, flags, Mode::empty())?;
        let tree = mount::clone_tree(folder.as_fd(), Depth::Top)?;
        mount::set_attributes(tree.as_fd(), Depth::Top, attributes)?;
        Ok(tree)
    };
    let mounts = match hierarchies() {
        Hierarchies::V2 { root } => {
            return Ok(CgroupView {
                base: part(&root.join(cgroup.path()))?,
                hierarchies: Vec::new(),
            });
        }
        Hierarchies::V1 { mounts, .. } => mounts,
    };
    let base = mount::filesystem("tmpfs", &[FsOption::text("mode", "755")], Attributes::INERT)?;
    let mut hierarchies = Vec::new();
    for hierarchy in mounts {
        let folder = hierarchy.root.join(cgroup.path());
        let Some(name) = hierarchy.root.file_name().and_then(OsStr::to_str) else {
            continue;
        };
        if folder.is_dir() {
            rustix::fs::mkdirat(&base, name, Mode::from_raw_mode(0o755))?;
            hierarchies.push((name.to_owned(), part(&folder)?));
            for controller in &hierarchy.controllers {
                if hierarchy.controllers.len() > 1 {
                    rustix::fs::symlinkat(name, &base, controller.as_str())?;
                }
            }
        }
    }
    mount::set_attributes(base.as_fd(), Depth::Top, attributes)?;
    Ok(CgroupView { base, hierarchies })
}

/// `/dev/shm` of a running container, as a detached mount: by way of a child, which enters the other mount namespace and
/// passes the mount back.
pub(crate) fn fetch_shm(pid: i32) -> io::Result<OwnedFd> {
    let (ours, theirs) = fds::message_pair()?;
    match clone::fork()? {
        Cloned::Child => {
            let sent = shm_of(pid).and_then(|shm| fds::send_fd(theirs.as_fd(), shm.as_fd()));
            if let Err(error) = &sent {
                let _ = fds::send_message(theirs.as_fd(), error.to_string().as_bytes());
            }
            clone::exit_now(i32::from(sent.is_err()))
        }
        Cloned::Parent(child) => {
            drop(theirs);
            let received = fds::receive_message(ours.as_fd())?;
            wait_child(child.pid)?;
            match received {
                Some((_, Some(shm))) => Ok(shm),
                Some((text, None)) => Err(io::Error::other(String::from_utf8_lossy(&text))),
                None => Err(io::Error::other("the other container is gone")),
            }
        }
    }
}

fn shm_of(pid: i32) -> io::Result<OwnedFd> {
    let target = PidFd::open(pid)?;
    namespace::enter(target.as_fd(), libc::CLONE_NEWNS)?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let shm = mountpoint::locate(root.as_fd(), "/dev/shm", Links::Refused)?;
    mount::clone_tree(shm.as_fd(), Depth::Top)
}

/// A copy of a device node that has been checked to be `/dev/null`, to cover files with.
pub(crate) fn null_cover(root: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let null = mountpoint::locate(root, "/dev/null", Links::Refused)?;
    let found = rustix::fs::fstat(&null)?;
    let is_null = rustix::fs::FileType::from_raw_mode(found.st_mode)
        == rustix::fs::FileType::CharacterDevice
        && found.st_rdev == rustix::fs::makedev(1, 3);
    if !is_null {
        return Err(io::Error::other(
            "/dev/null of the container is not the null device, so nothing can be masked with it",
        ));
    }
    Ok(null)
}
