//! The zygote: a warm process of the shim role that forks a shim for each request, in a tenth of the time that a new
//! program takes. This file has both its ends. It dies with the engine; the shims do not.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::runtime::seccomp;
use crate::shim::server;
use crate::sys::clone::{self, Cloned};
use crate::sys::{cgroup, fds, privileges};

/// The name by which the program knows that it is to be a zygote.
pub(crate) const ROLE: &str = "hoist-shim";

static ZYGOTE: Mutex<Option<Zygote>> = Mutex::new(None);

#[derive(Debug)]
struct Zygote {
    child: Child,
    socket: OwnedFd,
}

/// Starts the zygote ahead of the first container. Not needed; it saves that one a few milliseconds.
pub(crate) fn warm() -> io::Result<()> {
    let mut zygote = ZYGOTE.lock().unwrap_or_else(PoisonError::into_inner);
    if zygote.is_none() {
        *zygote = Some(spawn()?);
    }
    Ok(())
}

/// A new shim, and the connection to it.
pub(crate) fn fork_shim() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut zygote = ZYGOTE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = zygote.as_mut() {
        if fds::send_fd(running.socket.as_fd(), theirs.as_fd()).is_ok() {
            return Ok(ours);
        }
        // It was killed. Its shims live on; a new one takes over.
        let _ = running.child.kill();
        let _ = running.child.wait();
    }
    let started = zygote.insert(spawn()?);
    fds::send_fd(started.socket.as_fd(), theirs.as_fd())?;
    Ok(ours)
}

fn spawn() -> io::Result<Zygote> {
    let (ours, theirs) = fds::message_pair()?;
    let image = fds::own_image()?;
    let mut command = Command::new(fds::fd_path(image.as_fd()));
    command.env_clear();
    become_role(&mut command);
    let child = command
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()?;
    Ok(Zygote {
        child,
        socket: ours,
    })
}

#[cfg(not(test))]
fn become_role(command: &mut Command) {
    std::os::unix::process::CommandExt::arg0(command, ROLE);
}

/// The program of the unit tests knows tests only: one of them is the role.
#[cfg(test)]
fn become_role(command: &mut Command) {
    command
        .args(["--exact", "shim::tests::zygote_role", "--test-threads=1"])
        .env(ROLE, "1");
}

/// The zygote's life: one fork a message, until the engine has gone.
pub(crate) fn main() -> ExitCode {
    let prepared = privileges::set_name(ROLE)
        .and_then(|()| privileges::become_session_leader())
        .and_then(|()| privileges::set_dumpable(false))
        .and_then(|()| clone::forget_children())
        .and_then(|()| clone::ignore_broken_pipes())
        .and_then(|()| fds::take_stdin());
    let Ok(socket) = prepared else {
        return ExitCode::FAILURE;
    };
    // Read once here, shared by all shims.
    seccomp::warm();
    privileges::known_capabilities();
    cgroup::hierarchies();
    loop {
        let connection = match fds::receive_fd(socket.as_fd()) {
            Ok(Some(connection)) => connection,
            Ok(None) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::FAILURE,
        };
        match clone::fork() {
            Ok(Cloned::Child) => {
                drop(socket);
                return server::main(UnixStream::from(connection));
            }
            // Without a shim behind it the connection ends, which the engine notices.
            Ok(Cloned::Parent(_)) | Err(_) => {}
        }
    }
}
