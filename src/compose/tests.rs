//! Recorded cases (`fixtures/compose/*.json`) against the loader: what docker compose accepts loads to the
//! same project, what it refuses is refused. Each case is a folder of files, with arguments and environment.

use std::path::Path;

use crate::compose::model::Mapping;
use crate::compose::{Dependencies, LoadOptions, check_container_names, load, render};

/// The recorded project is for a case in this folder.
const CASE_FOLDER: &str = "/CASE";

struct Case {
    name: String,
    files: Vec<(String, String)>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// `None`: docker compose refuses it.
    project: Option<serde_json::Value>,
}

fn cases(text: &str) -> Vec<Case> {
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    let strings = |value: &serde_json::Value| -> Vec<(String, String)> {
        value.as_object().map_or(vec![], |object| {
            object
                .iter()
                .map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()))
                .collect()
        })
    };
    all.into_iter()
        .map(|(name, case)| Case {
            name,
            files: strings(&case["files"]),
            arguments: case["args"].as_array().map_or(vec![], |list| {
                list.iter()
                    .map(|v| v.as_str().unwrap().to_owned())
                    .collect()
            }),
            environment: strings(&case["env"]),
            project: case.get("json").cloned(),
        })
        .collect()
}

fn write_files(folder: &Path, files: &[(String, String)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// The options of a command line with docker compose's global flags.
fn options(folder: &Path, case: &Case) -> LoadOptions<'static> {
    let mut environment = Mapping::from([("HOME".to_owned(), "/home/tester".to_owned())]);
    environment.extend(case.environment.iter().cloned());
    let mut options = LoadOptions::new(folder.to_owned(), environment);
    let mut arguments = case.arguments.iter();
    while let Some(flag) = arguments.next() {
        let value = arguments.next().unwrap().clone();
        match flag.as_str() {
            "-f" => options.files.push(value),
            "-p" => options.project_name = Some(value),
            "--profile" => options.profiles.push(value),
            "--env-file" => options.env_files.push(value.into()),
            "--project-directory" | "--workdir" => options.project_directory = Some(value.into()),
            other => panic!("unknown flag {other}"),
        }
    }
    options
}

fn run(case: &Case) -> Result<serde_json::Value, String> {
    // The folder's name is the project's name where nothing else is.
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("prj");
    std::fs::create_dir(&folder).unwrap();
    let folder = std::fs::canonicalize(folder).unwrap();
    write_files(&folder, &case.files);
    let mut loaded = load(&options(&folder, case)).map_err(|error| error.to_string())?;
    loaded
        .project
        .select(&[], Dependencies::Include)
        .map_err(|error| error.to_string())?;
    check_container_names(&loaded).map_err(|error| error.to_string())?;
    loaded.project.drop_unused();
    let json = render::strict_json(&loaded.project)?;
    let json = json.replace(&*folder.to_string_lossy(), CASE_FOLDER);
    let value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    // What `config` prints loads again, to the same project.
    let again = temporary.path().join("again");
    std::fs::create_dir(&again).unwrap();
    let yaml = render::yaml(&loaded.project);
    std::fs::write(again.join("compose.yaml"), &yaml).unwrap();
    let mut options = LoadOptions::new(again, Mapping::new());
    options.profiles.push("*".to_owned());
    // Some is refused by docker compose too: optional dependencies that are off, a size of -1.
    let Ok(mut second) = load(&options) else {
        return Ok(value);
    };
    second.project.drop_unused();
    // Keys are not interpolated, so a doubled dollar sign in one stays doubled.
    let dollar_key = |line: &str| line.split(':').next().is_some_and(|key| key.contains('$'));
    if second.project.services.len() == loaded.project.services.len()
        && !yaml.lines().any(dollar_key)
    {
        let reprinted = render::yaml(&second.project);
        if reprinted != yaml {
            return Err(format!("printed {yaml}\nand, loaded again, {reprinted}"));
        }
    }
    Ok(value)
}

fn compare(case: &Case) -> Option<String> {
    match (&case.project, run(case)) {
        (None, Err(_)) => None,
        (None, Ok(_)) => Some("accepted, docker compose refuses it".to_owned()),
        (Some(_), Err(error)) => Some(format!("refused: {error}")),
        (Some(wanted), Ok(found)) if *wanted == found => None,
        (Some(wanted), Ok(found)) => Some(format!("\nwanted {wanted:#}\nfound {found:#}")),
    }
}

#[test]
fn recorded_cases_load_as_in_docker_compose() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/compose");
    let mut failures = Vec::new();
    let mut count = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "json"))
        .filter(|path| !path.ends_with("compose-spec.json"))
        .collect();
    files.sort();
    for file in files {
        for case in cases(&std::fs::read_to_string(file).unwrap()) {
            count += 1;
            if let Some(failure) = compare(&case) {
                failures.push(format!("{}: {failure}", case.name));
            }
        }
    }
    assert!(count > 1000, "only {count} cases were found");
    assert!(
        failures.is_empty(),
        "{} of {count} cases fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Hostile texts end in an error, quickly and without a crash.
#[test]
fn bombs_are_refused() {
    let aliases: String = (1..40)
        .map(|n| format!("x-{n}: &a{n} [*a{m}, *a{m}]\n", m = n - 1))
        .collect();
    let texts = [
        format!("x-0: &a0 [x, x]\n{aliases}services: {{a: {{image: x}}}}\n"),
        "[".repeat(100_000),
        "a: ".repeat(10_000),
        format!("x-a: {}", "{a: ".repeat(5_000)),
        "x-a: &a [*a]\n".to_owned(),
        format!(
            "services: {{a: {{image: \"{}\"}}}}\n",
            "${A:-".repeat(5_000)
        ),
    ];
    for text in texts {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let options = LoadOptions::new(folder.path().to_owned(), Mapping::new());
        assert!(load(&options).is_err());
    }
}

mod properties {
    use super::*;
    use crate::compose::merge::merge;
    use crate::compose::node::{Map, Node, Path, Value};
    use crate::compose::source::Span;
    use proptest::prelude::*;

    fn tree() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (0i64..9).prop_map(Value::Int),
            "[a-c]{0,2}".prop_map(|text| Value::Str(text.into())),
        ];
        let node = leaf.prop_map(|value| Node::new(value, Span::NONE));
        prop::collection::vec(("[a-d]", node), 0..4).prop_map(|entries| {
            let map: Map = entries
                .into_iter()
                .map(|(key, node)| (key.as_str().into(), node))
                .collect();
            Node::map(map, Span::NONE)
        })
    }

    fn merged(mut base: Node, over: &Node) -> Node {
        merge(&mut base, over.clone(), &Path::ROOT).unwrap();
        base
    }

    proptest! {
        /// Scalars in mappings: laying c over (b over a) is laying (c over b) over a, but for nulls,
        /// which say nothing where there is something and are kept where there is nothing.
        #[test]
        fn merging_is_associative(a in tree(), b in tree(), c in tree()) {
            let left = merged(merged(a.clone(), &b), &c);
            let right = merged(a, &merged(b, &c));
            prop_assert_eq!(left, right);
        }

        #[test]
        fn merging_nothing_changes_nothing(a in tree()) {
            let empty = Node::map(Map::new(), Span::NONE);
            prop_assert_eq!(merged(a.clone(), &empty), a.clone());
            prop_assert_eq!(merged(empty, &a), a);
        }

        /// Any text is read or refused, never a crash.
        #[test]
        fn any_text_ends(text in "(services|image|: |\n|  |- |\\[|\\]|\\{|\\}|&a|\\*a|!reset |\"|'|\\$\\{A:-|\\||>|#|<<|x|1){0,40}") {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
            let _ = load(&LoadOptions::new(folder.path().to_owned(), Mapping::new()));
        }
    }
}
