//! `hoist kill`: the command line of it.

/// Force stop service containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove containers for services not defined in the Compose file
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::go_bool)]
    pub(crate) remove_orphans: Option<bool>,
    /// SIGNAL to send to the container
    #[arg(short, long, default_value = "SIGKILL")]
    pub(crate) signal: String,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
