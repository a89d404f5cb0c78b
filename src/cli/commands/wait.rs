//! `hoist wait`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::ops::wait;
use crate::ui::output;

/// Block until containers of all (or specified) services stop
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Drops project when the first container stops
    #[arg(long)]
    pub(crate) down_project: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    if args.services.is_empty() {
        return Err(CliError::new(format!(
            "'{} wait' requires at least 1 argument",
            session.program
        )));
    }
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let down = args.down_project;
    let code = wait::run(&ctx, &args.services, |stopped| {
        output::line(format!(
            "container \"{}\" exited with status code {}",
            stopped.id, stopped.code
        ));
        down
    })
    .await?;
    if down {
        super::down::project(&ctx).await?;
    }
    CliError::from_process(code)
}
