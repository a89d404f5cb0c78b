//! `hoist pull`: the command line of it.

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::ops::pull::{self, PullOptions};
use crate::ui::output;

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

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    if !args.parallel || !args.no_parallel {
        output::warning(
            "options '--parallel' and '--no-parallel' are DEPRECATED and will be ignored",
        );
    }
    let ctx = session
        .context(
            Need::Project,
            Display {
                quiet: args.quiet,
                ..Display::default()
            },
        )
        .await?;
    let options = PullOptions {
        services: args.services,
        include_deps: args.include_deps,
        policy: args.policy,
        ignore_buildable: args.ignore_buildable,
        ignore_failures: args.ignore_pull_failures,
        quiet: args.quiet,
    };
    Ok(pull::run(&ctx, &options).await?)
}
