//! Which files make the project, its name, its variables, its profiles; and bad files.
//! Most of it needs no container: the model is shown by `config`.

use crate::support::{World, both_engines};

fn config(w: &World, args: &[&str]) -> serde_json::Value {
    let mut all = args.to_vec();
    all.extend(["config", "--format", "json"]);
    w.hoist(&all).success().json()
}

fn the_name_has_its_order(w: &World) {
    w.compose("name: infile\nservices: {a: {image: x}}\n");
    assert_eq!(config(w, &[])["name"], "infile");
    assert_eq!(config(w, &["-p", "flag"])["name"], "flag");
    let output = w
        .hoist_with(
            &[("COMPOSE_PROJECT_NAME", "variable")],
            &["config", "--format", "json"],
        )
        .success();
    assert_eq!(output.json()["name"], "variable");
    w.compose("services: {a: {image: x}}\n");
    assert_eq!(config(w, &[])["name"], w.project.as_str());
    w.file(".env", "COMPOSE_PROJECT_NAME=dotenv\n");
    assert_eq!(config(w, &[])["name"], "dotenv");
}

fn a_bad_name_is_refused(w: &World) {
    w.compose("services: {a: {image: x}}\n");
    w.hoist(&["-p", "Bad Name", "config"])
        .exits(1)
        .says("invalid project name");
}

fn the_file_is_found_in_a_parent_folder(w: &World) {
    w.compose("services: {a: {image: x}}\n");
    w.file("deep/er/file", "");
    let output = w
        .hoist_in(&w.folder.join("deep/er"), &["config", "--services"])
        .success();
    assert_eq!(output.lines(), ["a"]);
}

fn the_override_file_is_merged(w: &World) {
    w.compose("services: {a: {image: x, environment: {A: base, B: base}}}\n");
    w.file(
        "compose.override.yaml",
        "services: {a: {environment: {B: over}}, b: {image: y}}\n",
    );
    let model = config(w, &[]);
    assert_eq!(model["services"]["a"]["environment"]["A"], "base");
    assert_eq!(model["services"]["a"]["environment"]["B"], "over");
    assert_eq!(model["services"]["b"]["image"], "y");
    let model = config(w, &["-f", "compose.yaml"]);
    assert!(model["services"]["b"].is_null(), "a named file is alone");
}

fn several_files_are_merged_in_order(w: &World) {
    w.file("one.yaml", "services: {a: {image: one, command: [x]}}\n");
    w.file("two.yaml", "services: {a: {image: two}}\n");
    let model = config(w, &["-f", "one.yaml", "-f", "two.yaml"]);
    assert_eq!(model["services"]["a"]["image"], "two");
    assert_eq!(model["services"]["a"]["command"][0], "x");
    let output = w
        .hoist_with(
            &[("COMPOSE_FILE", "one.yaml:two.yaml")],
            &["config", "--images"],
        )
        .success();
    assert_eq!(output.lines(), ["two"]);
}

fn a_file_comes_from_standard_input(w: &World) {
    let output = w
        .hoist_fed(
            "services: {a: {image: piped}}\n",
            &["-f", "-", "config", "--images"],
        )
        .success();
    assert_eq!(output.lines(), ["piped"]);
}

fn no_file_is_an_error(w: &World) {
    w.hoist(&["config"])
        .exits(1)
        .says("no configuration file provided");
    w.hoist(&["-f", "nosuch.yaml", "config"])
        .exits(1)
        .says("nosuch.yaml");
}

fn variables_are_filled_in(w: &World) {
    w.file(".env", "TAG=dotenv\nEMPTY=\n");
    w.compose("services: {a: {image: \"x:${TAG}\", command: [\"${EMPTY:-default}\", \"${NONE-unset}\", \"${TAG:+yes}\", \"$$HOME\"]}}\n");
    let a = config(w, &[])["services"]["a"].clone();
    assert_eq!(a["image"], "x:dotenv");
    assert_eq!(
        a["command"],
        serde_json::json!(["default", "unset", "yes", "$$HOME"])
    );
    let output = w
        .hoist_with(&[("TAG", "shell")], &["config", "--images"])
        .success();
    assert_eq!(
        output.lines(),
        ["x:shell"],
        "the shell is stronger than .env"
    );
}

fn a_required_variable_is_asked_for(w: &World) {
    w.compose("services: {a: {image: \"${TAG:?set the tag}\"}}\n");
    w.hoist(&["config"]).exits(1).says("set the tag");
}

fn an_unset_variable_is_warned_about(w: &World) {
    w.compose("services: {a: {image: \"x${NO_SUCH_VARIABLE}\"}}\n");
    w.hoist(&["config"]).success().says("NO_SUCH_VARIABLE");
}

fn env_files_replace_the_default_one(w: &World) {
    w.file(".env", "TAG=dotenv\n");
    w.file("other.env", "TAG=other\n");
    w.compose("services: {a: {image: \"x:${TAG:-none}\"}}\n");
    let images = |args: &[&str]| w.hoist(args).success().stdout.trim().to_owned();
    assert_eq!(images(&["config", "--images"]), "x:dotenv");
    assert_eq!(
        images(&["--env-file", "other.env", "config", "--images"]),
        "x:other"
    );
    w.hoist(&["--env-file", "missing.env", "config"])
        .exits(1)
        .says("missing.env");
}

fn profiles_choose_services(w: &World) {
    w.compose("services:\n  a: {image: x}\n  b: {image: x, profiles: [one]}\n  c: {image: x, profiles: [two]}\n");
    let services = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["config", "--services"]);
        let mut lines: Vec<String> = w
            .hoist(&all)
            .success()
            .lines()
            .iter()
            .map(|s| (*s).to_owned())
            .collect();
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(services(&[]), "a");
    assert_eq!(services(&["--profile", "one"]), "a b");
    assert_eq!(services(&["--profile", "one", "--profile", "two"]), "a b c");
    assert_eq!(services(&["--profile", "*"]), "a b c");
    let output = w
        .hoist_with(&[("COMPOSE_PROFILES", "two")], &["config", "--services"])
        .success();
    assert_eq!(output.lines().len(), 2);
}

fn a_named_service_enables_its_profile(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n  b: {image: \"${IMAGE}\", command: sleep 1000, profiles: [one]}\n");
    w.hoist(&["up", "-d", "b"]).success();
    assert_eq!(w.running(), ["b-1"]);
    w.hoist(&["--profile", "one", "down"]).success();
    w.nothing_left();
}

fn a_profiled_service_runs_and_stops_by_its_profile(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n  b: {image: \"${IMAGE}\", command: sleep 1000, profiles: [one]}\n");
    w.hoist(&["--profile", "one", "up", "-d"]).success();
    assert_eq!(w.running(), ["a-1", "b-1"]);
    w.hoist(&["--profile", "one", "stop"]).success();
    assert_eq!(w.in_state("exited"), ["a-1", "b-1"]);
}

fn extends_takes_over(w: &World) {
    w.file(
        "base.yaml",
        "services: {base: {image: x, environment: {A: base, B: base}, labels: {l: v}}}\n",
    );
    w.compose(
        "services: {a: {extends: {file: base.yaml, service: base}, environment: {B: own}}}\n",
    );
    let a = config(w, &[])["services"]["a"].clone();
    assert_eq!(a["image"], "x");
    assert_eq!(
        a["environment"],
        serde_json::json!({"A": "base", "B": "own"})
    );
}

fn include_brings_in_another_project(w: &World) {
    w.file(
        "part/compose.yaml",
        "services: {db: {image: x, volumes: [\"./data:/data\"]}}\nvolumes: {v: {}}\n",
    );
    w.compose("include: [part/compose.yaml]\nservices: {a: {image: y, depends_on: [db]}}\n");
    let model = config(w, &[]);
    let source = model["services"]["db"]["volumes"][0]["source"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        source,
        w.folder.join("part/data").to_string_lossy(),
        "its paths are its own"
    );
}

fn reset_and_override_tags_work(w: &World) {
    w.compose("services: {a: {image: x, ports: [\"80:80\"], environment: {A: 1}, command: [a]}}\n");
    w.file(
        "compose.override.yaml",
        "services: {a: {ports: !reset [], environment: !override {B: \"2\"}}}\n",
    );
    let a = config(w, &[])["services"]["a"].clone();
    assert!(a["ports"].as_array().is_none_or(Vec::is_empty), "{a}");
    assert_eq!(a["environment"], serde_json::json!({"B": "2"}));
}

fn config_feeds_back_unchanged(w: &World) {
    w.compose(
        r#"
name: fixed
services:
  a:
    image: x
    command: ["sh", "-c", "echo $$HOME"]
    ports: ["8080:80", "127.0.0.1:53:53/udp"]
    volumes: ["vol:/v", "./b:/b:ro", {type: tmpfs, target: /t}]
    healthcheck: {test: "true", interval: 1m30s}
    deploy: {resources: {limits: {memory: 64m}}}
    networks: {n: {aliases: [z]}}
volumes: {vol: {}}
networks: {n: {}}
"#,
    );
    let first = w.hoist(&["config"]).success().stdout;
    w.file("again.yaml", &first);
    assert_eq!(
        w.hoist(&["-f", "again.yaml", "config"]).success().stdout,
        first
    );
}

fn config_hash_is_the_containers_label(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, environment: {A: 1}}\n");
    w.hoist(&["up", "-d"]).success();
    let line = w.hoist(&["config", "--hash", "a"]).success();
    let hash = line.stdout.split_whitespace().last().unwrap().to_owned();
    assert_eq!(w.label("a", "com.docker.compose.config-hash"), hash);
}

fn config_lists_parts(w: &World) {
    w.compose("services:\n  a: {image: x, volumes: [\"vol:/v\"], profiles: [p]}\n  b: {image: y, environment: {A: \"${VAR:-d}\"}}\nvolumes: {vol: {}}\n");
    assert_eq!(w.hoist(&["config", "--profiles"]).success().lines(), ["p"]);
    w.hoist(&["--profile", "p", "config", "--volumes"])
        .success()
        .prints("vol");
    w.hoist(&["config", "--variables"]).success().prints("VAR");
    w.hoist(&["config", "-q"]).success();
}

fn config_writes_a_file(w: &World) {
    w.compose("services: {a: {image: x}}\n");
    w.hoist(&["config", "-o", "out.yaml"]).success();
    assert!(
        std::fs::read_to_string(w.folder.join("out.yaml"))
            .unwrap()
            .contains("image: x")
    );
}

fn broken_yaml_is_an_error_with_its_line(w: &World) {
    w.compose("services:\n  a:\n    image: x\n   b: [\n");
    w.hoist(&["config", "-q"]).exits(1);
    w.hoist(&["up", "-d"]).exits(1);
    w.nothing_left();
}

fn an_unknown_key_is_an_error(w: &World) {
    w.compose("services:\n  a:\n    image: x\n    comand: y\n");
    w.hoist(&["config", "-q"]).exits(1).says("comand");
}

fn a_wrong_type_is_an_error(w: &World) {
    w.compose("services:\n  a:\n    image: x\n    ports: hello\n");
    w.hoist(&["config", "-q"]).exits(1).says("ports");
}

fn undefined_references_are_errors(w: &World) {
    for (line, name) in [
        ("volumes: [\"nosuchvol:/v\"]", "nosuchvol"),
        ("networks: [nosuchnet]", "nosuchnet"),
        ("secrets: [nosuchsec]", "nosuchsec"),
        ("configs: [nosuchconf]", "nosuchconf"),
    ] {
        w.compose(&format!("services:\n  a:\n    image: x\n    {line}\n"));
        w.hoist(&["config", "-q"]).exits(1).says(name);
    }
}

fn a_service_without_image_or_build_is_an_error(w: &World) {
    w.compose("services: {a: {command: x}}\n");
    w.hoist(&["config", "-q"]).exits(1).says("a");
}

fn an_unknown_flag_or_command_is_an_error(w: &World) {
    w.compose("services: {a: {image: x}}\n");
    w.hoist(&["up", "--no-such-flag"])
        .exits(1)
        .says("no-such-flag");
    assert_ne!(w.hoist(&["no-such-command"]).code, 0);
}

both_engines!(
    the_name_has_its_order,
    a_bad_name_is_refused,
    the_file_is_found_in_a_parent_folder,
    the_override_file_is_merged,
    several_files_are_merged_in_order,
    a_file_comes_from_standard_input,
    no_file_is_an_error,
    variables_are_filled_in,
    a_required_variable_is_asked_for,
    an_unset_variable_is_warned_about,
    env_files_replace_the_default_one,
    profiles_choose_services,
    a_named_service_enables_its_profile,
    a_profiled_service_runs_and_stops_by_its_profile,
    extends_takes_over,
    include_brings_in_another_project,
    reset_and_override_tags_work,
    config_feeds_back_unchanged,
    config_hash_is_the_containers_label,
    config_lists_parts,
    config_writes_a_file,
    broken_yaml_is_an_error_with_its_line,
    an_unknown_key_is_an_error,
    a_wrong_type_is_an_error,
    undefined_references_are_errors,
    a_service_without_image_or_build_is_an_error,
    an_unknown_flag_or_command_is_an_error,
);
