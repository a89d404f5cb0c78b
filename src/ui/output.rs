//! stdout and stderr of the process: colour policy, broken pipes. Every byte that hoist prints goes
//! through here.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::ui::table::ellipsis;
use crate::ui::terminal;

/// `--ansi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ansi {
    Never,
    Always,
    /// Control characters where the stream is a terminal.
    Auto,
}

/// How this process prints; settled once, before anything is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) ansi: Ansi,
    /// `NO_COLOR` is set: no colours, whatever `ansi` says.
    pub(crate) no_color: bool,
    /// `COMPOSE_STATUS_STDOUT`: status lines go to stdout.
    pub(crate) status_on_stdout: bool,
}

const DEFAULT_SETTINGS: Settings = Settings {
    ansi: Ansi::Auto,
    no_color: false,
    status_on_stdout: false,
};

static SETTINGS: OnceLock<Settings> = OnceLock::new();
static STDOUT_BROKEN: AtomicBool = AtomicBool::new(false);

/// Settles how to print. Later calls change nothing.
pub(crate) fn set(settings: Settings) {
    let _ = SETTINGS.set(settings);
}

pub(crate) fn settings() -> Settings {
    SETTINGS.get().copied().unwrap_or(DEFAULT_SETTINGS)
}

/// May stdout carry colours?
pub(crate) fn stdout_is_coloured() -> bool {
    coloured(io::stdout().is_terminal())
}

/// May stderr carry colours?
pub(crate) fn stderr_is_coloured() -> bool {
    coloured(io::stderr().is_terminal())
}

fn coloured(terminal: bool) -> bool {
    let settings = settings();
    !settings.no_color
        && match settings.ansi {
            Ansi::Never => false,
            Ansi::Always => true,
            Ansi::Auto => terminal,
        }
}

/// The line that stays at the bottom of a terminal while other lines are written above it.
static FOOTER: Mutex<Option<String>> = Mutex::new(None);
/// To the left, and clear the line.
const CLEAR_LINE: &[u8] = b"\r\x1b[K";
const DEFAULT_COLUMNS: u16 = 80;

/// Sets, changes or takes away the line at the bottom.
pub(crate) fn set_footer(text: Option<String>) {
    let mut footer = FOOTER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stdout = io::stdout().lock();
    let cleared = match &*footer {
        Some(_) => stdout.write_all(CLEAR_LINE),
        None => Ok(()),
    };
    *footer = text;
    let drawn = cleared.and_then(|()| draw_footer(&mut stdout, footer.as_deref()));
    if let Err(error) = drawn.and_then(|()| stdout.flush()) {
        note_broken(&error);
    }
}

fn draw_footer(stdout: &mut impl Write, footer: Option<&str>) -> io::Result<()> {
    let Some(text) = footer else {
        return Ok(());
    };
    let columns = terminal::size().map_or(DEFAULT_COLUMNS, |(_, columns)| columns);
    // One column less: a full line would wrap.
    let text = ellipsis(text, usize::from(columns).saturating_sub(1));
    write!(stdout, "\x1b[2m{text}\x1b[0m")
}

/// Writes bytes to stdout as they are.
pub(crate) fn write(bytes: &[u8]) {
    let footer = FOOTER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stdout = io::stdout().lock();
    let written = match &*footer {
        Some(text) => stdout
            .write_all(CLEAR_LINE)
            .and_then(|()| stdout.write_all(bytes))
            .and_then(|()| draw_footer(&mut stdout, Some(text))),
        None => stdout.write_all(bytes),
    };
    if let Err(error) = written.and_then(|()| stdout.flush()) {
        note_broken(&error);
    }
}

/// Writes a line to stdout.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut bytes = text.as_ref().as_bytes().to_vec();
    bytes.push(b'\n');
    write(&bytes);
}

/// Writes bytes to stderr as they are.
pub(crate) fn write_error(bytes: &[u8]) {
    let footer = FOOTER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stdout = io::stdout().lock();
    if footer.is_some() {
        let cleared = stdout.write_all(CLEAR_LINE).and_then(|()| stdout.flush());
        if let Err(error) = cleared {
            note_broken(&error);
        }
    }
    // Nobody can be told that stderr is gone.
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(bytes).and_then(|()| stderr.flush());
    if footer.is_some() {
        let drawn = draw_footer(&mut stdout, footer.as_deref()).and_then(|()| stdout.flush());
        if let Err(error) = drawn {
            note_broken(&error);
        }
    }
}

/// Writes a line to stderr.
pub(crate) fn error_line(text: impl AsRef<str>) {
    let mut bytes = text.as_ref().as_bytes().to_vec();
    bytes.push(b'\n');
    write_error(&bytes);
}

/// Writes a status line where status lines go.
pub(crate) fn status_line(text: impl AsRef<str>) {
    if settings().status_on_stdout {
        line(text);
    } else {
        error_line(text);
    }
}

/// Writes `warning: …` to stderr, or a GitHub annotation inside a workflow.
pub(crate) fn warning(text: impl AsRef<str>) {
    let text = text.as_ref();
    if stderr_is_coloured() {
        error_line(format!("\u{1b}[33mwarning:\u{1b}[0m {text}"));
    } else {
        error_line(format!("warning: {text}"));
    }
}

/// Has the reader of stdout gone away? Streams end then, quietly.
pub(crate) fn stdout_is_broken() -> bool {
    STDOUT_BROKEN.load(Ordering::Relaxed)
}

fn note_broken(error: &io::Error) {
    if error.kind() == io::ErrorKind::BrokenPipe {
        STDOUT_BROKEN.store(true, Ordering::Relaxed);
    }
}
