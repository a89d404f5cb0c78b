//! `hoist stop`: the command line of it.

/// Stop services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) timeout: Option<i64>,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
