//! `hoist down`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::Session;
use crate::ops::Context;

/// Stop and remove containers, networks
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove containers for services not defined in the Compose file
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::go_bool)]
    pub(crate) remove_orphans: Option<bool>,
    /// Remove images used by services. "local" remove only images that don't have a custom tag ("local"|"all")
    #[arg(long, value_name = "WHICH")]
    pub(crate) rmi: Option<String>,
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) timeout: Option<i64>,
    /// Remove named volumes declared in the "volumes" section of the Compose file and anonymous volumes attached to containers
    #[arg(short, long, alias = "volume")]
    pub(crate) volumes: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// `down --remove-orphans` at the end of another command.
pub(crate) async fn project(session: &Session, ctx: &Context) -> Outcome {
    let _ = (session, ctx);
    Err(CliError::not_supported("--down-project"))
}
