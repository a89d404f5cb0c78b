//! `hoist pull`: the command line of it.

/// Pull service images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ignore images that can be built
    #[arg(long)]
    pub(crate) ignore_buildable: bool,
    /// Pull what it can and ignores images with pull failures
    #[arg(long)]
    pub(crate) ignore_pull_failures: bool,
    /// Also pull services declared as dependencies
    #[arg(long)]
    pub(crate) include_deps: bool,
    #[arg(long, default_value = "true", hide = true)]
    pub(crate) no_parallel: bool,
    #[arg(long, default_value = "true", hide = true)]
    pub(crate) parallel: bool,
    /// Apply pull policy ("missing"|"always")
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Pull without printing progress information
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
