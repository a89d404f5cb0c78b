//! Every command: its variant, its file, and the one match that runs it.

pub(crate) mod alpha;
pub(crate) mod attach;
pub(crate) mod bridge;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod commit;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod down;
pub(crate) mod engine;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod graph;
pub(crate) mod images;
pub(crate) mod kill;
pub(crate) mod logs;
pub(crate) mod ls;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod port;
pub(crate) mod ps;
pub(crate) mod publish;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod unpause;
pub(crate) mod up;
pub(crate) mod version;
pub(crate) mod viz;
pub(crate) mod volumes;
pub(crate) mod wait;
pub(crate) mod watch;

use std::time::Duration;

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Session, block_on};
use crate::cli::signals::until_interrupted;

/// The commands, in the order of their names.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    #[command(hide = true)]
    Alpha(alpha::Args),
    Attach(attach::Args),
    Bridge(bridge::Args),
    Build(Box<build::Args>),
    Check(check::Args),
    Commit(commit::Args),
    Completion(completion::Args),
    Config(Box<config::Args>),
    Cp(cp::Args),
    Create(create::Args),
    Down(down::Args),
    Engine(engine::Args),
    Events(events::Args),
    Exec(exec::Args),
    Explain(explain::Args),
    Export(export::Args),
    Generate(generate::Args),
    Graph(graph::Args),
    Images(images::Args),
    Kill(kill::Args),
    Logs(logs::Args),
    Ls(ls::Args),
    Pause(pause::Args),
    Plan(plan::Args),
    Port(port::Args),
    Ps(ps::Args),
    Publish(publish::Args),
    Pull(pull::Args),
    Push(push::Args),
    Restart(restart::Args),
    Rm(rm::Args),
    Run(Box<run::Args>),
    Scale(scale::Args),
    Start(start::Args),
    Stats(stats::Args),
    Stop(stop::Args),
    Top(top::Args),
    Unpause(unpause::Args),
    Up(Box<up::Args>),
    Version(version::Args),
    Viz(viz::Args),
    Volumes(volumes::Args),
    Wait(wait::Args),
    Watch(watch::Args),
}

/// Runs one command.
pub(crate) fn run(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Bridge(args) => bridge::run(&args),
        Command::Completion(args) => completion::run(&args),
        Command::Config(args) => config::run(session, *args),
        Command::Publish(args) => publish::run(&args),
        Command::Check(args) => check::run(session, &args),
        Command::Explain(args) => explain::run(session, &args),
        Command::Version(args) => version::run(&args),
        Command::Viz(args) => viz::run(session, &args),
        command => block_on(asynchronous(session, command)),
    }
}

async fn asynchronous(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Attach(args) => attach::run(session, args).await,
        Command::Exec(args) => exec::run(session, args).await,
        Command::Run(args) => run::run(session, *args).await,
        Command::Up(args) => up::run(session, *args).await,
        command => until_interrupted(interruptible(session, command)).await,
    }
}

/// Commands that an interrupt simply ends.
async fn interruptible(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Alpha(args) => alpha::run(session, args).await,
        Command::Build(args) => build::run(session, *args).await,
        Command::Commit(args) => commit::run(session, args).await,
        Command::Cp(args) => cp::run(session, args).await,
        Command::Create(args) => create::run(session, args).await,
        Command::Down(args) => down::run(session, args).await,
        Command::Engine(args) => engine::run(session, args).await,
        Command::Events(args) => events::run(session, args).await,
        Command::Export(args) => export::run(session, args).await,
        Command::Generate(args) => generate::run(session, args).await,
        Command::Graph(args) => graph::run(session, args).await,
        Command::Images(args) => images::run(session, args).await,
        Command::Kill(args) => kill::run(session, args).await,
        Command::Logs(args) => logs::run(session, args).await,
        Command::Ls(args) => ls::run(session, args).await,
        Command::Pause(args) => pause::run(session, args).await,
        Command::Plan(args) => plan::run(session, args).await,
        Command::Port(args) => port::run(session, args).await,
        Command::Ps(args) => ps::run(session, args).await,
        Command::Pull(args) => pull::run(session, args).await,
        Command::Push(args) => push::run(session, args).await,
        Command::Restart(args) => restart::run(session, args).await,
        Command::Rm(args) => rm::run(session, args).await,
        Command::Scale(args) => scale::run(session, args).await,
        Command::Start(args) => start::run(session, args).await,
        Command::Stats(args) => stats::run(session, args).await,
        Command::Stop(args) => stop::run(session, args).await,
        Command::Top(args) => top::run(session, args).await,
        Command::Unpause(args) => unpause::run(session, args).await,
        Command::Volumes(args) => volumes::run(session, args).await,
        Command::Wait(args) => wait::run(session, args).await,
        Command::Watch(args) => watch::run(session, args).await,
        other => Err(CliError::not_supported(format!("{other:?}"))),
    }
}

/// Seconds of `--timeout`; a negative number waits as long as it takes.
pub(crate) fn timeout(seconds: Option<i64>) -> Option<Duration> {
    seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(FOREVER_S)))
}

/// A day is forever for a container that has been told to stop.
const FOREVER_S: u64 = 24 * 3600;

/// `--pull`: `policy` (the default) means that of each service.
///
/// # Errors
/// An unknown policy.
pub(crate) fn pull_policy(text: &str) -> Result<Option<String>, CliError> {
    match text {
        "" | "policy" => Ok(None),
        "always" | "missing" | "if_not_present" | "never" | "build" => Ok(Some(text.to_owned())),
        other => Err(CliError::new(format!(
            "invalid --pull option {other:?}: use always, missing or never"
        ))),
    }
}
