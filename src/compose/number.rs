//! Floating point numbers as Go prints them. No parsing, no integers.

/// Decimal digits and exponent of the shortest text that reads back as the same number.
struct Digits {
    negative: bool,
    digits: String,
    /// Place of the decimal point, counted from before the first digit.
    point: i32,
}

fn shortest(scientific: &str) -> Digits {
    let (negative, text) = match scientific.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, scientific),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    Digits {
        negative,
        digits,
        point: exponent + 1,
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("+Inf")
    } else if value == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

/// `%v`: the shortest text, with an exponent below 1e-4 and from 1e+06 on.
pub(crate) fn general(value: f64) -> String {
    match special(value) {
        Some(text) => text.to_owned(),
        None => write_general(&shortest(&format!("{value:e}"))),
    }
}

/// [`general`] with the precision of a 32-bit number.
pub(crate) fn general32(value: f32) -> String {
    match special(f64::from(value)) {
        Some(text) => text.to_owned(),
        None => write_general(&shortest(&format!("{value:e}"))),
    }
}

fn write_general(d: &Digits) -> String {
    // With the shortest digits Go decides as if six were asked for.
    let limit = 6;
    let exponent = d.point - 1;
    if exponent < -4 || exponent >= limit {
        write_exponent(d, 2)
    } else {
        write_plain(d)
    }
}

/// As `encoding/json` writes a 64-bit number.
pub(crate) fn json(value: f64) -> String {
    write_json(&shortest(&format!("{value:e}")), value.abs())
}

/// As `encoding/json` writes a 32-bit number.
pub(crate) fn json32(value: f32) -> String {
    write_json(&shortest(&format!("{value:e}")), f64::from(value.abs()))
}

fn write_json(d: &Digits, magnitude: f64) -> String {
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        write_exponent(d, if d.point < 1 { 1 } else { 2 })
    } else {
        write_plain(d)
    }
}

fn write_exponent(d: &Digits, width: usize) -> String {
    let sign = if d.negative { "-" } else { "" };
    let (first, rest) = d.digits.split_at(1);
    let dot = if rest.is_empty() { "" } else { "." };
    let exponent = d.point - 1;
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    let exponent = exponent.unsigned_abs();
    format!("{sign}{first}{dot}{rest}e{exponent_sign}{exponent:0width$}")
}

fn write_plain(d: &Digits) -> String {
    let sign = if d.negative { "-" } else { "" };
    let count = d.digits.len();
    if d.point <= 0 {
        let zeros = "0".repeat(d.point.unsigned_abs() as usize);
        if d.digits == "0" {
            return format!("{sign}0");
        }
        return format!("{sign}0.{zeros}{}", d.digits);
    }
    let point = d.point.unsigned_abs() as usize;
    if point >= count {
        format!("{sign}{}{}", d.digits, "0".repeat(point - count))
    } else {
        format!("{sign}{}.{}", &d.digits[..point], &d.digits[point..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_go() {
        for (value, text) in [
            (0.5, "0.5"),
            (8.0, "8"),
            (0.0, "0"),
            (-0.0, "-0"),
            (1234567.0, "1.234567e+06"),
            (1e21, "1e+21"),
            (0.00001, "1e-05"),
            (123456.0, "123456"),
        ] {
            assert_eq!(general(value), text);
        }
        assert_eq!(general32(0.1), "0.1");
        assert_eq!(json(1e-7), "1e-7");
        assert_eq!(json(1e22), "1e+22");
        assert_eq!(json(1_000_000.0), "1000000");
    }
}
