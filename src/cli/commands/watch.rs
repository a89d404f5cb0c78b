//! `hoist watch`: the command line of it.

use std::sync::Arc;

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::ops::ensure_images::ImageChoices;
use crate::ops::up::{self, UpOptions};
use crate::ui::output;
use crate::watch::{self, WatchOptions};

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

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let ctx = session.context(Need::Project, Display::default()).await?;
    if ctx.dry_run {
        return Err(CliError::new("watch is not available in dry-run mode"));
    }
    if !watch::is_configured(&ctx, &args.services) {
        return Err(CliError::new(
            "none of the selected services is configured for watch, consider setting a 'develop' section",
        ));
    }
    if !args.no_up {
        let images = ImageChoices {
            build: true,
            quiet_build: args.quiet,
            ..ImageChoices::default()
        };
        let options = UpOptions::plain(args.services.clone(), images);
        up::run(&ctx, &options).await?;
    }
    let options = WatchOptions {
        services: args.services,
        prune: args.prune,
        quiet: args.quiet,
    };
    let note = Arc::new(|text: &str| output::status_line(note_line(text)));
    Ok(watch::run(&ctx, &options, note).await?)
}

/// A line of the watch between other output.
pub(crate) fn note_line(text: &str) -> String {
    format!(" \u{29bf} {text}")
}
