//! Values on their way out, keys in final order, and their JSON text as Go's `encoding/json` writes it.
//! The YAML text is `compose::yaml`'s.

use crate::compose::number;

/// A value to write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Out {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// Prints with the digits of a 32-bit number.
    F32(f32),
    /// A date or time: plain in YAML, a string in JSON.
    Time(String),
    Str(String),
    List(Vec<Out>),
    /// An empty list that says nothing: `[]` in YAML, `null` in JSON.
    NoList,
    Map(Vec<(String, Out)>),
}

/// Which text a value is built for: order of keys and some forms differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    Yaml,
    Json,
}

impl Flavor {
    /// Sorts entries as the writer of this flavor does.
    pub(crate) fn sort<T>(self, entries: &mut [(String, T)]) {
        match self {
            Self::Json => entries.sort_by(|a, b| a.0.cmp(&b.0)),
            Self::Yaml => entries.sort_by(|a, b| natural_order(&a.0, &b.0)),
        }
    }
}

/// The order of keys in go-yaml: letters after other characters, numbers by value.
fn natural_order(a: &str, b: &str) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    if a == b {
        return Ordering::Equal;
    }
    let before = |less: bool| {
        if less {
            Ordering::Less
        } else {
            Ordering::Greater
        }
    };
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut digits = false;
    for i in 0..a.len().min(b.len()) {
        if a[i] == b[i] {
            digits = a[i].is_numeric();
            continue;
        }
        let (a_letter, b_letter) = (a[i].is_alphabetic(), b[i].is_alphabetic());
        if a_letter && b_letter {
            return a[i].cmp(&b[i]);
        }
        if a_letter || b_letter {
            return before(if digits { a_letter } else { b_letter });
        }
        let mut start = 0u64;
        if a[i] == '0' || b[i] == '0' {
            let run = a[..i].iter().rev().take_while(|c| c.is_ascii_digit());
            start = u64::from(run.into_iter().any(|c| *c != '0'));
        }
        let number = |text: &[char]| {
            let run: Vec<u64> = text
                .iter()
                .map_while(|c| c.to_digit(10).map(u64::from))
                .collect();
            let value = run
                .iter()
                .fold(start, |n, d| n.wrapping_mul(10).wrapping_add(*d));
            (value, run.len())
        };
        let (x, y) = (number(&a[i..]), number(&b[i..]));
        return x.cmp(&y).then_with(|| a[i].cmp(&b[i]));
    }
    a.len().cmp(&b.len())
}

impl Out {
    /// A number that JSON has no word for, as Go names it.
    pub(crate) fn not_in_json(&self) -> Option<&'static str> {
        let value = match self {
            Self::Float(value) => *value,
            Self::F32(value) => f64::from(*value),
            Self::List(items) => return items.iter().find_map(Self::not_in_json),
            Self::Map(entries) => {
                return entries.iter().find_map(|(_, value)| value.not_in_json());
            }
            _ => return None,
        };
        if value.is_nan() {
            Some("NaN")
        } else if value.is_infinite() {
            Some(if value > 0.0 { "+Inf" } else { "-Inf" })
        } else {
            None
        }
    }
}

/// One line, no blanks.
pub(crate) fn to_json(value: &Out) -> String {
    let mut out = String::new();
    compact(&mut out, value);
    out
}

/// Indented by two blanks, no line break at the end.
pub(crate) fn to_json_pretty(value: &Out) -> String {
    let mut out = String::new();
    pretty(&mut out, value, 0);
    out
}

fn compact(out: &mut String, value: &Out) {
    match value {
        Out::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                compact(out, item);
            }
            out.push(']');
        }
        Out::Map(entries) => {
            out.push('{');
            for (n, (key, value)) in entries.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                string(out, key);
                out.push(':');
                compact(out, value);
            }
            out.push('}');
        }
        scalar => json_scalar(out, scalar),
    }
}

fn pretty(out: &mut String, value: &Out, depth: usize) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    match value {
        Out::List(items) if !items.is_empty() => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                pretty(out, item, depth + 1);
            }
            line(out, depth);
            out.push(']');
        }
        Out::Map(entries) if !entries.is_empty() => {
            out.push('{');
            for (n, (key, value)) in entries.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                string(out, key);
                out.push_str(": ");
                pretty(out, value, depth + 1);
            }
            line(out, depth);
            out.push('}');
        }
        scalar => json_scalar(out, scalar),
    }
}

fn json_scalar(out: &mut String, value: &Out) {
    match value {
        Out::Null | Out::NoList => out.push_str("null"),
        Out::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Out::Int(n) => out.push_str(&n.to_string()),
        Out::Uint(n) => out.push_str(&n.to_string()),
        Out::Float(f) if f.is_finite() => out.push_str(&number::json(*f)),
        Out::F32(f) if f.is_finite() => out.push_str(&number::json32(*f)),
        // JSON has no word for these.
        Out::Float(_) | Out::F32(_) => out.push_str("null"),
        Out::Time(text) | Out::Str(text) => string(out, text),
        Out::List(_) => out.push_str("[]"),
        Out::Map(_) => out.push_str("{}"),
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let escape: &str = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\x08' => "\\b",
            '\x0c' => "\\f",
            '<' => "\\u003c",
            '>' => "\\u003e",
            '&' => "\\u0026",
            '\u{2028}' => "\\u2028",
            '\u{2029}' => "\\u2029",
            c if c < ' ' => {
                out.push_str(&text[plain..at]);
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
                plain = at + 1;
                continue;
            }
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        out.push_str(escape);
        plain = at + c.len_utf8();
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_json_as_go() {
        let value = Out::Map(vec![
            ("a".into(), Out::Str("<&\u{1}\n\"é".into())),
            ("b".into(), Out::List(vec![Out::Int(1), Out::F32(0.1)])),
            ("c".into(), Out::Map(vec![])),
            ("d".into(), Out::NoList),
        ]);
        assert_eq!(
            to_json(&value),
            "{\"a\":\"\\u003c\\u0026\\u0001\\n\\\"é\",\"b\":[1,0.1],\"c\":{},\"d\":null}"
        );
        assert!(to_json_pretty(&value).contains("\n  \"b\": [\n    1,\n    0.1\n  ]"));
    }

    #[test]
    fn sorts_keys_as_go_yaml() {
        let mut keys: Vec<(String, ())> = ["a10", "a2", "b", "B", "a_1", "a1", "1"]
            .iter()
            .map(|key| ((*key).to_owned(), ()))
            .collect();
        Flavor::Yaml.sort(&mut keys);
        let sorted: Vec<&str> = keys.iter().map(|(key, ())| key.as_str()).collect();
        assert_eq!(sorted, ["1", "B", "a_1", "a1", "a2", "a10", "b"]);
    }
}
