//! The parent's half of a container's start: everything that needs the host's view, made before the clone and held as
//! descriptors; then the clone, and the wait until the child has become the program.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use crate::oci::runtime_spec::{
    BindMount, ContainerSpec, MountKind, Namespace, Propagation, ReadonlyBind, RootfsSource,
};
use crate::runtime::start_error::StartError;
use crate::runtime::stdio::ProcessStdio;
use crate::runtime::{channel, init, limits, process, rootfs, special, sysctl};
use crate::sys::cgroup::Cgroup;
use crate::sys::clone::{self, Child, Cloned};
use crate::sys::mount::{self, Atime, Attributes, Depth, Spread};
use crate::sys::process::wait_child;
use crate::sys::{mountpoint, namespace};

/// Docker's words for a container that does not start.
const PREFIX: &str = "failed to create task for container: OCI runtime create failed: \
     unable to start container process: ";

/// A container whose process runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    /// Keeps the root filesystem mounted: letting go of an overlay syncs its upper directory, which must not
    /// delay the news of the exit.
    pub(crate) rootfs: OwnedFd,
    /// The master side of the terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// What the child gets from the host.
#[derive(Debug)]
pub(crate) struct Materials {
    pub(crate) rootfs: OwnedFd,
    /// One for each bind and shared `/dev/shm` of the spec, in order.
    pub(crate) binds: Vec<Source>,
    /// `tasks` files of the v1 cgroups.
    pub(crate) tasks: Vec<std::fs::File>,
    /// Namespaces to join: descriptor and `CLONE_NEW…`.
    pub(crate) joined: Vec<(OwnedFd, i32)>,
    /// The filter of the first process.
    pub(crate) seccomp: Option<Vec<crate::sys::seccomp::Instruction>>,
}

/// A bind's source as a detached mount, with its attributes set.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) mount: OwnedFd,
    pub(crate) is_directory: bool,
}

impl Materials {
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let mut fds = vec![self.rootfs.as_fd()];
        fds.extend(self.binds.iter().map(|source| source.mount.as_fd()));
        fds.extend(self.tasks.iter().map(std::os::fd::AsFd::as_fd));
        fds.extend(self.joined.iter().map(|(fd, _)| fd.as_fd()));
        fds
    }
}

/// Starts the container. `staging` is a directory of the host to stand on while roots are changed. When this fails nothing
/// of the container is left.
pub(crate) fn start(
    spec: &ContainerSpec,
    stdio: ProcessStdio,
    staging: &Path,
) -> Result<Running, StartError> {
    let cgroup = Cgroup::at(&spec.cgroup_path);
    let started = start_inside(spec, stdio, staging, &cgroup);
    if started.is_err() {
        // The first error is the one to tell.
        let _ = cgroup.kill_and_wait();
        let _ = cgroup.remove();
    }
    started.map_err(|error| error.within(PREFIX))
}

fn start_inside(
    spec: &ContainerSpec,
    stdio: ProcessStdio,
    staging: &Path,
    cgroup: &Cgroup,
) -> Result<Running, StartError> {
    sysctl::check(spec)?;
    process::check(&spec.process)?;
    limits::create(cgroup, &spec.resources, &spec.device_rules)
        .map_err(|error| StartError::doing("error setting cgroup config", &error))?;
    let materials = gather(spec, cgroup)?;
    let unified = cgroup
        .open_unified()
        .map_err(|error| StartError::doing("opening the cgroup", &error))?;
    let mut flags = libc::CLONE_NEWNS;
    for (namespace, kind) in kinds(spec) {
        if *namespace == Namespace::New && kind != libc::CLONE_NEWCGROUP {
            flags |= kind;
        }
    }
    if let Namespace::Path(path) = &spec.namespaces.pid {
        namespace::open(path)
            .and_then(|fd| namespace::enter(fd.as_fd(), libc::CLONE_NEWPID))
            .map_err(|error| StartError::doing("joining the pid namespace", &error))?;
    }
    let (listener, reporter) =
        channel::pair().map_err(|error| StartError::doing("making the init channel", &error))?;
    let cloned = clone::clone_into(flags, unified.as_ref().map(OwnedFd::as_fd))
        .map_err(|error| StartError::doing("clone", &error))?;
    let child = match cloned {
        Cloned::Child => {
            drop(listener);
            init::run(spec, materials, &stdio, &reporter, staging)
        }
        Cloned::Parent(child) => child,
    };
    drop((reporter, stdio));
    match listener.wait() {
        Ok(terminal) => Ok(Running {
            child,
            rootfs: materials.rootfs,
            terminal,
        }),
        Err(error) => {
            let _ = child.pidfd.signal(libc::SIGKILL);
            let _ = wait_child(child.pid);
            Err(error)
        }
    }
}

fn kinds(spec: &ContainerSpec) -> [(&Namespace, i32); 5] {
    let namespaces = &spec.namespaces;
    [
        (&namespaces.net, libc::CLONE_NEWNET),
        (&namespaces.pid, libc::CLONE_NEWPID),
        (&namespaces.ipc, libc::CLONE_NEWIPC),
        (&namespaces.uts, libc::CLONE_NEWUTS),
        (&namespaces.cgroup, libc::CLONE_NEWCGROUP),
    ]
}

fn gather(spec: &ContainerSpec, cgroup: &Cgroup) -> Result<Materials, StartError> {
    let rootfs = mount_rootfs(&spec.root.source)
        .map_err(|error| StartError::doing("error mounting the rootfs", &error))?;
    let mut binds = Vec::new();
    for entry in &spec.mounts {
        let source = match &entry.kind {
            MountKind::Bind(bind) => open_bind(bind),
            MountKind::ShmOf { pid } => special::fetch_shm(*pid).map(|mount| Source {
                mount,
                is_directory: true,
            }),
            _ => continue,
        };
        let source = source.map_err(|error| rootfs::mount_error(entry, &error))?;
        binds.push(source);
    }
    let mut joined = Vec::new();
    for (namespace, kind) in kinds(spec) {
        // The pid namespace is that of the parent's children, not one that the child enters.
        if let Namespace::Path(path) = namespace
            && kind != libc::CLONE_NEWPID
        {
            let fd = namespace::open(path)
                .map_err(|error| StartError::doing("joining a namespace", &error))?;
            joined.push((fd, kind));
        }
    }
    let tasks = cgroup
        .open_tasks()
        .map_err(|error| StartError::doing("opening the cgroup", &error))?;
    Ok(Materials {
        rootfs,
        binds,
        tasks,
        joined,
        seccomp: process::seccomp_program(&spec.process)?,
    })
}

fn mount_rootfs(source: &RootfsSource) -> io::Result<OwnedFd> {
    match source {
        RootfsSource::Overlay {
            lowers,
            upper,
            work,
            volatile,
        } => {
            let lowers: Vec<&Path> = lowers.iter().map(AsRef::as_ref).collect();
            if *volatile {
                // Who asked for this has nothing to lose. A mark that stays fails the mount, which says so.
                let _ = mount::clear_volatile_mark(work);
            }
            mount::overlay(&lowers, upper, work, *volatile)
        }
        RootfsSource::Directory(folder) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = rustix::fs::open(folder, flags, Mode::empty())?;
            let tree = mount::clone_tree(folder.as_fd(), Depth::Recursive)?;
            mount::set_propagation(tree.as_fd(), Depth::Recursive, Spread::Private)?;
            Ok(tree)
        }
    }
}

fn open_bind(bind: &BindMount) -> io::Result<Source> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let mut source = rustix::fs::openat(CWD, &bind.source, flags, Mode::empty())?;
    if let Some(subpath) = &bind.subpath {
        source = mountpoint::locate_beneath(source.as_fd(), subpath)?;
    }
    let found = rustix::fs::fstat(&source)?;
    let is_directory =
        rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::Directory;
    check_propagation(bind, source.as_fd())?;
    let depth = if bind.recursive {
        Depth::Recursive
    } else {
        Depth::Top
    };
    let tree = mount::clone_tree(source.as_fd(), depth)?;
    let (spread, spread_depth) = match bind.propagation {
        Propagation::Private => (Spread::Private, Depth::Top),
        Propagation::Rprivate => (Spread::Private, Depth::Recursive),
        Propagation::Slave => (Spread::Slave, Depth::Top),
        Propagation::Rslave => (Spread::Slave, Depth::Recursive),
        // A copy of a shared mount is in its group already.
        Propagation::Shared => (Spread::Shared, Depth::Top),
        Propagation::Rshared => (Spread::Shared, Depth::Recursive),
    };
    mount::set_propagation(tree.as_fd(), spread_depth, spread)?;
    let own = Attributes {
        readonly: bind.flags.readonly || bind.readonly != ReadonlyBind::No,
        nosuid: bind.flags.nosuid,
        nodev: bind.flags.nodev,
        noexec: bind.flags.noexec,
        atime: if bind.flags.noatime {
            Atime::None
        } else {
            Atime::Relative
        },
    };
    mount::set_attributes(tree.as_fd(), Depth::Top, own)?;
    if bind.recursive
        && matches!(
            bind.readonly,
            ReadonlyBind::Recursive | ReadonlyBind::RecursiveOrFail
        )
    {
        let readonly = Attributes {
            readonly: true,
            ..Attributes::default()
        };
        let done = mount::set_attributes(tree.as_fd(), Depth::Recursive, readonly);
        if bind.readonly == ReadonlyBind::RecursiveOrFail {
            done?;
        }
    }
    Ok(Source {
        mount: tree,
        is_directory,
    })
}

/// What is asked of a mount that nothing can reach would never happen: refused, in Docker's words.
fn check_propagation(bind: &BindMount, source: BorrowedFd<'_>) -> io::Result<()> {
    let needs = match bind.propagation {
        Propagation::Private | Propagation::Rprivate => return Ok(()),
        Propagation::Shared | Propagation::Rshared => "shared",
        Propagation::Slave | Propagation::Rslave => "shared or slave",
    };
    let origin = mount::origin(source)?;
    if origin.shared || (origin.slave && needs != "shared") {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "path {} is mounted on {} but it is not a {needs} mount",
        bind.source.display(),
        origin.mount_point
    )))
}
