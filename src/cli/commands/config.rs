//! `hoist config`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::Session;
use crate::ops::config::{self, Format, VariablesFormat, View};
use crate::ui::output;

/// Parse, resolve and render compose file in canonical format
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print environment used for interpolation
    #[arg(long)]
    pub(crate) environment: bool,
    /// Format the output. Values: [yaml | json]
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Print the service config hash, one per line
    #[arg(long, value_name = "SERVICES")]
    pub(crate) hash: Option<String>,
    /// Print the image names, one per line
    #[arg(long)]
    pub(crate) images: bool,
    /// Produces an override file with image digests
    #[arg(long)]
    pub(crate) lock_image_digests: bool,
    /// Print the model names, one per line
    #[arg(long)]
    pub(crate) models: bool,
    /// Print the network names, one per line
    #[arg(long)]
    pub(crate) networks: bool,
    /// Don't check model consistency - warning: may produce invalid Compose output
    #[arg(long)]
    pub(crate) no_consistency: bool,
    /// Don't resolve service env files
    #[arg(long)]
    pub(crate) no_env_resolution: bool,
    /// Don't interpolate environment variables
    #[arg(long)]
    pub(crate) no_interpolate: bool,
    /// Don't normalize compose model
    #[arg(long)]
    pub(crate) no_normalize: bool,
    /// Don't resolve file paths
    #[arg(long)]
    pub(crate) no_path_resolution: bool,
    /// Save to file (default to stdout)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
    /// Print the profile names, one per line
    #[arg(long)]
    pub(crate) profiles: bool,
    /// Only validate the configuration, don't print anything
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Pin image tags to digests
    #[arg(long)]
    pub(crate) resolve_image_digests: bool,
    /// Print the service names, one per line
    #[arg(long)]
    pub(crate) services: bool,
    /// Print model variables and default values
    #[arg(long)]
    pub(crate) variables: bool,
    /// Print the volume names, one per line
    #[arg(long)]
    pub(crate) volumes: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) service_names: Vec<String>,
}

/// Loads the project and prints the view that the flags ask for.
pub(crate) fn run(session: &Session, args: Args) -> Outcome {
    if args.resolve_image_digests || args.lock_image_digests {
        return Err(CliError::not_supported("config --resolve-image-digests"));
    }
    let view = view(&args)?;
    let mut load = session.load_options()?;
    load.interpolate = !args.no_interpolate;
    load.normalize = !(args.no_normalize || session.globals.compatibility);
    load.resolve_paths = !args.no_path_resolution;
    load.check_consistency = !args.no_consistency;
    let shown = config::run(config::ConfigOptions {
        load,
        view,
        services: args.service_names,
        all_resources: session.globals.all_resources,
        quiet: args.quiet,
        separator: if session.globals.compatibility {
            "_"
        } else {
            "-"
        },
    })
    .map_err(CliError::new)?;
    for warning in &shown.warnings {
        output::warning(&warning.message);
    }
    if args.quiet {
        return Ok(());
    }
    match args.output {
        Some(file) if !shown.text.is_empty() => std::fs::write(&file, shown.text)
            .map_err(|error| CliError::new(format!("open {file}: {error}"))),
        _ => {
            output::write(shown.text.as_bytes());
            Ok(())
        }
    }
}

fn view(args: &Args) -> Result<View, CliError> {
    let format = args.format.as_deref().unwrap_or_default();
    Ok(if args.services {
        View::Services
    } else if args.volumes {
        View::Volumes
    } else if args.networks {
        View::Networks
    } else if args.models {
        View::Models
    } else if let Some(services) = args.hash.clone().filter(|services| !services.is_empty()) {
        View::Hash(services)
    } else if args.profiles {
        View::Profiles
    } else if args.images {
        View::Images
    } else if args.variables {
        View::Variables(match format.to_ascii_lowercase().as_str() {
            "" | "table" | "pretty" => VariablesFormat::Table,
            "json" => VariablesFormat::Json,
            "yaml" => VariablesFormat::Yaml,
            other => {
                return Err(CliError::new(format!(
                    "format value {other:?} could not be parsed: use table, json or yaml"
                )));
            }
        })
    } else if args.environment {
        View::Environment
    } else {
        View::Whole(match format {
            "" | "yaml" => Format::Yaml,
            "json" => Format::Json,
            other => return Err(CliError::new(format!("unsupported format {other:?}"))),
        })
    })
}
