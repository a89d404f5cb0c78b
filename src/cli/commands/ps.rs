//! `hoist ps`: the command line of it, and how its rows look.

/// List containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show all stopped containers (including those created by the run command)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Filter services by a property (supported filters: status)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Option<String>,
    /// Format output: table, "table TEMPLATE", json, or a Go template
    #[arg(long, default_value = "table")]
    pub(crate) format: String,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Include orphaned services (not declared by project)
    #[arg(long, default_value = "true")]
    pub(crate) orphans: bool,
    /// Only display IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Display services
    #[arg(long)]
    pub(crate) services: bool,
    /// Filter services by status. Values: [paused | restarting | removing | running | dead | created | exited]
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Vec<String>,
    #[arg(value_name = "SERVICE")]
    pub(crate) service_names: Vec<String>,
}
