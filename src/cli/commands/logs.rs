//! `hoist logs`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::log_view::{self, LogView};
use crate::cli::session::{Display, Need, Session};
use crate::ops::logs::{self, LogsOptions};

/// View output from containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Follow log output
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Index of the container if service has multiple replicas
    #[arg(long, default_value = "0")]
    pub(crate) index: u32,
    /// Produce monochrome output
    #[arg(long)]
    pub(crate) no_color: bool,
    /// Don't print prefix in logs
    #[arg(long)]
    pub(crate) no_log_prefix: bool,
    /// Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Number of lines to show from the end of the logs for each container
    #[arg(short = 'n', long, default_value = "all", value_name = "LINES")]
    pub(crate) tail: String,
    /// Show timestamps
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    if args.index > 0 && args.services.len() != 1 {
        return Err(CliError::new("--index requires one service to be selected"));
    }
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    // The engine's times stand in front of the lines; none of ours.
    let style = log_view::style(args.no_color, args.no_log_prefix, false, false);
    let mut view = LogView::new(style);
    let options = LogsOptions {
        services: args.services,
        follow: args.follow,
        index: args.index,
        since: args.since,
        until: args.until,
        tail: args.tail,
        timestamps: args.timestamps,
    };
    Ok(logs::run(&ctx, &options, |event| view.show(event)).await?)
}
