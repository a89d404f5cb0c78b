//! Processes: pidfds, waiting, signals by name and number, what `/proc` says about one. It starts none.
#![expect(
    unsafe_code,
    reason = "waitid(2) and signal masks have no wrapper that fits"
)]

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};

/// A process by descriptor: never mistaken for a later one with the same number.
#[derive(Debug)]
pub(crate) struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    pub(crate) fn open(pid: i32) -> io::Result<PidFd> {
        let pid = rustix::process::Pid::from_raw(pid)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        Ok(PidFd { fd })
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> PidFd {
        PidFd { fd }
    }

    /// Sends a signal by number. A process that has ended is an error (`ESRCH`).
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        let no_info: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: plain numbers and a null pointer, which the kernel allows here.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                std::os::fd::AsRawFd::as_raw_fd(&self.fd),
                signal,
                no_info,
                0,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Blocks until the process has ended.
    pub(crate) fn wait_readable(&self) -> io::Result<()> {
        let mut watched = [PollFd::new(&self.fd, PollFlags::IN)];
        loop {
            match rustix::event::poll(&mut watched, None) {
                Err(rustix::io::Errno::INTR) => {}
                other => return other.map(drop).map_err(io::Error::from),
            }
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Gives the kernel a moment, where it has no event to wait for.
pub(crate) fn pause_ms(milliseconds: u32) {
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(milliseconds) * 1_000_000,
    };
    // Nothing is watched: this is the timeout only. A signal may cut it short, which is fine.
    let _ = rustix::event::poll(&mut [], Some(&timeout));
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    /// The exit code, or 128 and the signal.
    pub(crate) code: i32,
}

/// Reaps one child that has ended, if there is one.
pub(crate) fn reap_any() -> Option<Reaped> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the result.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid > 0 {
            return Some(Reaped {
                pid,
                code: exit_code(status),
            });
        }
        if pid == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// Blocks until this child has ended.
pub(crate) fn wait_child(pid: i32) -> io::Result<Reaped> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the result.
        let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if reaped == pid {
            return Ok(Reaped {
                pid,
                code: exit_code(status),
            });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn exit_code(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    }
}

/// Blocks these signals for the calling thread and gives a descriptor that becomes readable when one comes.
pub(crate) fn signal_fd(signals: &[i32]) -> io::Result<OwnedFd> {
    block_signals(signals)?;
    let set = signal_set(signals);
    // SAFETY: `set` is a valid set; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number of the next signal that came on a [`signal_fd`].
pub(crate) fn next_signal(fd: BorrowedFd<'_>) -> Option<i32> {
    let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>()];
    let read = rustix::io::read(fd, &mut buffer).ok()?;
    let number = buffer.first_chunk::<4>().filter(|_| read == buffer.len())?;
    i32::try_from(u32::from_ne_bytes(*number)).ok()
}

/// Blocks these signals for the calling thread, so that [`wait_signal`] gets them.
pub(crate) fn block_signals(signals: &[i32]) -> io::Result<()> {
    let set = signal_set(signals);
    // SAFETY: `set` is a valid set; the old mask is not asked for.
    let masked =
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if masked < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Waits for one of these blocked signals, without a descriptor.
pub(crate) fn wait_signal(signals: &[i32]) -> Option<i32> {
    let set = signal_set(signals);
    let mut signal = 0;
    // SAFETY: `set` is a valid set and `signal` a place for the result.
    let failed = unsafe { libc::sigwait(&raw const set, &raw mut signal) };
    (failed == 0).then_some(signal)
}

/// Gives every signal its default action and blocks none, as a new program expects it.
pub(crate) fn reset_signals() {
    for signal in 1..=64 {
        // Refused for SIGKILL, SIGSTOP and the two that libc keeps, which need nothing.
        // SAFETY: SIG_DFL is a valid action for any signal.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let none = signal_set(&[]);
    // SAFETY: `none` is a valid set; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: the call fills the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: filled just above.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: `set` is a valid set; a wrong number is refused.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

/// Sends `signal` to a pid. Prefer [`PidFd::signal`] unless the process is an own child that is not reaped yet.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    if unsafe { libc::kill(pid, signal) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

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
