//! `hoist volumes`: the command line of it, and how its rows look.

/// List volumes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format output: table, "table TEMPLATE", json, or a Go template
    #[arg(long, default_value = "table")]
    pub(crate) format: String,
    /// Only display volume names
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
