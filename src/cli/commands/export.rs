//! `hoist export`: the command line of it.

use std::io::Write as _;
use std::path::Path;

use futures_util::StreamExt as _;

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::ops::export;
use crate::ui::{output, terminal};

/// Export a service container's filesystem as a tar archive
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Index of the container if service has multiple replicas
    #[arg(long, default_value = "0")]
    pub(crate) index: u32,
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let [service] = args.service.as_slice() else {
        return Err(CliError::arguments(1, args.service.len()));
    };
    let target = args.output.as_deref().filter(|path| !path.is_empty());
    if target.is_none() && terminal::stdout_is_terminal() {
        return Err(CliError::new(
            "output option is required when exporting to terminal",
        ));
    }
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let container = export::container(&ctx, service, args.index).await?;
    if ctx.dry_run {
        return Ok(());
    }
    let mut archive = export::archive(&ctx.client, &container);
    let Some(target) = target else {
        while let Some(piece) = archive.next().await {
            output::write(&piece?);
            if output::stdout_is_broken() {
                break;
            }
        }
        return Ok(());
    };
    // Whole or not at all.
    let target = session.working_dir.join(target);
    let folder = target.parent().unwrap_or(Path::new("."));
    let failed = |error: std::io::Error| {
        CliError::new(format!(
            "failed to export container: {}: {error}",
            target.display()
        ))
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    while let Some(piece) = archive.next().await {
        file.write_all(&piece?).map_err(failed)?;
    }
    file.persist(&target).map_err(|error| failed(error.error))?;
    Ok(())
}
