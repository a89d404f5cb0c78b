//! Child processes of a scenario: run to the end, or watched while they run. Every wait has an end.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything may take before the scenario is called stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) line: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code of {self}");
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "`{text}` is missing in {self}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "`{text}` is missing in the standard output of {self}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn never_says(self, text: &str) -> Self {
        assert!(
            !self.stdout.contains(text) && !self.stderr.contains(text),
            "`{text}` is too much in {self}"
        );
        self
    }

    /// The lines of the standard output that hold anything.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty())
            .collect()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}) from {self}"))
    }

    /// One JSON value a line, or one array of them.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        if let Ok(Value::Array(values)) = serde_json::from_str(&self.stdout) {
            return values;
        }
        let parse = |line: &&str| {
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON line {line:?} in {self}"))
        };
        self.lines().iter().map(parse).collect()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` (exit {})\n--- stdout\n{}\n--- stderr\n{}",
            self.line, self.code, self.stdout, self.stderr
        )
    }
}

/// What a stream has said so far, and a bell for the next bytes.
#[derive(Default)]
struct Stream {
    state: Mutex<(Vec<u8>, bool)>,
    more: Condvar,
}

impl Stream {
    fn follow(mut source: impl Read + Send + 'static) -> Arc<Self> {
        let stream = Arc::new(Self::default());
        let sink = Arc::clone(&stream);
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            loop {
                let count = source.read(&mut buffer).unwrap_or(0);
                let mut state = sink.state.lock().unwrap();
                state.0.extend_from_slice(&buffer[..count]);
                state.1 = count == 0;
                sink.more.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        stream
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().unwrap().0).into_owned()
    }

    /// Waits until `enough` of the text, or the end of the stream, or of the time.
    fn wait(&self, until: Instant, enough: impl Fn(&str) -> bool) -> bool {
        let mut state = self.state.lock().unwrap();
        loop {
            if enough(&String::from_utf8_lossy(&state.0)) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.1 || left.is_zero() {
                return false;
            }
            state = self.more.wait_timeout(state, left).unwrap().0;
        }
    }
}

/// A command that runs while the scenario goes on. Killed with the scenario.
pub(crate) struct Process {
    line: String,
    pid: Pid,
    stdin: Option<ChildStdin>,
    stdout: Arc<Stream>,
    stderr: Arc<Stream>,
    exit: mpsc::Receiver<ExitStatus>,
    ended: bool,
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let line = describe(&command);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child: Child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run `{line}`: {error}"));
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let stdin = child.stdin.take();
        let stdout = Stream::follow(child.stdout.take().unwrap());
        let stderr = Stream::follow(child.stderr.take().unwrap());
        let (exit_tx, exit) = mpsc::channel();
        thread::spawn(move || {
            // The receiver is gone when the scenario no longer asks.
            let _unasked = exit_tx.send(child.wait().unwrap());
        });
        Self {
            line,
            pid,
            stdin,
            stdout,
            stderr,
            exit,
            ended: false,
        }
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn write(&mut self, text: &str) {
        use std::io::Write as _;
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended by itself at this very moment.
        let _gone = kill(self.pid, signal);
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Waits for a text on either stream.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(&format!("`{text}`"), |said| said.contains(text));
    }

    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, enough: impl Fn(&str) -> bool) {
        let until = Instant::now() + PATIENCE;
        // The streams are followed apart; short turns on one of them let the other one be seen.
        while Instant::now() < until {
            let turn = Instant::now() + Duration::from_millis(50);
            if self.stdout.wait(turn, &enough) || self.stderr.wait(turn, &enough) {
                return;
            }
            if self.stdout.state.lock().unwrap().1 && self.stderr.state.lock().unwrap().1 {
                break;
            }
        }
        panic!(
            "{what} never came from `{}`\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.stdout.text(),
            self.stderr.text()
        );
    }

    /// Waits for the end and gives all that was said.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        self.stdin = None;
        let status = self.exit.recv_timeout(PATIENCE);
        if status.is_err() {
            // It may be gone at this very moment.
            let _gone = kill(self.pid, Signal::SIGKILL);
        }
        self.ended = true;
        let rest = Instant::now() + Duration::from_secs(5);
        self.stdout.wait(rest, |_| false);
        self.stderr.wait(rest, |_| false);
        let code = status.as_ref().map_or(-1, |status| {
            status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
        });
        let output = Output {
            line: self.line.clone(),
            code,
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        };
        assert!(status.is_ok(), "stuck after {PATIENCE:?}: {output}");
        output
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            // Ended by itself meanwhile: nothing to kill.
            let _gone = kill(self.pid, Signal::SIGKILL);
        }
    }
}

fn describe(command: &Command) -> String {
    let mut line = std::path::Path::new(command.get_program())
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}
