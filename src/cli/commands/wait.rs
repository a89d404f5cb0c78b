//! `hoist wait`: the command line of it.

/// Block until containers of all (or specified) services stop
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Drops project when the first container stops
    #[arg(long)]
    pub(crate) down_project: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
