//! `hoist exec`: the command line of it. Flags end at SERVICE.

use std::io::IsTerminal as _;

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::cli::stdio::{self, Connection};
use crate::client::streams::ExecOptions;
use crate::ops::exec::{self, ExecRequest};

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

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let [service, command @ ..] = args.arguments.as_slice() else {
        return Err(CliError::arguments(2, 0));
    };
    if command.is_empty() {
        return Err(CliError::arguments(2, 1));
    }
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let tty = match args.no_tty {
        Some(no_tty) => !no_tty,
        None => std::io::stdout().is_terminal(),
    };
    let stdin = args.interactive && !args.detach;
    if tty && stdin && !std::io::stdin().is_terminal() && args.no_tty == Some(false) {
        return Err(CliError::new("the input device is not a TTY"));
    }
    // A pipe on stdin cannot be typed into.
    let tty = tty && (args.detach || std::io::stdin().is_terminal() || !stdin);
    let request = ExecRequest {
        service: service.clone(),
        index: args.index,
        process: ExecOptions {
            command: command.to_vec(),
            environment: exec::resolve_environment(&ctx, &args.env),
            user: args.user.clone(),
            working_dir: args.workdir.clone(),
            privileged: args.privileged,
            tty,
            stdin,
            detached: args.detach,
        },
    };
    if ctx.dry_run {
        return Err(CliError::new("exec is not available in dry-run mode"));
    }
    if args.detach {
        return Ok(exec::start_detached(&ctx, &request).await?);
    }
    let running = exec::start(&ctx, &request).await?;
    let client = ctx.client.clone();
    let id = running.id.clone();
    stdio::connect(
        running.attached,
        Connection { tty, stdin },
        |rows, columns| {
            let (client, id) = (client.clone(), id.clone());
            // The process may have ended meanwhile; its size matters no more then.
            async move {
                client
                    .resize_exec(&id, rows, columns)
                    .await
                    .unwrap_or_default()
            }
        },
    )
    .await?;
    CliError::from_process(ctx.client.exec_exit_code(&running.id).await?)
}
