//! `hoist stop`: the command line of it.

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::ops::stop::{self, StopOptions};

/// Stop services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) timeout: Option<i64>,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let options = StopOptions {
        services: args.services,
        timeout: super::timeout(args.timeout),
    };
    Ok(stop::run(&ctx, &options).await?)
}
