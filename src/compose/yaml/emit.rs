//! Values → YAML text in go-yaml's style (block collections, indent 2, its choice of quotes).
//! A general emitter would choose other quotes and folds: the text is compared with docker compose's.

use crate::compose::number;
use crate::compose::out::Out;
use crate::compose::yaml::scalar::is_plain_string;

/// Writes a document.
pub(crate) fn to_yaml(value: &Out) -> String {
    let mut out = String::new();
    match value {
        Out::Map(entries) if !entries.is_empty() => mapping(&mut out, entries, 0, true),
        Out::List(items) if !items.is_empty() => sequence(&mut out, items, 0, true),
        scalar => {
            scalar_value(&mut out, scalar, 0);
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n(' ', depth));
}

/// `at_start`: the cursor already stands where the first entry goes.
fn mapping(out: &mut String, entries: &[(String, Out)], depth: usize, at_start: bool) {
    let mut placed = at_start;
    for (key, value) in entries {
        if !placed {
            indent(out, depth);
        }
        placed = false;
        write_key(out, key, depth);
        match value {
            Out::Map(inner) if !inner.is_empty() => {
                out.push('\n');
                mapping(out, inner, depth + 2, false);
            }
            Out::List(items) if !items.is_empty() => {
                out.push('\n');
                sequence(out, items, depth + 2, false);
            }
            scalar => {
                let text = {
                    let mut text = String::new();
                    scalar_value(&mut text, scalar, depth);
                    text
                };
                if !text.is_empty() {
                    out.push(' ');
                    out.push_str(&text);
                }
                out.push('\n');
            }
        }
    }
}

fn sequence(out: &mut String, items: &[Out], depth: usize, at_start: bool) {
    let mut placed = at_start;
    for item in items {
        if !placed {
            indent(out, depth);
        }
        placed = false;
        out.push_str("- ");
        match item {
            Out::Map(inner) if !inner.is_empty() => mapping(out, inner, depth + 2, true),
            Out::List(inner) if !inner.is_empty() => sequence(out, inner, depth + 2, true),
            scalar => {
                scalar_value(out, scalar, depth);
                out.push('\n');
            }
        }
    }
}

/// The longest key that stands before its colon on one line.
const SIMPLE_KEY_LIMIT: usize = 128;

fn write_key(out: &mut String, key: &str, depth: usize) {
    let simple = key.len() <= SIMPLE_KEY_LIMIT && !key.contains('\n');
    if simple {
        string(out, key, depth, true);
        out.push(':');
    } else {
        out.push_str("? ");
        string(out, key, depth, key.len() <= SIMPLE_KEY_LIMIT);
        out.push('\n');
        indent(out, depth);
        out.push(':');
    }
}

fn scalar_value(out: &mut String, value: &Out, depth: usize) {
    match value {
        Out::Null => out.push_str("null"),
        Out::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Out::Int(n) => out.push_str(&n.to_string()),
        Out::Uint(n) => out.push_str(&n.to_string()),
        Out::Float(f) => out.push_str(&float(number::general(*f))),
        Out::F32(f) => out.push_str(&float(number::general32(*f))),
        Out::Time(text) => out.push_str(text),
        Out::Str(text) => string(out, text, depth, false),
        Out::List(_) | Out::NoList => out.push_str("[]"),
        Out::Map(_) => out.push_str("{}"),
    }
}

fn float(text: String) -> String {
    match text.as_str() {
        "+Inf" => ".inf".to_owned(),
        "-Inf" => "-.inf".to_owned(),
        "NaN" => ".nan".to_owned(),
        _ => text,
    }
}

/// What a text allows, as libyaml analyses it.
struct Analysis {
    plain: bool,
    single_quoted: bool,
    block: bool,
}

fn analyze(text: &str) -> Analysis {
    if text.is_empty() {
        return Analysis {
            plain: true,
            single_quoted: true,
            block: false,
        };
    }
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut line_breaks, mut special, mut tabs) = (false, false, false);
    let (mut edge_space, mut trailing_space) = (false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break) = (false, false);
    let mut preceded_by_whitespace = true;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let followed_by_whitespace = chars
            .peek()
            .is_none_or(|(_, next)| matches!(next, ' ' | '\t'));
        let last = chars.peek().is_none();
        if at == 0 {
            indicators |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"'
                | '%' | '@' | '`' => true,
                '?' | ':' | '-' => followed_by_whitespace,
                _ => false,
            };
        } else {
            indicators |= match c {
                ':' => followed_by_whitespace,
                '#' => preceded_by_whitespace,
                _ => false,
            };
        }
        if c == '\t' {
            tabs = true;
        } else if !printable(c) {
            special = true;
        }
        if c == ' ' {
            edge_space |= at == 0 || last;
            trailing_space |= last;
            break_space |= previous_break;
            (previous_space, previous_break) = (true, false);
        } else if is_break(c) {
            line_breaks = true;
            edge_space |= at == 0 || last;
            space_break |= previous_space;
            (previous_space, previous_break) = (false, true);
        } else {
            (previous_space, previous_break) = (false, false);
        }
        preceded_by_whitespace = matches!(c, ' ' | '\t') || is_break(c);
    }
    let unquotable = space_break || tabs || special || break_space;
    Analysis {
        plain: !(edge_space || unquotable || line_breaks || indicators),
        single_quoted: !unquotable,
        block: !(trailing_space || space_break || special),
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}')
        && c != '\u{FEFF}'
}

fn string(out: &mut String, text: &str, depth: usize, key: bool) {
    let analysis = analyze(text);
    if text.contains('\n') {
        if !key && analysis.block {
            return literal(out, text, depth);
        }
        return double_quoted(out, text);
    }
    if !is_plain_string(text) || is_base60(text) || is_old_bool(text) {
        return double_quoted(out, text);
    }
    if analysis.plain && !(text.is_empty() && key) {
        out.push_str(text);
    } else if analysis.single_quoted {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    } else {
        double_quoted(out, text);
    }
}

fn literal(out: &mut String, text: &str, depth: usize) {
    out.push('|');
    if text.starts_with([' ', '\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        out.push('2');
    }
    let mut tail = text.chars().rev();
    match (tail.next().is_some_and(is_break), tail.next()) {
        (false, _) => out.push('-'),
        (true, None) => out.push('+'),
        (true, Some(c)) if is_break(c) => out.push('+'),
        (true, Some(_)) => {}
    }
    let mut at_break = true;
    out.push('\n');
    for c in text.chars() {
        if c == '\n' {
            if !at_break {
                at_break = true;
            }
            out.push('\n');
        } else {
            if at_break {
                indent(out, depth + 2);
                at_break = false;
            }
            out.push(c);
        }
    }
    // The caller ends the line.
    if text.ends_with('\n') {
        out.pop();
    }
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\x1b' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{A0}' => out.push_str("\\_"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            c if printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                let escape = match code {
                    0..=0xFF => format!("\\x{code:02X}"),
                    0x100..=0xFFFF => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                out.push_str(&escape);
            }
        }
    }
    out.push('"');
}

/// `^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`: a base-60 number of YAML 1.1.
fn is_base60(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut groups = body.split(':');
    let Some(first) = groups.next() else {
        return false;
    };
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    if !first.starts_with(|c: char| c.is_ascii_digit()) || !number(first) {
        return false;
    }
    let groups: Vec<&str> = groups.collect();
    let Some((last, middle)) = groups.split_last() else {
        return false;
    };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    let sixty = |s: &str| match s.as_bytes() {
        [b] => b.is_ascii_digit(),
        [a, b] => matches!(a, b'0'..=b'5') && b.is_ascii_digit(),
        _ => false,
    };
    middle.iter().all(|group| sixty(group)) && sixty(last) && number(fraction)
}

fn is_old_bool(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "on"
            | "On"
            | "ON"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "off"
            | "Off"
            | "OFF"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_yaml() {
        let show = |text: &str| to_yaml(&Out::Map(vec![("k".into(), Out::Str(text.into()))]));
        for (text, written) in [
            ("plain", "k: plain\n"),
            ("", "k: \"\"\n"),
            ("yes", "k: \"yes\"\n"),
            ("12", "k: \"12\"\n"),
            ("a: b", "k: 'a: b'\n"),
            ("a #b", "k: 'a #b'\n"),
            (" a", "k: ' a'\n"),
            ("it's", "k: it's\n"),
            ("22:22", "k: \"22:22\"\n"),
            ("a\tb", "k: \"a\\tb\"\n"),
            ("a\nb", "k: |-\n  a\n  b\n"),
            ("a\nb\n", "k: |\n  a\n  b\n"),
            ("a\n\n", "k: |+\n  a\n\n"),
            ("- x", "k: '- x'\n"),
            ("*x", "k: '*x'\n"),
        ] {
            assert_eq!(show(text), written);
        }
    }

    #[test]
    fn nests_as_go_yaml() {
        let value = Out::Map(vec![
            (
                "a".into(),
                Out::List(vec![
                    Out::Map(vec![
                        ("x".into(), Out::Int(1)),
                        ("z".into(), Out::List(vec![Out::Null])),
                    ]),
                    Out::List(vec![Out::Bool(true), Out::Str("s".into())]),
                    Out::Map(vec![]),
                ]),
            ),
            ("b".into(), Out::List(vec![])),
        ]);
        assert_eq!(
            to_yaml(&value),
            "a:\n  - x: 1\n    z:\n      - null\n  - - true\n    - s\n  - {}\nb: []\n"
        );
    }
}
