//! `hoist attach`: the command line of it.

/// Attach local standard input, output, and error streams to a service's running container
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Override the key sequence for detaching from a container
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// Index of the container if service has multiple replicas
    #[arg(long, default_value = "0")]
    pub(crate) index: u32,
    /// Do not attach STDIN
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, default_value = "true")]
    pub(crate) sig_proxy: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Vec<String>,
}
