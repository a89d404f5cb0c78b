//! The type of a scalar, by go-yaml's rules: `yes` is a string, `017` is 15, `08` is 8.0.

use crate::compose::node::Value;
use crate::compose::yaml::timestamp::Timestamp;

/// The value of a scalar with this (short) tag.
///
/// # Errors
/// When the text is not of the type that the tag names.
pub(super) fn resolve(tag: Option<&str>, text: &str, quoted: bool) -> Result<Value, String> {
    match tag {
        None if quoted => Ok(Value::Str(text.into())),
        None => Ok(plain(text, true)),
        Some("!!str") => Ok(Value::Str(text.into())),
        Some("!!binary") => binary(text),
        Some(tag @ ("!!bool" | "!!int" | "!!float" | "!!null" | "!!timestamp")) => {
            tagged(tag, text)
        }
        Some(_) => Ok(Value::Str(text.into())),
    }
}

/// Whether the text, written plain, reads as a string.
pub(crate) fn is_plain_string(text: &str) -> bool {
    matches!(plain(text, true), Value::Str(_)) && text != "<<"
}

fn tagged(tag: &str, text: &str) -> Result<Value, String> {
    let value = plain(text, tag == "!!timestamp");
    let found = match &value {
        Value::Null => "!!null",
        Value::Bool(_) => "!!bool",
        Value::Int(_) | Value::Uint(_) => "!!int",
        Value::Float(_) => "!!float",
        Value::Time(_) => "!!timestamp",
        _ => "!!str",
    };
    match (tag, value) {
        ("!!float", Value::Int(n)) => {
            let float = n as f64;
            Ok(Value::Float(float))
        }
        (tag, value) if tag == found => Ok(value),
        (tag, _) => Err(format!("cannot decode {found} `{text}` as a {tag}")),
    }
}

fn binary(text: &str) -> Result<Value, String> {
    use base64::Engine;
    let compact: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    base64::engine::general_purpose::STANDARD
        .decode(compact)
        .map(|bytes| Value::Str(String::from_utf8_lossy(&bytes).into()))
        .map_err(|_| "!!binary value contains invalid base64 data".to_owned())
}

fn plain(text: &str, timestamps: bool) -> Value {
    let string = || Value::Str(text.into());
    let Some(first) = text.bytes().next() else {
        return Value::Null;
    };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => match text {
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            "~" | "null" | "Null" | "NULL" => Value::Null,
            _ => string(),
        },
        b'.' => match text {
            ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" => Value::Float(f64::INFINITY),
            _ => go_float(text).map_or_else(string, Value::Float),
        },
        b'+' | b'-' | b'0'..=b'9' => {
            match text {
                "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
                "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
                _ => {}
            }
            if timestamps && let Some(time) = Timestamp::parse(text) {
                return Value::Time(Box::new(time));
            }
            number(text).unwrap_or_else(string)
        }
        _ => string(),
    }
}

fn number(text: &str) -> Option<Value> {
    let owned;
    let digits = if text.contains('_') {
        owned = text.replace('_', "");
        owned.as_str()
    } else {
        text
    };
    if let Some(value) = go_integer(digits) {
        return Some(value);
    }
    if is_yaml_float(digits)
        && let Some(value) = go_float(digits)
    {
        return Some(Value::Float(value));
    }
    None
}

/// `strconv.ParseInt(text, 0, 64)`, then `ParseUint`.
fn go_integer(text: &str) -> Option<Value> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let signed = body.len() != text.len();
    let lower = body.as_bytes().get(1).map(u8::to_ascii_lowercase);
    let (radix, digits) = match (body.as_bytes().first(), lower) {
        (Some(b'0'), Some(b'x')) => (16, &body[2..]),
        (Some(b'0'), Some(b'b')) => (2, &body[2..]),
        (Some(b'0'), Some(b'o')) => (8, &body[2..]),
        (Some(b'0'), Some(_)) => (8, &body[1..]),
        _ => (10, body),
    };
    if digits.is_empty() || !digits.bytes().all(|b| (b as char).is_digit(radix)) {
        return None;
    }
    match u64::from_str_radix(digits, radix).ok()? {
        n if negative => {
            let limit = i64::MIN.unsigned_abs();
            (n <= limit).then(|| Value::Int(0i64.wrapping_sub_unsigned(n)))
        }
        n => match i64::try_from(n) {
            Ok(n) => Some(Value::Int(n)),
            // Unsigned numbers take no sign.
            Err(_) if signed => None,
            Err(_) => Some(Value::Uint(n)),
        },
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_yaml_float(text: &str) -> bool {
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = digits(body);
    let mut rest = &body[whole..];
    if let Some(after) = rest.strip_prefix('.') {
        let fraction = digits(after);
        if whole == 0 && fraction == 0 {
            return false;
        }
        rest = &after[fraction..];
    } else if whole == 0 {
        return false;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}

/// `strconv.ParseFloat(text, 64)` for decimal texts: out of range is an error.
fn go_float(text: &str) -> Option<f64> {
    if !is_yaml_float(text) {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        format!("{:?}", plain(text, true))
    }

    #[test]
    fn scalars_have_the_types_of_go_yaml() {
        for (text, value) in [
            ("yes", "Str(\"yes\")"),
            ("on", "Str(\"on\")"),
            ("True", "Bool(true)"),
            ("017", "Int(15)"),
            ("0o17", "Int(15)"),
            ("0b101", "Int(5)"),
            ("0x1F", "Int(31)"),
            ("0XFF", "Int(255)"),
            ("1_000", "Int(1000)"),
            ("08", "Float(8.0)"),
            ("22:22", "Str(\"22:22\")"),
            ("1E400", "Str(\"1E400\")"),
            ("18446744073709551615", "Uint(18446744073709551615)"),
            ("-1", "Int(-1)"),
            ("+5", "Int(5)"),
            (".5", "Float(0.5)"),
            ("1.", "Float(1.0)"),
            ("-", "Str(\"-\")"),
            ("~", "Null"),
            ("", "Null"),
            ("1e3", "Float(1000.0)"),
        ] {
            assert_eq!(show(text), value, "{text}");
        }
        assert!(show("2001-12-14").starts_with("Time"));
        assert!(show("2001-13-14").starts_with("Str"));
    }
}
