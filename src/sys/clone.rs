//! New processes from this one: fork, clone into namespaces and a cgroup, exec. For processes of one thread only: the
//! child runs ordinary code, which is sound only when no other thread could have held a lock.
#![expect(unsafe_code, reason = "clone3(2), fork(2) and execve(2)")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use crate::sys::process::PidFd;

/// Which side of a clone this is.
#[derive(Debug)]
pub(crate) enum Cloned {
    Child,
    Parent(Child),
}

#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: i32,
    pub(crate) pidfd: PidFd,
}

/// As `struct clone_args` of the kernel (`clone(2)`), up to `cgroup`.
#[derive(Default)]
#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// fork(2), with a pidfd for the parent. Only for a process of one thread.
pub(crate) fn fork() -> io::Result<Cloned> {
    clone_into(0, None)
}

/// A child in new namespaces (`CLONE_NEW…`), born inside a v2 cgroup if one is given. Only for a process of one thread.
pub(crate) fn clone_into(namespaces: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: i32 = -1;
    let flags =
        u64::from(namespaces.cast_unsigned()) | u64::from(libc::CLONE_PIDFD.cast_unsigned());
    let mut arguments = CloneArgs {
        flags,
        pidfd: &raw mut pidfd as u64,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: no new stack and no shared memory: this is fork(2) with more flags. The process has one thread, so the
    // child's copy of every lock is free.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<CloneArgs>(),
        )
    };
    match pid {
        ..0 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            let pid = i32::try_from(pid).map_err(|_| io::Error::other("clone3(2) gave no pid"))?;
            // SAFETY: the kernel has put a new descriptor there (CLONE_PIDFD); nobody else owns it.
            let fd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent(Child {
                pid,
                pidfd: PidFd::from_fd(fd),
            }))
        }
    }
}

/// Children that end are not waited for: no zombies, no status.
pub(crate) fn forget_children() -> io::Result<()> {
    set_action(libc::SIGCHLD, libc::SIG_IGN)
}

/// Children that end can be waited for, which [`forget_children`] had switched off.
pub(crate) fn remember_children() -> io::Result<()> {
    set_action(libc::SIGCHLD, libc::SIG_DFL)
}

/// Writing where nobody reads is an error then, not the end of the process.
pub(crate) fn ignore_broken_pipes() -> io::Result<()> {
    set_action(libc::SIGPIPE, libc::SIG_IGN)
}

fn set_action(signal: i32, action: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: SIG_IGN and SIG_DFL are valid actions.
    if unsafe { libc::signal(signal, action) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Text for execve, checked before anything is done that cannot be undone.
#[derive(Debug)]
pub(crate) struct ExecArguments {
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl ExecArguments {
    /// A NUL byte in any of them is an error.
    pub(crate) fn new(arguments: &[String], environment: &[String]) -> io::Result<Self> {
        let convert = |list: &[String]| -> io::Result<Vec<CString>> {
            let converted = list.iter().map(|text| Ok(CString::new(text.as_str())?));
            converted.collect()
        };
        Ok(ExecArguments {
            arguments: convert(arguments)?,
            environment: convert(environment)?,
        })
    }
}

/// Replaces this program. Returns only when that failed.
pub(crate) fn exec(path: &CStr, arguments: &ExecArguments) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter()
            .map(|text| text.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (argv, envp) = (
        pointers(&arguments.arguments),
        pointers(&arguments.environment),
    );
    // SAFETY: both lists end with a null pointer, and their strings live as long as `arguments`.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends the process at once: no destructors, no handlers of the parent's copy.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(code) }
}
