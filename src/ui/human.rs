//! Numbers and times for people, in docker's words.

/// Seconds as docker says them: `3 seconds`, `About an hour`, `2 weeks`.
pub(crate) fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// How long ago a time (seconds since 1970) was.
pub(crate) fn ago(time: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    format!("{} ago", duration(now - time))
}

/// `2026-11-30 20:12:35 +0000 UTC` in the system's time zone.
pub(crate) fn local_time(time: i64) -> String {
    let Ok(timestamp) = jiff::Timestamp::from_second(time) else {
        return String::new();
    };
    timestamp
        .to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S %z %Z")
        .to_string()
}

/// Bytes in units of 1024 with four digits: `824KiB`, `23.54GiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{}{}", four_digits(value), UNITS[unit])
}

/// Bytes in units of 1000: `3.97MB`.
pub(crate) fn decimal_size(bytes: u64, digits: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let bytes = bytes as f64;
    crate::units::human_size(bytes, digits)
}

/// C's `%.4g` for numbers below 1024.
fn four_digits(value: f64) -> String {
    let digits = if value >= 1000.0 {
        0
    } else if value >= 100.0 {
        1
    } else if value >= 10.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// `0b6a…` → its first twelve digits, without `sha256:`.
pub(crate) fn short_id(id: &str) -> String {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_as_docker_says_them() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (3599, "59 minutes"),
            (5000, "About an hour"),
            (7200, "2 hours"),
            (3 * 86_400, "3 days"),
            (20 * 86_400, "2 weeks"),
            (100 * 86_400, "3 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn sizes_have_four_digits() {
        assert_eq!(binary_size(824 * 1024), "824KiB");
        assert_eq!(binary_size(25_275_736_064), "23.54GiB");
        assert_eq!(binary_size(0), "0B");
    }
}
