//! `hoist run`: the command line of it. Flags end at SERVICE.

use std::io::IsTerminal as _;

use tokio::signal::unix::{Signal, SignalKind};

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::cli::signals::listen;
use crate::cli::stdio::{self, Connection, Ended};
use crate::ops::Context;
use crate::ops::ensure_images::ImageChoices;
use crate::ops::run::{self, PreparedRun, RunOptions};
use crate::ui::output;

/// Run a one-off command on a service
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build image before starting container
    #[arg(long)]
    pub(crate) build: bool,
    /// Add Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// Run container in background and print container ID
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Override the entrypoint of the image
    #[arg(long)]
    pub(crate) entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Set environment variables from file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_from_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long, default_value = "true")]
    pub(crate) interactive: bool,
    /// Add or override a label
    #[arg(short, long, alias = "labels", value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Assign a name to the container
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Don't start linked services
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Disable pseudo-TTY allocation (default: auto-detected)
    #[arg(short = 'T', long, alias = "no-TTY", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::go_bool)]
    pub(crate) no_tty: Option<bool>,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "PORT")]
    pub(crate) publish: Vec<String>,
    /// Pull image before running ("always"|"missing"|"never")
    #[arg(long, value_name = "POLICY", default_value = "policy")]
    pub(crate) pull: String,
    /// Don't print anything to STDOUT
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Suppress progress output from the build process
    #[arg(long)]
    pub(crate) quiet_build: bool,
    /// Pull without printing progress information
    #[arg(long)]
    pub(crate) quiet_pull: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    pub(crate) remove_orphans: bool,
    /// Automatically remove the container when it exits
    #[arg(long)]
    pub(crate) rm: bool,
    /// Run command with all service's ports enabled and mapped to the host
    #[arg(short = 'P', long)]
    pub(crate) service_ports: bool,
    /// Use the service's network aliases in the network(s) the container connects to
    #[arg(long)]
    pub(crate) use_aliases: bool,
    /// Run as specified username or uid
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Bind mount a volume
    #[arg(short, long, alias = "volumes", value_name = "MOUNT")]
    pub(crate) volume: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Allocate a pseudo-TTY
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::go_bool, hide = true)]
    pub(crate) tty: Option<bool>,
    /// SERVICE [COMMAND] [ARGS...]
    #[arg(value_name = "SERVICE [COMMAND] [ARGS", trailing_var_arg = true)]
    pub(crate) arguments: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    if !args.publish.is_empty() && args.service_ports {
        return Err(CliError::new(
            "--service-ports and --publish are incompatible",
        ));
    }
    if args.tty == Some(true) && args.no_tty == Some(true) {
        return Err(CliError::new("--tty and --no-TTY can't be used together"));
    }
    let display = Display {
        quiet: args.quiet,
        ..Display::default()
    };
    let options = options(&args)?;
    let ctx = session.context(Need::Project, display).await?;
    let mut signals = Signals::new()?;
    let prepared = tokio::select! {
        prepared = run::prepare(&ctx, &options) => prepared?,
        _ = signals.next() => return Err(CliError::canceled()),
    };
    let Some(prepared) = prepared else {
        // A dry run: the plan has been told.
        return Ok(());
    };
    if options.detach {
        run::start(&ctx, &prepared).await?;
        output::line(&prepared.name);
        return Ok(());
    }
    in_foreground(&ctx, &prepared, &mut signals).await
}

fn options(args: &Args) -> Result<RunOptions, CliError> {
    let [service, command @ ..] = args.arguments.as_slice() else {
        return Err(CliError::arguments(1, 0));
    };
    let tty = match (args.no_tty, args.tty) {
        (Some(no_tty), _) => !no_tty,
        (None, Some(tty)) => tty,
        (None, None) => std::io::stdout().is_terminal() && std::io::stdin().is_terminal(),
    };
    if args.tty == Some(true) && !args.detach && args.interactive && !std::io::stdin().is_terminal()
    {
        return Err(CliError::new(
            "cannot attach stdin to a TTY-enabled container because stdin is not a terminal",
        ));
    }
    Ok(RunOptions {
        service: service.clone(),
        command: command.to_vec(),
        entrypoint: args.entrypoint.clone(),
        environment: args.env.clone(),
        environment_files: args.env_from_file.clone(),
        labels: args.label.clone(),
        name: args.name.clone(),
        user: args.user.clone(),
        working_dir: args.workdir.clone(),
        volumes: args.volume.clone(),
        publish: args.publish.clone(),
        service_ports: args.service_ports,
        use_aliases: args.use_aliases,
        cap_add: args.cap_add.clone(),
        cap_drop: args.cap_drop.clone(),
        tty,
        interactive: args.interactive && !args.detach,
        detach: args.detach,
        remove: args.rm,
        no_deps: args.no_deps,
        remove_orphans: args.remove_orphans,
        images: ImageChoices {
            build: args.build,
            no_build: false,
            pull: super::pull_policy(&args.pull)?,
            quiet_pull: args.quiet_pull,
            quiet_build: args.quiet_build,
        },
    })
}

async fn in_foreground(ctx: &Context, prepared: &PreparedRun, signals: &mut Signals) -> Outcome {
    let attached = run::attach(ctx, prepared).await?;
    run::start(ctx, prepared).await?;
    let connection = Connection {
        tty: prepared.tty,
        stdin: prepared.stdin,
    };
    let pump = stdio::connect(attached, connection, |rows, columns| async move {
        // The container may have ended meanwhile; its size matters no more then.
        ctx.client
            .resize_container(&prepared.id, rows, columns)
            .await
            .unwrap_or_default();
    });
    let mut pump = std::pin::pin!(pump);
    let ended = loop {
        tokio::select! {
            ended = &mut pump => break ended?,
            signal = signals.next() => {
                // A container that has ended already cannot be signalled, and need not be.
                let _ = ctx.client.kill_container(&prepared.id, signal).await;
            }
        }
    };
    if ended == Ended::Detached {
        return Ok(());
    }
    let code = run::exit_code(ctx, prepared).await?;
    CliError::from_process(i64::from(code))
}

/// The signals that are passed on to the container.
struct Signals([(Signal, &'static str); 6]);

impl Signals {
    fn new() -> Result<Self, CliError> {
        Ok(Signals([
            (listen(SignalKind::interrupt())?, "SIGINT"),
            (listen(SignalKind::terminate())?, "SIGTERM"),
            (listen(SignalKind::hangup())?, "SIGHUP"),
            (listen(SignalKind::quit())?, "SIGQUIT"),
            (listen(SignalKind::user_defined1())?, "SIGUSR1"),
            (listen(SignalKind::user_defined2())?, "SIGUSR2"),
        ]))
    }

    async fn next(&mut self) -> &'static str {
        let waits = self.0.iter_mut().map(|(signal, name)| {
            let name = *name;
            Box::pin(async move {
                signal.recv().await;
                name
            })
        });
        futures_util::future::select_all(waits).await.0
    }
}
