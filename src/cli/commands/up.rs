//! `hoist up`: the command line of it. What it does is `ops::up`; the attached half is `ops::monitor`.

use crate::cli::attached::{self, AttachedOptions};
use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::cli::signals::until_interrupted;
use crate::cli::{log_view, summary};
use crate::ops::Context;
use crate::ops::create::{self, CreateOptions};
use crate::ops::ensure_images::ImageChoices;
use crate::ops::up::{self, UpOptions};
use crate::ui::progress::Mode;
use crate::ui::{output, terminal};

/// Create and start containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Stops all containers if any container was stopped. Incompatible with -d
    #[arg(long)]
    pub(crate) abort_on_container_exit: bool,
    /// Stops all containers if any container exited with failure. Incompatible with -d
    #[arg(long)]
    pub(crate) abort_on_container_failure: bool,
    /// Recreate dependent containers. Incompatible with --no-recreate
    #[arg(long)]
    pub(crate) always_recreate_deps: bool,
    /// Restrict attaching to the specified services. Incompatible with --attach-dependencies
    #[arg(long, value_name = "SERVICE")]
    pub(crate) attach: Vec<String>,
    /// Automatically attach to log output of dependent services
    #[arg(long)]
    pub(crate) attach_dependencies: bool,
    /// Build images before starting containers
    #[arg(long)]
    pub(crate) build: bool,
    /// Detached mode: Run containers in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Return the exit code of the selected service container. Implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE")]
    pub(crate) exit_code_from: Option<String>,
    /// Recreate containers even if their configuration and image haven't changed
    #[arg(long)]
    pub(crate) force_recreate: bool,
    /// Enable interactive shortcuts when running attached (default: on a terminal)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::go_bool)]
    pub(crate) menu: Option<bool>,
    /// Do not attach (stream logs) to the specified services
    #[arg(long, value_name = "SERVICE")]
    pub(crate) no_attach: Vec<String>,
    /// Don't build an image, even if it's policy
    #[arg(long)]
    pub(crate) no_build: bool,
    /// Produce monochrome output
    #[arg(long)]
    pub(crate) no_color: bool,
    /// Don't start linked services
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Don't print prefix in logs
    #[arg(long)]
    pub(crate) no_log_prefix: bool,
    /// If containers already exist, don't recreate them. Incompatible with --force-recreate
    #[arg(long)]
    pub(crate) no_recreate: bool,
    /// Don't start the services after creating them
    #[arg(long)]
    pub(crate) no_start: bool,
    /// Pull image before running ("always"|"missing"|"never")
    #[arg(long, value_name = "POLICY", default_value = "policy")]
    pub(crate) pull: String,
    /// Suppress the build output
    #[arg(long)]
    pub(crate) quiet_build: bool,
    /// Pull without printing progress information
    #[arg(long)]
    pub(crate) quiet_pull: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::go_bool)]
    pub(crate) remove_orphans: Option<bool>,
    /// Recreate anonymous volumes instead of retrieving data from the previous containers
    #[arg(short = 'V', long)]
    pub(crate) renew_anon_volumes: bool,
    /// Scale SERVICE to NUM instances. Overrides the `scale` setting in the Compose file if present
    #[arg(long, value_name = "SERVICE=NUM")]
    pub(crate) scale: Vec<String>,
    /// Use this timeout in seconds for container shutdown when attached or when containers are already running
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) timeout: Option<i64>,
    /// Show timestamps
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Wait for services to be running|healthy. Implies detached mode
    #[arg(long)]
    pub(crate) wait: bool,
    /// Maximum duration in seconds to wait for the project to be running|healthy
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    pub(crate) wait_timeout: i64,
    /// Watch source code and rebuild/refresh containers when files are updated
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Assume "yes" as answer to all prompts and run non-interactively
    #[arg(short, long, alias = "y")]
    pub(crate) yes: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, mut args: Args) -> Outcome {
    check(&args)?;
    let (loaded, name) = session.project(Need::Project)?;
    if args.remove_orphans.is_none() {
        args.remove_orphans = session.switch("COMPOSE_REMOVE_ORPHANS", loaded.as_ref());
    }
    if args.remove_orphans == Some(true)
        && session.switch("COMPOSE_IGNORE_ORPHANS", loaded.as_ref()) == Some(true)
    {
        return Err(CliError::new(
            "cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans",
        ));
    }
    let menu = args
        .menu
        .or_else(|| session.switch("COMPOSE_MENU", loaded.as_ref()));
    if args.exit_code_from.is_some() && !args.abort_on_container_failure {
        args.abort_on_container_exit = true;
    }
    let detached = args.detach || args.wait || args.no_start || session.globals.dry_run;
    let display = Display {
        hide_starting: !detached,
        yes: args.yes,
        quiet: false,
    };
    let ctx = session.context_of(loaded, name, display).await?;
    for service in args
        .attach
        .iter()
        .chain(&args.no_attach)
        .chain(&args.exit_code_from)
    {
        crate::ops::replicas::check_services(Some(ctx.project()?), std::slice::from_ref(service))?;
    }
    let images = ImageChoices {
        build: args.build,
        no_build: args.no_build,
        pull: super::pull_policy(&args.pull)?,
        quiet_pull: args.quiet_pull,
        quiet_build: args.quiet_build || args.quiet_pull,
    };
    if args.no_start {
        let options = CreateOptions {
            services: args.services,
            force_recreate: args.force_recreate,
            no_recreate: args.no_recreate,
            remove_orphans: args.remove_orphans == Some(true),
            scale: args.scale,
            images,
        };
        return until_interrupted(async { Ok(create::run(&ctx, &options).await?) }).await;
    }
    let options = UpOptions {
        services: args.services.clone(),
        no_deps: args.no_deps,
        force_recreate: args.force_recreate,
        no_recreate: args.no_recreate,
        always_recreate_deps: args.always_recreate_deps,
        renew_anon_volumes: args.renew_anon_volumes,
        remove_orphans: args.remove_orphans == Some(true),
        scale: args.scale.clone(),
        timeout: super::timeout(args.timeout),
        wait: args.wait,
        wait_timeout: super::start::wait_timeout(args.wait_timeout)?,
        images,
    };
    if detached {
        return until_interrupted(in_background(session, ctx, &options)).await;
    }
    let interactive = terminal::stdin_is_terminal() && terminal::stdout_is_terminal();
    let attached = AttachedOptions {
        style: log_view::style(args.no_color, args.no_log_prefix, args.timestamps, true),
        attach: args.attach,
        no_attach: args.no_attach,
        attach_dependencies: args.attach_dependencies,
        abort_on_exit: args.abort_on_container_exit,
        abort_on_failure: args.abort_on_container_failure,
        exit_code_from: args.exit_code_from,
        menu: menu.unwrap_or(true)
            && interactive
            && session.progress_mode()? == Mode::Tty
            && !output::settings().no_color,
        watch: args.watch,
    };
    attached::run(session, ctx, options, attached).await
}

async fn in_background(session: &Session, mut ctx: Context, options: &UpOptions) -> Outcome {
    let show = session.progress_mode()? == Mode::Tty && !ctx.dry_run;
    let times = summary::Times::default();
    if show {
        ctx.progress = times.listen(ctx.progress.clone());
    }
    up::run(&ctx, options).await?;
    if ctx.dry_run {
        output::status_line(
            "end of 'compose up' output, interactive run is not supported in dry-run mode",
        );
    } else if show {
        summary::print(&ctx, &options.services, &times).await;
    }
    Ok(())
}

/// Flags that contradict each other.
fn check(args: &Args) -> Outcome {
    let aborts = args.abort_on_container_exit || args.abort_on_container_failure;
    let attaches = !args.attach.is_empty() || args.attach_dependencies;
    for (wrong, text) in [
        (
            args.build && args.no_build,
            "--build and --no-build are incompatible",
        ),
        (
            args.force_recreate && args.no_recreate,
            "--force-recreate and --no-recreate are incompatible",
        ),
        (
            args.renew_anon_volumes && args.no_recreate,
            "--renew-anon-volumes and --no-recreate are incompatible",
        ),
        (
            args.always_recreate_deps && args.no_recreate,
            "--always-recreate-deps and --no-recreate are incompatible",
        ),
        (
            args.detach && (aborts || attaches || args.watch),
            "--detach cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, --attach-dependencies or --watch",
        ),
        (
            args.wait && (aborts || attaches || args.watch),
            "--wait cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, --attach-dependencies or --watch",
        ),
        (
            args.abort_on_container_exit && args.abort_on_container_failure,
            "--abort-on-container-failure cannot be combined with --abort-on-container-exit",
        ),
        (
            args.no_build && args.watch,
            "--no-build and --watch are incompatible",
        ),
        (
            !args.attach.is_empty() && args.attach_dependencies,
            "cannot combine --attach and --attach-dependencies",
        ),
        (
            args.wait_timeout < 0,
            "--wait-timeout must be a non-negative integer",
        ),
    ] {
        if wrong {
            return Err(CliError::new(text));
        }
    }
    Ok(())
}
