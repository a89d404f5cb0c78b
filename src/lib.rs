//! hoist: runs Compose files with a container engine of its own.
//!
#![doc = include_str!("ARCHITECTURE.md")]

pub(crate) mod apply;
pub(crate) mod cli;
pub(crate) mod client;
pub(crate) mod compose;
pub(crate) mod engine;
pub(crate) mod graph;
pub(crate) mod labels;
pub(crate) mod oci;
pub(crate) mod ops;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod runtime;
pub(crate) mod shim;
pub(crate) mod sys;
pub(crate) mod ui;
pub(crate) mod units;
pub(crate) mod watch;

use std::process::ExitCode;

/// Picks the role of this process (cli, engine, shim) and runs it.
pub fn run() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if shim::is_asked_for(&arguments) {
        return shim::zygote::main();
    }
    let first = arguments.get(1);
    if first.is_some_and(|argument| argument == "engine-daemon") {
        return engine::daemon::main(engine::daemon::paths_from_environment());
    }
    cli::main(arguments)
}
