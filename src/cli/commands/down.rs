//! `hoist down`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::ops::Context;
use crate::ops::down::{self, DownOptions};

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

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let images = args
        .rmi
        .as_deref()
        .filter(|which| !which.is_empty())
        .map(down::parse_images)
        .transpose()?;
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let remove_orphans = args.remove_orphans.unwrap_or_else(|| {
        session.switch("COMPOSE_REMOVE_ORPHANS", ctx.loaded.as_deref()) == Some(true)
    });
    let options = DownOptions {
        services: args.services,
        timeout: super::timeout(args.timeout),
        volumes: args.volumes,
        images,
        remove_orphans,
    };
    Ok(down::run(&ctx, &options).await?)
}

/// `down --remove-orphans` at the end of another command.
pub(crate) async fn project(ctx: &Context) -> Result<(), CliError> {
    let options = DownOptions {
        services: Vec::new(),
        timeout: None,
        volumes: false,
        images: None,
        remove_orphans: true,
    };
    Ok(down::run(ctx, &options).await?)
}
