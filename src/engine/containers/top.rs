//! `top`: the processes of a container as the machine's `ps` shows them.

use std::process::Command;

use crate::engine::base::{Error, Result};
use crate::engine::containers::view::View;
use crate::sys::cgroup::Cgroup;

/// A table of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Top {
    pub(crate) titles: Vec<String>,
    pub(crate) processes: Vec<Vec<String>>,
}

/// Runs `ps` with the client's arguments and keeps the container's lines. Blocking.
pub(crate) fn top(view: &View, ps_args: &str) -> Result<Top> {
    let Some(shim) = view.shim.as_ref().filter(|_| view.run.state.has_process()) else {
        return Err(Error::conflict(format!(
            "container {} is not running",
            view.id()
        )));
    };
    let pids = Cgroup::at(shim.cgroup_path())
        .pids()
        .map_err(|error| Error::system(format!("list the processes of {}: {error}", view.id())))?;
    let args = match ps_args.trim() {
        "" => "-ef",
        args => args,
    };
    check_arguments(args)?;
    // The pids are not given to ps: some argument styles cannot be combined with a list of them.
    let ran = Command::new("ps")
        .args(args.split_whitespace())
        .env("LC_ALL", "C")
        .output();
    match ran {
        Ok(output) if output.status.success() => {
            parse(&String::from_utf8_lossy(&output.stdout), &pids)
        }
        Ok(output) => Err(Error::system(format!(
            "ps: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
        Err(_) if args == "-ef" => Ok(from_proc(&pids)),
        Err(error) => Err(Error::system(format!("ps: {error}"))),
    }
}

/// Only options and columns: nothing that makes `ps` read a file or another user's wishes.
fn check_arguments(args: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_=,:%+ ".contains(c);
    if args.chars().all(good) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "unsupported ps arguments: {args:?}"
    )))
}

fn parse(text: &str, pids: &[i32]) -> Result<Top> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let pid_column = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| Error::system("Couldn't find PID field in ps output"))?;
    let mut processes = Vec::new();
    for line in lines {
        // The last column, the command, has spaces of its own.
        let mut fields: Vec<String> = Vec::new();
        let mut rest = line.trim_start();
        for _ in 1..titles.len() {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            fields.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
        fields.push(rest.trim_end().to_owned());
        let pid: Option<i32> = fields.get(pid_column).and_then(|field| field.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            processes.push(fields);
        }
    }
    Ok(Top { titles, processes })
}

/// The columns of `ps -ef` on a machine without `ps`, as far as `/proc` tells them shortly.
fn from_proc(pids: &[i32]) -> Top {
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
    let processes = pids
        .iter()
        .filter_map(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let field = |key: &str| {
                status
                    .lines()
                    .find_map(|line| {
                        line.strip_prefix(key)?
                            .split_whitespace()
                            .next()
                            .map(str::to_owned)
                    })
                    .unwrap_or_default()
            };
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command)
                .replace('\0', " ")
                .trim()
                .to_owned();
            let command = if command.is_empty() {
                format!("[{}]", field("Name:"))
            } else {
                command
            };
            Some(vec![
                field("Uid:"),
                pid.to_string(),
                field("PPid:"),
                "0".to_owned(),
                "?".to_owned(),
                "?".to_owned(),
                "00:00:00".to_owned(),
                command,
            ])
        })
        .collect();
    Top {
        titles: titles.map(str::to_owned).into(),
        processes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_lines_are_kept() {
        let text = "UID PID PPID CMD\nroot 1 0 init with words\nroot 22 1 sh -c  x\n";
        let top = parse(text, &[22]).unwrap();
        assert_eq!(top.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(top.processes, [["root", "22", "1", "sh -c  x"]]);
        assert!(parse("A B\n", &[]).is_err());
        assert!(check_arguments("aux; rm").is_err());
        assert!(check_arguments("-eo pid,comm").is_ok());
    }
}
