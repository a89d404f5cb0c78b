//! hoist: runs Compose files with a container engine of its own.

pub(crate) mod compose;
pub(crate) mod engine;
pub(crate) mod units;

use std::process::ExitCode;

/// Picks the role of this process (cli, engine, shim) and runs it.
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
