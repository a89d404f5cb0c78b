//! Byte sizes: `512m`, `1.5 GiB` and back, with the rules of Docker's command line.

/// The text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid size: '{0}'")]
pub(crate) struct ParseSizeError(pub(crate) String);

/// Parses a size whose units count in 1024 (`k m g t p`, with or without `b`/`ib`); fractions are cut off.
pub(crate) fn parse_bytes(text: &str) -> Result<i64, ParseSizeError> {
    parse(text, 1024.0)
}

fn parse(text: &str, base: f64) -> Result<i64, ParseSizeError> {
    let bad = || ParseSizeError(text.to_owned());
    let last_digit = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(bad)?;
    let (number, suffix) = text.split_at(last_digit + 1);
    // One blank may stand between number and unit; it is found as the last "digit".
    let number = number.strip_suffix(' ').unwrap_or(number);
    let number: f64 = parse_float(number).ok_or_else(bad)?;
    if number < 0.0 {
        return Err(bad());
    }
    let suffix = suffix.to_ascii_lowercase();
    let power = match suffix.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(bad()),
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cut-off fraction is the rule"
    )]
    Ok((number * base.powi(power)) as i64)
}

/// A decimal number without the words (`inf`, `nan`) that Rust would take.
fn parse_float(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    if plain { text.parse().ok() } else { None }
}

/// A size for people, in units of 1000 with `precision` significant digits: `1.234MB`.
pub(crate) fn human_size(bytes: f64, precision: usize) -> String {
    const UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", significant(value, precision), UNITS[unit])
}

/// C's `%.{precision}g` for values below 1000.
fn significant(value: f64, precision: usize) -> String {
    let before = if value >= 100.0 {
        3
    } else if value >= 10.0 {
        2
    } else {
        1
    };
    let text = format!("{value:.*}", precision.saturating_sub(before));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_as_docker() {
        for (text, bytes) in [
            ("512m", 536_870_912),
            ("1.5g", 1_610_612_736),
            ("1 kb", 1024),
            ("32", 32),
            ("32b", 32),
            ("2KiB", 2048),
            ("0", 0),
            ("64M", 67_108_864),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1mm", "hello", "1 0 m x"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_as_docker() {
        assert_eq!(human_size(1024.0, 4), "1.024kB");
        assert_eq!(human_size(4_350_000.0, 3), "4.35MB");
        assert_eq!(human_size(0.0, 3), "0B");
    }
}
