//! `hoist images`: the command line of it, and how its rows look.

/// List images used by the created containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format the output. Values: [table | json]
    #[arg(long, default_value = "table")]
    pub(crate) format: String,
    /// Only display IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
