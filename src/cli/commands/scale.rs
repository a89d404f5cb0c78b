//! `hoist scale`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::ops::scale::{self, ScaleOptions};

/// Scale services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Don't start linked services
    #[arg(long)]
    pub(crate) no_deps: bool,
    #[arg(value_name = "SERVICE=REPLICAS")]
    pub(crate) replicas: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    if args.replicas.is_empty() {
        return Err(CliError::arguments(1, 0));
    }
    for specifier in &args.replicas {
        let Some((_, number)) = specifier.split_once('=') else {
            return Err(CliError::new(format!(
                "invalid scale specifier: {specifier}"
            )));
        };
        if number.parse::<u32>().is_err() {
            return Err(CliError::new(format!(
                "invalid scale specifier: can't parse replica value as int: {specifier}"
            )));
        }
    }
    let ctx = session.context(Need::Project, Display::default()).await?;
    let options = ScaleOptions {
        replicas: args.replicas,
        no_deps: args.no_deps,
    };
    Ok(scale::run(&ctx, &options).await?)
}
