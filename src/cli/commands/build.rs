//! `hoist build`: the command line of it.

/// Build or rebuild services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Set build-time variables for services
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) build_arg: Vec<String>,
    /// Set builder to use
    #[arg(long)]
    pub(crate) builder: Option<String>,
    /// Check build configuration
    #[arg(long)]
    pub(crate) check: bool,
    /// Set memory limit for the build container
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<String>,
    /// Do not use cache when building the image
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Print equivalent bake file
    #[arg(long)]
    pub(crate) print: bool,
    /// Add a provenance attestation
    #[arg(long, value_name = "SETTING")]
    pub(crate) provenance: Option<String>,
    /// Always attempt to pull a newer version of the image
    #[arg(long)]
    pub(crate) pull: bool,
    /// Push service images
    #[arg(long)]
    pub(crate) push: bool,
    /// Suppress the build output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Add a SBOM attestation
    #[arg(long, value_name = "SETTING")]
    pub(crate) sbom: Option<String>,
    /// Set SSH authentications used when building service images (use 'default' for using your default SSH Agent)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "default")]
    pub(crate) ssh: Option<String>,
    /// Also build dependencies (transitively)
    #[arg(long)]
    pub(crate) with_dependencies: bool,
    #[arg(long, hide = true)]
    pub(crate) progress: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) parallel: bool,
    #[arg(long, hide = true)]
    pub(crate) compress: bool,
    #[arg(long, hide = true)]
    pub(crate) force_rm: bool,
    #[arg(long, hide = true)]
    pub(crate) no_rm: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}
