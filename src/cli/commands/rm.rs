//! `hoist rm`: the command line of it.

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
