//! `hoist check`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::Session;
use crate::ops::check;
use crate::ui::output;

/// Validate the project and give advice on it (exit code 1 when there is any)
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave out advice with this code; in a file: `# hoist: ignore[CODE]`
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub(crate) ignore: Vec<String>,
    /// Format the output. Values: [text | json]
    #[arg(long, default_value = "text")]
    pub(crate) format: String,
    /// Print the codes and what they mean
    #[arg(long)]
    pub(crate) list: bool,
    /// End with exit code 0 even when there is advice
    #[arg(long)]
    pub(crate) exit_zero: bool,
}

/// Loads, prints the advice.
pub(crate) fn run(session: &Session, args: &Args) -> Outcome {
    if args.list {
        for (code, meaning) in check::codes() {
            output::line(format!("{code:24}{meaning}"));
        }
        return Ok(());
    }
    let json = match args.format.as_str() {
        "text" => false,
        "json" => true,
        other => return Err(CliError::new(format!("unsupported format {other:?}"))),
    };
    check::check_codes(&args.ignore).map_err(CliError::new)?;
    let options = session.load_options()?;
    let checked = match check::run(&options, &args.ignore) {
        Ok(checked) => checked,
        Err(errors) if json => {
            output::line(errors.to_json().to_string());
            return Err(CliError::status(1));
        }
        Err(errors) => return Err(CliError::new(errors)),
    };
    if json {
        output::line(checked.json());
    } else if !checked.is_clean() {
        output::line(checked.text(output::stdout_is_coloured()));
        output::line(format!("\n{} found", checked.count()));
    }
    if checked.is_clean() || args.exit_zero {
        Ok(())
    } else {
        Err(CliError::status(1))
    }
}
