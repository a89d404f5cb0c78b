//! `hoist alpha`: older names of commands, and the experimental ones.

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
