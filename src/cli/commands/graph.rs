//! `hoist graph`: the command line of it.

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::ops::graph::{self, Format};
use crate::ui::output;

/// Show the dependency graph with conditions, networks, ports and live state
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format the output. Values: [text | mermaid | dot | svg]
    #[arg(long, default_value = "text")]
    pub(crate) format: String,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let format = Format::parse(&args.format)?;
    let ctx = session.context(Need::Project, Display::default()).await?;
    output::write(graph::run(&ctx, &args.services, format).await?.as_bytes());
    Ok(())
}
