//! Interleaves the output of several containers, line by line, with aligned coloured prefixes. It knows
//! names and bytes; where they come from is not its business.

use std::collections::BTreeMap;

use unicode_width::UnicodeWidthStr as _;

use crate::ui::output;

/// The colours of the prefixes, in the order that names take them.
const COLOURS: [&str; 12] = [
    "36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1", "31;1", "37;1",
];

/// Text from one container without a line feed is kept up to this length.
const LONGEST_LINE_BYTES: usize = 1 << 20;

/// Which of a container's streams a chunk came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogStyle {
    pub(crate) prefix: bool,
    pub(crate) colour: bool,
    /// A time of this process in front of each line.
    pub(crate) timestamps: bool,
    /// Stderr lines go to stderr; otherwise all goes to stdout.
    pub(crate) split: bool,
}

#[derive(Debug)]
struct Source {
    colour: usize,
    /// What came after the last line feed, for each stream.
    pending: BTreeMap<Stream, Vec<u8>>,
}

/// The state between chunks.
#[derive(Debug)]
pub(crate) struct LogMux {
    style: LogStyle,
    sources: BTreeMap<String, Source>,
    /// Columns of the longest name, and one.
    width: usize,
    next_colour: usize,
}

/// Finished text and where it goes.
pub(crate) type Lines = Vec<(Stream, Vec<u8>)>;

impl LogMux {
    pub(crate) fn new(style: LogStyle) -> Self {
        LogMux {
            style,
            sources: BTreeMap::new(),
            width: 0,
            next_colour: 0,
        }
    }

    /// Makes room for a name; the earlier names come, the better they align.
    pub(crate) fn register(&mut self, name: &str) {
        if self.sources.contains_key(name) {
            return;
        }
        self.width = self.width.max(name.width() + 1);
        self.sources.insert(
            name.to_owned(),
            Source {
                colour: self.next_colour,
                pending: BTreeMap::new(),
            },
        );
        self.next_colour += 1;
    }

    /// Takes a chunk and gives back the lines that are now complete.
    pub(crate) fn push(&mut self, name: &str, stream: Stream, bytes: &[u8]) -> Lines {
        self.register(name);
        let mut complete = Vec::new();
        if let Some(source) = self.sources.get_mut(name) {
            let pending = source.pending.entry(stream).or_default();
            pending.extend_from_slice(bytes);
            while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
                let rest = pending.split_off(end + 1);
                complete.push(std::mem::replace(pending, rest));
            }
            if pending.len() > LONGEST_LINE_BYTES {
                let mut line = std::mem::take(pending);
                line.push(b'\n');
                complete.push(line);
            }
        }
        complete
            .into_iter()
            .map(|line| (stream, self.line(name, &line)))
            .collect()
    }

    /// The unfinished lines of a container whose output has ended.
    pub(crate) fn finish(&mut self, name: &str) -> Lines {
        let Some(source) = self.sources.get_mut(name) else {
            return Vec::new();
        };
        let pending = std::mem::take(&mut source.pending);
        pending
            .into_iter()
            .filter(|(_, line)| !line.is_empty())
            .map(|(stream, mut line)| {
                line.push(b'\n');
                (stream, self.line(name, &line))
            })
            .collect()
    }

    fn line(&self, name: &str, line: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(line.len() + self.width + 16);
        if self.style.prefix {
            let padding = " ".repeat(self.width.saturating_sub(name.width()));
            let colour = self.sources.get(name).map_or(0, |source| source.colour);
            if self.style.colour {
                let code = COLOURS[colour % COLOURS.len()];
                text.extend_from_slice(
                    format!("\u{1b}[{code}m{name}{padding} | \u{1b}[0m").as_bytes(),
                );
            } else {
                text.extend_from_slice(format!("{name}{padding} | ").as_bytes());
            }
        }
        if self.style.timestamps {
            text.extend_from_slice(format!("{:.9} ", jiff::Timestamp::now()).as_bytes());
        }
        text.extend_from_slice(line);
        text
    }

    /// Writes lines where they belong.
    pub(crate) fn write(&self, lines: &Lines) {
        for (stream, bytes) in lines {
            match stream {
                Stream::Stderr if self.style.split => output::write_error(bytes),
                _ => output::write(bytes),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> LogMux {
        LogMux::new(LogStyle {
            prefix: true,
            colour: false,
            timestamps: false,
            split: false,
        })
    }

    fn text(lines: Lines) -> String {
        lines
            .into_iter()
            .map(|(_, line)| String::from_utf8(line).unwrap())
            .collect()
    }

    #[test]
    fn lines_align_and_never_mix() {
        let mut mux = plain();
        mux.register("longname-1");
        assert_eq!(
            text(mux.push("web-1", Stream::Stdout, b"one\ntw")),
            "web-1       | one\n"
        );
        assert_eq!(
            text(mux.push("longname-1", Stream::Stdout, b"x\n")),
            "longname-1  | x\n"
        );
        assert_eq!(
            text(mux.push("web-1", Stream::Stderr, b"err\n")),
            "web-1       | err\n"
        );
        assert_eq!(
            text(mux.push("web-1", Stream::Stdout, b"o\n")),
            "web-1       | two\n"
        );
    }

    #[test]
    fn an_unfinished_line_comes_at_the_end_once() {
        let mut mux = plain();
        assert!(mux.push("a", Stream::Stdout, b"partial").is_empty());
        assert_eq!(text(mux.finish("a")), "a  | partial\n");
        assert!(mux.finish("a").is_empty());
    }
}
