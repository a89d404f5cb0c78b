//! `hoist exec`: the command line of it. Flags end at SERVICE.

/// Execute a command in a running container
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Detached mode: Run command in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Set environment variables
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Index of the container if service has multiple replicas
    #[arg(long, default_value = "0")]
    pub(crate) index: u32,
    /// Keep STDIN open even if not attached
    #[arg(short, long, default_value = "true", hide = true)]
    pub(crate) interactive: bool,
    /// Disable pseudo-TTY allocation. By default a TTY is allocated when stdout is a terminal
    #[arg(short = 'T', long, alias = "no-TTY", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::go_bool)]
    pub(crate) no_tty: Option<bool>,
    /// Give extended privileges to the process
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::go_bool, hide = true)]
    pub(crate) tty: Option<bool>,
    /// Run the command as this user
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Path to workdir directory for this command
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// SERVICE COMMAND [ARGS...]
    #[arg(value_name = "SERVICE COMMAND [ARGS", trailing_var_arg = true)]
    pub(crate) arguments: Vec<String>,
}
