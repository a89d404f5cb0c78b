//! `hoist completion`: prints the script that a shell sources. The words come from `cli::complete`.

use crate::cli::complete;
use crate::cli::error::Outcome;

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// bash, zsh or fish
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    pub(crate) shell: String,
}

/// Prints the script.
pub(crate) fn run(args: &Args) -> Outcome {
    complete::print_script(&args.shell)
}
