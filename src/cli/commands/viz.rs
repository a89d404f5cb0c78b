//! `hoist viz`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::Session;
use crate::ops::viz::{self, VizOptions};
use crate::ui::output;

/// Generate a graphviz graph from your compose file
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Include service's image name in output graph
    #[arg(long)]
    pub(crate) image: bool,
    /// Number of tabs or spaces to use for indentation
    #[arg(long, default_value = "1")]
    pub(crate) indentation_size: i64,
    /// Include service's attached networks in output graph
    #[arg(long)]
    pub(crate) networks: bool,
    /// Include service's exposed ports in output graph
    #[arg(long)]
    pub(crate) ports: bool,
    /// If given, space character ' ' will be used to indent, otherwise tab character '\t' will be used
    #[arg(long)]
    pub(crate) spaces: bool,
}

const WIDEST_INDENTATION: usize = 64;

/// Runs the command.
pub(crate) fn run(session: &Session, args: &Args) -> Outcome {
    let width = usize::try_from(args.indentation_size).map_err(|_| {
        CliError::new(format!(
            "invalid indentation size: {}: must not be negative",
            args.indentation_size
        ))
    })?;
    let unit = if args.spaces { " " } else { "\t" };
    let loaded = session.load()?;
    let options = VizOptions {
        image: args.image,
        networks: args.networks,
        ports: args.ports,
        indentation: unit.repeat(width.min(WIDEST_INDENTATION)),
    };
    output::write(viz::run(&loaded.project, &options).as_bytes());
    Ok(())
}
