//! Bytes of a file → text: byte-order marks, UTF-16, and the characters YAML refuses. No YAML structure.

/// Decodes a file as YAML 1.2 wants: UTF-8 unless a byte-order mark says UTF-16.
///
/// # Errors
/// What is wrong, and the byte offset in the decoded text before it.
pub(crate) fn decode_text(bytes: &[u8]) -> Result<String, (String, String)> {
    let text = match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest)?,
        _ => utf8(bytes)?,
    };
    match text.char_indices().find(|(_, c)| !allowed(*c)) {
        None => Ok(text),
        Some((at, c)) => Err((
            format!(
                "control characters are not allowed (U+{:04X})",
                u32::from(c)
            ),
            text[..at].to_owned(),
        )),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, (String, String)> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err((
            "invalid UTF-8".to_owned(),
            String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned(),
        )),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, (String, String)> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    let mut text = String::with_capacity(bytes.len());
    for c in char::decode_utf16(units) {
        match c {
            Ok(c) => text.push(c),
            Err(_) => return Err(("invalid UTF-16".to_owned(), text)),
        }
    }
    if rest.is_empty() {
        Ok(text)
    } else {
        Err(("incomplete UTF-16 character".to_owned(), text))
    }
}

fn allowed(c: char) -> bool {
    matches!(c,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{A0}'..='\u{FFFD}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_marks_and_refuses_controls() {
        assert_eq!(decode_text(b"\xEF\xBB\xBFa: 1").unwrap(), "a: 1");
        assert_eq!(decode_text(b"\xFF\xFEa\0:\0").unwrap(), "a:");
        assert_eq!(decode_text(b"\xFE\xFF\0a\0:").unwrap(), "a:");
        assert!(decode_text(b"a: \x07").is_err());
        assert!(decode_text(b"a: \xC3\x28").is_err());
    }
}
