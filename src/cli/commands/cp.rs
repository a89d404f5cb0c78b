//! `hoist cp`: the command line of it.

/// Copy files/folders between a service container and the local filesystem
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Include containers created by the run command
    #[arg(long)]
    pub(crate) all: bool,
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    pub(crate) archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    pub(crate) follow_link: bool,
    /// Index of the container if service has multiple replicas
    #[arg(long, default_value = "0")]
    pub(crate) index: u32,
    /// SERVICE:SRC_PATH DEST_PATH|-, or SRC_PATH|- SERVICE:DEST_PATH
    #[arg(value_name = "SRC DEST", allow_hyphen_values = false)]
    pub(crate) arguments: Vec<String>,
}
