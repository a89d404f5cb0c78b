//! `hoist generate`: the command line of it.

/// Generate a Compose file from existing containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format the output. Values: [yaml | json]
    #[arg(long, default_value = "yaml")]
    pub(crate) format: String,
    /// Project name to set in the Compose file
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Directory to use for the project
    #[arg(long, value_name = "DIR")]
    pub(crate) project_dir: Option<String>,
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}
