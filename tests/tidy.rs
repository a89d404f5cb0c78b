//! The rules of the source tree, as tests: layers, fences, sizes, heads, names, top-level entries.
//!
//! It reads text and knows nothing of types: a lexer blanks comments and literals, the rest is plain matching.
//! What rustc and clippy can check (unsafe blocks, unwrap, printing) is left to them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/lexer.rs"]
mod lexer;

const MAX_FILE_LINES: usize = 800;
const MAX_FUNCTION_LINES: usize = 100;

const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "benches",
    "compose-examples",
    "fixtures",
    "src",
    "target",
    "tests",
];

const FORBIDDEN_NAMES: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "stuff", "types", "util", "utils",
];

/// A Rust source of the tree.
pub(crate) struct Source {
    /// Relative to the package, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments, strings and characters blanked; lines stay where they are.
    pub(crate) code: String,
}

/// Where and what.
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    pub(crate) fn new(source: &Source, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: source.path.clone(),
            line,
            what: what.into(),
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, ending: &[&str], found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("an entry of a folder has a kind");
        if kind.is_dir() {
            if entry.file_name() != "target" && entry.file_name() != "node_modules" {
                walk(&path, ending, found);
            }
        } else if ending.is_empty()
            || path
                .extension()
                .is_some_and(|e| ending.iter().any(|want| e == *want))
        {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "benches", "fixtures"] {
        walk(&root().join(folder), &["rs"], &mut paths);
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source is readable text");
            let code = lexer::blank(&text);
            let path = path
                .strip_prefix(root())
                .expect("sources lie in the package")
                .to_string_lossy()
                .into_owned();
            Source { path, text, code }
        })
        .collect()
}

fn report(findings: Vec<Finding>) {
    let mut message = String::new();
    for Finding { path, line, what } in &findings {
        write!(message, "\n{path}:{line}: {what}").expect("a string takes all");
    }
    assert!(
        findings.is_empty(),
        "{} finding(s):{message}\n",
        findings.len()
    );
}

fn each_source(check: impl Fn(&Source, &mut Vec<Finding>)) {
    let sources = sources();
    assert!(sources.len() > 3, "the sources were not found");
    let mut findings = Vec::new();
    for source in &sources {
        check(source, &mut findings);
    }
    report(findings);
}

#[test]
fn a_file_opens_with_what_it_is() {
    each_source(|source, findings| {
        if !source.text.starts_with("//! ") {
            findings.push(Finding::new(
                source,
                1,
                "opens without a `//!` head: say what it is and what it is not",
            ));
        }
    });
}

#[test]
fn a_file_holds_one_concept() {
    each_source(|source, findings| {
        let lines = source.text.lines().count();
        if lines > MAX_FILE_LINES {
            let what = format!("{lines} lines, at most {MAX_FILE_LINES}: split it by concept");
            findings.push(Finding::new(source, MAX_FILE_LINES + 1, what));
        }
        let stem = Path::new(&source.path)
            .components()
            .filter_map(|part| part.as_os_str().to_str());
        for name in stem.map(|part| part.trim_end_matches(".rs")) {
            if FORBIDDEN_NAMES.contains(&name) {
                findings.push(Finding::new(
                    source,
                    1,
                    format!("`{name}` names no concept"),
                ));
            }
        }
    });
}

#[test]
fn a_function_fits_a_screen() {
    each_source(|source, findings| {
        for function in lexer::functions(&source.code) {
            if function.lines > MAX_FUNCTION_LINES {
                let what = format!(
                    "fn {}: {} lines, at most {MAX_FUNCTION_LINES}",
                    function.name, function.lines
                );
                findings.push(Finding::new(source, function.line, what));
            }
        }
    });
}

#[test]
fn unsafe_lives_in_sys() {
    each_source(|source, findings| {
        if source.path.starts_with("src/sys/") {
            return;
        }
        for (line, word) in lexer::words(&source.code) {
            if word == "unsafe" {
                findings.push(Finding::new(source, line, "`unsafe` outside src/sys"));
            }
        }
    });
}

#[test]
fn only_output_prints() {
    each_source(|source, findings| {
        if !source.path.starts_with("src/") || source.path == "src/ui/output.rs" {
            return;
        }
        for (index, line) in source.code.lines().enumerate() {
            for lint in [
                "clippy::print_stdout",
                "clippy::print_stderr",
                "clippy::unwrap_used",
            ] {
                if line.contains(lint) && !imports::is_test_file(&source.path) {
                    findings.push(Finding::new(
                        source,
                        index + 1,
                        format!("{lint} may not be switched off here"),
                    ));
                }
            }
        }
    });
}

#[test]
fn no_test_is_left_out() {
    each_source(|source, findings| {
        for (index, line) in source.code.lines().enumerate() {
            if line.contains("#[ignore") {
                findings.push(Finding::new(
                    source,
                    index + 1,
                    "an ignored test: run it or remove it",
                ));
            }
        }
    });
}

#[test]
fn layers_point_downward() {
    each_source(imports::check_layers);
}

#[test]
fn outside_crates_stay_behind_their_fence() {
    each_source(imports::check_fences);
}

#[test]
fn the_top_level_is_as_agreed() {
    let mut stray = Vec::new();
    for entry in fs::read_dir(root())
        .expect("the package folder is readable")
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()) {
            stray.push(name);
        }
    }
    assert!(
        stray.is_empty(),
        "stray at the top level: {stray:?} (allowed: {TOP_LEVEL:?} and dotfiles)"
    );
}

/// Folders of one developer's machine have no place in what all read. Spelt in parts, or this file would be found.
#[test]
fn no_path_of_one_machine() {
    let folders = [["/wo", "rk/"].concat(), ["/fa", "rm/"].concat()];
    let mut paths = Vec::new();
    for folder in [
        "src",
        "tests",
        "benches",
        "fixtures",
        "compose-examples",
        ".ci",
        ".config",
    ] {
        walk(&root().join(folder), &[], &mut paths);
    }
    paths.extend(["README.md", "Cargo.toml", ".deny.toml"].map(|name| root().join(name)));
    let mut message = String::new();
    for path in paths {
        let Ok(bytes) = fs::read(&path) else { continue };
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            for folder in &folders {
                let own = line.match_indices(folder.as_str()).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|c| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
                });
                if own {
                    let shown = path
                        .strip_prefix(root())
                        .unwrap_or(&path)
                        .display()
                        .to_string();
                    write!(message, "\n{shown}:{}: {folder}", index + 1)
                        .expect("a string takes all");
                }
            }
        }
    }
    assert!(
        message.is_empty(),
        "paths of one machine (use another folder name):{message}\n"
    );
}
