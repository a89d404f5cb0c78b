//! Pseudo terminals: a pair from a given devpts, its size, becoming the controlling terminal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

/// The two ends of one terminal.
#[derive(Debug)]
pub(crate) struct Pty {
    pub(crate) master: OwnedFd,
    pub(crate) terminal: OwnedFd,
}

/// A new terminal of the devpts that the opened `ptmx` belongs to. Its other end comes from the kernel, not from a path.
/// Anything but the multiplexer of a devpts is refused: the container may have put something else in its place.
pub(crate) fn open(ptmx: OwnedFd) -> io::Result<Pty> {
    const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
    let found = rustix::fs::fstat(&ptmx)?;
    let is_multiplexer = found.st_rdev == rustix::fs::makedev(5, 2)
        && rustix::fs::fstatfs(&ptmx)?.f_type == DEVPTS_SUPER_MAGIC;
    if !is_multiplexer {
        return Err(io::Error::other(
            "/dev/pts/ptmx is not a devpts multiplexer",
        ));
    }
    rustix::pty::unlockpt(&ptmx)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&ptmx, flags)?;
    Ok(Pty {
        master: ptmx,
        terminal,
    })
}

pub(crate) fn resize(pty: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(pty, size)?)
}

/// Makes this the controlling terminal of the session that the calling process leads.
pub(crate) fn control(terminal: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::process::ioctl_tiocsctty(terminal)?)
}

/// Makes the calling process's group the one in the foreground.
pub(crate) fn take_foreground(terminal: BorrowedFd<'_>) -> io::Result<()> {
    let group = rustix::process::getpgrp();
    Ok(rustix::termios::tcsetpgrp(terminal, group)?)
}
