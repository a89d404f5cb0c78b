//! The built-in init (`init: true`): PID 1 that starts the program as its child, forwards signals to it, reaps orphans and
//! ends as it ends. As small as tini, and no further program.

use crate::runtime::start_error::StartError;
use crate::sys::clone::{self, Cloned};
use crate::sys::{fds, privileges, process, pty};

/// Signals that are about PID 1 itself rather than for its child (tini's list).
const KEPT: [i32; 9] = [
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGKILL,
    libc::SIGSTOP,
];

/// Comes back in the child, which is to become the program. The calling process stays as init and never comes back.
/// `confine` puts init under the same restrictions.
pub(crate) fn fork_below(
    confine: impl FnOnce() -> Result<(), StartError>,
) -> Result<(), StartError> {
    // From here on none is lost; the child gives the block up when it becomes the program.
    let forwarded: Vec<i32> = (1..=64).filter(|signal| !KEPT.contains(signal)).collect();
    process::block_signals(&forwarded)
        .map_err(|error| StartError::doing("blocking signals", &error))?;
    // The program brings a name of its own.
    privileges::set_name("hoist-init").map_err(|error| StartError::doing("naming init", &error))?;
    let cloned = clone::fork().map_err(|error| StartError::doing("starting below init", &error))?;
    match cloned {
        Cloned::Child => {
            let _ = rustix::process::setpgid(None, None);
            // Only with a terminal, and then the program is to be the one in front.
            let _ = pty::take_foreground(rustix::stdio::stdin());
            Ok(())
        }
        Cloned::Parent(child) => {
            let code = match confine() {
                Ok(()) => reap_until(child.pid, &forwarded),
                Err(_) => 128,
            };
            clone::exit_now(code)
        }
    }
}

fn reap_until(main: i32, forwarded: &[i32]) -> i32 {
    // The channel must close when the child has become the program, so nothing of it may stay open here.
    let prepared = fds::close_except(&[])
        .and_then(|()| privileges::become_subreaper())
        .and_then(|()| privileges::die_with_parent());
    if prepared.is_err() {
        return 128;
    }
    loop {
        while let Some(ended) = process::reap_any() {
            if ended.pid == main {
                return ended.code;
            }
        }
        // What comes between is pending until the wait.
        match process::wait_signal(forwarded) {
            None | Some(libc::SIGCHLD) => {}
            // The child may have ended just now.
            Some(signal) => drop(process::kill(main, signal)),
        }
    }
}
