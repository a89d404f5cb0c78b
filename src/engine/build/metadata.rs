//! The instructions that only change the image's config. Pure: config in, config out.

use crate::engine::build::expand::{ExpandError, Lexer, Variables};
use crate::engine::build::instruction::{Command, Instruction};
use crate::oci::RunConfig;
use crate::oci::image_config::Empty;

const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Why an instruction cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetadataError {
    #[error(transparent)]
    Expand(#[from] ExpandError),
    #[error("invalid containerPort: {0}")]
    Port(String),
    #[error("invalid signal: {0}")]
    Signal(String),
}

/// The shell that runs commands in shell form.
pub(crate) fn shell_of(config: &RunConfig) -> Vec<String> {
    match &config.shell {
        Some(shell) if !shell.is_empty() => shell.clone(),
        _ => DEFAULT_SHELL.map(str::to_owned).into(),
    }
}

/// The arguments a command runs with.
pub(crate) fn arguments_of(command: &Command, config: &RunConfig) -> Vec<String> {
    match command {
        Command::Exec(arguments) => arguments.clone(),
        Command::Shell(text) => {
            let mut arguments = shell_of(config);
            arguments.push(text.clone());
            arguments
        }
    }
}

/// Sets `NAME=value` in an environment, in place when it is there.
pub(crate) fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    let prefix = format!("{name}=");
    match env.iter_mut().find(|have| have.starts_with(&prefix)) {
        Some(have) => *have = entry,
        None => env.push(entry),
    }
}

/// Applies an instruction; false when it is not one of these. `has_cmd` remembers whether the stage set a command
/// itself: an inherited one goes with a new entrypoint.
pub(crate) fn apply(
    instruction: &Instruction,
    config: &mut RunConfig,
    has_cmd: &mut bool,
    lexer: &Lexer,
    variables: &dyn Variables,
) -> Result<bool, MetadataError> {
    let word = |text: &str| lexer.word(text, variables);
    match instruction {
        Instruction::Cmd(command) => {
            config.cmd = Some(arguments_of(command, config));
            *has_cmd = true;
        }
        Instruction::Entrypoint(command) => {
            config.entrypoint = Some(arguments_of(command, config));
            if !*has_cmd {
                config.cmd = None;
            }
        }
        Instruction::Env(pairs) => {
            // All values see the environment of before the line.
            let values = pairs
                .iter()
                .map(|(name, value)| Ok((word(name)?, word(value)?)))
                .collect::<Result<Vec<_>, ExpandError>>()?;
            for (name, value) in values {
                set_env(&mut config.env, &name, &value);
            }
        }
        Instruction::Expose(text) => {
            for port in lexer.words(text, variables)? {
                for exposed in ports(&port)? {
                    config.exposed_ports.insert(exposed, Empty {});
                }
            }
        }
        Instruction::Healthcheck(check) => config.healthcheck = Some(check.clone()),
        Instruction::Label(pairs) => {
            for (name, value) in pairs {
                config.labels.insert(word(name)?, word(value)?);
            }
        }
        Instruction::Onbuild(trigger) => config.on_build.push(trigger.clone()),
        Instruction::Shell(shell) => config.shell = Some(shell.clone()),
        Instruction::StopSignal(text) => {
            let signal = word(text)?;
            check_signal(&signal)?;
            config.stop_signal = Some(signal);
        }
        Instruction::User(text) => config.user = word(text)?,
        Instruction::Volume(paths) => {
            for path in paths {
                config.volumes.insert(word(path)?, Empty {});
            }
        }
        Instruction::Workdir(text) => {
            config.working_dir = joined(&config.working_dir, &word(text)?);
        }
        // The author is the image's, not the container's: the caller sets it.
        Instruction::Maintainer(_) => {}
        Instruction::Add(_) | Instruction::Arg(_) | Instruction::Copy(_) | Instruction::Run(_) => {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `path` against a working directory, cleaned; a trailing slash is dropped.
pub(crate) fn joined(working_dir: &str, path: &str) -> String {
    let whole = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{working_dir}/{path}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

fn check_signal(text: &str) -> Result<(), MetadataError> {
    let known = match text.parse::<u32>() {
        Ok(number) => (1..=64).contains(&number),
        Err(_) => crate::sys::process::parse_signal(text).is_some(),
    };
    match known {
        true => Ok(()),
        false => Err(MetadataError::Signal(text.to_owned())),
    }
}

/// `80`, `80/udp`, `8000-8002`: each port with its protocol.
fn ports(text: &str) -> Result<Vec<String>, MetadataError> {
    let bad = || MetadataError::Port(text.to_owned());
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad());
    }
    // A host port in front means nothing here.
    let range = range.rsplit(':').next().unwrap_or(range);
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let first: u16 = first.parse().map_err(|_| bad())?;
    let last: u16 = last.parse().map_err(|_| bad())?;
    if first > last || first == 0 {
        return Err(bad());
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}
