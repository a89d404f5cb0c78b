//! Protocol buffers as far as BuildKit's API needs them: fields by number, written and read. It knows no message; the
//! numbers are those of BuildKit's `.proto` files.

use std::collections::BTreeMap;

use crate::engine::base::{Error, Result};

/// A message being written. Fields that have their default value are left out, as proto3 does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub(crate) fn number(mut self, field: u64, value: u64) -> Self {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
        self
    }

    pub(crate) fn flag(self, field: u64, value: bool) -> Self {
        self.number(field, u64::from(value))
    }

    /// Written even when it is empty: a message, or an element of a list.
    pub(crate) fn raw(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
        self
    }

    pub(crate) fn bytes(self, field: u64, value: &[u8]) -> Self {
        match value.is_empty() {
            true => self,
            false => self.raw(field, value),
        }
    }

    pub(crate) fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    pub(crate) fn message(self, field: u64, value: Writer) -> Self {
        self.raw(field, &value.bytes)
    }

    pub(crate) fn map(mut self, field: u64, map: &BTreeMap<String, String>) -> Self {
        for (key, value) in map {
            self = self.message(field, Writer::new().text(1, key).text(2, value));
        }
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.bytes
    }
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message<'a> {
    fields: Vec<(u64, Value<'a>)>,
}

fn malformed() -> Error {
    Error::invalid("the message is not well formed")
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or_else(malformed)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed())
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or_else(malformed)?;
    *bytes = rest;
    Ok(taken)
}

impl<'a> Message<'a> {
    pub(crate) fn parse(mut bytes: &'a [u8]) -> Result<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = take_varint(&mut bytes)?;
            let value = match tag & 7 {
                0 => Value::Number(take_varint(&mut bytes)?),
                1 => {
                    take(&mut bytes, 8)?;
                    continue;
                }
                2 => {
                    let count =
                        usize::try_from(take_varint(&mut bytes)?).map_err(|_| malformed())?;
                    Value::Bytes(take(&mut bytes, count)?)
                }
                5 => {
                    take(&mut bytes, 4)?;
                    continue;
                }
                _ => return Err(malformed()),
            };
            fields.push((tag >> 3, value));
        }
        Ok(Message { fields })
    }

    /// All values of a list of strings, bytes or messages.
    pub(crate) fn all(&self, field: u64) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.fields
            .iter()
            .filter_map(move |(number, value)| match value {
                Value::Bytes(bytes) if *number == field => Some(*bytes),
                _ => None,
            })
    }

    pub(crate) fn bytes(&self, field: u64) -> Option<&'a [u8]> {
        self.all(field).last()
    }

    pub(crate) fn text(&self, field: u64) -> String {
        String::from_utf8_lossy(self.bytes(field).unwrap_or_default()).into_owned()
    }

    pub(crate) fn number(&self, field: u64) -> u64 {
        self.fields
            .iter()
            .rev()
            .find_map(|(number, value)| match value {
                Value::Number(value) if *number == field => Some(*value),
                _ => None,
            })
            .unwrap_or(0)
    }

    pub(crate) fn map(&self, field: u64) -> Result<BTreeMap<String, String>> {
        self.all(field)
            .map(|entry| {
                let entry = Message::parse(entry)?;
                Ok((entry.text(1), entry.text(2)))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let map = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let bytes = Writer::new()
            .number(1, 300)
            .text(2, "x")
            .map(3, &map)
            .message(4, Writer::new().flag(1, true))
            .raw(5, b"")
            .done();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.number(1), message.text(2)), (300, "x".to_owned()));
        assert_eq!(message.map(3).unwrap(), map);
        assert_eq!(
            Message::parse(message.bytes(4).unwrap()).unwrap().number(1),
            1
        );
        assert_eq!(message.bytes(5), Some(&b""[..]));
        assert!(Message::parse(&bytes[..bytes.len() - 3]).is_err());
        assert!(Message::parse(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    }
}
