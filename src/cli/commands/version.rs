//! `hoist version`: the command line of it, and what it prints.

use crate::cli::error::{CliError, Outcome};
use crate::ui::output;

/// Show the version information
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format the output. Values: [pretty | json]
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// Shows only the version number
    #[arg(long)]
    pub(crate) short: bool,
}

/// Prints the version. The first words are those that scripts look for.
pub(crate) fn run(args: &Args) -> Outcome {
    let number = env!("CARGO_PKG_VERSION");
    if args.short {
        output::line(number);
        return Ok(());
    }
    match args.format.as_deref() {
        None | Some("" | "pretty") => {
            output::line(format!("Docker Compose version v{number} (hoist)"))
        }
        Some("json") => {
            output::line(serde_json::json!({"version": format!("v{number}")}).to_string());
        }
        Some(other) => {
            return Err(CliError::new(format!(
                "format value {other:?} could not be parsed: use pretty or json"
            )));
        }
    }
    Ok(())
}
