//! `hoist top`: the command line of it, and how its rows look.

/// Display the running processes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
