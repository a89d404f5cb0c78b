//! `hoist unpause`: the command line of it.

/// Unpause services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
