//! Just enough of Rust's lexical grammar: blanks what is no code, finds words, functions and inline modules.
//! It is no parser: macros are read as the text they are.

/// The text with the content of comments, strings and characters replaced by spaces. Lines and columns stay.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end > at {
            out.extend(
                bytes[at..end]
                    .iter()
                    .map(|&b| if b == b'\n' { b'\n' } else { b' ' }),
            );
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).expect("whole literals are replaced by spaces")
}

/// The end of the comment or literal that begins at `at`, or `at`.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment_end(bytes, at);
    }
    let in_word = at > 0 && is_word(bytes[at - 1]);
    if rest[0] == b'r' || rest.starts_with(b"br") || rest.starts_with(b"cr") {
        if in_word {
            return at;
        }
        return raw_string_end(bytes, at);
    }
    match rest[0] {
        b'"' => quoted_end(bytes, at + 1, b'"'),
        b'\'' => character_end(bytes, at),
        _ => at,
    }
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut end) = (0, at);
    while end < bytes.len() {
        if bytes[end..].starts_with(b"/*") {
            (depth, end) = (depth + 1, end + 2);
        } else if bytes[end..].starts_with(b"*/") {
            (depth, end) = (depth - 1, end + 2);
            if depth == 0 {
                return end;
            }
        } else {
            end += 1;
        }
    }
    end
}

fn raw_string_end(bytes: &[u8], at: usize) -> usize {
    let open = at + if bytes[at] == b'r' { 1 } else { 2 };
    let hashes = bytes[open.min(bytes.len())..]
        .iter()
        .take_while(|&&b| b == b'#')
        .count();
    if bytes.get(open + hashes) != Some(&b'"') {
        return at;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let body = open + hashes + 1;
    let found = bytes[body..]
        .windows(close.len())
        .position(|window| window == close);
    found.map_or(bytes.len(), |offset| body + offset + close.len())
}

fn quoted_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A character literal, not a lifetime: `'a'` closes, `'a,` does not.
fn character_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at + 1) {
        Some(b'\\') => quoted_end(bytes, at + 1, b'\''),
        Some(&first) => {
            let width = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            if bytes.get(at + 1 + width) == Some(&b'\'') {
                at + width + 2
            } else {
                at
            }
        }
        None => at,
    }
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Every identifier or keyword with its line, counted from 1.
pub(crate) fn words(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        found.extend(
            words
                .filter(|word| !word.is_empty())
                .map(|word| (index + 1, word)),
        );
    }
    found
}

pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code.as_bytes()[..at]
        .iter()
        .filter(|&&b| b == b'\n')
        .count()
        + 1
}

/// The offset behind the brace that closes the one at `open`.
pub(crate) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code.as_bytes()[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return open + offset + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// The offsets at which `keyword` stands as a word of its own, followed by a name.
fn items(code: &str, keyword: &str) -> Vec<(usize, String, usize)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (at, _) in code.match_indices(keyword) {
        let end = at + keyword.len();
        let alone = (at == 0 || !is_word(bytes[at - 1])) && bytes.get(end) == Some(&b' ');
        if !alone {
            continue;
        }
        let name: String = code[end + 1..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        if !name.is_empty() {
            let after = end + 1 + name.len();
            found.push((at, name, after));
        }
    }
    found
}

/// Functions with a body, nested ones and those of tests included.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, name, after) in items(code, "fn") {
        let mut depth = 0i32;
        let body = code.as_bytes()[after..].iter().position(|&byte| {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth -= 1,
                _ => {}
            }
            depth == 0 && (byte == b'{' || byte == b';')
        });
        let Some(body) = body.map(|offset| after + offset) else {
            continue;
        };
        if code.as_bytes()[body] == b'{' {
            let line = line_of(code, at);
            let lines = line_of(code, closing(code, body).saturating_sub(1)) - line + 1;
            found.push(Function { name, line, lines });
        }
    }
    found
}

pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Modules written inline: `mod name { … }`.
pub(crate) fn inline_modules(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for (_, name, after) in items(code, "mod") {
        let rest = code[after..].trim_start();
        if rest.starts_with('{') {
            let start = code.len() - rest.len();
            found.push(Module {
                name,
                start,
                end: closing(code, start),
            });
        }
    }
    found
}

#[test]
fn comments_strings_and_characters_are_blanked() {
    let text = "a /* x /* y */ z */ b // c\nd \"e \\\" f\" 'g' 'h r#\"i \" j\"# '\\'' k";
    let words: Vec<&str> = words_of(&blank(text))
        .into_iter()
        .map(|(_, word)| word.to_owned().leak() as &str)
        .collect();
    assert_eq!(words, ["a", "b", "d", "h", "k"]);
}

#[cfg(test)]
fn words_of(code: &str) -> Vec<(usize, String)> {
    words(code)
        .into_iter()
        .map(|(line, word)| (line, word.to_owned()))
        .collect()
}

#[test]
fn a_function_is_measured_to_its_closing_brace() {
    let code = "fn a(x: [u8; 3]) -> u8 {\n if x { y }\n}\ntrait T { fn b(); }\n";
    let found: Vec<(String, usize, usize)> = functions(code)
        .into_iter()
        .map(|f| (f.name, f.line, f.lines))
        .collect();
    assert_eq!(found, [("a".to_owned(), 1, 3)]);
}
