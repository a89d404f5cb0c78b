//! `hoist start`: the command line of it.

use std::time::Duration;

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::ops::start::{self, StartOptions};

/// Start services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Wait for services to be running|healthy. Implies detached mode
    #[arg(long)]
    pub(crate) wait: bool,
    /// Maximum duration in seconds to wait for the project to be running|healthy
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    pub(crate) wait_timeout: i64,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let options = StartOptions {
        services: args.services,
        wait: args.wait,
        wait_timeout: wait_timeout(args.wait_timeout)?,
    };
    Ok(start::run(&ctx, &options).await?)
}

/// `--wait-timeout`: 0 means no limit.
///
/// # Errors
/// A negative number.
pub(crate) fn wait_timeout(seconds: i64) -> Result<Option<Duration>, CliError> {
    match u64::try_from(seconds) {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
        Err(_) => Err(CliError::new(
            "--wait-timeout must be a non-negative integer",
        )),
    }
}
