//! `hoist restart`: the command line of it.

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::ops::restart::{self, RestartOptions};

/// Restart service containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Don't restart dependent services
    #[arg(long)]
    pub(crate) no_deps: bool,
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
    let options = RestartOptions {
        services: args.services,
        no_deps: args.no_deps,
        timeout: super::timeout(args.timeout),
    };
    Ok(restart::run(&ctx, &options).await?)
}
