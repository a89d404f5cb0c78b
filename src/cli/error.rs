//! What a command ends with: an exit code and, where there is something to say, a message. Kinds of errors
//! become exit codes here and nowhere else.

use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::ui::output;

/// Any error: usage, load, engine, refused conflict.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// Interrupted, or a prompt was declined.
pub(crate) const EXIT_CANCELED: u8 = 130;

/// Why a command did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CliError {
    pub(crate) code: u8,
    /// Empty: there is nothing to print (the exit code of a process is passed on).
    pub(crate) message: String,
    /// What the user can do about it, a line each.
    pub(crate) hints: Vec<String>,
}

/// How commands end.
pub(crate) type Outcome = Result<(), CliError>;

impl CliError {
    /// A failure with exit code 1.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        CliError {
            code: EXIT_FAILURE,
            message: message.to_string(),
            hints: Vec::new(),
        }
    }

    /// Ends with `code`, saying nothing.
    pub(crate) fn status(code: u8) -> Self {
        CliError {
            code,
            message: String::new(),
            hints: Vec::new(),
        }
    }

    /// Interrupted or declined.
    pub(crate) fn canceled() -> Self {
        Self::status(EXIT_CANCELED)
    }

    /// A feature that is known but not there, by its name.
    pub(crate) fn not_supported(what: impl fmt::Display) -> Self {
        Self::new(format!("{what} is not supported by hoist yet"))
    }

    /// Too few positional arguments.
    pub(crate) fn arguments(wanted: usize, given: usize) -> Self {
        Self::new(format!(
            "requires at least {wanted} arg(s), only received {given}"
        ))
    }

    /// The exit code of a process, passed on; 0 is no error.
    ///
    /// # Errors
    /// Every code but 0.
    pub(crate) fn from_process(code: i64) -> Outcome {
        match u8::try_from(code) {
            Ok(0) => Ok(()),
            Ok(code) => Err(Self::status(code)),
            Err(_) => Err(Self::status(EXIT_FAILURE)),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Prints what there is to say.
    pub(crate) fn print(&self, json: bool) {
        if self.message.is_empty() {
            return;
        }
        if json {
            let object = serde_json::json!({"error": true, "message": self.message});
            output::error_line(object.to_string());
            return;
        }
        output::error_line(&self.message);
        for hint in &self.hints {
            output::error_line(format!("hint: {hint}"));
        }
        if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
            output::error_line(format!("::error::{}", annotation(&self.message)));
        }
    }
}

/// Escapes text for a GitHub workflow command.
pub(crate) fn annotation(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<clap::Error> for CliError {
    /// Usage errors in the words that scripts know from docker compose.
    fn from(error: clap::Error) -> Self {
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.clone(),
            Some(ContextValue::Strings(texts)) => texts.join(" "),
            _ => String::new(),
        };
        let argument = text(ContextKind::InvalidArg);
        let (short, long) = flag_names(&argument);
        match error.kind() {
            ErrorKind::UnknownArgument => {
                let unknown = if argument.starts_with("--") {
                    format!("unknown flag: {}", strip_value(&argument))
                } else if let Some(letter) = argument.strip_prefix('-') {
                    let letter = letter.chars().next().unwrap_or('-');
                    format!("unknown shorthand flag: '{letter}' in {argument}")
                } else {
                    format!("unexpected argument {argument:?}")
                };
                match error.get(ContextKind::SuggestedArg) {
                    Some(ContextValue::String(near)) => {
                        CliError::new(unknown).hint(format!("did you mean {near}?"))
                    }
                    _ => CliError::new(unknown),
                }
            }
            ErrorKind::InvalidSubcommand => {
                let name = text(ContextKind::InvalidSubcommand);
                let unknown = CliError::new(format!("unknown docker command: \"compose {name}\""));
                match error.get(ContextKind::SuggestedSubcommand) {
                    Some(ContextValue::Strings(near)) if !near.is_empty() => {
                        unknown.hint(format!("did you mean {}?", near.join(" or ")))
                    }
                    _ => unknown,
                }
            }
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
                let value = text(ContextKind::InvalidValue);
                if value.is_empty() {
                    return CliError::new(match short {
                        Some(short) if long.is_empty() => {
                            format!("flag needs an argument: '{short}' in -{short}")
                        }
                        _ => format!("flag needs an argument: {long}"),
                    });
                }
                let flag = match short {
                    Some(short) => format!("-{short}, {long}"),
                    None => long,
                };
                let cause = std::error::Error::source(&error)
                    .map(|cause| format!(": {cause}"))
                    .unwrap_or_default();
                CliError::new(format!(
                    "invalid argument {value:?} for \"{flag}\" flag{cause}"
                ))
            }
            _ => CliError::new(
                error
                    .to_string()
                    .trim_start_matches("error: ")
                    .trim_end()
                    .to_owned(),
            ),
        }
    }
}

/// `--timeout <SECONDS>` as clap names an argument → its names as a user types them.
fn flag_names(argument: &str) -> (Option<char>, String) {
    let names = argument.split([' ', '[', '=']).next().unwrap_or(argument);
    match names.strip_prefix("--") {
        Some(_) => (None, names.to_owned()),
        None => (
            names.strip_prefix('-').and_then(|name| name.chars().next()),
            String::new(),
        ),
    }
}

fn strip_value(argument: &str) -> &str {
    argument.split('=').next().unwrap_or(argument)
}

impl From<crate::ops::OpError> for CliError {
    fn from(error: crate::ops::OpError) -> Self {
        CliError {
            code: error.exit_code,
            message: error.message,
            hints: error.hint.into_iter().collect(),
        }
    }
}

impl From<crate::client::ClientError> for CliError {
    fn from(error: crate::client::ClientError) -> Self {
        CliError::new(error)
    }
}

impl From<crate::ui::go_template::TemplateError> for CliError {
    fn from(error: crate::ui::go_template::TemplateError) -> Self {
        CliError::new(error)
    }
}
