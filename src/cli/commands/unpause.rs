//! `hoist unpause`: the command line of it.

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::ops::pause::{self, PauseAction};

/// Unpause services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    Ok(pause::run(&ctx, &args.services, PauseAction::Unpause).await?)
}
