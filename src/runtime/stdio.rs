//! The three streams that a process starts with: pipes, or a terminal of the container's devpts.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;

use crate::oci::runtime_spec::ConsoleSize;
use crate::runtime::channel::Reporter;
use crate::sys::mountpoint::{self, Links};
use crate::sys::{fds, pty};

/// The process's ends of its streams.
#[derive(Debug)]
pub(crate) enum ProcessStdio {
    Pipes {
        /// `None`: `/dev/null`.
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// Made in the container; its master side comes back from the start.
    Terminal(Option<ConsoleSize>),
}

impl ProcessStdio {
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            ProcessStdio::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                let mut fds = vec![stdout.as_fd(), stderr.as_fd()];
                fds.extend(stdin.as_ref().map(OwnedFd::as_fd));
                fds
            }
            ProcessStdio::Terminal(_) => Vec::new(),
        }
    }

    /// Puts the streams in place, for the user with this id. `root` is the container's. Gives the terminal's side for
    /// `/dev/console`.
    pub(crate) fn install(
        &self,
        root: BorrowedFd<'_>,
        uid: u32,
        reporter: &Reporter,
    ) -> io::Result<Option<OwnedFd>> {
        match self {
            ProcessStdio::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                // A process that is not root must be able to open /dev/stdout again.
                for pipe in [Some(stdout), Some(stderr), stdin.as_ref()]
                    .into_iter()
                    .flatten()
                {
                    rustix::fs::fchown(pipe, Some(rustix::fs::Uid::from_raw(uid)), None)?;
                }
                match stdin {
                    Some(stdin) => fds::set_stdio(stdin.as_fd(), stdout.as_fd(), stderr.as_fd())?,
                    None => {
                        let null = null_device(root)?;
                        fds::set_stdio(null.as_fd(), stdout.as_fd(), stderr.as_fd())?;
                    }
                }
                Ok(None)
            }
            ProcessStdio::Terminal(size) => {
                let flags = OFlags::RDWR | OFlags::NOCTTY;
                let ptmx = mountpoint::open(root, "/dev/pts/ptmx", flags, Links::Refused)?;
                let pair = pty::open(ptmx)?;
                if let Some(size) = size {
                    pty::resize(&pair.master, size.rows, size.columns)?;
                }
                rustix::fs::fchown(&pair.terminal, Some(rustix::fs::Uid::from_raw(uid)), None)?;
                reporter.send_terminal(pair.master.as_fd())?;
                let terminal = pair.terminal;
                fds::set_stdio(terminal.as_fd(), terminal.as_fd(), terminal.as_fd())?;
                pty::control(terminal.as_fd())?;
                Ok(Some(terminal))
            }
        }
    }
}

/// The container's `/dev/null`, if it is that; `/dev/null` of before, which is still at 0, otherwise.
fn null_device(root: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    if let Ok(null) = mountpoint::open(
        root,
        "/dev/null",
        OFlags::RDWR | OFlags::NOCTTY,
        Links::Refused,
    ) && rustix::fs::fstat(&null)?.st_rdev == rustix::fs::makedev(1, 3)
    {
        return Ok(null);
    }
    Ok(File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?).into())
}
