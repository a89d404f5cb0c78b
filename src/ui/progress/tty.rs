//! The live list on a terminal, drawn with indicatif. What its lines say is decided in `state`.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Renderer;
use super::state::State;
use crate::progress::{Event, Report};
use crate::ui::{output, terminal};

const REDRAW: Duration = Duration::from_millis(100);
const DRAWS_A_SECOND: u8 = 30;
const DEFAULT_SIZE: (u16, u16) = (24, 80);

/// The screen and what is on it.
struct Screen {
    state: State,
    bars: MultiProgress,
    rows: Vec<ProgressBar>,
    colour: bool,
}

/// Redraws on events and, for the spinners, ten times a second until the operation ends.
pub(super) struct TtyProgress {
    hide_starting: bool,
    live: Option<Live>,
}

struct Live {
    screen: Arc<Mutex<Screen>>,
    stop_tx: Sender<()>,
    ticker: JoinHandle<()>,
}

impl TtyProgress {
    pub(super) fn new(hide_starting: bool) -> Self {
        TtyProgress {
            hide_starting,
            live: None,
        }
    }

    fn begin(&mut self, operation: String) {
        self.end();
        let screen = Arc::new(Mutex::new(Screen {
            state: State::new(operation, self.hide_starting, Instant::now()),
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(
                DRAWS_A_SECOND,
            )),
            rows: Vec::new(),
            colour: output::stderr_is_coloured(),
        }));
        let (stop_tx, stop_rx) = mpsc::channel();
        let drawn = Arc::clone(&screen);
        let ticker = std::thread::spawn(move || {
            while stop_rx.recv_timeout(REDRAW) == Err(RecvTimeoutError::Timeout) {
                lock(&drawn).draw();
            }
        });
        self.live = Some(Live {
            screen,
            stop_tx,
            ticker,
        });
    }

    fn event(&mut self, event: Event) {
        if self.live.is_none() {
            self.begin(String::from("running"));
        }
        if let Some(live) = &self.live {
            let mut screen = lock(&live.screen);
            screen.state.event(event, Instant::now());
            screen.draw();
        }
    }

    /// Prints above the list.
    fn print(&self, text: &str) {
        match &self.live {
            Some(live) => lock(&live.screen).bars.suspend(|| output::error_line(text)),
            None => output::error_line(text),
        }
    }

    fn end(&mut self) {
        let Some(live) = self.live.take() else { return };
        // The ticker ends when its channel closes.
        drop(live.stop_tx);
        let _ = live.ticker.join();
        lock(&live.screen).finish();
    }
}

impl Drop for TtyProgress {
    fn drop(&mut self) {
        self.end();
    }
}

impl Renderer for TtyProgress {
    fn report(&mut self, report: Report) {
        match report {
            Report::Begin { operation } => self.begin(operation),
            Report::Event(event) => self.event(event),
            Report::Output { resource, text } => {
                for line in text.lines() {
                    self.print(&format!("{resource} | {line}"));
                }
            }
            Report::Notice(text) => self.print(&text),
            Report::Warning(text) => {
                let text = if output::stderr_is_coloured() {
                    format!("\u{1b}[33mwarning:\u{1b}[0m {text}")
                } else {
                    format!("warning: {text}")
                };
                self.print(&text);
            }
            Report::End { .. } => self.end(),
        }
    }
}

impl Screen {
    fn lines(&self, height: usize) -> Vec<String> {
        let (_, columns) = terminal::size().unwrap_or(DEFAULT_SIZE);
        self.state
            .render(usize::from(columns), height, Instant::now(), self.colour)
    }

    fn draw(&mut self) {
        let (rows, _) = terminal::size().unwrap_or(DEFAULT_SIZE);
        let lines = self.lines(usize::from(rows));
        while self.rows.len() < lines.len() {
            let row = self.bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                row.set_style(style);
            }
            self.rows.push(row);
        }
        while self.rows.len() > lines.len() {
            if let Some(row) = self.rows.pop() {
                self.bars.remove(&row);
            }
        }
        for (row, line) in self.rows.iter().zip(lines) {
            if row.message() != line {
                row.set_message(line);
            }
        }
    }

    /// Replaces the live list by its last state, whole.
    fn finish(&mut self) {
        // The last state is ours to print, so that it stays when indicatif is gone.
        let _ = self.bars.clear();
        if self.state.is_empty() {
            return;
        }
        for line in self.lines(usize::MAX) {
            output::error_line(line);
        }
    }
}

fn lock(screen: &Mutex<Screen>) -> std::sync::MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}
