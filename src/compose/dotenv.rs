//! The grammar of `.env` files and of `env_file`. Which files are read, and when, is not decided here.

use std::path::Path;

use crate::compose::model::Mapping;
use crate::compose::template::{Lookup, substitute};

/// Finds values for the variables inside a file.
pub(crate) type Find<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the `.env` files into one mapping; later files win, variables see `current` first.
///
/// # Errors
/// A missing or malformed file, with its name.
pub(crate) fn read_files(
    current: &Mapping,
    files: &[std::path::PathBuf],
) -> Result<Mapping, String> {
    let mut values = Mapping::new();
    for file in files {
        let text = read_text(file)?;
        parse_with(&text, &mut values, &|name| current.get(name).cloned())
            .map_err(|error| format!("failed to read {}: {error}", file.display()))?;
    }
    Ok(values)
}

fn read_text(file: &Path) -> Result<String, String> {
    let shown = file.display();
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("couldn't find env file: {shown}"));
        }
        Err(error) => return Err(format!("stat {shown}: {error}")),
        Ok(meta) if meta.is_dir() => return Err(format!("{shown} is a directory")),
        Ok(_) => {}
    }
    let bytes = std::fs::read(file).map_err(|error| format!("open {shown}: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads one env file in the named format (empty: `.env` grammar) into `values`.
///
/// # Errors
/// An unreadable or malformed file, an unknown format.
pub(crate) fn read_into(
    file: &Path,
    format: &str,
    values: &mut Mapping,
    find: Find<'_>,
) -> Result<(), String> {
    let bytes = std::fs::read(file).map_err(|error| format!("open {}: {error}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    match format {
        "" | ".env" => parse_with(&text, values, find)
            .map_err(|error| format!("failed to read {}: {error}", file.display())),
        "raw" => parse_raw(&text, values, find)
            .map_err(|error| format!("failed to read {}: {error}", file.display())),
        _ => Err(format!("unsupported env_file format {format:?}")),
    }
}

/// KEY=VALUE lines, taken as they are; a bare KEY takes the value of the environment.
fn parse_raw(text: &str, values: &mut Mapping, find: Find<'_>) -> Result<(), String> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    for (n, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (line, None),
        };
        if key.is_empty() {
            return Err(format!("line {}: no variable name on line '{line}'", n + 1));
        }
        if key.contains(char::is_whitespace) {
            return Err(format!(
                "line {}: variable '{key}' contains whitespaces",
                n + 1
            ));
        }
        let value = match value {
            Some(value) => Some(value.to_owned()),
            None => find(key),
        };
        if let Some(value) = value {
            values.insert(key.to_owned(), value);
        }
    }
    Ok(())
}

/// Reads the `.env` grammar into `values`; variables see `find` first, then what was read before.
///
/// # Errors
/// The first malformed line.
pub(crate) fn parse_with(text: &str, values: &mut Mapping, find: Find<'_>) -> Result<(), String> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut parser = Parser {
        rest: text,
        line: 1,
    };
    while parser.skip_to_statement() {
        let (key, inherited) = parser.key()?;
        if key.contains(' ') {
            return Err(format!("line {}: key cannot contain a space", parser.line));
        }
        if inherited {
            if let Some(value) = find(&key) {
                values.insert(key, value);
            }
            continue;
        }
        let value = parser.value(values, find)?;
        values.insert(key, value);
    }
    Ok(())
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
}

/// Blank, but no line break.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ' | '\u{85}' | '\u{A0}')
}

impl Parser<'_> {
    /// Moves to the next key; false at the end.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            let blanks = self
                .rest
                .find(|c: char| !is_space(c))
                .unwrap_or(self.rest.len());
            self.line += self.rest[..blanks].matches('\n').count();
            self.rest = &self.rest[blanks..];
            if self.rest.is_empty() {
                return false;
            }
            if !self.rest.starts_with('#') {
                return true;
            }
            match self.rest.find('\n') {
                Some(end) => self.rest = &self.rest[end..],
                None => return false,
            }
        }
    }

    /// The key, and whether it stands without a value. What is left begins with the value.
    fn key(&mut self) -> Result<(String, bool), String> {
        if let Some(after) = self.rest.strip_prefix("export")
            && after.starts_with(|c: char| c.is_ascii_whitespace() && c != '\x0b')
        {
            self.rest = after.trim_start_matches(is_blank);
        }
        let (mut key, mut inherited, mut offset) = ("", false, 0);
        for (at, c) in self.rest.char_indices() {
            if is_blank(c) {
                continue;
            }
            match c {
                '=' | ':' | '\n' => {
                    key = &self.rest[..at];
                    offset = at + 1;
                    inherited = c == '\n';
                    break;
                }
                '_' | '.' | '-' | '[' | ']' => {}
                c if c.is_alphabetic() || c.is_numeric() => {}
                c => {
                    let line = self.rest.split('\n').next().unwrap_or_default();
                    return Err(format!(
                        "line {}: unexpected character {:?} in variable name {line:?}",
                        self.line,
                        c.to_string()
                    ));
                }
            }
        }
        if self.rest.is_empty() {
            return Err("zero length string".to_owned());
        }
        if inherited && !key.contains(' ') {
            self.line += 1;
        }
        let key = key.trim_end_matches(is_space).to_owned();
        self.rest = self.rest[offset..].trim_start_matches(is_blank);
        if offset == 0 {
            // A last line without separator has an empty key and its text as the value.
            return Ok((key, false));
        }
        Ok((key, inherited))
    }

    fn value(&mut self, values: &Mapping, find: Find<'_>) -> Result<String, String> {
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote, values, find),
            _ => {
                let (value, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
                self.line += 1;
                self.rest = rest;
                let value = value.split(" #").next().unwrap_or_default();
                expand(value.trim_end_matches(is_space), values, find)
            }
        }
    }

    fn quoted(&mut self, quote: char, values: &Mapping, find: Find<'_>) -> Result<String, String> {
        let mut content = String::new();
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            if c == '\n' {
                self.line += 1;
            }
            if c == quote && !escaped {
                self.rest = &self.rest[at + 1..];
                return if quote == '"' {
                    expand(&unescape(&content), values, find)
                } else {
                    Ok(content)
                };
            }
            if c != quote {
                if !escaped && c == '\\' {
                    escaped = true;
                    continue;
                }
                if escaped {
                    content.push('\\');
                }
            }
            escaped = false;
            content.push(c);
        }
        let line = self.rest.split('\n').next().unwrap_or_default();
        Err(format!(
            "line {}: unterminated quoted value {line}",
            self.line
        ))
    }
}

/// Unicode white space, as Go's `unicode.IsSpace`.
fn is_space(c: char) -> bool {
    c.is_whitespace()
}

struct FileLookup<'a> {
    values: &'a Mapping,
    found: std::cell::RefCell<Vec<String>>,
}

impl Lookup for FileLookup<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn used(&self, name: &str) {
        self.found.borrow_mut().push(name.to_owned());
    }
}

fn expand(text: &str, values: &Mapping, find: Find<'_>) -> Result<String, String> {
    if !text.contains('$') {
        return Ok(text.to_owned());
    }
    // The environment may change no entry of the file, so the names used are looked up beforehand.
    let mut names = Mapping::new();
    let scan = FileLookup {
        values: &names,
        found: std::cell::RefCell::default(),
    };
    // A first pass only collects names; its errors come back in the second.
    let _ = substitute(text, &scan);
    let mut used = scan.found.into_inner();
    collect_names(text, &mut used);
    for name in used {
        if let Some(value) = find(&name).or_else(|| values.get(&name).cloned()) {
            names.insert(name, value);
        }
    }
    let lookup = FileLookup {
        values: &names,
        found: std::cell::RefCell::default(),
    };
    substitute(text, &lookup)
        .map(std::borrow::Cow::into_owned)
        .map_err(|error| error.to_string())
}

/// Every name that may be asked for, also in words that the first pass did not reach.
fn collect_names(text: &str, names: &mut Vec<String>) {
    for part in text.split('$').skip(1) {
        let part = part.strip_prefix('{').unwrap_or(part);
        let end = part
            .find(|c: char| !(c == '_' || c.is_ascii_alphanumeric()))
            .unwrap_or(part.len());
        if end > 0 {
            names.push(part[..end].to_owned());
        }
    }
}

/// The escapes of double quotes; `\$` becomes `$$`, which the expansion turns into a dollar sign.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (replacement, length) = match rest.as_bytes().get(1) {
            Some(b'a') => ("\x07".to_owned(), 2),
            Some(b'b') => ("\x08".to_owned(), 2),
            Some(b'f') => ("\x0c".to_owned(), 2),
            Some(b'n') => ("\n".to_owned(), 2),
            Some(b'r') => ("\r".to_owned(), 2),
            Some(b't') => ("\t".to_owned(), 2),
            Some(b'v') => ("\x0b".to_owned(), 2),
            Some(b'$') => ("$$".to_owned(), 2),
            Some(b'"') => ("\"".to_owned(), 2),
            Some(b'\\') => ("\\".to_owned(), 2),
            Some(b'0') => octal(rest),
            Some(_) => {
                let length = rest.chars().nth(1).map_or(1, |c| 1 + c.len_utf8());
                (rest[..length].to_owned(), length)
            }
            None => ("\\".to_owned(), 1),
        };
        out.push_str(&replacement);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// `\0` and up to three digits: an octal character code when there are exactly three.
fn octal(text: &str) -> (String, usize) {
    let digits = text[2..]
        .bytes()
        .take(3)
        .take_while(u8::is_ascii_digit)
        .count();
    let length = 2 + digits;
    let code = u32::from_str_radix(&text[2..length], 8)
        .ok()
        .filter(|code| digits == 3 && *code <= 255)
        .and_then(char::from_u32);
    match code {
        Some(c) => (c.to_string(), length),
        None => (format!("\\{}", &text[2..length]), length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(text: &str) -> String {
        let mut values = Mapping::new();
        let find = |name: &str| (name == "OUT").then(|| "outer".to_owned());
        match parse_with(text, &mut values, &find) {
            Ok(()) => values
                .iter()
                .map(|(k, v)| format!("{k}={v:?}"))
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn follows_the_grammar() {
        for (text, result) in [
            ("A=1\nB=2", r#"A="1" B="2""#),
            ("export A=1", r#"A="1""#),
            ("A: yaml", r#"A="yaml""#),
            ("A=x #c\nB=x#c", r#"A="x" B="x#c""#),
            ("A='$X \\n'", r#"A="$X \\n""#),
            ("A=\"a\\nb\"", r#"A="a\nb""#),
            ("A=1\nB=${A}${OUT}", r#"A="1" B="1outer""#),
            ("OUT\nNO\n", r#"OUT="outer""#),
            ("A=\"x\\$y $$z\"", r#"A="x$y $z""#),
            ("A=${X:-d}", r#"A="d""#),
            ("# c\n\nA=", r#"A="""#),
            ("A=\"multi\nline\"\nB=1", r#"A="multi\nline" B="1""#),
            ("A B=1", "error: line 1: key cannot contain a space"),
            ("A=\"x", "error: line 1: unterminated quoted value \"x"),
        ] {
            assert_eq!(show(text), result, "{text:?}");
        }
        assert!(show("A!=1").starts_with("error: line 1: unexpected character"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A-Z=\"'\\\\${}:#\n \u{e9}]{0,60}") {
            show(&text);
        }
    }
}
