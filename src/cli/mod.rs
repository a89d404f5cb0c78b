//! The command line: clap → ops → ui. The only place that knows clap. It decides exit codes, and nothing
//! about containers.

mod attached;
pub(crate) mod commands;
pub(crate) mod complete;
pub(crate) mod error;
pub(crate) mod flags;
pub(crate) mod globals;
mod invocation;
pub(crate) mod log_view;
mod menu;
pub(crate) mod session;
pub(crate) mod signals;
pub(crate) mod stdio;
mod summary;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use crate::cli::commands::{Command, version};
use crate::cli::error::{CliError, Outcome};
use crate::cli::globals::Globals;
use crate::cli::session::Session;
use crate::ui::output::{self, Ansi, Settings};

/// Define and run multi-container applications
#[derive(Debug, Parser)]
#[command(
    name = "hoist",
    disable_version_flag = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The whole command line, for parsing, completion and tests.
pub(crate) fn command() -> clap::Command {
    flags::as_pflag(Cli::command())
}

/// The role `cli`: parses, runs, prints what went wrong, says how it ended.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    let invocation = invocation::read(arguments);
    if invocation
        .arguments
        .get(1)
        .is_some_and(|word| word == invocation::PLUGIN_METADATA)
    {
        output::line(invocation::plugin_metadata());
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(complete::VARIABLE).is_some_and(|shell| !shell.is_empty()) {
        match complete::answer(&invocation.arguments) {
            Ok(true) => return ExitCode::SUCCESS,
            Ok(false) => {}
            Err(error) => {
                error.print(false);
                return ExitCode::from(error.code);
            }
        }
    }
    let mut json = false;
    match parse(&invocation.arguments).and_then(|cli| match cli {
        Some(cli) => run(cli, invocation.name, &mut json),
        None => Ok(()),
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print(json);
            ExitCode::from(error.code)
        }
    }
}

/// The global flags of a command line that has nothing else; defaults where it cannot be read.
fn parse_globals(arguments: &[String]) -> Globals {
    let parse = |arguments: &[String]| {
        command()
            .try_get_matches_from(arguments)
            .and_then(|matches| Cli::from_arg_matches(&matches))
    };
    match parse(arguments).or_else(|_| parse(&["hoist".to_owned()])) {
        Ok(cli) => cli.globals,
        Err(error) => unreachable!("an empty command line parses: {error}"),
    }
}

/// `None`: help was asked for and printed.
fn parse(arguments: &[OsString]) -> Result<Option<Cli>, CliError> {
    let mut command = command();
    match command
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
    {
        Ok(cli) => Ok(Some(cli)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp => {
                output::write(help(arguments, &error).as_bytes());
                Ok(None)
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                output::write_error(error.render().to_string().as_bytes());
                Err(CliError::status(error::EXIT_FAILURE))
            }
            ErrorKind::InvalidSubcommand => {
                output::write_error(Cli::command().render_help().to_string().as_bytes());
                Err(error.into())
            }
            _ => Err(error.into()),
        },
    }
}

/// The help that was asked for, of the command as declared: there a switch is shown without a value.
fn help(arguments: &[OsString], parsed: &clap::Error) -> String {
    match Cli::command().try_get_matches_from(arguments) {
        Err(declared) if declared.kind() == ErrorKind::DisplayHelp => declared.render().to_string(),
        _ => parsed.render().to_string(),
    }
}

fn run(cli: Cli, program: &'static str, json: &mut bool) -> Outcome {
    if cli.globals.version {
        return version::run(&version::Args {
            format: None,
            short: false,
        });
    }
    let Some(selected) = cli.command else {
        output::write(Cli::command().render_help().to_string().as_bytes());
        return Ok(());
    };
    let session = Session::new(cli.globals, program)?;
    settle_output(&session)?;
    *json = session.globals.progress.as_deref() == Some("json");
    commands::run(&session, selected)
}

/// Settles colours and streams from the flags and the environment.
fn settle_output(session: &Session) -> Outcome {
    let globals = &session.globals;
    if globals.no_ansi {
        if globals.ansi.as_deref().is_some_and(|ansi| ansi != "auto") {
            return Err(CliError::new(
                "cannot specify --no-ansi and --ansi at the same time",
            ));
        }
        output::warning("option '--no-ansi' is DEPRECATED, use '--ansi never' instead");
    }
    if globals.workdir.is_some() {
        if globals.project_directory.is_some() {
            return Err(CliError::new(
                "cannot specify --workdir and --project-directory at the same time",
            ));
        }
        output::warning("option '--workdir' is DEPRECATED, use '--project-directory' instead");
    }
    let ansi = globals
        .ansi
        .as_deref()
        .or_else(|| session.variable("COMPOSE_ANSI"))
        .unwrap_or("auto");
    let ansi = match ansi {
        _ if globals.no_ansi => Ansi::Never,
        "never" => Ansi::Never,
        "always" => Ansi::Always,
        _ => Ansi::Auto,
    };
    output::set(Settings {
        ansi,
        no_color: session.variable("NO_COLOR").is_some(),
        status_on_stdout: session
            .variable("COMPOSE_STATUS_STDOUT")
            .is_some_and(|value| flags::go_bool(value) == Ok(true)),
    });
    Ok(())
}

#[cfg(test)]
mod tests;
