//! `hoist kill`: the command line of it.

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::ops::kill::{self, KillOptions};

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

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let remove_orphans = args.remove_orphans.unwrap_or_else(|| {
        session.switch("COMPOSE_REMOVE_ORPHANS", ctx.loaded.as_deref()) == Some(true)
    });
    let options = KillOptions {
        services: args.services,
        signal: args.signal,
        remove_orphans,
    };
    Ok(kill::run(&ctx, &options).await?)
}
