//! `hoist push`: the command line of it.

/// Push service images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Push what it can and ignores images with push failures
    #[arg(long)]
    pub(crate) ignore_push_failures: bool,
    /// Also push images of services declared as dependencies
    #[arg(long)]
    pub(crate) include_deps: bool,
    /// Push without printing progress information
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
