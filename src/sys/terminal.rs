//! The terminal of a client: raw mode, its size. Not the ptys of containers (that is `sys::pty`).

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The settings that a terminal had, to be given back.
#[derive(Debug, Clone)]
pub(crate) struct SavedMode(Termios);

/// Switches to raw mode: no echo, no line editing, no signals from keys.
///
/// # Errors
/// `fd` is no terminal.
pub(crate) fn enter_raw(fd: impl AsFd) -> io::Result<SavedMode> {
    let before = tcgetattr(&fd)?;
    let mut raw = before.clone();
    raw.make_raw();
    tcsetattr(&fd, OptionalActions::Now, &raw)?;
    Ok(SavedMode(before))
}

/// Switches echo and line editing off but leaves output and signals as they are: for single keys.
///
/// # Errors
/// `fd` is no terminal.
pub(crate) fn enter_keys(fd: impl AsFd) -> io::Result<SavedMode> {
    use rustix::termios::LocalModes;
    let before = tcgetattr(&fd)?;
    let mut keys = before.clone();
    keys.local_modes
        .remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(&fd, OptionalActions::Now, &keys)?;
    Ok(SavedMode(before))
}

/// Gives the earlier settings back.
pub(crate) fn restore(fd: impl AsFd, saved: &SavedMode) {
    // The terminal may be gone; then there is nothing to restore.
    let _ = tcsetattr(fd, OptionalActions::Now, &saved.0);
}

/// Rows and columns; `None` when `fd` is no terminal or says 0.
pub(crate) fn size(fd: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(fd).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
