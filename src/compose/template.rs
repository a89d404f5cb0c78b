//! `${NAME:-default}` and its relatives in one string. Knows nothing of trees or files.

use std::borrow::Cow;
use std::fmt;

/// Where values come from, and what was asked for in vain.
pub(crate) trait Lookup {
    fn value(&self, name: &str) -> Option<&str>;

    /// Called for a variable without value that has no default either.
    fn unset(&self, _name: &str) {}

    /// Called for each variable used.
    fn used(&self, _name: &str) {}
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// A `${` without a valid body; holds the whole text.
    Invalid(String),
    /// `${NAME:?reason}` without a value.
    Required { name: String, reason: String },
    /// Nested beyond reason.
    TooDeep,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => write!(
                f,
                "invalid interpolation format.\nYou may need to escape any $ with another $.\n{text}"
            ),
            Self::Required { name, reason } if reason.is_empty() => {
                write!(f, "required variable {name} is missing a value")
            }
            Self::Required { name, reason } => {
                write!(f, "required variable {name} is missing a value: {reason}")
            }
            Self::TooDeep => f.write_str("variables are nested too deeply"),
        }
    }
}

impl std::error::Error for TemplateError {}

/// What one `$…` in a text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// `$$`
    Escaped,
    /// `$NAME`
    Named(&'a str),
    /// `${body}`: what stands between the braces.
    Braced(&'a str),
    /// `${` and no name or no end.
    Invalid,
}

/// How a braced body treats its variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    RequiredNotEmpty,
    Required,
    DefaultWhenEmpty,
    Default,
    AlternateWhenNotEmpty,
    Alternate,
}

const OPERATORS: [(&str, Operator); 6] = [
    (":?", Operator::RequiredNotEmpty),
    ("?", Operator::Required),
    (":-", Operator::DefaultWhenEmpty),
    ("-", Operator::Default),
    (":+", Operator::AlternateWhenNotEmpty),
    ("+", Operator::Alternate),
];

const MAX_NESTING: usize = 100;

/// Replaces every variable of `text`.
///
/// # Errors
/// A malformed `${…}`, or a required variable without a value.
pub(crate) fn substitute<'t>(
    text: &'t str,
    lookup: &dyn Lookup,
) -> Result<Cow<'t, str>, TemplateError> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    expand(text, lookup, &mut out, 0)?;
    Ok(Cow::Owned(out))
}

fn expand(
    text: &str,
    lookup: &dyn Lookup,
    out: &mut String,
    depth: usize,
) -> Result<(), TemplateError> {
    if depth > MAX_NESTING {
        return Err(TemplateError::TooDeep);
    }
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let Some((piece, length)) = next_piece(&rest[at..]) else {
            out.push('$');
            rest = &rest[at + 1..];
            continue;
        };
        rest = &rest[at + length..];
        match piece {
            Piece::Escaped => out.push('$'),
            Piece::Named(name) => plain_variable(name, lookup, out),
            Piece::Braced(body) => braced(body, lookup, out, depth)?,
            Piece::Invalid => return Err(TemplateError::Invalid(text.to_owned())),
        }
    }
    out.push_str(rest);
    Ok(())
}

fn plain_variable(name: &str, lookup: &dyn Lookup, out: &mut String) {
    lookup.used(name);
    match lookup.value(name) {
        Some(value) => out.push_str(value),
        None => lookup.unset(name),
    }
}

fn braced(
    body: &str,
    lookup: &dyn Lookup,
    out: &mut String,
    depth: usize,
) -> Result<(), TemplateError> {
    let Some((name, operator, word)) = split_body(body) else {
        plain_variable(body, lookup, out);
        return Ok(());
    };
    lookup.used(name);
    let mut expanded = String::new();
    expand(word, lookup, &mut expanded, depth + 1)?;
    let value = lookup.value(name);
    let filled = value.is_some_and(|v| !v.is_empty());
    match operator {
        Operator::RequiredNotEmpty | Operator::Required => {
            let present = match operator {
                Operator::Required => value.is_some(),
                _ => filled,
            };
            if !present {
                return Err(TemplateError::Required {
                    name: name.to_owned(),
                    reason: expanded,
                });
            }
            out.push_str(value.unwrap_or_default());
        }
        Operator::DefaultWhenEmpty if !filled => out.push_str(&expanded),
        Operator::Default if value.is_none() => out.push_str(&expanded),
        Operator::AlternateWhenNotEmpty if filled => out.push_str(&expanded),
        Operator::Alternate if value.is_some() => out.push_str(&expanded),
        _ => out.push_str(value.unwrap_or_default()),
    }
    Ok(())
}

/// Splits `NAME:-word` at the operator that stands first.
pub(crate) fn split_body(body: &str) -> Option<(&str, Operator, &str)> {
    let (at, text, operator) = OPERATORS
        .iter()
        .filter_map(|(text, operator)| body.find(text).map(|at| (at, *text, *operator)))
        .min_by_key(|(at, text, _)| (*at, std::cmp::Reverse(text.len())))?;
    Some((&body[..at], operator, &body[at + text.len()..]))
}

/// The variable at the start of `text` (which starts with `$`) and how long it is in bytes;
/// `None` when the `$` stands for itself.
pub(crate) fn next_piece(text: &str) -> Option<(Piece<'_>, usize)> {
    let after = &text[1..];
    if after.starts_with('$') {
        return Some((Piece::Escaped, 2));
    }
    let name = name_length(after);
    if name > 0 {
        return Some((Piece::Named(&after[..name]), 1 + name));
    }
    let body = after.strip_prefix('{')?;
    let name = name_length(body);
    if name == 0 {
        return Some((Piece::Invalid, 2));
    }
    let tail = &body[name..];
    if tail.starts_with('}') {
        return Some((Piece::Braced(&body[..name]), name + 3));
    }
    let operator = tail.strip_prefix(':').unwrap_or(tail);
    if !operator.starts_with(['-', '+', '?']) {
        return Some((Piece::Invalid, 2));
    }
    // A word may not span lines; with braces out of balance it reaches to the last one.
    let line = text.split('\n').next().unwrap_or(text);
    let Some(last) = line.rfind('}') else {
        return Some((Piece::Invalid, 2));
    };
    let end = closing_brace(&line[..=last]).unwrap_or(last);
    Some((Piece::Braced(&text[2..end]), end + 1))
}

/// Bytes of the variable name at the start: `[_a-zA-Z][_a-zA-Z0-9]*`, and the two letters that
/// case folding adds (`ſ`, the Kelvin sign).
fn name_length(text: &str) -> usize {
    let mut length = 0;
    for c in text.chars() {
        let fits = c == '_'
            || c.is_ascii_alphabetic()
            || matches!(c, '\u{17F}' | '\u{212A}')
            || (length > 0 && c.is_ascii_digit());
        if !fits {
            break;
        }
        length += c.len_utf8();
    }
    length
}

/// The byte of the brace that closes the first open one. The character after an opening brace is
/// taken as it is.
fn closing_brace(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = 0usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'}' => {
                open = open.saturating_sub(1);
                if open == 0 {
                    return Some(at);
                }
            }
            b'{' => {
                open += 1;
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed;

    impl Lookup for Fixed {
        fn value(&self, name: &str) -> Option<&str> {
            match name {
                "A" => Some("a"),
                "E" => Some(""),
                _ => None,
            }
        }
    }

    fn show(text: &str) -> String {
        match substitute(text, &Fixed) {
            Ok(text) => text.into_owned(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn follows_the_grammar() {
        for (text, result) in [
            ("$A-${A}", "a-a"),
            ("$$A", "$A"),
            ("$1 $ x$", "$1 $ x$"),
            ("${X:-d}", "d"),
            ("${E:-d}|${E-d}", "d|"),
            ("${A:+r}|${E:+r}|${E+r}|${X+r}", "r||r|"),
            ("${X:-${A}}", "a"),
            ("${X:-${Y:-z}}t", "zt"),
            ("${A:-b?c}", "a"),
            ("${X:-b?c}", "b?c"),
            ("${X}", ""),
            ("${A}}", "a}"),
            ("${X-{}}", "{}"),
            (
                "${X:?why}",
                "error: required variable X is missing a value: why",
            ),
            ("${E?x}", ""),
            ("${X:-{a}", "{a"),
            ("${X:-a} ${Y:-b} c", "a b c"),
        ] {
            assert_eq!(show(text), result, "{text}");
        }
        for text in [
            "${",
            "${}",
            "${1}",
            "${A",
            "${A b}",
            "a ${A:x}",
            "${X:-a\nb}",
        ] {
            assert!(show(text).starts_with("error: invalid"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[${}A:?+\\-a-z \u{e9}]{0,40}") {
            let _ = substitute(&text, &Fixed);
        }

        #[test]
        fn escaping_every_dollar_gives_the_text_back(text in "\\PC{0,40}") {
            prop_assert_eq!(show(&text.replace('$', "$$")), text);
        }
    }
}
