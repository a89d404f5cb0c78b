//! Draws what operations report, on stderr: as a live list on a terminal, as plain lines, as JSON lines,
//! or not at all. The formats of plain and JSON lines are an interface: scripts read them.

mod json;
mod plain;
mod state;
mod tty;

use std::sync::{Arc, Mutex, PoisonError};

use crate::progress::{Report, Sink};
use crate::ui::{output, terminal};

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Tty,
    Plain,
    Json,
    Quiet,
}

impl Mode {
    /// Reads the flag; `auto` looks at stderr.
    ///
    /// # Errors
    /// An unknown word, or a contradiction to `--ansi`.
    pub(crate) fn select(progress: &str) -> Result<Mode, String> {
        let ansi = output::settings().ansi;
        match progress {
            "" | "auto" => Ok(match ansi {
                output::Ansi::Never => Mode::Plain,
                _ if terminal::stderr_is_terminal() => Mode::Tty,
                _ => Mode::Plain,
            }),
            "tty" if ansi == output::Ansi::Never => {
                Err("can't use --progress tty while ANSI support is disabled".to_owned())
            }
            "tty" => Ok(Mode::Tty),
            "plain" if ansi == output::Ansi::Always => {
                Err("can't use --progress plain while ANSI support is forced".to_owned())
            }
            "plain" => Ok(Mode::Plain),
            "json" => Ok(Mode::Json),
            "quiet" | "none" => Ok(Mode::Quiet),
            other => Err(format!("unsupported --progress value {other:?}")),
        }
    }
}

/// How to draw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    /// Leave out that containers start: their output follows at once.
    pub(crate) hide_starting: bool,
}

trait Renderer: Send {
    fn report(&mut self, report: Report);
}

/// A sink that draws.
pub(crate) fn sink(options: Options) -> Sink {
    let renderer: Box<dyn Renderer> = match options.mode {
        Mode::Tty => Box::new(tty::TtyProgress::new(options.hide_starting)),
        Mode::Plain => Box::new(plain::PlainProgress::default()),
        Mode::Json => Box::new(json::JsonProgress),
        Mode::Quiet => Box::new(Quiet),
    };
    let renderer = Arc::new(Mutex::new(renderer));
    Sink::new(move |report| {
        renderer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .report(report);
    })
}

/// Says only what must be said.
struct Quiet;

impl Renderer for Quiet {
    fn report(&mut self, report: Report) {
        if let Report::Warning(text) = report {
            output::warning(text);
        }
    }
}
