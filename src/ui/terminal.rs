//! The user's terminal: raw mode for a session, single keys for the menu, its size. Whatever ends the
//! process, the terminal gets its mode back: on drop, and from the panic hook.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, PoisonError};

use crate::sys::terminal::{self, SavedMode};

static SAVED: Mutex<Option<SavedMode>> = Mutex::new(None);

/// While it lives, stdin is in another mode.
#[derive(Debug)]
pub(crate) struct ModeGuard(());

impl Drop for ModeGuard {
    fn drop(&mut self) {
        restore();
    }
}

/// Raw mode on stdin: every key goes to the container.
///
/// # Errors
/// stdin is no terminal.
pub(crate) fn raw() -> io::Result<ModeGuard> {
    keep(terminal::enter_raw(io::stdin())?)
}

/// Keys without echo and line editing; Ctrl-C still interrupts.
///
/// # Errors
/// stdin is no terminal.
pub(crate) fn keys() -> io::Result<ModeGuard> {
    keep(terminal::enter_keys(io::stdin())?)
}

fn keep(saved: SavedMode) -> io::Result<ModeGuard> {
    let mut slot = SAVED.lock().unwrap_or_else(PoisonError::into_inner);
    // A nested mode gives back what the outermost one found.
    slot.get_or_insert(saved);
    Ok(ModeGuard(()))
}

/// Gives the terminal the mode back that it had at first. Safe to call at any time.
pub(crate) fn restore() {
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(saved) = saved {
        terminal::restore(io::stdin(), &saved);
    }
}

/// Rows and columns of the terminal on stdout or stderr.
pub(crate) fn size() -> Option<(u16, u16)> {
    terminal::size(io::stdout()).or_else(|| terminal::size(io::stderr()))
}

pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}
