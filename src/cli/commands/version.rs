//! `hoist version`: the command line of it, and what it prints.

/// Show the version information
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format the output. Values: [pretty | json]
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// Shows only the version number
    #[arg(long)]
    pub(crate) short: bool,
}
