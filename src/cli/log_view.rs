//! Shows what containers write: log events → aligned, coloured lines.

use crate::client::streams::StdStream;
use crate::ops::logs::LogEvent;
use crate::ui::log_mux::{LogMux, LogStyle, Stream};
use crate::ui::output;

/// A view of several containers' output.
#[derive(Debug)]
pub(crate) struct LogView {
    mux: LogMux,
}

/// How log lines look.
pub(crate) fn style(no_color: bool, no_prefix: bool, timestamps: bool, split: bool) -> LogStyle {
    LogStyle {
        prefix: !no_prefix,
        colour: !no_color && output::stdout_is_coloured(),
        timestamps,
        split,
    }
}

impl LogView {
    pub(crate) fn new(style: LogStyle) -> Self {
        LogView {
            mux: LogMux::new(style),
        }
    }

    /// Makes room for names before anything is written.
    pub(crate) fn register(&mut self, container: &str) {
        self.mux.register(container);
    }

    /// Shows an event; `false` when the reader of stdout is gone.
    pub(crate) fn show(&mut self, event: LogEvent) -> bool {
        match event {
            LogEvent::Container(name) => self.mux.register(&name),
            LogEvent::Output {
                container,
                stream,
                bytes,
            } => {
                let stream = match stream {
                    StdStream::Stdout => Stream::Stdout,
                    StdStream::Stderr => Stream::Stderr,
                };
                let lines = self.mux.push(&container, stream, &bytes);
                self.mux.write(&lines);
            }
            LogEvent::Ended(container) => {
                let lines = self.mux.finish(&container);
                self.mux.write(&lines);
            }
            LogEvent::Warning(text) => output::warning(text),
        }
        !output::stdout_is_broken()
    }
}
