//! The command line against the table of docker compose's commands and flags.

use crate::cli::{Cli, command};
use clap::FromArgMatches as _;

/// Rows that describe something else than a flag of a command of ours.
fn is_flag_row(row: &[&str]) -> bool {
    row[1].starts_with("--") && row[0] != "compose (standalone binary)" && row[2] != "rewrite"
}

#[test]
fn every_command_and_flag_of_the_table_is_there() {
    let table = include_str!("../../fixtures/cli/commands.tsv");
    let mut root = command();
    root.build();
    let mut missing = Vec::new();
    for line in table.lines().skip(1) {
        let row: Vec<&str> = line.split('\t').collect();
        let (path, flag, short, kind) = (row[0], row[1], row[2], row[3]);
        let mut at = &root;
        if path != "compose" {
            for word in path.split(' ') {
                match at.find_subcommand(word) {
                    Some(next) => at = next,
                    None => {
                        missing.push(path.to_owned());
                        break;
                    }
                }
            }
        }
        if !is_flag_row(&row) {
            continue;
        }
        let name = flag.trim_start_matches("--");
        let Some(argument) = at.get_arguments().find(|argument| {
            argument.get_long() == Some(name)
                || argument
                    .get_all_aliases()
                    .is_some_and(|aliases| aliases.contains(&name))
        }) else {
            missing.push(format!("{path} {flag}"));
            continue;
        };
        if let Some(letter) = short.strip_prefix('-')
            && argument.get_short() != letter.chars().next()
        {
            missing.push(format!("{path} {short}"));
        }
        let takes_bare = argument
            .get_num_args()
            .is_some_and(|range| range.min_values() == 0);
        if kind == "bool" && !takes_bare {
            missing.push(format!("{path} {flag} must work without a value"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

fn parse(line: &str) -> Result<Cli, String> {
    command()
        .try_get_matches_from(line.split(' '))
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| crate::cli::error::CliError::from(error).message)
}

#[test]
fn flags_parse_as_docker_compose_parses_them() {
    use crate::cli::commands::Command;
    let exec = |line: &str| match parse(line).unwrap().command {
        Some(Command::Exec(args)) => args,
        other => panic!("{other:?}"),
    };
    let args = exec("hoist exec -T web ls -la --all");
    assert_eq!(args.arguments, ["web", "ls", "-la", "--all"]);
    assert_eq!(args.no_tty, Some(true));
    let args = exec("hoist exec -it -e A=1 --env=B -u0 web -T -- x");
    assert_eq!(args.arguments, ["web", "-T", "--", "x"]);
    assert_eq!((args.no_tty, args.interactive), (None, true));
    assert_eq!(args.env, ["A=1", "B"]);
    assert_eq!(args.user.as_deref(), Some("0"));
    let up = |line: &str| match parse(line).unwrap().command {
        Some(Command::Up(args)) => args,
        other => panic!("{other:?}"),
    };
    let args = up("hoist up web -d --build=false db --scale web=2 --scale db=3 -t -1 --menu=false");
    assert_eq!(args.services, ["web", "db"]);
    assert!(args.detach && !args.build);
    assert_eq!(args.scale, ["web=2", "db=3"]);
    assert_eq!((args.timeout, args.menu), (Some(-1), Some(false)));
    assert!(up("hoist up --remove-orphans --dry-run").remove_orphans == Some(true));
    assert!(parse("hoist up --dry-run").unwrap().globals.dry_run);
}

#[test]
fn usage_errors_have_the_words_that_scripts_know() {
    for (line, message) in [
        ("hoist ps --foo", "unknown flag: --foo"),
        ("hoist ps --foo=1", "unknown flag: --foo"),
        ("hoist ps -f x", "unknown shorthand flag: 'f' in -f"),
        ("hoist psx", "unknown docker command: \"compose psx\""),
        ("hoist logs --tail", "flag needs an argument: --tail"),
    ] {
        assert_eq!(parse(line).unwrap_err(), message, "{line}");
    }
    let message = parse("hoist up -t x").unwrap_err();
    assert!(
        message.starts_with("invalid argument \"x\" for \"--timeout\" flag"),
        "{message}"
    );
}
