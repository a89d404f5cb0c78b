//! `.dockerignore`: which paths of a build context stay at home. The rules of moby's patternmatcher,
//! which differ from .gitignore's. Also used for the patterns of `develop.watch`.

use regex::Regex;

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a valid pattern: {reason}")]
pub(crate) struct PatternError {
    pub(crate) pattern: String,
    pub(crate) reason: String,
}

#[derive(Debug, Clone)]
struct Pattern {
    /// Cleaned, without `!`.
    text: String,
    is_exception: bool,
    regex: Regex,
}

/// Patterns in their order; later ones decide.
#[derive(Debug, Clone, Default)]
pub(crate) struct PatternSet {
    patterns: Vec<Pattern>,
    has_exceptions: bool,
}

/// Lines of a `.dockerignore` file → patterns.
pub(crate) fn parse(text: &str) -> Vec<String> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let line = line.trim();
            let (bang, line) = match line.strip_prefix('!') {
                Some(rest) => ("!", rest.trim()),
                None => ("", line),
            };
            if line.is_empty() {
                return None;
            }
            let cleaned = clean(line);
            let cleaned = match cleaned.strip_prefix('/') {
                Some(rest) if !rest.is_empty() => rest.to_owned(),
                _ => cleaned,
            };
            Some(format!("{bang}{cleaned}"))
        })
        .collect()
}

/// Go's `filepath.Clean`.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.last().is_some_and(|last| *last != "..") {
                    parts.pop();
                } else if !rooted {
                    parts.push("..");
                }
            }
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

impl PatternSet {
    /// Compiles patterns.
    ///
    /// # Errors
    /// A pattern that is none.
    pub(crate) fn new(patterns: &[String]) -> Result<Self, PatternError> {
        let mut set = PatternSet::default();
        for pattern in patterns {
            let text = pattern.trim();
            if text.is_empty() {
                continue;
            }
            let (is_exception, text) = match text.strip_prefix('!') {
                Some("") => {
                    return Err(PatternError {
                        pattern: pattern.clone(),
                        reason: "illegal exclusion pattern".to_owned(),
                    });
                }
                Some(rest) => (true, rest),
                None => (false, text),
            };
            let text = clean(text);
            let regex = Regex::new(&regex_text(&text)).map_err(|_| PatternError {
                pattern: pattern.clone(),
                reason: "syntax error in pattern".to_owned(),
            })?;
            set.has_exceptions |= is_exception;
            set.patterns.push(Pattern {
                text,
                is_exception,
                regex,
            });
        }
        Ok(set)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether `path` (relative, with slashes), or a folder above it, is matched.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let mut matched = false;
        for pattern in &self.patterns {
            // A pattern of the other kind cannot change the answer.
            if pattern.is_exception != matched {
                continue;
            }
            if pattern.regex.is_match(path)
                || path
                    .match_indices('/')
                    .any(|(at, _)| pattern.regex.is_match(&path[..at]))
            {
                matched = !pattern.is_exception;
            }
        }
        matched
    }

    /// Whether something below the matched folder `path` may still be wanted.
    pub(crate) fn may_match_below(&self, path: &str) -> bool {
        self.has_exceptions
            && self.patterns.iter().any(|pattern| {
                pattern.is_exception
                    && (format!("{}/", pattern.text).starts_with(&format!("{path}/"))
                        || pattern.text.contains("**"))
            })
    }
}

/// A glob as a regular expression over the whole path.
fn regex_text(pattern: &str) -> String {
    let mut text = String::from("(?s-u)^");
    let characters: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    while at < characters.len() {
        let character = characters[at];
        at += 1;
        match character {
            '*' if characters.get(at) == Some(&'*') => {
                at += 1;
                if characters.get(at) == Some(&'/') {
                    at += 1;
                }
                text.push_str(if at == characters.len() {
                    ".*"
                } else {
                    "(.*/)?"
                });
            }
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '\\' => {
                if let Some(next) = characters.get(at) {
                    text.push_str(&regex::escape(&next.to_string()));
                    at += 1;
                } else {
                    text.push_str("\\\\");
                }
            }
            '[' => {
                text.push('[');
                if characters.get(at) == Some(&'^') {
                    text.push('^');
                    at += 1;
                }
            }
            ']' | '-' => text.push(character),
            other => text.push_str(&regex::escape(&other.to_string())),
        }
    }
    text.push('$');
    // Paths are text; without Unicode mode a negated class would match bytes of a letter.
    text.replacen("(?s-u)", "(?s)", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(patterns: &[&str], path: &str) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
        PatternSet::new(&patterns).unwrap().matches(path)
    }

    /// Cases of moby/patternmatcher's own tests.
    #[test]
    fn patterns_match_as_mobys_do() {
        for (pattern, path, wanted) in [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/", "file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("**/dir", "dir", true),
            ("**/dir", "dir/file", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir2/file", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            ("**/file", "dir/file", true),
            ("**file*", "dir/file.txt", true),
            ("**/**/*.txt", "dir/dir/file.txt", true),
            ("a**/*.txt", "a/file.txt", true),
            ("a[b-d]e", "ace", true),
            ("a[^b-d]e", "aze", true),
            ("abc.def", "abcdef", false),
            ("abc?def", "abcZdef", true),
            ("a\\\\", "a\\", true),
            ("a(b)c/def", "a(b)c/def", true),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            (
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
                true,
            ),
            ("foo", "foobar", false),
            ("*.md", "docs/a.md", false),
            ("日", "日/x", true),
        ] {
            assert_eq!(matches(&[pattern], path), wanted, "{pattern} on {path}");
        }
    }

    #[test]
    fn later_patterns_decide_and_parents_count() {
        assert!(!matches(&["docs", "!docs/README.md"], "docs/README.md"));
        assert!(matches(&["docs", "!docs/README.md"], "docs/other.md"));
        assert!(matches(&["!docs/README.md", "docs"], "docs/README.md"));
        assert!(matches(
            &["util/docker", "!util/docker/web"],
            "util/docker/x"
        ));
        assert!(!matches(
            &["util/docker", "!util/docker/web"],
            "util/docker/web/foo"
        ));
    }

    #[test]
    fn a_file_is_read_line_by_line() {
        assert_eq!(
            parse("\u{feff}# comment\n/a/../b/\n\n ! /c \n  \n./d"),
            ["b", "!c", "d"]
        );
        assert!(PatternSet::new(&["!".to_owned()]).is_err());
        assert!(PatternSet::new(&["[".to_owned()]).is_err());
    }
}
