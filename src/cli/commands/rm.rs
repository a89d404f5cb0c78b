//! `hoist rm`: the command line of it.

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::ops::rm::{self, RmOptions};

/// Removes stopped service containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(short, long, hide = true)]
    pub(crate) all: bool,
    /// Don't ask to confirm removal
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Stop the containers, if required, before removing
    #[arg(short, long)]
    pub(crate) stop: bool,
    /// Remove any anonymous volumes attached to containers
    #[arg(short, long)]
    pub(crate) volumes: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let options = RmOptions {
        services: args.services,
        force: args.force,
        stop: args.stop,
        volumes: args.volumes,
    };
    Ok(rm::run(&ctx, &options).await?)
}
