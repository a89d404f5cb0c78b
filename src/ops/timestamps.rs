//! Times as users write them for `--since` and `--until`: RFC 3339 and its short forms, seconds since 1970,
//! or how long ago. It reads the clock for the last one only.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::ops::OpError;
use crate::units;

/// Nanoseconds since 1970 that `text` means.
///
/// # Errors
/// The text is no time.
pub(crate) fn parse(text: &str) -> Result<i128, OpError> {
    parse_at(text, Timestamp::now())
}

/// The same as the engine's API takes it: `seconds.nanoseconds`.
///
/// # Errors
/// As [`parse`].
pub(crate) fn for_engine(text: &str) -> Result<String, OpError> {
    let nanoseconds = parse(text)?;
    let second = 1_000_000_000;
    Ok(format!(
        "{}.{:09}",
        nanoseconds.div_euclid(second),
        nanoseconds.rem_euclid(second)
    ))
}

fn parse_at(text: &str, now: Timestamp) -> Result<i128, OpError> {
    if let Ok(ago) = units::Duration::parse(text) {
        return Ok(now.as_nanosecond() - i128::from(ago.as_nanos()));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_nanosecond());
    }
    let local = |time: DateTime| {
        time.to_zoned(TimeZone::system())
            .ok()
            .map(|zoned| zoned.timestamp().as_nanosecond())
    };
    let utc = text.strip_suffix('Z');
    let civil = utc.unwrap_or(text);
    let parsed = civil
        .parse::<DateTime>()
        .or_else(|_| {
            civil
                .parse::<Date>()
                .map(|date| date.to_datetime(jiff::civil::Time::midnight()))
        })
        .ok();
    if let Some(time) = parsed {
        let found = if utc.is_some() {
            time.to_zoned(TimeZone::UTC)
                .ok()
                .map(|zoned| zoned.timestamp().as_nanosecond())
        } else {
            local(time)
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    if let Some(seconds) = unix(text) {
        return Ok(seconds);
    }
    Err(OpError::failed(format!(
        "failed to parse value as time or duration: {text:?}"
    )))
}

/// `1136073845`, `1136073845.000000001`.
fn unix(text: &str) -> Option<i128> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<9}").parse().ok()?;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_all_their_forms() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let second = 1_000_000_000;
        let base = 1_767_225_600 * second;
        for (text, wanted) in [
            ("2026-01-01T00:00:00Z", base),
            ("2026-01-01T01:00:00+01:00", base),
            ("2026-01-01T00:00:00.5Z", base + second / 2),
            ("2026-01-01Z", base),
            ("1m", base),
            ("1m30s", base - 30 * second),
            ("1767225600", base),
            ("1767225600.5", base + second / 2),
        ] {
            assert_eq!(parse_at(text, now).unwrap(), wanted, "{text}");
        }
        assert!(parse_at("yesterday", now).is_err());
    }
}
