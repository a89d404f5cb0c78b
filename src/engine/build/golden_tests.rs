//! Golden tests of Dockerfiles: `fixtures/build/dockerfile/<name>.Dockerfile` against `<name>.txt`, what the build would
//! do or what is wrong. `HOIST_BLESS=1` writes the texts anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::stages::{Plan, PlanOptions, plan};
use super::*;

fn outcome(text: &str) -> String {
    let args = BTreeMap::from([("GIVEN".to_owned(), Some("given".to_owned()))]);
    let parsed = lexer::lex(text).and_then(|lexed| {
        let options = PlanOptions {
            target: "",
            build_args: &args,
            platform: &Platform::new("linux", "amd64", None),
        };
        plan(instruction::parse(lexed)?, &options)
    });
    match parsed {
        Ok(plan) => written(&plan),
        Err(error) => format!("{error}\n"),
    }
}

fn written(plan: &Plan) -> String {
    let mut text = String::new();
    for warning in &plan.warnings {
        writeln!(text, "warning: {warning}").unwrap();
    }
    for (name, value) in &plan.arguments {
        writeln!(text, "global {name}={value}").unwrap();
    }
    for stage in plan.stages.values() {
        writeln!(
            text,
            "stage {} from {:?} needs {:?}",
            stage.label, stage.base, stage.needs
        )
        .unwrap();
        for step in &stage.steps {
            writeln!(
                text,
                "  {}-{} {:?}",
                step.span.start, step.span.end, step.instruction
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn dockerfiles_are_understood_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/build/dockerfile");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "Dockerfile")
        })
        .collect();
    names.sort();
    assert!(names.len() >= 10);
    for path in names {
        let found = outcome(&std::fs::read_to_string(&path).unwrap());
        let golden = path.with_extension("txt");
        if std::env::var_os("HOIST_BLESS").is_some() {
            std::fs::write(&golden, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(found, expected, "{}", path.display());
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    let pieces = [
        "FROM a",
        "RUN <<E",
        "\\",
        "\n",
        "E",
        "$",
        "${",
        "\"",
        "'",
        " ",
        "# escape=`",
        "COPY",
        "[",
        "--",
        "\u{feff}",
        "ENV a",
    ];
    let mut state = 1u64;
    for _ in 0..5000 {
        let mut text = String::new();
        for _ in 0..12 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        outcome(&text);
    }
}
