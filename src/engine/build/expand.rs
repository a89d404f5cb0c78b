//! Variables and quotes in the words of a Dockerfile: `$A`, `${A:-b}`, `${A%.gz}`, `"…"`, `'…'`, escapes. A port of
//! the rules of BuildKit's `shell` package; it runs no shell.

use crate::engine::images::listing::glob_regex;

/// How deep `${A:-${B:-…}}` may nest.
const DEPTH_MAX: usize = 64;

/// Where values come from.
pub(crate) trait Variables {
    fn get(&self, name: &str) -> Option<&str>;
}

/// Nothing is set.
pub(crate) struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }
}

impl<V: Variables + ?Sized> Variables for &V {
    fn get(&self, name: &str) -> Option<&str> {
        (**self).get(name)
    }
}

/// What becomes of quotes and escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// They do their work and are gone.
    Process,
    /// They do their work and stay.
    Raw,
    /// They are ordinary characters (here-documents).
    Ignore,
}

/// The settings of an expansion.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lexer {
    pub(crate) escape: char,
    pub(crate) quotes: Quotes,
    /// A variable that is not set stays as written.
    pub(crate) keep_unset: bool,
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpandError {
    #[error("unexpected end of statement while looking for matching {0}")]
    Unclosed(&'static str),
    #[error("{0}: {1}")]
    Required(String, String),
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    #[error("invalid pattern {0:?} in substitution")]
    Pattern(String),
    #[error("bad substitution")]
    Bad,
    #[error("substitutions are nested too deeply")]
    Depth,
}

struct Run<'a> {
    lexer: Lexer,
    variables: &'a dyn Variables,
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

/// The text and the words it falls into.
#[derive(Default)]
struct Output {
    text: String,
    words: Vec<String>,
    word: String,
    in_word: bool,
}

impl Output {
    /// A character that separates words when it is a blank.
    fn push(&mut self, c: char) {
        self.text.push(c);
        if c.is_whitespace() {
            self.end_word();
        } else {
            self.in_word = true;
            self.word.push(c);
        }
    }

    /// A quoted or escaped character.
    fn push_raw(&mut self, c: char) {
        self.text.push(c);
        self.in_word = true;
        self.word.push(c);
    }

    fn push_raw_text(&mut self, text: &str) {
        self.in_word = true;
        self.text.push_str(text);
        self.word.push_str(text);
    }

    fn end_word(&mut self) {
        if self.in_word {
            self.words.push(std::mem::take(&mut self.word));
            self.in_word = false;
        }
    }
}

impl Lexer {
    /// With quotes removed and variables replaced.
    pub(crate) fn dockerfile(escape: char) -> Self {
        Lexer {
            escape,
            quotes: Quotes::Process,
            keep_unset: false,
        }
    }

    /// The whole text as one word.
    pub(crate) fn word(
        &self,
        text: &str,
        variables: &dyn Variables,
    ) -> Result<String, ExpandError> {
        Ok(self.run(text, variables)?.text)
    }

    /// The text split at blanks that are neither quoted nor escaped.
    pub(crate) fn words(
        &self,
        text: &str,
        variables: &dyn Variables,
    ) -> Result<Vec<String>, ExpandError> {
        let mut output = self.run(text, variables)?;
        output.end_word();
        Ok(output.words)
    }

    fn run(&self, text: &str, variables: &dyn Variables) -> Result<Output, ExpandError> {
        let mut run = Run {
            lexer: *self,
            variables,
            chars: text.chars().collect(),
            at: 0,
            depth: 0,
        };
        run.until(None)
    }
}

impl Run<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += 1;
        c
    }

    /// Up to `stop` (which is eaten), or to the end.
    fn until(&mut self, stop: Option<char>) -> Result<Output, ExpandError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ExpandError::Depth);
        }
        let mut output = Output::default();
        let quotes = self.lexer.quotes;
        loop {
            let Some(c) = self.peek() else {
                if stop.is_some() {
                    return Err(ExpandError::Unclosed("}"));
                }
                break;
            };
            if Some(c) == stop {
                self.at += 1;
                break;
            }
            match c {
                '\'' if quotes != Quotes::Ignore => self.single_quoted(&mut output)?,
                '"' if quotes != Quotes::Ignore => self.double_quoted(&mut output)?,
                '$' => {
                    let value = self.dollar()?;
                    for c in value.chars() {
                        output.push(c);
                    }
                }
                c if c == self.lexer.escape && quotes != Quotes::Ignore => {
                    self.at += 1;
                    if quotes == Quotes::Raw {
                        output.push_raw(c);
                    }
                    match self.next() {
                        Some(next) => output.push_raw(next),
                        None => break,
                    }
                }
                c if c == self.lexer.escape && self.chars.get(self.at + 1) == Some(&'$') => {
                    // In a here-document only the dollar can be escaped.
                    self.at += 2;
                    output.push_raw('$');
                }
                c => {
                    self.at += 1;
                    output.push(c);
                }
            }
        }
        self.depth -= 1;
        Ok(output)
    }

    fn single_quoted(&mut self, output: &mut Output) -> Result<(), ExpandError> {
        self.at += 1;
        let raw = self.lexer.quotes == Quotes::Raw;
        output.push_raw_text(if raw { "'" } else { "" });
        loop {
            match self.next() {
                None => return Err(ExpandError::Unclosed("single-quote")),
                Some('\'') => break,
                Some(c) => output.push_raw(c),
            }
        }
        output.push_raw_text(if raw { "'" } else { "" });
        Ok(())
    }

    fn double_quoted(&mut self, output: &mut Output) -> Result<(), ExpandError> {
        self.at += 1;
        let raw = self.lexer.quotes == Quotes::Raw;
        output.push_raw_text(if raw { "\"" } else { "" });
        loop {
            match self.peek() {
                None => return Err(ExpandError::Unclosed("double-quote")),
                Some('"') => {
                    self.at += 1;
                    break;
                }
                Some('$') => {
                    let value = self.dollar()?;
                    output.push_raw_text(&value);
                }
                Some(c) if c == self.lexer.escape => {
                    self.at += 1;
                    match self.peek() {
                        None => return Err(ExpandError::Unclosed("double-quote")),
                        Some(next) if next == '"' || next == '$' || next == self.lexer.escape => {
                            if raw {
                                output.push_raw(c);
                            }
                            self.at += 1;
                            output.push_raw(next);
                        }
                        Some(_) => output.push_raw(c),
                    }
                }
                Some(c) => {
                    self.at += 1;
                    output.push_raw(c);
                }
            }
        }
        output.push_raw_text(if raw { "\"" } else { "" });
        Ok(())
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.variables.get(&name) {
                Some(value) => value.to_owned(),
                None if self.lexer.keep_unset => format!("${name}"),
                None => String::new(),
            });
        }
        self.at += 1;
        if self.peek().is_none() {
            return Err(ExpandError::Unclosed("}"));
        }
        let start = self.at;
        let name = self.name();
        if name.is_empty() {
            return Err(ExpandError::Bad);
        }
        let value = self.variables.get(&name).map(str::to_owned);
        match self.next() {
            None => Err(ExpandError::Unclosed("}")),
            Some('}') => Ok(match value {
                Some(value) => value,
                None if self.lexer.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            Some(':') => {
                let Some(modifier) = self.next() else {
                    return Err(ExpandError::Unclosed("}"));
                };
                if !matches!(modifier, '+' | '-' | '?') {
                    return Err(ExpandError::Modifier(modifier.to_string()));
                }
                self.modified(&name, start, value, modifier, true)
            }
            Some(modifier @ ('+' | '-' | '?')) => {
                self.modified(&name, start, value, modifier, false)
            }
            Some(modifier @ ('#' | '%')) => self.trimmed(value.unwrap_or_default(), modifier),
            Some('/') => self.replaced(&value.unwrap_or_default()),
            Some(other) => Err(ExpandError::Modifier(other.to_string())),
        }
    }

    /// `-`, `+` and `?`; with a colon an empty value counts as none.
    fn modified(
        &mut self,
        name: &str,
        start: usize,
        value: Option<String>,
        modifier: char,
        empty_is_unset: bool,
    ) -> Result<String, ExpandError> {
        let word = self.until(Some('}'))?.text;
        let set = value.filter(|value| !(empty_is_unset && value.is_empty()));
        if set.is_none() && self.lexer.keep_unset {
            return Ok(self.chars[start - 2..self.at].iter().collect());
        }
        match modifier {
            '+' => Ok(set.map(|_| word).unwrap_or_default()),
            '-' => Ok(set.unwrap_or(word)),
            _ => set.ok_or_else(|| {
                let message = match (word.is_empty(), empty_is_unset) {
                    (false, _) => word,
                    (true, true) => "not allowed to be empty".to_owned(),
                    (true, false) => "not allowed to be unset".to_owned(),
                };
                ExpandError::Required(name.to_owned(), message)
            }),
        }
    }

    /// `#`, `##`, `%`, `%%`: the value without what a pattern matches at its start or end.
    fn trimmed(&mut self, value: String, side: char) -> Result<String, ExpandError> {
        let greedy = self.peek() == Some(side);
        if greedy {
            self.at += 1;
        }
        let pattern = self.until(Some('}'))?.text;
        let regex = pattern_regex(&pattern)?;
        let bounds: Vec<usize> = value
            .char_indices()
            .map(|(at, _)| at)
            .chain([value.len()])
            .collect();
        let found = if side == '#' {
            let mut ends = bounds.iter().copied();
            let mut back = bounds.iter().rev().copied();
            let matches = |end: &usize| regex.is_match(&value[..*end]);
            let end = if greedy {
                back.find(matches)
            } else {
                ends.find(matches)
            };
            end.map(|end| value[end..].to_owned())
        } else {
            let mut starts = bounds.iter().copied();
            let mut back = bounds.iter().rev().copied();
            let matches = |start: &usize| regex.is_match(&value[*start..]);
            let start = if greedy {
                starts.find(matches)
            } else {
                back.find(matches)
            };
            start.map(|start| value[..start].to_owned())
        };
        Ok(found.unwrap_or(value))
    }

    /// `/pattern/replacement` once, `//` everywhere.
    fn replaced(&mut self, value: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.at += 1;
        }
        let pattern = self.until(Some('/'))?.text;
        let replacement = self.until(Some('}'))?.text;
        let anchored = glob_body(&pattern)?;
        let regex = regex::Regex::new(&anchored).map_err(|_| ExpandError::Pattern(pattern))?;
        let plain = regex::NoExpand(&replacement);
        Ok(match all {
            true => regex.replace_all(value, plain).into_owned(),
            false => regex.replace(value, plain).into_owned(),
        })
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if name.is_empty() && c.is_ascii_digit() {
                while let Some(digit) = self.peek().filter(char::is_ascii_digit) {
                    name.push(digit);
                    self.at += 1;
                }
                break;
            }
            if name.is_empty() && "@*#?-$!".contains(c) {
                self.at += 1;
                return c.to_string();
            }
            if !c.is_alphanumeric() && c != '_' {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        name
    }
}

/// `*` and `?` of the shell: here they match slashes as well.
fn glob_body(pattern: &str) -> Result<String, ExpandError> {
    let anchored = glob_regex(pattern).ok_or_else(|| ExpandError::Pattern(pattern.to_owned()))?;
    let body = anchored.trim_start_matches('^').trim_end_matches('$');
    Ok(format!(
        "(?s:{})",
        body.replace("[^/]*", ".*?").replace("[^/]", ".")
    ))
}

fn pattern_regex(pattern: &str) -> Result<regex::Regex, ExpandError> {
    let body = glob_body(pattern)?;
    regex::Regex::new(&format!("^{body}$")).map_err(|_| ExpandError::Pattern(pattern.to_owned()))
}

#[cfg(test)]
#[path = "expand_tests.rs"]
mod tests;
