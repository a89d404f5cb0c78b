//! `hoist start`: the command line of it.

/// Start services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Wait for services to be running|healthy. Implies detached mode
    #[arg(long)]
    pub(crate) wait: bool,
    /// Maximum duration in seconds to wait for the project to be running|healthy
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    pub(crate) wait_timeout: i64,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
