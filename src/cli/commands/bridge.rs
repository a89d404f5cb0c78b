//! `hoist bridge`: the command line of it. The transformers are images of Docker Desktop's makers.

use crate::cli::error::{CliError, Outcome};

/// Convert compose files into another model
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Convert compose files to Kubernetes manifests, Helm charts, or another model
    Convert(ConvertArgs),
    /// Manage transformation images
    Transformations(TransformationsArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConvertArgs {
    /// The output directory for the Kubernetes resources
    #[arg(short, long, default_value = "out", value_name = "DIR")]
    pub(crate) output: String,
    /// Directory containing transformation templates
    #[arg(long, value_name = "DIR")]
    pub(crate) templates: Option<String>,
    /// Transformation to apply to compose model (default: docker/compose-bridge-kubernetes)
    #[arg(short, long, value_name = "IMAGE")]
    pub(crate) transformation: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TransformationsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<TransformationsCommand>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum TransformationsCommand {
    /// Create a new transformation
    Create(CreateArgs),
    /// List available transformations
    #[command(alias = "ls")]
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Existing transformation to copy (default: docker/compose-bridge-kubernetes)
    #[arg(short, long, value_name = "IMAGE")]
    pub(crate) from: Option<String>,
    #[arg(value_name = "PATH")]
    pub(crate) path: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Format the output. Values: [table | json]
    #[arg(long, default_value = "table")]
    pub(crate) format: String,
    /// Only display transformer names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Names the way out.
pub(crate) fn run(args: &Args) -> Outcome {
    let name = match &args.command {
        None => "bridge",
        Some(Command::Convert(_)) => "bridge convert",
        Some(Command::Transformations(_)) => "bridge transformations",
    };
    Err(CliError::not_supported(name)
        .hint("its transformers belong to Docker Desktop: run `docker compose bridge` with Docker"))
}
