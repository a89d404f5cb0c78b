//! `hoist export`: the command line of it.

/// Export a service container's filesystem as a tar archive
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Index of the container if service has multiple replicas
    #[arg(long, default_value = "0")]
    pub(crate) index: u32,
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Vec<String>,
}
