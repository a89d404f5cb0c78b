//! Reading json-file logs: the lines of a file and of those it was rotated into, from the n-th last or from
//! a time on. No following here; that is `logs`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

const CHUNK_BYTES: usize = 64 << 10;
/// A line longer than this is no line of a log (the writer splits at 16 KiB).
const MAX_LINE_BYTES: usize = 4 << 20;

/// One entry as it stands in the file.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry<'a> {
    #[serde(borrow)]
    pub(crate) log: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) stream: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) time: Cow<'a, str>,
    #[serde(default)]
    pub(crate) attrs: BTreeMap<String, String>,
}

/// The files of a log that exist, oldest first: `log.2`, `log.1`, `log`.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let mut older: Vec<PathBuf> = (1..)
        .map(|number| numbered(path, number))
        .take_while(|path| path.exists())
        .collect();
    older.reverse();
    older.push(path.to_owned());
    older
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Where the last `count` lines of a file begin, and how many there are.
pub(crate) fn tail_offset(file: &mut File, count: u64) -> io::Result<(u64, u64)> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut position = end;
    let mut found = 0;
    let mut buffer = vec![0; CHUNK_BYTES];
    while position > 0 {
        let size = position.min(CHUNK_BYTES as u64);
        let start = position - size;
        file.seek(SeekFrom::Start(start))?;
        let length = usize::try_from(size).unwrap_or(CHUNK_BYTES);
        let chunk = &mut buffer[..length];
        file.read_exact(chunk)?;
        for (index, byte) in chunk.iter().enumerate().rev() {
            let offset = start + index as u64;
            // The newline that ends the last line begins none.
            if *byte == b'\n' && offset + 1 < end {
                found += 1;
                if found == count {
                    return Ok((offset + 1, found));
                }
            }
        }
        position = start;
    }
    Ok((0, if end > 0 { found + 1 } else { 0 }))
}

/// Lines of a growing file, whole ones only.
#[derive(Debug)]
pub(crate) struct LineReader {
    file: File,
    buffer: Vec<u8>,
    /// What of `buffer` has been given out.
    taken: usize,
}

impl LineReader {
    pub(crate) fn new(file: File) -> Self {
        LineReader {
            file,
            buffer: Vec::new(),
            taken: 0,
        }
    }

    /// Reads another chunk; false at the present end of the file.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.len() > MAX_LINE_BYTES {
            self.buffer.clear();
        }
        let before = self.buffer.len();
        self.buffer.resize(before + CHUNK_BYTES, 0);
        let read = self.file.read(&mut self.buffer[before..]);
        let count = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(before + count);
        read.map(|count| count > 0)
    }

    /// The next whole line of what was read.
    pub(crate) fn next_line(&mut self) -> Option<&[u8]> {
        let rest = &self.buffer[self.taken..];
        let length = rest.iter().position(|byte| *byte == b'\n')?;
        let start = self.taken;
        self.taken += length + 1;
        Some(&self.buffer[start..start + length])
    }

    pub(crate) fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.file.metadata()
    }
}

/// Nanoseconds since the epoch of an entry's time.
pub(crate) fn entry_nanos(time: &str) -> Option<i64> {
    let timestamp: jiff::Timestamp = time.parse().ok()?;
    i64::try_from(timestamp.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn tails_and_lines() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(tail_offset(&mut file, 2).unwrap(), (4, 2));
        assert_eq!(tail_offset(&mut file, 9).unwrap(), (0, 3));
        file.write_all(b"half").unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        let mut reader = LineReader::new(file.try_clone().unwrap());
        assert!(reader.fill().unwrap());
        assert_eq!(reader.next_line(), Some(&b"two"[..]));
        assert_eq!(reader.next_line(), Some(&b"three"[..]));
        assert_eq!(reader.next_line(), None);
        assert!(!reader.fill().unwrap());
        file.write_all(b" done\n").unwrap();
        file.seek(SeekFrom::End(-6)).unwrap();
        assert!(reader.fill().unwrap());
        assert_eq!(reader.next_line(), Some(&b"half done"[..]));
    }

    #[test]
    fn rotated_files_come_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        for name in ["x.log", "x.log.1", "x.log.2", "x.log.4"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<String> = files(&path)
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["x.log.2", "x.log.1", "x.log"]);
    }
}
