//! `hoist pause` and `hoist unpause`: the command lines of them.

/// Pause services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
