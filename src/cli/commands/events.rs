//! `hoist events`: the command line of it.

/// Receive real time events from containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Output events as a stream of json objects
    #[arg(long)]
    pub(crate) json: bool,
    /// Show all events created since timestamp
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
