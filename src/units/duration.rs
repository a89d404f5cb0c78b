//! Durations in Go's text form (`1h30m`, `1.5s`), with the `w` and `d` units that Compose adds.

use std::fmt;

/// A signed span of time in nanoseconds, as the Compose model holds it. Prints as Go does (`1m30s`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Duration(pub(crate) i64);

/// The text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration {0:?}")]
pub(crate) struct ParseDurationError(pub(crate) String);

const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000 * MICROSECOND;
const SECOND: i64 = 1_000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

impl Duration {
    /// Nanoseconds, as the engine API wants them.
    pub(crate) fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds, rounded towards zero.
    pub(crate) fn as_secs(self) -> i64 {
        self.0 / SECOND
    }

    pub(crate) fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND))
    }

    /// Parses `10s`, `1h30m`, `1.5d`, `2w`; units w d h m s ms us µs ns; each but the bare `0` needs a unit.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseDurationError> {
        let bad = || ParseDurationError(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(bad());
        }
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let (value, after) = parse_component(rest).ok_or_else(bad)?;
            total = total.checked_add(value).ok_or_else(bad)?;
            rest = after;
        }
        Ok(Self(if negative { -total } else { total }))
    }
}

/// One number with its unit, in nanoseconds, and what follows.
fn parse_component(text: &str) -> Option<(i64, &str)> {
    let whole_len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, mut rest) = text.split_at(whole_len);
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix('.') {
        let len = after.bytes().take_while(u8::is_ascii_digit).count();
        fraction = &after[..len];
        rest = &after[len..];
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_len = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_len);
    let unit = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => 24 * HOUR,
        "w" => 7 * 24 * HOUR,
        _ => return None,
    };
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut value = whole.checked_mul(unit)?;
    if !fraction.is_empty() {
        // Digits beyond what an i64 holds carry no nanosecond.
        let digits = &fraction[..fraction.len().min(18)];
        let numerator: i64 = digits.parse().ok()?;
        let scale = 10f64.powi(i32::try_from(digits.len()).ok()?);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "Go rounds the same way"
        )]
        let part = (numerator as f64 * (unit as f64 / scale)) as i64;
        value = value.checked_add(part)?;
    }
    Some((value, rest))
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let second = SECOND.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < second {
            let (unit, name) = match nanos {
                n if n < MICROSECOND.unsigned_abs() => (1, "ns"),
                n if n < MILLISECOND.unsigned_abs() => (MICROSECOND.unsigned_abs(), "µs"),
                _ => (MILLISECOND.unsigned_abs(), "ms"),
            };
            return write_decimal(f, nanos, unit).and_then(|()| f.write_str(name));
        }
        let hours = nanos / HOUR.unsigned_abs();
        let minutes = nanos / MINUTE.unsigned_abs() % 60;
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write_decimal(f, nanos % MINUTE.unsigned_abs(), second)?;
        f.write_str("s")
    }
}

/// `nanos / unit` with as many decimals as it needs.
fn write_decimal(f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64) -> fmt::Result {
    write!(f, "{}", nanos / unit)?;
    let rest = nanos % unit;
    if rest == 0 {
        return Ok(());
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    write!(f, ".{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints_as_go() {
        for (text, printed) in [
            ("90s", "1m30s"),
            ("1h30m", "1h30m0s"),
            ("1.5s", "1.5s"),
            ("2d", "48h0m0s"),
            ("1w", "168h0m0s"),
            ("100ms", "100ms"),
            ("1500us", "1.5ms"),
            ("0", "0s"),
            ("-5s", "-5s"),
        ] {
            assert_eq!(
                Duration::parse(text).unwrap().to_string(),
                printed,
                "{text}"
            );
        }
        for text in ["", "10", "s", "1x", "1s ", "."] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }
}
