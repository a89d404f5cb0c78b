//! `hoist attach`: the command line of it.

use tokio::signal::unix::SignalKind;

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::cli::signals::listen;
use crate::cli::stdio::{self, Connection};
use crate::client::streams::AttachOptions;
use crate::ops::attach;

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

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let [service] = args.service.as_slice() else {
        return Err(CliError::arguments(1, args.service.len()));
    };
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    if ctx.dry_run {
        return Err(CliError::new("attach is not available in dry-run mode"));
    }
    let options = AttachOptions {
        stdin: !args.no_stdin,
        logs: false,
        detach_keys: args.detach_keys.clone(),
    };
    let attached = attach::run(&ctx, service, args.index, &options).await?;
    let connection = Connection {
        tty: attached.detail.tty,
        stdin: !args.no_stdin && attached.detail.open_stdin,
    };
    let client = ctx.client.clone();
    let id = attached.container.id.clone();
    let pump = stdio::connect(attached.attached, connection, |rows, columns| {
        let (client, id) = (client.clone(), id.clone());
        // The container may have ended meanwhile; its size matters no more then.
        async move {
            client
                .resize_container(&id, rows, columns)
                .await
                .unwrap_or_default();
        }
    });
    if args.sig_proxy && !connection.tty {
        let mut signals = [
            (listen(SignalKind::interrupt())?, "SIGINT"),
            (listen(SignalKind::terminate())?, "SIGTERM"),
            (listen(SignalKind::hangup())?, "SIGHUP"),
        ];
        let [interrupt, terminate, hangup] = &mut signals;
        let forward = async {
            loop {
                let name = tokio::select! {
                    _ = interrupt.0.recv() => interrupt.1,
                    _ = terminate.0.recv() => terminate.1,
                    _ = hangup.0.recv() => hangup.1,
                };
                if let Err(error) = ctx
                    .client
                    .kill_container(&attached.container.id, name)
                    .await
                {
                    return Err(CliError::new(error));
                }
            }
        };
        tokio::select! {
            pumped = pump => { pumped?; }
            failed = forward => return failed,
        }
    } else {
        pump.await?;
    }
    let detail = ctx.client.container_detail(&attached.container.id).await;
    match detail {
        // Detached with the keys: the container runs on.
        Ok(detail) if detail.running => Ok(()),
        Ok(detail) => CliError::from_process(detail.exit_code),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
