//! `hoist plan`: the command line of it.

/// Show what up would do, and why
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format the output. Values: [text | json]
    #[arg(long, default_value = "text")]
    pub(crate) format: String,
    /// Exit with 2 when there is something to do
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Plan as `up --force-recreate` would
    #[arg(long)]
    pub(crate) force_recreate: bool,
    /// Plan as `up --no-recreate` would
    #[arg(long)]
    pub(crate) no_recreate: bool,
    /// Plan as `up --remove-orphans` would
    #[arg(long)]
    pub(crate) remove_orphans: bool,
    /// Plan as `up --no-deps` would
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Scale SERVICE to NUM instances
    #[arg(long, value_name = "SERVICE=NUM")]
    pub(crate) scale: Vec<String>,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
