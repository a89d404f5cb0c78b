//! Processes: pidfds, waiting, signals by name and number, what `/proc` says about one. It starts none.

use std::fs;
use std::io;

/// Whether `pid` would never notice `signal`: it is PID 1 of its namespace and neither catches nor blocks it, so the
/// kernel drops the signal (`signal(7)`, `pid_namespaces(7)`). SIGKILL and SIGSTOP are never ignored.
/// A process that cannot be looked at is said to notice.
pub(crate) fn ignores_signal(pid: i32, signal: i32) -> bool {
    if signal == libc::SIGKILL || signal == libc::SIGSTOP || !(1..=64).contains(&signal) {
        return false;
    }
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return false;
    };
    let Some(ignored) = status_mask(&status, "SigIgn") else {
        return false;
    };
    let Some(blocked) = status_mask(&status, "SigBlk") else {
        return false;
    };
    let Some(caught) = status_mask(&status, "SigCgt") else {
        return false;
    };
    let bit = 1u64 << (signal - 1);
    if ignored & bit != 0 {
        return true;
    }
    let is_namespace_init = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .is_some_and(|pids| pids.split_whitespace().last() == Some("1"));
    is_namespace_init && (caught | blocked) & bit == 0
}

fn status_mask(status: &str, key: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// When `pid` started, in clock ticks since boot: with the pid, a name that is never given twice.
pub(crate) fn start_time_ticks(pid: i32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command is in parentheses and may hold spaces; field 22 counts from its end.
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not as expected")))
}

const SIGNALS: [(&str, i32); 31] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// A signal by number or name, with or without `SIG`, in any case, `RTMIN+n` and `RTMAX-n` too. `None`: no signal.
pub(crate) fn parse_signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let realtime = |base: i32, sign: i32, rest: &str| -> Option<i32> {
        let offset = match rest {
            "" => 0,
            _ => rest.get(1..)?.parse::<i32>().ok()?,
        };
        let number = base + sign * offset;
        (34..=64).contains(&number).then_some(number)
    };
    match bare {
        "CLD" => return Some(libc::SIGCHLD),
        "POLL" => return Some(libc::SIGIO),
        "IOT" => return Some(libc::SIGABRT),
        _ => {}
    }
    if let Some(rest) = bare.strip_prefix("RTMIN") {
        return (rest.is_empty() || rest.starts_with('+'))
            .then(|| realtime(34, 1, rest))
            .flatten();
    }
    if let Some(rest) = bare.strip_prefix("RTMAX") {
        return (rest.is_empty() || rest.starts_with('-'))
            .then(|| realtime(64, -1, rest))
            .flatten();
    }
    SIGNALS
        .iter()
        .find_map(|(name, number)| (*name == bare).then_some(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        let cases = [
            ("9", Some(9)),
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMIN", Some(34)),
            ("RTMIN3", None),
            ("SIGNOPE", None),
            ("0", None),
            ("65", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_signal(text), expected, "{text}");
        }
    }

    #[test]
    fn an_own_process_has_a_start_time_and_notices_signals() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(start_time_ticks(pid).unwrap() > 0);
        assert!(!ignores_signal(pid, libc::SIGTERM));
        assert!(!ignores_signal(pid, libc::SIGKILL));
    }
}
