//! The container's file tree: the spec's mounts made before the root changes, attached after it, then devices, kernel
//! parameters, masks and read-only paths. Places are located by descriptor inside the new root only.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::vec;

use rustix::fs::{FileType, Mode, OFlags};

use crate::oci::runtime_spec::{BindMount, ContainerSpec, DeviceKind, MountKind, MountSpec};
use crate::runtime::parent::Source;
use crate::runtime::special::{self, CgroupView};
use crate::runtime::start_error::{StartError, StartErrorKind, plain};
use crate::runtime::sysctl;
use crate::sys::cgroup::Cgroup;
use crate::sys::mount::{self, Attributes, Depth, FsOption};
use crate::sys::mountpoint::{self, DeviceNode, Links};

/// What may be mounted below `/proc`, as in runc: files that tell a container of its limits.
const ALLOWED_BELOW_PROC: [&str; 12] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/random/uuid",
];

/// A mount of the spec, made and not yet attached.
#[derive(Debug)]
enum Made {
    Plain(OwnedFd),
    Cgroup(CgroupView),
    Bind(Source),
}

/// Everything that is made before the root changes.
#[derive(Debug)]
pub(crate) struct Prepared {
    mounts: Vec<Made>,
}

/// Makes the spec's mounts, in its order.
pub(crate) fn prepare(spec: &ContainerSpec, binds: Vec<Source>) -> Result<Prepared, StartError> {
    let mut binds = binds.into_iter();
    let mut mounts = Vec::with_capacity(spec.mounts.len());
    for entry in &spec.mounts {
        let made = make(spec, entry, &mut binds).map_err(|error| mount_error(entry, &error))?;
        mounts.push(made);
    }
    Ok(Prepared { mounts })
}

fn make(
    spec: &ContainerSpec,
    entry: &MountSpec,
    binds: &mut vec::IntoIter<Source>,
) -> io::Result<Made> {
    Ok(match &entry.kind {
        MountKind::Proc => Made::Plain(special::proc()?),
        MountKind::Dev => Made::Plain(special::dev()?),
        MountKind::Devpts => Made::Plain(special::devpts()?),
        MountKind::Mqueue => Made::Plain(special::mqueue()?),
        MountKind::Sysfs { readonly } => Made::Plain(special::sysfs(*readonly)?),
        MountKind::Cgroup { readonly } => {
            let cgroup = Cgroup::at(&spec.cgroup_path);
            Made::Cgroup(special::cgroup_view(&cgroup, *readonly)?)
        }
        MountKind::Tmpfs(wanted) => Made::Plain(special::tmpfs(wanted)?),
        MountKind::Bind(_) | MountKind::ShmOf { .. } => Made::Bind(
            binds
                .next()
                .ok_or_else(|| io::Error::other("a bind without its source"))?,
        ),
    })
}

/// Attaches all, in the new root. Gives a handle on that root.
pub(crate) fn set_up(spec: &ContainerSpec, prepared: Prepared) -> Result<OwnedFd, StartError> {
    let root = rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| StartError::doing("opening the rootfs", &error.into()))?;
    let mut proc = None;
    for (entry, made) in spec.mounts.iter().zip(prepared.mounts) {
        attach(root.as_fd(), entry, &made).map_err(|error| mount_error(entry, &error))?;
        if let (MountKind::Proc, Made::Plain(mounted)) = (&entry.kind, made) {
            proc = Some(mounted);
        }
    }
    for device in &spec.devices {
        let node = DeviceNode {
            block: device.kind == DeviceKind::Block,
            major: device.major,
            minor: device.minor,
            mode: device.mode,
            uid: device.uid,
            gid: device.gid,
        };
        mountpoint::make_device(root.as_fd(), &device.path, &node).map_err(|error| {
            StartError::doing(format!("making the device {}", device.path), &error)
        })?;
    }
    if !spec.sysctls.is_empty() {
        let proc = proc.ok_or_else(|| StartError::other("sysctls need a /proc"))?;
        for (name, value) in &spec.sysctls {
            sysctl::write(proc.as_fd(), name, value)
                .map_err(|error| StartError::doing(format!("write sysctl key {name}"), &error))?;
        }
    }
    Ok(root)
}

fn attach(root: BorrowedFd<'_>, entry: &MountSpec, made: &Made) -> io::Result<()> {
    match made {
        Made::Bind(source) if matches!(entry.kind, MountKind::ShmOf { .. }) => {
            let place = ensure_special_dir(root, &entry.destination)?;
            mount::attach(source.mount.as_fd(), place.as_fd())
        }
        Made::Bind(source) => attach_bind(root, entry, source),
        Made::Cgroup(view) => {
            let place = ensure_special_dir(root, &entry.destination)?;
            mount::attach(view.base.as_fd(), place.as_fd())?;
            let base = mountpoint::locate(root, &entry.destination, Links::Refused)?;
            for (name, hierarchy) in &view.hierarchies {
                let place = mountpoint::locate(base.as_fd(), name, Links::Refused)?;
                mount::attach(hierarchy.as_fd(), place.as_fd())?;
            }
            Ok(())
        }
        Made::Plain(mounted) => {
            let place = match entry.kind {
                MountKind::Tmpfs(_) if !entry.destination.starts_with("/dev/") => {
                    let place = mountpoint::ensure_dir(root, &entry.destination, 0o755)?;
                    refuse_proc(&entry.destination, &place)?;
                    place
                }
                _ => ensure_special_dir(root, &entry.destination)?,
            };
            mount::attach(mounted.as_fd(), place.as_fd())
        }
    }
}

/// `/proc`, `/sys`, `/dev` and what is in them must be where their names say: an image that has a link there is up to no
/// good.
fn ensure_special_dir(root: BorrowedFd<'_>, destination: &str) -> io::Result<OwnedFd> {
    match mountpoint::locate(root, destination, Links::Refused) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            mountpoint::ensure_dir(root, destination, 0o755)?;
            mountpoint::locate(root, destination, Links::Refused)
        }
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Err(io::Error::other(format!(
            "{destination} of the image is or is behind a symbolic link"
        ))),
        other => other,
    }
}

fn attach_bind(root: BorrowedFd<'_>, entry: &MountSpec, source: &Source) -> io::Result<()> {
    let destination = &entry.destination;
    let place = if source.is_directory {
        mountpoint::ensure_dir(root, destination, 0o755)?
    } else {
        mountpoint::ensure_file(root, destination)?
    };
    let place_kind = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode);
    if (place_kind == FileType::Directory) != source.is_directory {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    let is_proc_itself = destination.trim_end_matches('/') == "/proc";
    if is_proc_itself && !mount::is_procfs(&source.mount) {
        return Err(io::Error::other(
            "\"/proc\" cannot be mounted because it is not of type proc",
        ));
    }
    if !is_proc_itself {
        refuse_proc(destination, &place)?;
    }
    mount::attach(source.mount.as_fd(), place.as_fd())
}

/// Nothing goes over the kernel's files in `/proc`, however the path to them was written.
fn refuse_proc(destination: &str, place: &OwnedFd) -> io::Result<()> {
    if mount::is_procfs(place) && !ALLOWED_BELOW_PROC.contains(&destination) {
        return Err(io::Error::other(format!(
            "\"{destination}\" cannot be mounted because it is inside /proc"
        )));
    }
    Ok(())
}

pub(crate) fn mount_error(entry: &MountSpec, error: &io::Error) -> StartError {
    let source = match &entry.kind {
        MountKind::Proc => "proc".to_owned(),
        MountKind::Sysfs { .. } => "sysfs".to_owned(),
        MountKind::Cgroup { .. } => "cgroup".to_owned(),
        MountKind::Mqueue => "mqueue".to_owned(),
        MountKind::Devpts => "devpts".to_owned(),
        MountKind::Dev | MountKind::Tmpfs(_) | MountKind::ShmOf { .. } => "tmpfs".to_owned(),
        MountKind::Bind(BindMount { source, .. }) => source.display().to_string(),
    };
    let mut message = format!(
        "error during container init: error mounting \"{source}\" to rootfs at \"{}\": {}",
        entry.destination,
        plain(error)
    );
    let mut kind = StartErrorKind::Other;
    if error.raw_os_error() == Some(libc::ENOTDIR) {
        message.push_str(
            ": Are you trying to mount a directory onto a file (or vice-versa)? \
             Check if the specified host path exists and is the expected type",
        );
        kind = StartErrorKind::NotFound;
    }
    StartError { kind, message }
}

/// The container's terminal on `/dev/console`.
pub(crate) fn mount_console(root: BorrowedFd<'_>, terminal: BorrowedFd<'_>) -> io::Result<()> {
    let copy = mount::clone_tree(terminal, Depth::Top)?;
    let dev = mountpoint::locate(root, "/dev", Links::Refused)?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::EXCL;
    match rustix::fs::openat(&dev, "console", flags, Mode::from_raw_mode(0o620)) {
        Ok(_) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let place = mountpoint::locate(dev.as_fd(), "console", Links::Refused)?;
    mount::attach(copy.as_fd(), place.as_fd())
}

/// Read-only and masked paths, and the root itself. Last, so that nothing above fails on them.
pub(crate) fn protect(spec: &ContainerSpec, root: BorrowedFd<'_>) -> Result<(), StartError> {
    for path in &spec.readonly_paths {
        make_readonly(root, path)
            .map_err(|error| StartError::doing(format!("making {path} read-only"), &error))?;
    }
    if !spec.masked_paths.is_empty() {
        let null = special::null_cover(root)
            .map_err(|error| StartError::doing("masking paths", &error))?;
        for path in &spec.masked_paths {
            mask(root, path, null.as_fd())
                .map_err(|error| StartError::doing(format!("masking {path}"), &error))?;
        }
    }
    if spec.root.readonly {
        set_readonly(root)
            .map_err(|error| StartError::doing("making the rootfs read-only", &error))?;
    }
    Ok(())
}

fn set_readonly(place: BorrowedFd<'_>) -> io::Result<()> {
    let readonly = Attributes {
        readonly: true,
        ..Attributes::default()
    };
    mount::set_attributes(place, Depth::Top, readonly)
}

/// `None` where this kernel or this container does not have the path.
fn existing(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<OwnedFd>> {
    match mountpoint::locate(root, path, Links::Refused) {
        Ok(place) => Ok(Some(place)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn make_readonly(root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    let Some(place) = existing(root, path)? else {
        return Ok(());
    };
    let copy = mount::clone_tree(place.as_fd(), Depth::Recursive)?;
    set_readonly(copy.as_fd())?;
    mount::attach(copy.as_fd(), place.as_fd())
}

fn mask(root: BorrowedFd<'_>, path: &str, null: BorrowedFd<'_>) -> io::Result<()> {
    let Some(place) = existing(root, path)? else {
        return Ok(());
    };
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode);
    let cover = if kind == FileType::Directory {
        let options = [
            FsOption::text("size", "0"),
            FsOption::text("nr_inodes", "1"),
        ];
        let readonly = Attributes {
            readonly: true,
            ..Attributes::default()
        };
        mount::filesystem("tmpfs", &options, readonly)?
    } else {
        mount::clone_tree(null, Depth::Top)?
    };
    mount::attach(cover.as_fd(), place.as_fd())
}
