//! `hoist commit`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::client::images::CommitOptions;
use crate::ops::commit;

/// Create a new image from a service container's changes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long)]
    pub(crate) author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// Index of the container if service has multiple replicas
    #[arg(long, default_value = "0")]
    pub(crate) index: u32,
    /// Commit message
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    /// Pause container during commit
    #[arg(short, long, default_value = "true")]
    pub(crate) pause: bool,
    /// SERVICE [REPOSITORY[:TAG]]
    #[arg(value_name = "SERVICE [REPOSITORY[:TAG]")]
    pub(crate) arguments: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let (service, reference) = match args.arguments.as_slice() {
        [service] => (service, String::new()),
        [service, reference] => (service, reference.clone()),
        others => return Err(CliError::arguments(1, others.len())),
    };
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let options = CommitOptions {
        reference,
        author: args.author,
        message: args.message,
        changes: args.change,
        pause: args.pause,
    };
    commit::run(&ctx, service, args.index, &options).await?;
    Ok(())
}
