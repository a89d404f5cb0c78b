//! `hoist plan`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::ops::ensure_images::ImageChoices;
use crate::ops::plan;
use crate::ops::up::UpOptions;
use crate::ui::output;

/// Show what up would do, and why
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format the output. Values: [text | json]
    #[arg(long, default_value = "text")]
    pub(crate) format: String,
    /// Exit with 2 when there is something to do
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Plan as `up --force-recreate` would
    #[arg(long)]
    pub(crate) force_recreate: bool,
    /// Plan as `up --no-recreate` would
    #[arg(long)]
    pub(crate) no_recreate: bool,
    /// Plan as `up --remove-orphans` would
    #[arg(long)]
    pub(crate) remove_orphans: bool,
    /// Plan as `up --no-deps` would
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Scale SERVICE to NUM instances
    #[arg(long, value_name = "SERVICE=NUM")]
    pub(crate) scale: Vec<String>,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// The exit code of `--detailed-exitcode` when there is something to do.
const EXIT_CHANGES: u8 = 2;

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    if !matches!(args.format.as_str(), "text" | "json") {
        return Err(CliError::new(format!(
            "unknown format {:?}: use text or json",
            args.format
        )));
    }
    let ctx = session.context(Need::Project, Display::default()).await?;
    let options = UpOptions {
        no_deps: args.no_deps,
        force_recreate: args.force_recreate,
        no_recreate: args.no_recreate,
        remove_orphans: args.remove_orphans,
        scale: args.scale,
        ..UpOptions::plain(args.services, ImageChoices::default())
    };
    let planned = plan::run(&ctx, &options).await?;
    if args.format == "json" {
        let text = serde_json::to_string_pretty(&plan::to_json(&planned)).map_err(CliError::new)?;
        output::line(text);
    } else {
        output::write(plan::text(&planned).as_bytes());
    }
    if args.detailed_exitcode && planned.changes_anything() {
        return Err(CliError::status(EXIT_CHANGES));
    }
    Ok(())
}
