//! `hoist viz`: the command line of it.

/// Generate a graphviz graph from your compose file
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Include service's image name in output graph
    #[arg(long)]
    pub(crate) image: bool,
    /// Number of tabs or spaces to use for indentation
    #[arg(long, default_value = "1")]
    pub(crate) indentation_size: i64,
    /// Include service's attached networks in output graph
    #[arg(long)]
    pub(crate) networks: bool,
    /// Include service's exposed ports in output graph
    #[arg(long)]
    pub(crate) ports: bool,
    /// If given, space character ' ' will be used to indent, otherwise tab character '\t' will be used
    #[arg(long)]
    pub(crate) spaces: bool,
}
