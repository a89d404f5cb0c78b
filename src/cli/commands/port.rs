//! `hoist port`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::ops::port::{self, PortOptions};
use crate::ui::output;

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

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let [service, port] = args.arguments.as_slice() else {
        return Err(CliError::arguments(2, args.arguments.len()));
    };
    let port: u16 = port.parse().map_err(|_| {
        CliError::new(format!(
            "strconv.ParseUint: parsing {port:?}: invalid syntax: PRIVATE_PORT must be a number"
        ))
    })?;
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let binding = port::run(
        &ctx,
        PortOptions {
            service: service.clone(),
            port,
            protocol: args.protocol.clone(),
            index: args.index,
        },
    )
    .await?;
    output::line(binding);
    Ok(())
}
