//! Events of the parser → an arena of raw nodes, one arena a document. No resolution of scalars or aliases.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag};

use crate::compose::source::{FileId, Span};
use crate::compose::yaml::{MAX_DEPTH, YamlError};

/// Index of a raw node in its arena.
pub(super) type Index = u32;

#[derive(Debug)]
pub(super) struct Raw<'a> {
    pub(super) kind: Kind<'a>,
    /// In the short form, `!!str` or `!reset`; `None` when nothing is written or a lone `!`.
    pub(super) tag: Option<Box<str>>,
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) enum Kind<'a> {
    Scalar {
        text: Cow<'a, str>,
        /// Quoted or a block: a string whatever it says.
        quoted: bool,
    },
    Seq(Vec<Index>),
    /// Keys and values in turn.
    Map(Vec<Index>),
    Alias(Index),
}

/// The raw nodes of one document.
#[derive(Debug)]
pub(super) struct Arena<'a> {
    pub(super) nodes: Vec<Raw<'a>>,
    pub(super) root: Option<Index>,
    pub(super) has_aliases: bool,
    pub(super) has_reset_tags: bool,
}

impl<'a> Arena<'a> {
    fn new() -> Self {
        Self {
            nodes: Vec::new(),
            root: None,
            has_aliases: false,
            has_reset_tags: false,
        }
    }

    pub(super) fn get(&self, index: Index) -> &Raw<'a> {
        &self.nodes[index as usize]
    }
}

/// Reads every document of `text`.
pub(super) fn parse(text: &str, file: FileId) -> Result<Vec<Arena<'_>>, Box<YamlError>> {
    match parse_once(text, file) {
        Ok(arenas) => Ok(arenas),
        Err(error) if error.is_quote_indent() => parse_with_indented_quotes(text, file, error),
        Err(error) => Err(error.into_yaml(file, text.len(), &[])),
    }
}

enum ParseError {
    Scan(ScanError),
    Own(Box<YamlError>),
}

impl ParseError {
    fn is_quote_indent(&self) -> bool {
        matches!(self, Self::Scan(e) if *e.kind() == ErrorKind::InvalidQuotedScalarIndent)
    }

    fn offset(&self) -> usize {
        match self {
            Self::Scan(error) => error.marker().byte_offset().unwrap_or(0),
            Self::Own(error) => error.span.range().start,
        }
    }

    fn into_yaml(self, file: FileId, len: usize, shifts: &[(usize, usize)]) -> Box<YamlError> {
        match self {
            Self::Own(error) => error,
            Self::Scan(error) => {
                let at = unshift(error.marker().byte_offset().unwrap_or(0), shifts).min(len);
                YamlError::new(error.kind().to_string(), Span::new(file, at, at))
            }
        }
    }
}

/// How much a too shallow line of a quoted scalar is moved to the right: its leading blanks carry no data.
const QUOTE_INDENT: usize = 256;

/// go-yaml accepts quoted scalars whose continuation lines are not indented; our parser does not.
/// Each such line gets blanks in a copy of the text, and places are moved back afterwards.
fn parse_with_indented_quotes(
    text: &str,
    file: FileId,
    mut error: ParseError,
) -> Result<Vec<Arena<'static>>, Box<YamlError>> {
    let mut copy = text.to_owned();
    let mut shifts: Vec<(usize, usize)> = Vec::new();
    for _ in 0..MAX_QUOTE_LINES {
        let at = error.offset().min(copy.len());
        let line = copy.as_bytes()[..at]
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |n| n + 1);
        if shifts.iter().any(|(start, _)| *start == line) {
            break;
        }
        copy.insert_str(line, &" ".repeat(QUOTE_INDENT));
        // Later insertions lie behind earlier ones: the scan proceeds to the right.
        shifts.push((line, QUOTE_INDENT));
        match parse_once(&copy, file) {
            Ok(arenas) => {
                return Ok(arenas
                    .into_iter()
                    .map(|arena| to_original(arena, file, &shifts))
                    .collect());
            }
            Err(next) if next.is_quote_indent() => error = next,
            Err(next) => return Err(next.into_yaml(file, text.len(), &shifts)),
        }
    }
    Err(error.into_yaml(file, text.len(), &shifts))
}

const MAX_QUOTE_LINES: usize = 300;

/// A byte offset of the indented copy in the original text.
fn unshift(offset: usize, shifts: &[(usize, usize)]) -> usize {
    let mut result = offset;
    for (at, count) in shifts {
        if offset >= *at {
            result -= (*count).min(offset - *at);
        }
    }
    result
}

fn to_original(arena: Arena<'_>, file: FileId, shifts: &[(usize, usize)]) -> Arena<'static> {
    let nodes = arena
        .nodes
        .into_iter()
        .map(|raw| Raw {
            kind: match raw.kind {
                Kind::Scalar { text, quoted } => Kind::Scalar {
                    text: Cow::Owned(text.into_owned()),
                    quoted,
                },
                Kind::Seq(items) => Kind::Seq(items),
                Kind::Map(items) => Kind::Map(items),
                Kind::Alias(target) => Kind::Alias(target),
            },
            tag: raw.tag,
            span: {
                let range = raw.span.range();
                Span::new(
                    file,
                    unshift(range.start, shifts),
                    unshift(range.end, shifts),
                )
            },
        })
        .collect();
    Arena {
        nodes,
        root: arena.root,
        has_aliases: arena.has_aliases,
        has_reset_tags: arena.has_reset_tags,
    }
}

fn parse_once(text: &str, file: FileId) -> Result<Vec<Arena<'_>>, ParseError> {
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    options.simple_key_max_lookahead = 1 << 20;
    options.flow_nesting_limit = MAX_DEPTH * 2;
    options.block_nesting_limit = MAX_DEPTH * 2;
    options.max_directive_bytes = 4096;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder {
        text,
        file,
        arenas: Vec::new(),
        arena: Arena::new(),
        stack: Vec::new(),
        anchors: HashMap::new(),
    };
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(ParseError::Scan)?;
        let span = match span.byte_range() {
            Some(range) => Span::new(file, range.start, range.end),
            None => Span::NONE,
        };
        builder.event(event, span).map_err(ParseError::Own)?;
    }
    Ok(builder.arenas)
}

struct Builder<'a> {
    text: &'a str,
    file: FileId,
    arenas: Vec<Arena<'a>>,
    arena: Arena<'a>,
    /// The open collections.
    stack: Vec<Index>,
    anchors: HashMap<usize, Index>,
}

impl<'a> Builder<'a> {
    fn event(&mut self, event: Event<'a>, span: Span) -> Result<(), Box<YamlError>> {
        match event {
            Event::DocumentStart(_, version) => {
                if version.is_some_and(|v| (v.major, v.minor) != (1, 1)) {
                    return Err(YamlError::new(
                        "found incompatible YAML document: only %YAML 1.1 is read",
                        span,
                    ));
                }
                self.arena = Arena::new();
                self.anchors.clear();
                self.stack.clear();
            }
            Event::DocumentEnd => {
                let arena = std::mem::replace(&mut self.arena, Arena::new());
                self.arenas.push(arena);
            }
            Event::Alias(id) => {
                let Some(target) = self.anchors.get(&id).copied() else {
                    return Err(YamlError::new("unknown anchor referenced", span));
                };
                self.arena.has_aliases = true;
                self.push(Kind::Alias(target), None, span, 0);
            }
            Event::Scalar(text, style, anchor, tag) => {
                if style == ScalarStyle::DoubleQuoted {
                    self.check_escapes(span)?;
                }
                let (text, quoted) = self.scalar(text, style, span);
                self.push(Kind::Scalar { text, quoted }, tag, span, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(Kind::Seq(Vec::new()), tag, span, anchor)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(Kind::Map(Vec::new()), tag, span, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            _ => {}
        }
        Ok(())
    }

    /// Refuses the escapes that our parser knows and go-yaml does not: `\\/` and surrogates.
    fn check_escapes(&self, span: Span) -> Result<(), Box<YamlError>> {
        let range = span.range();
        let raw = self.text.get(range.clone()).unwrap_or_default();
        let mut rest = raw;
        while let Some(at) = rest.find('\\') {
            rest = &rest[at + 1..];
            let message = match rest.as_bytes() {
                [b'/', ..] => "found unknown escape character",
                [
                    b'u',
                    b'd' | b'D',
                    b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F',
                    ..,
                ] => "found invalid Unicode character escape code",
                _ => {
                    let mut chars = rest.chars();
                    chars.next();
                    rest = chars.as_str();
                    continue;
                }
            };
            let place = range.start + raw.len() - rest.len() - 1;
            return Err(YamlError::new(
                message,
                Span::new(self.file, place, place + 2),
            ));
        }
        Ok(())
    }

    fn scalar(&self, text: Cow<'a, str>, style: ScalarStyle, span: Span) -> (Cow<'a, str>, bool) {
        let range = span.range();
        match style {
            ScalarStyle::Plain => {
                // The parser reports an absent value as `~`.
                let absent = text == "~" && self.text.get(range.clone()) != Some("~");
                (if absent { Cow::Borrowed("") } else { text }, false)
            }
            ScalarStyle::Literal | ScalarStyle::Folded => {
                // A block that ends with the file, without a last line break, has none for go-yaml.
                let unterminated = range.end >= self.text.trim_end_matches(' ').len()
                    && !self.text.ends_with(['\n', '\r']);
                match text.strip_suffix('\n') {
                    Some(stripped) if unterminated => (Cow::Owned(stripped.to_owned()), true),
                    _ => (text, true),
                }
            }
            _ => (text, true),
        }
    }

    fn push(
        &mut self,
        kind: Kind<'a>,
        tag: Option<Cow<'a, Tag>>,
        span: Span,
        anchor: usize,
    ) -> Index {
        let index = Index::try_from(self.arena.nodes.len()).unwrap_or(Index::MAX);
        let tag = tag.and_then(|tag| short_tag(&tag));
        if matches!(tag.as_deref(), Some("!reset" | "!override")) {
            self.arena.has_reset_tags = true;
        }
        self.arena.nodes.push(Raw { kind, tag, span });
        if anchor != 0 {
            self.anchors.insert(anchor, index);
        }
        match self.stack.last() {
            None => self.arena.root = Some(index),
            Some(parent) => match &mut self.arena.nodes[*parent as usize].kind {
                Kind::Seq(items) | Kind::Map(items) => items.push(index),
                Kind::Scalar { .. } | Kind::Alias(_) => {}
            },
        }
        index
    }

    fn open(
        &mut self,
        kind: Kind<'a>,
        tag: Option<Cow<'a, Tag>>,
        span: Span,
        anchor: usize,
    ) -> Result<(), Box<YamlError>> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(YamlError::new("nested too deeply", span));
        }
        let index = self.push(kind, tag, span, anchor);
        self.stack.push(index);
        Ok(())
    }

    fn close(&mut self, end: Span) {
        if let Some(index) = self.stack.pop() {
            let raw = &mut self.arena.nodes[index as usize];
            let start = raw.span.range().start;
            raw.span = Span::new(self.file, start, end.range().end);
        }
    }
}

/// The short form that go-yaml compares: `!!str` for the core schema, else the tag as written.
fn short_tag(tag: &Tag) -> Option<Box<str>> {
    let full = format!("{}{}", tag.handle(), tag.suffix());
    if full == "!" || full.is_empty() {
        return None;
    }
    match full.strip_prefix("tag:yaml.org,2002:") {
        Some(suffix) => Some(format!("!!{suffix}").into()),
        None => Some(full.into()),
    }
}
