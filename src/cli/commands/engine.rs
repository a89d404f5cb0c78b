//! `hoist engine`: the bundled engine's life, and how other clients reach it.

/// Manage the bundled container engine
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Say whether the engine runs, where, and what it holds
    Status(StatusArgs),
    /// Start the engine
    Start,
    /// Stop the engine; containers run on
    Stop,
    /// Print the engine's own log
    Logs(LogsArgs),
    /// Print the environment that points a Docker client at the engine: eval $(hoist engine env)
    Env,
    /// Load images from a tar archive (docker save, or an OCI layout)
    Load(LoadArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Format the output. Values: [pretty | json]
    #[arg(long, default_value = "pretty")]
    pub(crate) format: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// Number of lines to show from the end
    #[arg(short = 'n', long, default_value = "all", value_name = "LINES")]
    pub(crate) tail: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// Read from a tar archive file (default: stdin)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<String>,
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<String>,
}
