//! `hoist scale`: the command line of it.

/// Scale services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Don't start linked services
    #[arg(long)]
    pub(crate) no_deps: bool,
    #[arg(value_name = "SERVICE=REPLICAS")]
    pub(crate) replicas: Vec<String>,
}
