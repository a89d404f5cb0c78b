//! The child's half of a container's start, from clone3 to exec. Everything here runs in the new namespaces, in a copy of the
//! shim that nobody else can see; it ends as the user's program or with an error on the channel.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::oci::runtime_spec::{ContainerSpec, Namespace};
use crate::runtime::channel::Reporter;
use crate::runtime::parent::Materials;
use crate::runtime::start_error::StartError;
use crate::runtime::stdio::ProcessStdio;
use crate::runtime::{process, rootfs};
use crate::sys::{cgroup, clone, fds, mount, namespace, privileges};

/// Becomes the container's first process.
pub(crate) fn run(
    spec: &ContainerSpec,
    materials: Materials,
    stdio: &ProcessStdio,
    reporter: &Reporter,
    staging: &Path,
) -> ! {
    let Err(error) = set_up(spec, materials, stdio, reporter, staging);
    reporter.send_error(&error);
    clone::exit_now(1)
}

fn set_up(
    spec: &ContainerSpec,
    materials: Materials,
    stdio: &ProcessStdio,
    reporter: &Reporter,
    staging: &Path,
) -> Result<std::convert::Infallible, StartError> {
    let failed = |what: &'static str| move |error: io::Error| StartError::doing(what, &error);
    let mut kept = materials.fds();
    kept.extend(stdio.fds());
    kept.push(reporter.fd());
    fds::close_except(&kept).map_err(failed("closing descriptors"))?;
    privileges::set_umask(0);
    cgroup::join(&materials.tasks).map_err(failed("joining the cgroup"))?;
    if spec.namespaces.cgroup == Namespace::New {
        namespace::leave(libc::CLONE_NEWCGROUP).map_err(failed("unshare the cgroup namespace"))?;
    }
    for (fd, kind) in &materials.joined {
        namespace::enter(fd.as_fd(), *kind).map_err(failed("joining a namespace"))?;
    }
    set_oom_score(spec.process.oom_score_adj.unwrap_or(0)).map_err(failed("oom_score_adj"))?;
    privileges::become_session_leader().map_err(failed("setsid"))?;
    namespace::join_new_keyring().map_err(failed("session keyring"))?;
    if spec.namespaces.uts == Namespace::New {
        set_names(spec).map_err(failed("sethostname"))?;
    }
    mount::isolate_all().map_err(failed("making the mounts private"))?;
    let special = rootfs::prepare(spec, materials.binds)?;
    mount::enter_root(materials.rootfs.as_fd(), staging).map_err(failed("changing the root"))?;
    let root = rootfs::set_up(spec, special)?;
    let terminal = stdio
        .install(root.as_fd(), spec.process.user.uid, reporter)
        .map_err(failed("setting up the streams"))?;
    if let Some(terminal) = terminal {
        rootfs::mount_console(root.as_fd(), terminal.as_fd())
            .map_err(failed("mounting /dev/console"))?;
    }
    rootfs::protect(spec, root.as_fd())?;
    let plan = process::Plan {
        spec: &spec.process,
        seccomp: materials.seccomp.as_deref(),
        make_working_directory: true,
        with_init: spec.init,
    };
    process::become_it(&plan, root, reporter)
}

/// The engine's shims are protected from the OOM killer; their containers are not.
pub(crate) fn set_oom_score(score: i32) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/oom_score_adj")?;
    match file.write_all(score.to_string().as_bytes()) {
        // Lower than one's own needs CAP_SYS_RESOURCE.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && score <= 0 => Ok(()),
        other => other,
    }
}

fn set_names(spec: &ContainerSpec) -> io::Result<()> {
    if !spec.hostname.is_empty() {
        rustix::system::sethostname(spec.hostname.as_bytes())?;
    }
    if !spec.domainname.is_empty() {
        rustix::system::setdomainname(spec.domainname.as_bytes())?;
    }
    Ok(())
}
