//! The dates and times that go-yaml recognises in plain scalars. Not a calendar.

use std::fmt::Write as _;

/// A date, or a date and time with an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    /// From UTC, in minutes; `None` for UTC itself.
    offset: Option<i32>,
}

impl Timestamp {
    /// Parses `2001-12-14`, `2001-1-4 2:3:4.5`, `2001-12-14T21:59:43.1-05:00`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut cursor = Cursor(text);
        let year = text.get(..4)?;
        if !year.bytes().all(|b| b.is_ascii_digit()) || text.as_bytes().get(4) != Some(&b'-') {
            return None;
        }
        cursor.0 = &text[5..];
        let mut time = Self {
            year: year.parse().ok()?,
            month: cursor.number()?,
            day: {
                cursor.expect('-')?;
                cursor.number()?
            },
            hour: 0,
            minute: 0,
            second: 0,
            nanos: 0,
            offset: None,
        };
        if time.month == 0 || time.month > 12 || time.day == 0 || time.day > time.days() {
            return None;
        }
        if cursor.0.is_empty() {
            return Some(time);
        }
        let zoned = match cursor.next()? {
            'T' | 't' => true,
            ' ' => false,
            _ => return None,
        };
        time.hour = cursor.number()?;
        cursor.expect(':')?;
        time.minute = cursor.number()?;
        cursor.expect(':')?;
        time.second = cursor.number()?;
        if time.hour > 23 || time.minute > 59 || time.second > 59 {
            return None;
        }
        time.nanos = cursor.fraction()?;
        if zoned {
            time.offset = cursor.zone()?;
        }
        cursor.0.is_empty().then_some(time)
    }

    fn days(&self) -> u32 {
        let leap = self.year.is_multiple_of(4)
            && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// RFC 3339, as JSON and YAML output has it.
    pub(crate) fn rfc3339(&self) -> String {
        let mut text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            self.year, self.month, self.day, self.hour, self.minute, self.second
        );
        self.write_fraction(&mut text);
        match self.offset {
            None => text.push('Z'),
            Some(offset) => {
                let sign = if offset < 0 { '-' } else { '+' };
                let offset = offset.unsigned_abs();
                let _ = write!(text, "{sign}{:02}:{:02}", offset / 60, offset % 60);
            }
        }
        text
    }

    /// As Go's `fmt` prints a time.
    pub(crate) fn go_text(&self) -> String {
        let mut text = format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            self.year, self.month, self.day, self.hour, self.minute, self.second
        );
        self.write_fraction(&mut text);
        match self.offset {
            None => text.push_str(" +0000 UTC"),
            Some(offset) => {
                let sign = if offset < 0 { '-' } else { '+' };
                let offset = offset.unsigned_abs();
                let zone = format!("{sign}{:02}{:02}", offset / 60, offset % 60);
                let _ = write!(text, " {zone} {zone}");
            }
        }
        text
    }

    fn write_fraction(&self, text: &mut String) {
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            let _ = write!(text, ".{}", digits.trim_end_matches('0'));
        }
    }
}

struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.0.chars().next()?;
        self.0 = &self.0[c.len_utf8()..];
        Some(c)
    }

    fn expect(&mut self, wanted: char) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    /// One or two digits.
    fn number(&mut self) -> Option<u32> {
        let len = self
            .0
            .bytes()
            .take(2)
            .take_while(u8::is_ascii_digit)
            .count();
        let (digits, rest) = self.0.split_at(len);
        self.0 = rest;
        digits.parse().ok()
    }

    /// `.` or `,` and digits, in nanoseconds; nothing is zero.
    fn fraction(&mut self) -> Option<u32> {
        let Some(rest) = self.0.strip_prefix(['.', ',']) else {
            return Some(0);
        };
        let len = rest.bytes().take_while(u8::is_ascii_digit).count();
        if len == 0 {
            return None;
        }
        let digits: String = rest[..len]
            .chars()
            .chain(std::iter::repeat('0'))
            .take(9)
            .collect();
        self.0 = &rest[len..];
        digits.parse().ok()
    }

    /// `Z` or `±hh:mm`.
    fn zone(&mut self) -> Option<Option<i32>> {
        if let Some(rest) = self.0.strip_prefix('Z') {
            self.0 = rest;
            return Some(None);
        }
        let sign = match self.next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        let (hours, minutes) = self.0.split_once(':')?;
        if hours.len() != 2 || minutes.len() != 2 {
            return None;
        }
        self.0 = "";
        let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
        if hours > 24 || minutes > 60 {
            return None;
        }
        let total = i32::try_from(hours * 60 + minutes).ok()?;
        // Go prints a zero offset as UTC.
        Some(if total == 0 { None } else { Some(sign * total) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_what_go_yaml_does() {
        let show = |text| Timestamp::parse(text).map(|t| t.rfc3339());
        assert_eq!(show("2001-12-14").as_deref(), Some("2001-12-14T00:00:00Z"));
        assert_eq!(show("2020-1-2").as_deref(), Some("2020-01-02T00:00:00Z"));
        assert_eq!(
            show("2001-12-14t21:59:43.10-05:00").as_deref(),
            Some("2001-12-14T21:59:43.1-05:00")
        );
        assert_eq!(
            show("2001-12-14 21:59:43").as_deref(),
            Some("2001-12-14T21:59:43Z")
        );
        for text in [
            "2001-12-14 21:59",
            "2001-02-30",
            "20011-12-14",
            "2001-12-14T21:59:43",
        ] {
            assert_eq!(show(text), None, "{text}");
        }
    }
}
