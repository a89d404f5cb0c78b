//! `hoist create`: the command line of it.

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::ops::create::{self, CreateOptions};
use crate::ops::ensure_images::ImageChoices;

/// Creates containers for a service
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build images before starting containers
    #[arg(long)]
    pub(crate) build: bool,
    /// Recreate containers even if their configuration and image haven't changed
    #[arg(long)]
    pub(crate) force_recreate: bool,
    /// Don't build an image, even if it's policy
    #[arg(long)]
    pub(crate) no_build: bool,
    /// If containers already exist, don't recreate them. Incompatible with --force-recreate
    #[arg(long)]
    pub(crate) no_recreate: bool,
    /// Pull image before running ("always"|"missing"|"never"|"build")
    #[arg(long, value_name = "POLICY", default_value = "policy")]
    pub(crate) pull: String,
    /// Pull without printing progress information
    #[arg(long)]
    pub(crate) quiet_pull: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    pub(crate) remove_orphans: bool,
    /// Scale SERVICE to NUM instances. Overrides the `scale` setting in the Compose file if present
    #[arg(long, value_name = "SERVICE=NUM")]
    pub(crate) scale: Vec<String>,
    /// Assume "yes" as answer to all prompts and run non-interactively
    #[arg(short, long, alias = "y")]
    pub(crate) yes: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let display = Display {
        yes: args.yes,
        ..Display::default()
    };
    let ctx = session.context(Need::Project, display).await?;
    let options = CreateOptions {
        services: args.services,
        force_recreate: args.force_recreate,
        no_recreate: args.no_recreate,
        remove_orphans: args.remove_orphans,
        scale: args.scale,
        images: ImageChoices {
            build: args.build,
            no_build: args.no_build,
            pull: super::pull_policy(&args.pull)?,
            quiet_pull: args.quiet_pull,
            quiet_build: false,
        },
    };
    Ok(create::run(&ctx, &options).await?)
}
