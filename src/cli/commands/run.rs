//! `hoist run`: the command line of it. Flags end at SERVICE.

/// Run a one-off command on a service
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build image before starting container
    #[arg(long)]
    pub(crate) build: bool,
    /// Add Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// Run container in background and print container ID
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Override the entrypoint of the image
    #[arg(long)]
    pub(crate) entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Set environment variables from file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_from_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long, default_value = "true")]
    pub(crate) interactive: bool,
    /// Add or override a label
    #[arg(short, long, alias = "labels", value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Assign a name to the container
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Don't start linked services
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Disable pseudo-TTY allocation (default: auto-detected)
    #[arg(short = 'T', long, alias = "no-TTY", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::go_bool)]
    pub(crate) no_tty: Option<bool>,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "PORT")]
    pub(crate) publish: Vec<String>,
    /// Pull image before running ("always"|"missing"|"never")
    #[arg(long, value_name = "POLICY", default_value = "policy")]
    pub(crate) pull: String,
    /// Don't print anything to STDOUT
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Suppress progress output from the build process
    #[arg(long)]
    pub(crate) quiet_build: bool,
    /// Pull without printing progress information
    #[arg(long)]
    pub(crate) quiet_pull: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    pub(crate) remove_orphans: bool,
    /// Automatically remove the container when it exits
    #[arg(long)]
    pub(crate) rm: bool,
    /// Run command with all service's ports enabled and mapped to the host
    #[arg(short = 'P', long)]
    pub(crate) service_ports: bool,
    /// Use the service's network aliases in the network(s) the container connects to
    #[arg(long)]
    pub(crate) use_aliases: bool,
    /// Run as specified username or uid
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Bind mount a volume
    #[arg(short, long, alias = "volumes", value_name = "MOUNT")]
    pub(crate) volume: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Allocate a pseudo-TTY
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::go_bool, hide = true)]
    pub(crate) tty: Option<bool>,
    /// SERVICE [COMMAND] [ARGS...]
    #[arg(value_name = "SERVICE [COMMAND] [ARGS", trailing_var_arg = true)]
    pub(crate) arguments: Vec<String>,
}
