//! What a new process tells its parent before it becomes the user's program: its terminal, an error, or nothing, in which
//! case the closing of the channel by exec means success.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use crate::runtime::start_error::StartError;
use crate::sys::fds;

/// The child's end.
#[derive(Debug)]
pub(crate) struct Reporter {
    socket: OwnedFd,
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
}

pub(crate) fn pair() -> io::Result<(Listener, Reporter)> {
    let (ours, theirs) = fds::message_pair()?;
    Ok((Listener { socket: ours }, Reporter { socket: theirs }))
}

impl Reporter {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Hands the master side of the container's terminal over.
    pub(crate) fn send_terminal(&self, master: BorrowedFd<'_>) -> io::Result<()> {
        fds::send_fd(self.socket.as_fd(), master)
    }

    pub(crate) fn send_error(&self, error: &StartError) {
        let text = serde_json::to_vec(error).unwrap_or_default();
        // When nobody listens any more, nobody needs to know.
        let _ = fds::send_message(self.socket.as_fd(), &text);
    }

    /// Whether the parent still holds its end.
    pub(crate) fn parent_is_there(&self) -> bool {
        let mut watched = [rustix::event::PollFd::new(
            &self.socket,
            rustix::event::PollFlags::HUP,
        )];
        let now = rustix::event::Timespec::default();
        matches!(rustix::event::poll(&mut watched, Some(&now)), Ok(0))
    }
}

impl Listener {
    /// Waits until the child has become the program, or says why not. The terminal's master side, if there is one.
    pub(crate) fn wait(&self) -> Result<Option<OwnedFd>, StartError> {
        let mut terminal = None;
        loop {
            let received = fds::receive_message(self.socket.as_fd())
                .map_err(|error| StartError::doing("waiting for init", &error))?;
            match received {
                None => return Ok(terminal),
                Some((_, Some(fd))) => terminal = Some(fd),
                Some((text, None)) => {
                    return Err(serde_json::from_slice(&text).unwrap_or_else(|_| {
                        StartError::other(String::from_utf8_lossy(&text).into_owned())
                    }));
                }
            }
        }
    }
}
