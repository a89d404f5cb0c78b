//! Namespaces: entered by descriptor, left behind, pinned. The process that calls must have one thread, or be a thread
//! that ends afterwards.
#![expect(
    unsafe_code,
    reason = "setns(2), unshare(2) and keyctl(2) act on the calling thread, as wanted here"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

/// Joins the namespaces of `kinds` (`CLONE_NEW…`) that `fd` stands for: one namespace, or a process (pidfd).
pub(crate) fn enter(fd: BorrowedFd<'_>, kinds: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    if unsafe { libc::setns(fd.as_raw_fd(), kinds) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Leaves these namespaces for new ones.
pub(crate) fn leave(kinds: i32) -> io::Result<()> {
    // SAFETY: plain numbers; no memory is shared differently afterwards.
    if unsafe { libc::unshare(kinds) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A namespace by its path: a pin, or `/proc/<pid>/ns/<kind>`.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    let file = File::open(path).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("namespace {}: {error}", path.display()),
        )
    })?;
    Ok(file.into())
}

/// An own session keyring: the container must not see that of the engine's user.
pub(crate) fn join_new_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    let anonymous: *const libc::c_char = std::ptr::null();
    // SAFETY: a null name is allowed and asks for an anonymous keyring.
    let done = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
    match done {
        ..0 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
            error => Err(error),
        },
        _ => Ok(()),
    }
}
