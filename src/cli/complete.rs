//! What a shell may complete: commands and flags come from clap; services, profiles and projects are looked
//! up here. Nothing is started for it, and no error is shown.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::Arg;
use clap_complete::ArgValueCandidates;
use clap_complete::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};

use crate::cli::commands::ps::STATES;
use crate::cli::error::{CliError, Outcome};
use crate::cli::globals::Globals;
use crate::cli::session::Session;
use crate::compose::load;
use crate::compose::model::Project;
use crate::ui::output;

/// The variable by which the shell's script asks.
pub(crate) const VARIABLE: &str = "COMPLETE";

/// Answers a shell that asks for words, if one does.
///
/// # Errors
/// The shell is not known.
pub(crate) fn answer(arguments: &[OsString]) -> Result<bool, CliError> {
    let folder = std::env::current_dir().ok();
    CompleteEnv::with_factory(super::command)
        .var(VARIABLE)
        .shells(Shells::builtins())
        .try_complete(arguments, folder.as_deref())
        .map_err(|error| CliError::new(error.to_string().trim().to_owned()))
}

/// The script that makes a shell ask.
///
/// # Errors
/// The shell is not known.
pub(crate) fn print_script(shell: &str) -> Outcome {
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(shell) else {
        return Err(CliError::new(format!(
            "unknown shell {shell:?}: use bash, zsh or fish"
        )));
    };
    let program = std::env::args_os()
        .next()
        .unwrap_or_else(|| OsString::from("hoist"));
    let name = Path::new(&program)
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or("hoist")
        .to_owned();
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, &name, &name, &name, &mut script)
        .map_err(CliError::new)?;
    output::write(&script);
    Ok(())
}

/// Gives an argument its candidates, by what it is named for.
pub(crate) fn with_candidates(argument: Arg) -> Arg {
    let candidates: fn() -> Vec<CompletionCandidate> = match argument.get_id().as_str() {
        "services" if argument.is_positional() => services,
        "service" | "service_names" | "attach" | "no_attach" | "exit_code_from" => services,
        "replicas" | "scale" => scales,
        "profile" => profiles,
        "progress" => || words(&["auto", "tty", "plain", "json", "quiet"]),
        "ansi" => || words(&["never", "always", "auto"]),
        "engine" => || words(&["bundled", "docker"]),
        "pull" if !argument.get_action().takes_values() => return argument,
        "rmi" => || words(&["local", "all"]),
        "status" => || words(&STATES),
        _ => return argument,
    };
    argument.add(ArgValueCandidates::new(candidates))
}

fn words(words: &[&str]) -> Vec<CompletionCandidate> {
    words
        .iter()
        .map(|word| CompletionCandidate::new(*word))
        .collect()
}

fn services() -> Vec<CompletionCandidate> {
    named(project(), |name| name.to_owned())
}

fn scales() -> Vec<CompletionCandidate> {
    named(project(), |name| format!("{name}="))
}

fn named(project: Option<Project>, word: fn(&str) -> String) -> Vec<CompletionCandidate> {
    project
        .iter()
        .flat_map(Project::all_services)
        .map(|(name, service)| {
            let help = if service.image.is_empty() {
                "build".to_owned()
            } else {
                service.image.clone()
            };
            CompletionCandidate::new(word(name)).help(Some(help.into()))
        })
        .collect()
}

fn profiles() -> Vec<CompletionCandidate> {
    let mut names: Vec<String> = project()
        .iter()
        .flat_map(Project::all_services)
        .flat_map(|(_, service)| service.profiles.clone())
        .collect();
    names.sort();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The project of the line that is being typed, without reading its env files.
fn project() -> Option<Project> {
    let mut globals = typed_globals();
    globals.progress = None;
    let session = Session::new(globals, "hoist").ok()?;
    if session.globals.file.iter().any(|file| file == "-") {
        return None;
    }
    let mut options = session.load_options().ok()?;
    options.resolve_environment = false;
    options.check_consistency = false;
    load(&options).ok().map(|loaded| loaded.project)
}

/// `-f`, `-p`, `--project-directory` and `--env-file` of the typed line, which stands behind `--`.
fn typed_globals() -> Globals {
    let typed: Vec<String> = std::env::args()
        .skip_while(|word| word != "--")
        .skip(2)
        .collect();
    let mut kept = vec!["hoist".to_owned()];
    let mut at = 0;
    while at < typed.len() {
        let word = &typed[at];
        let takes = [
            "-f",
            "--file",
            "-p",
            "--project-name",
            "--project-directory",
            "--env-file",
        ];
        if takes.contains(&word.as_str()) {
            if let Some(value) = typed.get(at + 1) {
                kept.extend([word.clone(), value.clone()]);
            }
            at += 2;
        } else {
            at += 1;
        }
    }
    super::parse_globals(&kept)
}
