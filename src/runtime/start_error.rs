//! Why a process could not be started: the kind, which becomes an exit code, and Docker's text. It crosses from the
//! container's side to the shim, and on to the engine.

use std::io;

use serde::{Deserialize, Serialize};

/// Why a process could not be started, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartError {
    pub(crate) kind: StartErrorKind,
    pub(crate) message: String,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// A step of making the container failed.
    pub(crate) fn doing(what: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::other(format!("{what}: {}", plain(error)))
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        StartError {
            kind: StartErrorKind::Other,
            message: message.into(),
        }
    }

    /// The same error with a text in front.
    pub(crate) fn within(mut self, prefix: &str) -> Self {
        self.message.insert_str(0, prefix);
        self
    }

    /// The exit code that docker gives a container or exec which failed so.
    pub(crate) fn exit_code(&self) -> i32 {
        match self.kind {
            StartErrorKind::NotFound => 127,
            StartErrorKind::PermissionDenied => 126,
            StartErrorKind::Other => 128,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StartErrorKind {
    /// The command does not exist: exit code 127.
    NotFound,
    /// The command may not be executed: exit code 126.
    PermissionDenied,
    Other,
}

impl StartErrorKind {
    /// What Docker makes of an error of the kernel: 127, 126 or neither.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => StartErrorKind::NotFound,
            Some(libc::EACCES | libc::EPERM | libc::EISDIR | libc::ENOEXEC) => {
                StartErrorKind::PermissionDenied
            }
            _ => StartErrorKind::Other,
        }
    }
}

/// An error of the kernel in the words that Docker uses for it: small letters, no number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        Some(number) => rustix::io::Errno::from_raw_os_error(number).to_string(),
        None => return error.to_string(),
    };
    let bare = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = bare.chars();
    match letters.next() {
        // "I/O error" and the like keep their first word.
        Some(first) if bare.chars().nth(1).is_some_and(char::is_lowercase) => {
            first.to_lowercase().collect::<String>() + letters.as_str()
        }
        _ => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_in_docker() {
        let cases = [
            (libc::ENOENT, "no such file or directory"),
            (libc::EACCES, "permission denied"),
            (libc::ENOEXEC, "exec format error"),
            (libc::ENOTDIR, "not a directory"),
        ];
        for (number, expected) in cases {
            assert_eq!(plain(&io::Error::from_raw_os_error(number)), expected);
        }
    }
}
