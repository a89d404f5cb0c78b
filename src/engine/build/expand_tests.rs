//! Tests of substitution: the table of BuildKit's `shell` package, and what it has no line for.

use std::collections::BTreeMap;

use super::*;

struct Map(BTreeMap<&'static str, &'static str>);

impl Variables for Map {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).copied()
    }
}

fn variables() -> Map {
    Map(BTreeMap::from([
        ("PWD", "/home"),
        ("SHELL", "bash"),
        ("KOREAN", "\u{d55c}\u{ad6d}\u{c5b4}"),
        ("NULL", ""),
        ("FILE", "a/b.tar.gz"),
    ]))
}

#[test]
fn words_come_out_as_from_buildkit() {
    let lexer = Lexer::dockerfile('\\');
    let text = include_str!("../../../fixtures/build/expand/words.txt");
    let mut count = 0;
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
    {
        let (input, expected) = line.split_once('|').unwrap();
        let (input, expected) = (input.trim(), expected.trim());
        let found = lexer
            .word(input, &variables())
            .unwrap_or_else(|_| "error".to_owned());
        assert_eq!(found, expected, "{input}");
        count += 1;
    }
    assert!(count > 60);
}

#[test]
fn blanks_of_a_value_separate_words_unless_quoted() {
    let lexer = Lexer::dockerfile('\\');
    let map = Map(BTreeMap::from([("TWO", "a b"), ("EMPTY", "")]));
    for (text, expected) in [
        ("$TWO c", &["a", "b", "c"][..]),
        ("\"$TWO\" c", &["a b", "c"]),
        ("x$TWO", &["xa", "b"]),
        ("a\\ b", &["a b"]),
        ("$EMPTY", &[]),
        ("\"\"", &[""]),
    ] {
        assert_eq!(lexer.words(text, &map).unwrap(), expected, "{text}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let text = format!("{}x{}", "${A:-".repeat(500), "}".repeat(500));
    assert_eq!(
        Lexer::dockerfile('\\').word(&text, &NoVariables),
        Err(ExpandError::Depth)
    );
}
