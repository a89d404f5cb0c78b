//! `hoist alpha`: older names of commands, and the experimental ones.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::Session;

use crate::cli::commands::{generate, publish, viz};

/// Experimental commands
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Generate(generate::Args),
    Publish(publish::Args),
    Viz(viz::Args),
}

/// Runs the command that the older name means.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    match args.command {
        Some(Command::Generate(args)) => generate::run(session, args).await,
        Some(Command::Publish(args)) => publish::run(&args),
        Some(Command::Viz(args)) => viz::run(session, &args),
        None => Err(CliError::new(
            "alpha needs a command: generate, publish or viz",
        )),
    }
}
