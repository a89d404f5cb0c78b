//! Signals to this process: an interrupt ends most commands with exit code 130, after their destructors
//! have run.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::error::CliError;

/// Runs until done or interrupted.
///
/// # Errors
/// What the future ends with; canceled, when a signal came first.
pub(crate) async fn until_interrupted<T>(
    future: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let mut interrupts = Interrupts::new()?;
    tokio::select! {
        result = future => result,
        () = interrupts.next() => Err(CliError::canceled()),
    }
}

/// SIGINT and SIGTERM, as they come.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// From now on the signals do not kill this process.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn new() -> Result<Self, CliError> {
        Ok(Interrupts {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Listens to one signal.
///
/// # Errors
/// The system refuses.
pub(crate) fn listen(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|error| CliError::new(format!("signal handler: {error}")))
}
