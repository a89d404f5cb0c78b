//! `hoist publish`: the command line of it.

use crate::cli::error::{CliError, Outcome};

/// Publish compose application
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Published compose application (includes referenced images)
    #[arg(long)]
    pub(crate) app: bool,
    #[arg(long, hide = true)]
    pub(crate) insecure_registry: bool,
    /// OCI image/artifact specification version (automatically determined by default)
    #[arg(long, value_name = "VERSION")]
    pub(crate) oci_version: Option<String>,
    /// Pin image tags to digests
    #[arg(long)]
    pub(crate) resolve_image_digests: bool,
    /// Include environment variables in the published OCI artifact
    #[arg(long)]
    pub(crate) with_env: bool,
    /// Assume "yes" as answer to all prompts
    #[arg(short, long, alias = "y")]
    pub(crate) yes: bool,
    /// REPOSITORY[:TAG]
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) repository: Vec<String>,
}

/// Says that it is not there.
pub(crate) fn run(args: &Args) -> Outcome {
    if args.repository.is_empty() {
        return Err(CliError::arguments(1, 0));
    }
    Err(CliError::not_supported("publish"))
}
