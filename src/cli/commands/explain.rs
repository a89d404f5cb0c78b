//! `hoist explain`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::Session;
use crate::ops::explain;
use crate::ui::output;

/// Show where the value of a variable or a field comes from
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A variable (`TAG`) or a field (`services.web.image`)
    #[arg(value_name = "VARIABLE|FIELD")]
    pub(crate) name: String,
    /// Format the output. Values: [text | json]
    #[arg(long, default_value = "text")]
    pub(crate) format: String,
}

/// Loads, prints the layers.
pub(crate) fn run(session: &Session, args: &Args) -> Outcome {
    let options = session.load_options()?;
    let explanation = explain::run(&options, &args.name).map_err(CliError::new)?;
    match args.format.as_str() {
        "text" => output::write(explain::text(&explanation).as_bytes()),
        "json" => output::line(explain::json(&explanation)),
        other => return Err(CliError::new(format!("unsupported format {other:?}"))),
    }
    Ok(())
}
