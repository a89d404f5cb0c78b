//! Flags as docker compose's library reads them: `--flag=false`, values that begin with a dash, the last
//! one wins. It changes how clap parses; it defines no flag.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command};

use crate::cli::complete::with_candidates;

/// Reads a boolean the way Go does.
///
/// # Errors
/// Anything but `1 t T TRUE true True 0 f F FALSE false False`.
pub(crate) fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("{text:?} is not a boolean: use true or false")),
    }
}

/// Gives every argument of `command`, and of all its subcommands, the parsing rules above.
pub(crate) fn as_pflag(command: Command) -> Command {
    command
        .args_override_self(true)
        .mut_args(|one| argument(with_candidates(one)))
        .mut_subcommands(as_pflag)
}

fn argument(argument: Arg) -> Arg {
    if argument.is_positional() {
        return argument;
    }
    match argument.get_action() {
        ArgAction::SetTrue => {
            let has_default = !argument.get_default_values().is_empty();
            let argument = argument
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .hide_default_value(true)
                .hide_possible_values(true)
                .value_parser(ValueParser::new(go_bool));
            if has_default {
                argument
            } else {
                argument.default_value("false")
            }
        }
        ArgAction::Set | ArgAction::Append => {
            // A value may begin with a dash, but `--flag` alone never swallows the next flag when
            // its value is optional.
            if argument
                .get_num_args()
                .is_some_and(|range| range.min_values() == 0)
            {
                argument
            } else {
                argument.allow_hyphen_values(true)
            }
        }
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boolean_is_what_go_takes_for_one() {
        assert_eq!(go_bool("T"), Ok(true));
        assert_eq!(go_bool("0"), Ok(false));
        assert!(go_bool("yes").is_err());
    }
}
