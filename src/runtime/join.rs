//! A further process in a running container (exec): into its cgroups and namespaces, then as every process of a container.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::oci::runtime_spec::ProcessSpec;
use crate::runtime::channel::{self, Reporter};
use crate::runtime::init::set_oom_score;
use crate::runtime::process;
use crate::runtime::start_error::StartError;
use crate::runtime::stdio::ProcessStdio;
use crate::sys::cgroup::{self, Cgroup};
use crate::sys::clone::{self, Child, Cloned};
use crate::sys::process::{PidFd, wait_child};
use crate::sys::{fds, namespace, privileges};

/// Docker's words for an exec that does not start.
const PREFIX: &str = "OCI runtime exec failed: exec failed: unable to start container process: ";

/// All but the pid namespace, which the parent has chosen for its children.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// A process that runs in the container.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) child: Child,
    /// The master side of the terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Makes the calling process's future children members of the container's pid namespace.
pub(crate) fn adopt_pid_namespace(container: &PidFd) -> io::Result<()> {
    namespace::enter(container.as_fd(), libc::CLONE_NEWPID)
}

/// Starts a process in the container. [`adopt_pid_namespace`] must have been called.
pub(crate) fn start(
    container: &PidFd,
    cgroup: &Cgroup,
    spec: &ProcessSpec,
    stdio: ProcessStdio,
) -> Result<Joined, StartError> {
    start_inside(container, cgroup, spec, stdio).map_err(|mut error| {
        // An exec is no container init.
        error.message = error
            .message
            .replacen("error during container init: ", "", 1);
        error.within(PREFIX)
    })
}

fn start_inside(
    container: &PidFd,
    cgroup: &Cgroup,
    spec: &ProcessSpec,
    stdio: ProcessStdio,
) -> Result<Joined, StartError> {
    process::check(spec)?;
    let failed = |what: &'static str| move |error: io::Error| StartError::doing(what, &error);
    let seccomp = process::seccomp_program(spec)?;
    let tasks = cgroup.open_tasks().map_err(failed("opening the cgroup"))?;
    let unified = cgroup
        .open_unified()
        .map_err(failed("opening the cgroup"))?;
    let (listener, reporter) = channel::pair().map_err(failed("making the channel"))?;
    let cloned = clone::clone_into(0, unified.as_ref().map(OwnedFd::as_fd))
        .map_err(failed("the container is not running: clone"))?;
    let child = match cloned {
        Cloned::Child => {
            drop(listener);
            let entering = Entering {
                container,
                tasks: &tasks,
                seccomp: seccomp.as_deref(),
            };
            let Err(error) = entering.become_it(spec, &stdio, &reporter);
            reporter.send_error(&error);
            clone::exit_now(1)
        }
        Cloned::Parent(child) => child,
    };
    drop((reporter, stdio));
    match listener.wait() {
        Ok(terminal) => Ok(Joined { child, terminal }),
        Err(error) => {
            let _ = child.pidfd.signal(libc::SIGKILL);
            let _ = wait_child(child.pid);
            Err(error)
        }
    }
}

struct Entering<'a> {
    container: &'a PidFd,
    tasks: &'a [std::fs::File],
    seccomp: Option<&'a [crate::sys::seccomp::Instruction]>,
}

impl Entering<'_> {
    fn become_it(
        &self,
        spec: &ProcessSpec,
        stdio: &ProcessStdio,
        reporter: &Reporter,
    ) -> Result<std::convert::Infallible, StartError> {
        let failed = |what: &'static str| move |error: io::Error| StartError::doing(what, &error);
        // Before the container's processes can see this one: nothing of the host may be open any more.
        let mut kept: Vec<BorrowedFd<'_>> = stdio.fds();
        kept.extend(self.tasks.iter().map(std::os::fd::AsFd::as_fd));
        kept.push(self.container.as_fd());
        kept.push(reporter.fd());
        fds::close_except(&kept).map_err(failed("closing descriptors"))?;
        privileges::set_umask(0);
        cgroup::join(self.tasks).map_err(failed("joining the cgroup"))?;
        if let Some(score) = spec.oom_score_adj {
            set_oom_score(score).map_err(failed("oom_score_adj"))?;
        }
        privileges::become_session_leader().map_err(failed("setsid"))?;
        namespace::join_new_keyring().map_err(failed("session keyring"))?;
        namespace::enter(self.container.as_fd(), NAMESPACES)
            .map_err(failed("setns: the container is not running"))?;
        let mut kept = stdio.fds();
        kept.push(reporter.fd());
        fds::close_except(&kept).map_err(failed("closing descriptors"))?;
        let root = rustix::fs::open(
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|error| StartError::doing("opening the rootfs", &error.into()))?;
        stdio
            .install(root.as_fd(), spec.user.uid, reporter)
            .map_err(failed("setting up the streams"))?;
        let plan = process::Plan {
            spec,
            seccomp: self.seccomp,
            make_working_directory: false,
            with_init: false,
        };
        process::become_it(&plan, root, reporter)
    }
}
