//! `hoist watch`: the command line of it.

/// Watch build context for service and rebuild/refresh containers when files are updated
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not build & start services before watching
    #[arg(long)]
    pub(crate) no_up: bool,
    /// Prune dangling images on rebuild
    #[arg(long, default_value = "true")]
    pub(crate) prune: bool,
    /// hide build output
    #[arg(long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
