//! `hoist port`: the command line of it.

/// Print the public port for a port binding
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Index of the container if service has multiple replicas
    #[arg(long, default_value = "0")]
    pub(crate) index: u32,
    /// tcp or udp
    #[arg(long, default_value = "tcp")]
    pub(crate) protocol: String,
    /// SERVICE PRIVATE_PORT
    #[arg(value_name = "SERVICE PRIVATE_PORT")]
    pub(crate) arguments: Vec<String>,
}
