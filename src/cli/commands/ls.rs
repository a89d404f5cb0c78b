//! `hoist ls`: the command line of it, and how its rows look.

/// List running compose projects
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show all stopped Compose projects
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Filter output based on conditions provided
    #[arg(long, value_name = "name=REGEX")]
    pub(crate) filter: Vec<String>,
    /// Format the output. Values: [table | json]
    #[arg(long, default_value = "table")]
    pub(crate) format: String,
    /// Only display project names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
