//! `hoist generate`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::Session;
use crate::compose::render;
use crate::ops::generate;
use crate::ui::output;

/// Generate a Compose file from existing containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format the output. Values: [yaml | json]
    #[arg(long, default_value = "yaml")]
    pub(crate) format: String,
    /// Project name to set in the Compose file
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Directory to use for the project
    #[arg(long, value_name = "DIR")]
    pub(crate) project_dir: Option<String>,
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    if args.containers.is_empty() {
        return Err(CliError::arguments(1, 0));
    }
    output::error_line("generate command is EXPERIMENTAL");
    let directory = args.project_dir.as_ref().map_or_else(
        || session.working_dir.clone(),
        |folder| session.working_dir.join(folder),
    );
    let name = args.name.clone().unwrap_or_else(|| {
        directory
            .file_name()
            .map(|name| name.to_string_lossy().to_lowercase())
            .unwrap_or_default()
    });
    let client = session.client().await?;
    let project = generate::run(&client, &args.containers, &name).await?;
    let text = match args.format.as_str() {
        "yaml" | "" => render::yaml(&project),
        "json" => render::json(&project),
        other => return Err(CliError::new(format!("unsupported format {other:?}"))),
    };
    output::write(text.as_bytes());
    Ok(())
}
