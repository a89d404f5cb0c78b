//! A Dockerfile's text as lines: directives, comments, continuations, flags, here-documents. The rules are those
//! of BuildKit's parser. What an instruction means is `instruction`'s matter.

use crate::engine::build::expand::{Lexer, NoVariables, Quotes};

/// Dockerfiles larger than this are refused.
const FILE_MAX_BYTES: usize = 4 << 20;

/// Lines of the file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Text given in place, after `<<NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heredoc {
    pub(crate) name: String,
    pub(crate) content: String,
    /// Variables are replaced: the name was not quoted.
    pub(crate) expand: bool,
    /// Leading tabs are dropped (`<<-`).
    pub(crate) chomp: bool,
}

/// One instruction as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Lower case.
    pub(crate) keyword: String,
    /// `--name=value` and `--name`, unquoted.
    pub(crate) flags: Vec<String>,
    pub(crate) rest: String,
    pub(crate) heredocs: Vec<Heredoc>,
    pub(crate) span: Span,
    /// With continuations joined.
    pub(crate) original: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lexed {
    pub(crate) escape: char,
    /// The frontend a `# syntax=` line asks for.
    pub(crate) syntax: Option<String>,
    pub(crate) lines: Vec<Line>,
    pub(crate) warnings: Vec<String>,
}

/// What is wrong with a Dockerfile, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dockerfile parse error on line {line}: {message}")]
pub(crate) struct DockerfileError {
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl DockerfileError {
    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        DockerfileError {
            line,
            message: message.into(),
        }
    }
}

/// Splits `text` into instructions.
pub(crate) fn lex(text: &str) -> Result<Lexed, DockerfileError> {
    if text.len() > FILE_MAX_BYTES {
        return Err(DockerfileError::new(1, "the file is larger than 4 MiB"));
    }
    let text = text.trim_start_matches('\u{feff}');
    let rows: Vec<&str> = text
        .split('\n')
        .map(|row| row.strip_suffix('\r').unwrap_or(row))
        .collect();
    let (escape, syntax) = directives(&rows)?;
    let mut lexed = Lexed {
        escape,
        syntax,
        lines: Vec::new(),
        warnings: Vec::new(),
    };
    let mut at = 0;
    while at < rows.len() {
        let row = rows[at];
        if row.trim().is_empty() || is_comment(row) {
            at += 1;
            continue;
        }
        let start = at;
        let mut original = String::new();
        let (part, mut goes_on) = trim_continuation(row.trim_start(), escape);
        original.push_str(part);
        at += 1;
        let mut has_empty_line = false;
        while goes_on && at < rows.len() {
            let row = rows[at];
            at += 1;
            if is_comment(row) {
                continue;
            }
            if row.trim().is_empty() {
                // The last row of a text that ends with a newline is no line.
                has_empty_line |= at < rows.len();
                continue;
            }
            let (part, more) = trim_continuation(row, escape);
            original.push_str(part);
            goes_on = more;
        }
        if has_empty_line {
            lexed
                .warnings
                .push(format!("Empty continuation line found in: {original}"));
        }
        let mut line = split_line(
            &original,
            Span {
                start: start + 1,
                end: at,
            },
        )?;
        read_heredocs(&mut line, &rows, &mut at)?;
        line.span.end = at;
        lexed.lines.push(line);
    }
    if lexed.lines.is_empty() {
        return Err(DockerfileError::new(1, "file with no instructions"));
    }
    Ok(lexed)
}

/// `# key=value` lines at the very top.
fn directives(rows: &[&str]) -> Result<(char, Option<String>), DockerfileError> {
    let mut escape = '\\';
    let mut syntax = None;
    let mut seen: Vec<String> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        // An interpreter line may come first.
        if at == 0 && row.starts_with("#!") {
            continue;
        }
        let Some((key, value)) = directive(row) else {
            break;
        };
        if !matches!(key.as_str(), "escape" | "syntax" | "check") {
            break;
        }
        if seen.contains(&key) {
            return Err(DockerfileError::new(
                at + 1,
                format!("only one {key} parser directive can be used"),
            ));
        }
        match key.as_str() {
            "escape" => {
                escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    other => {
                        return Err(DockerfileError::new(
                            at + 1,
                            format!("invalid escape token '{other}' does not match ` or \\"),
                        ));
                    }
                };
            }
            "syntax" => syntax = Some(value.to_owned()),
            _ => {}
        }
        seen.push(key);
    }
    Ok((escape, syntax))
}

fn directive(row: &str) -> Option<(String, &str)> {
    let comment = row.trim_start().strip_prefix('#')?;
    let (key, value) = comment.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_key = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_key && !value.is_empty()).then(|| (key.to_ascii_lowercase(), value))
}

fn is_comment(row: &str) -> bool {
    row.trim_start().starts_with('#')
}

/// The row without its trailing escape, and whether the next row belongs to it. A doubled escape is a literal.
fn trim_continuation(row: &str, escape: char) -> (&str, bool) {
    let trimmed = row.trim_end_matches([' ', '\t']);
    let Some(before) = trimmed.strip_suffix(escape) else {
        return (row, false);
    };
    if before.ends_with(escape) {
        return (row, false);
    }
    (before, true)
}

fn split_line(original: &str, span: Span) -> Result<Line, DockerfileError> {
    let trimmed = original.trim();
    let (keyword, rest) = match trimmed.find(char::is_whitespace) {
        Some(at) => (&trimmed[..at], trimmed[at..].trim()),
        None => (trimmed, ""),
    };
    let (flags, rest) = split_flags(rest);
    Ok(Line {
        keyword: keyword.to_ascii_lowercase(),
        flags,
        rest: rest.trim_start().to_owned(),
        heredocs: Vec::new(),
        span,
        original: trimmed.to_owned(),
    })
}

/// Leading words with `--`, unquoted; a bare `--` ends them.
fn split_flags(line: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, rest);
        }
        let mut word = String::new();
        let mut quote = None;
        let mut chars = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            match quote {
                None if c.is_whitespace() => {
                    end = at;
                    break;
                }
                None if c == '\'' || c == '"' => quote = Some(c),
                Some(open) if c == open => quote = None,
                _ if c == '\\' => {
                    if let Some((_, next)) = chars.next() {
                        word.push(next);
                    }
                }
                _ => word.push(c),
            }
        }
        rest = &rest[end..];
        if word == "--" {
            return (flags, rest);
        }
        flags.push(word);
    }
}

/// Whether an instruction can have here-documents.
fn takes_heredocs(line: &Line) -> bool {
    let keyword = match line.keyword.as_str() {
        "onbuild" => line
            .rest
            .split_whitespace()
            .next()
            .unwrap_or("")
            .to_ascii_lowercase(),
        other => other.to_owned(),
    };
    matches!(keyword.as_str(), "add" | "copy" | "run")
}

fn read_heredocs(line: &mut Line, rows: &[&str], at: &mut usize) -> Result<(), DockerfileError> {
    if !takes_heredocs(line) || !line.rest.contains("<<") {
        return Ok(());
    }
    for mut heredoc in heredocs_of(&line.rest) {
        let mut content = String::new();
        loop {
            let Some(row) = rows.get(*at) else {
                return Err(DockerfileError::new(
                    line.span.start,
                    "unterminated heredoc",
                ));
            };
            *at += 1;
            let row = if heredoc.chomp {
                row.trim_start_matches('\t')
            } else {
                row
            };
            if row == heredoc.name {
                break;
            }
            content.push_str(row);
            content.push('\n');
        }
        heredoc.content = content;
        line.heredocs.push(heredoc);
    }
    Ok(())
}

/// The `<<NAME` words of a line, without their text.
pub(crate) fn heredocs_of(line: &str) -> Vec<Heredoc> {
    let raw = Lexer {
        escape: '\\',
        quotes: Quotes::Raw,
        keep_unset: true,
    };
    let Ok(words) = raw.words(line, &NoVariables) else {
        return Vec::new();
    };
    words.iter().filter_map(|word| heredoc_of(word)).collect()
}

pub(crate) fn heredoc_of(word: &str) -> Option<Heredoc> {
    let rest = word
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let lexer = |quotes| Lexer {
        escape: '\\',
        quotes,
        keep_unset: true,
    };
    let plain = lexer(Quotes::Process).words(rest, &NoVariables).ok()?;
    let raw = lexer(Quotes::Raw).words(rest, &NoVariables).ok()?;
    let ([name], [written]) = (plain.as_slice(), raw.as_slice()) else {
        return None;
    };
    Some(Heredoc {
        name: name.clone(),
        content: String::new(),
        expand: name == written,
        chomp,
    })
}

/// Words as `ENV`, `LABEL` and `ARG` see them: quotes and escapes stay, they only keep blanks together.
pub(crate) fn quoted_words(rest: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut has_quotes = false;
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if has_quotes || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                has_quotes = false;
                continue;
            }
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                has_quotes = true;
            }
            Some(open) if c == open => quote = None,
            _ => {}
        }
        let escapes = c == escape && quote != Some('\'');
        if escapes {
            // An escape at the very end stands for nothing.
            let Some(next) = chars.next() else {
                break;
            };
            word.push(c);
            word.push(next);
            continue;
        }
        word.push(c);
    }
    if has_quotes || !word.is_empty() {
        words.push(word);
    }
    words
}
