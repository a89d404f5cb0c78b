//! `hoist push`: the command line of it.

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::ops::push::{self, PushOptions};

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

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let ctx = session
        .context(
            Need::Project,
            Display {
                quiet: args.quiet,
                ..Display::default()
            },
        )
        .await?;
    let options = PushOptions {
        services: args.services,
        include_deps: args.include_deps,
        ignore_failures: args.ignore_push_failures,
        quiet: args.quiet,
    };
    Ok(push::run(&ctx, &options).await?)
}
