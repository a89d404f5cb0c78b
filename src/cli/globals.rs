//! The flags in front of the command: which files, which project, which engine, how to print.

use std::path::PathBuf;

/// Global flags. All but `--dry-run` and `--engine` must stand before the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Globals {
    /// Include all resources, even those not used by services
    #[arg(long)]
    pub(crate) all_resources: bool,
    /// Control when to print ANSI control characters ("never"|"always"|"auto")
    #[arg(long, value_name = "WHEN")]
    pub(crate) ansi: Option<String>,
    /// Run compose in backward compatibility mode
    #[arg(long)]
    pub(crate) compatibility: bool,
    /// Execute command in dry run mode
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
    /// Container engine to use: bundled or docker (env HOIST_ENGINE)
    #[arg(long, global = true, value_name = "ENGINE")]
    pub(crate) engine: Option<String>,
    /// Specify an alternate environment file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Compose configuration files
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<String>,
    #[arg(long, hide = true)]
    pub(crate) insecure_registry: Vec<String>,
    #[arg(long, hide = true)]
    pub(crate) no_ansi: bool,
    /// Control max parallelism, -1 for unlimited
    #[arg(long, value_name = "NUMBER")]
    pub(crate) parallel: Option<i64>,
    /// Specify a profile to enable
    #[arg(long)]
    pub(crate) profile: Vec<String>,
    /// Set type of progress output (auto, tty, plain, json, quiet)
    #[arg(long, value_name = "TYPE")]
    pub(crate) progress: Option<String>,
    /// Specify an alternate working directory (default: the path of the, first specified, Compose file)
    #[arg(long, value_name = "DIR")]
    pub(crate) project_directory: Option<PathBuf>,
    /// Project name
    #[arg(short, long, value_name = "NAME")]
    pub(crate) project_name: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) verbose: bool,
    /// Show the version information
    #[arg(short, long)]
    pub(crate) version: bool,
    #[arg(long, hide = true)]
    pub(crate) workdir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) docker: DockerFlags,
}

/// Flags of the docker CLI that may stand in front of `compose`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DockerFlags {
    #[arg(long, hide = true, value_name = "DIR")]
    pub(crate) config: Option<PathBuf>,
    #[arg(short = 'c', long, hide = true)]
    pub(crate) context: Option<String>,
    #[arg(short = 'D', long, hide = true)]
    pub(crate) debug: bool,
    #[arg(short = 'H', long, hide = true)]
    pub(crate) host: Option<String>,
    #[arg(short = 'l', long, hide = true)]
    pub(crate) log_level: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) tls: bool,
    #[arg(long, hide = true)]
    pub(crate) tlsverify: bool,
    #[arg(long, hide = true)]
    pub(crate) tlscacert: Option<PathBuf>,
    #[arg(long, hide = true)]
    pub(crate) tlscert: Option<PathBuf>,
    #[arg(long, hide = true)]
    pub(crate) tlskey: Option<PathBuf>,
}
