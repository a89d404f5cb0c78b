//! The loop of a shim: requests, exits of children, streams.

use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// The life of one shim, from its first request to its release.
pub(crate) fn main(_connection: UnixStream) -> ExitCode {
    ExitCode::FAILURE
}
