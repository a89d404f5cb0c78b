//! The texts that were read and places in them. Holds no findings (that is `compose::error`).

use std::sync::Arc;

/// A place in one of the files: byte offsets into its text. `NONE` for what no file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    /// Number of the file, from 1; 0 for none.
    file: u16,
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) const NONE: Self = Self {
        file: 0,
        start: 0,
        end: 0,
    };

    pub(crate) fn new(file: FileId, start: usize, end: usize) -> Self {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            file: file.0,
            start: clamp(start),
            end: clamp(end.max(start)),
        }
    }

    pub(crate) fn is_none(self) -> bool {
        self.file == 0
    }

    /// This span, or `other` where this one is nowhere.
    pub(crate) fn or(self, other: Self) -> Self {
        if self.is_none() { other } else { self }
    }

    pub(crate) fn file(self) -> Option<FileId> {
        (self.file != 0).then_some(FileId(self.file))
    }

    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One of the files of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId(u16);

#[derive(Clone, Debug)]
struct Source {
    name: String,
    text: Arc<str>,
}

/// Every text of a load, by `FileId`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    files: Vec<Source>,
}

/// Where a span begins, for people: lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Sources {
    /// Adds a text; the same name and text give the same id.
    pub(crate) fn add(&mut self, name: &str, text: Arc<str>) -> FileId {
        if let Some(at) = self
            .files
            .iter()
            .position(|f| f.name == name && f.text == text)
        {
            return FileId(u16::try_from(at + 1).unwrap_or(u16::MAX));
        }
        if self.files.len() < usize::from(u16::MAX) - 1 {
            self.files.push(Source {
                name: name.to_owned(),
                text,
            });
        }
        FileId(u16::try_from(self.files.len()).unwrap_or(u16::MAX))
    }

    /// Every file, in the order of reading.
    pub(crate) fn ids(&self) -> impl Iterator<Item = FileId> {
        (1..=self.files.len()).map(|n| FileId(u16::try_from(n).unwrap_or(u16::MAX)))
    }

    pub(crate) fn name(&self, file: FileId) -> &str {
        self.get(file).map_or("", |f| &f.name)
    }

    pub(crate) fn text(&self, file: FileId) -> &str {
        self.get(file).map_or("", |f| &f.text)
    }

    fn get(&self, file: FileId) -> Option<&Source> {
        self.files.get(usize::from(file.0).checked_sub(1)?)
    }

    /// File, line and column of a span's start.
    pub(crate) fn locate(&self, span: Span) -> Option<Location> {
        let file = span.file()?;
        let source = self.get(file)?;
        let mut start = span.range().start.min(source.text.len());
        while !source.text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &source.text[..start];
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some(Location {
            file: source.name.clone(),
            line,
            column: before[line_start..].chars().count() + 1,
        })
    }
}
