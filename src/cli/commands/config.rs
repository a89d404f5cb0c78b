//! `hoist config`: the command line of it.

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
