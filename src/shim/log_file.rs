//! The json-file log: one JSON object a line exactly as Docker writes it, long lines in pieces, rotation by size.
//! It reads nothing back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::shim::protocol::LogOptions;

/// Longer lines become several entries, of which only the last ends with a newline.
const LINE_MAX_BYTES: usize = 16 << 10;

/// An open log.
#[derive(Debug)]
pub(crate) struct LogFile {
    options: LogOptions,
    /// Ready to be put into each line, with the comma.
    attrs: String,
    file: File,
    size: u64,
    /// What came after the last newline, of stdout and stderr.
    partial: [Vec<u8>; 2],
    buffer: Vec<u8>,
}

impl LogFile {
    /// Continues the log where it is.
    pub(crate) fn open(options: LogOptions) -> io::Result<LogFile> {
        let file = open_file(&options.path)?;
        let size = file.metadata()?.len();
        let attrs = if options.attrs.is_empty() {
            String::new()
        } else {
            let text = serde_json::to_string(&options.attrs).map_err(io::Error::other)?;
            format!(",\"attrs\":{text}")
        };
        Ok(LogFile {
            options,
            attrs,
            file,
            size,
            partial: [Vec::new(), Vec::new()],
            buffer: Vec::new(),
        })
    }

    /// Where the log is.
    pub(crate) fn folder(&self) -> &Path {
        self.options.path.parent().unwrap_or(Path::new("."))
    }

    /// Takes output of stream 1 or 2 as it came; whole lines are written, the rest waits for its end.
    pub(crate) fn write(&mut self, stream: u8, bytes: &[u8]) {
        let time = jiff::Timestamp::now().to_string();
        let slot = usize::from(stream == 2);
        let mut waiting = std::mem::take(&mut self.partial[slot]);
        waiting.extend_from_slice(bytes);
        let mut rest = waiting.as_slice();
        while let Some(length) = next_piece(rest) {
            let (piece, after) = rest.split_at(length);
            self.entry(stream, piece, &time);
            rest = after;
        }
        let rest_length = rest.len();
        waiting.drain(..waiting.len() - rest_length);
        self.partial[slot] = waiting;
        self.flush();
    }

    /// Writes what never got its newline.
    pub(crate) fn finish(&mut self) {
        let time = jiff::Timestamp::now().to_string();
        for stream in [1, 2] {
            let rest = std::mem::take(&mut self.partial[usize::from(stream == 2)]);
            if !rest.is_empty() {
                self.entry(stream, &rest, &time);
            }
        }
        self.flush();
    }

    fn entry(&mut self, stream: u8, text: &[u8], time: &str) {
        if let Some(max) = self.options.max_size_bytes
            && self.size + self.buffer.len() as u64 >= max
        {
            self.flush();
            // Without room for a new file the old one goes on.
            let _ = self.rotate();
        }
        let stream = if stream == 2 { "stderr" } else { "stdout" };
        self.buffer.extend_from_slice(b"{\"log\":\"");
        escape(text, &mut self.buffer);
        self.buffer.extend_from_slice(b"\",\"stream\":\"");
        self.buffer.extend_from_slice(stream.as_bytes());
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(self.attrs.as_bytes());
        self.buffer.extend_from_slice(b",\"time\":\"");
        self.buffer.extend_from_slice(time.as_bytes());
        self.buffer.extend_from_slice(b"\"}\n");
    }

    /// A full disk costs these lines and no more: half of a line would spoil the next one as well.
    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        match self.file.write_all(&self.buffer) {
            Ok(()) => self.size += self.buffer.len() as u64,
            Err(_) => drop(self.file.set_len(self.size)),
        }
        self.buffer.clear();
        self.buffer.shrink_to(64 << 10);
    }

    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.options.path;
        if self.options.max_files <= 1 {
            self.file.set_len(0)?;
        } else {
            for number in (1..self.options.max_files).rev() {
                let from = match number {
                    1 => path.clone(),
                    _ => numbered(path, number - 1),
                };
                match fs::rename(from, numbered(path, number)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            self.file = open_file(path)?;
        }
        self.size = 0;
        Ok(())
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// How long the next entry is: up to a newline, or as long as a piece may be. `None`: wait for more.
fn next_piece(bytes: &[u8]) -> Option<usize> {
    let within = &bytes[..bytes.len().min(LINE_MAX_BYTES)];
    match within.iter().position(|byte| *byte == b'\n') {
        Some(at) => Some(at + 1),
        None if bytes.len() >= LINE_MAX_BYTES => Some(LINE_MAX_BYTES),
        None => None,
    }
}

/// As Docker's jsonlog: `<`, `>`, `&` and U+2028/2029 escaped too, what is not UTF-8 replaced.
fn escape(text: &[u8], into: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' => into.extend_from_slice(b"\\\""),
                '\\' => into.extend_from_slice(b"\\\\"),
                '\n' => into.extend_from_slice(b"\\n"),
                '\r' => into.extend_from_slice(b"\\r"),
                '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    into.extend_from_slice(format!("\\u{:04x}", u32::from(letter)).as_bytes());
                }
                other => into.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for _ in chunk.invalid() {
            into.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(folder: &Path, max_size_bytes: Option<u64>, max_files: u32) -> LogFile {
        LogFile::open(LogOptions {
            path: folder.join("c.log"),
            max_size_bytes,
            max_files,
            attrs: std::collections::BTreeMap::new(),
        })
        .unwrap()
    }

    fn texts(path: &Path) -> Vec<(String, String)> {
        fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|line| {
                let entry: serde_json::Value = serde_json::from_str(line).unwrap();
                let field = |name: &str| entry[name].as_str().unwrap().to_owned();
                (field("stream"), field("log"))
            })
            .collect()
    }

    #[test]
    fn lines_are_put_together_by_stream() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path(), None, 1);
        log.write(1, b"one\ntw");
        log.write(2, b"oops <&>\t\xff\n");
        log.write(1, b"o\nthree");
        log.finish();
        let path = folder.path().join("c.log");
        let expected = [
            ("stdout", "one\n"),
            ("stderr", "oops <&>\t\u{fffd}\n"),
            ("stdout", "two\n"),
            ("stdout", "three"),
        ];
        let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(texts(&path), expected);
        let raw = fs::read_to_string(&path).unwrap();
        assert!(
            raw.contains(
                r#"{"log":"oops \u003c\u0026\u003e\u0009\ufffd\n","stream":"stderr","time":""#
            ),
            "{raw}"
        );
        assert!(raw.lines().all(|line| line.ends_with("Z\"}")), "{raw}");
    }

    #[test]
    fn a_long_line_comes_in_pieces_that_make_it_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path(), None, 1);
        let line = [vec![b'x'; 40_000], b"\n".to_vec()].concat();
        for chunk in line.chunks(7000) {
            log.write(1, chunk);
        }
        let pieces = texts(&folder.path().join("c.log"));
        let lengths: Vec<usize> = pieces.iter().map(|(_, text)| text.len()).collect();
        assert_eq!(lengths, [16384, 16384, 7233]);
    }

    #[test]
    fn rotation_keeps_as_many_files_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path(), Some(200), 3);
        for number in 0..20 {
            log.write(1, format!("line {number}\n").as_bytes());
        }
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["c.log", "c.log.1", "c.log.2"]);
        let newest = texts(&folder.path().join("c.log"));
        assert_eq!(newest.last().unwrap().1, "line 19\n");
        let older = texts(&folder.path().join("c.log.1"));
        assert!(older.len() >= 2);
    }
}
