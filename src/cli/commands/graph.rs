//! `hoist graph`: the command line of it.

/// Show the dependency graph with conditions, networks, ports and live state
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format the output. Values: [text | mermaid | dot | svg]
    #[arg(long, default_value = "text")]
    pub(crate) format: String,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
