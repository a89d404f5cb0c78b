//! `hoist completion`: prints the script that a shell sources. The words come from `cli::complete`.

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// bash, zsh or fish
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    pub(crate) shell: String,
}
