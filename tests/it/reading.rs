//! Commands that only look: ps, ls, logs, images, top, port, events, stats, version.

use crate::support::{World, both_engines, eventually};

const TWO: &str = r#"
services:
  a: {image: "${IMAGE}", command: ["sh", "-c", "echo hello from a; sleep 1000"]}
  b: {image: "${IMAGE}", command: ["sh", "-c", "echo hello from b; sleep 1000"]}
"#;

fn up(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    for name in ["a", "b"] {
        eventually("it spoke", || {
            w.logged(name).contains("hello").then_some(())
        });
    }
}

fn ps_shows_a_table(w: &World) {
    up(w);
    let output = w.hoist(&["ps"]).success();
    let lines = output.lines();
    let columns: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        columns,
        [
            "NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"
        ]
    );
    assert!(
        lines[1].starts_with(&format!("{}-a-1", w.project)) && lines[1].contains("Up "),
        "{output}"
    );
    assert_eq!(lines.len(), 3);
}

fn ps_lists_only_the_running_unless_all(w: &World) {
    up(w);
    w.hoist(&["stop", "a"]).success();
    assert_eq!(w.hoist(&["ps", "--services"]).success().lines(), ["b"]);
    let mut all: Vec<String> = w
        .hoist(&["ps", "-a", "--services"])
        .success()
        .lines()
        .iter()
        .map(|s| (*s).to_owned())
        .collect();
    all.sort();
    assert_eq!(all, ["a", "b"]);
    assert_eq!(
        w.hoist(&["ps", "--status", "exited", "--services"])
            .success()
            .lines(),
        ["a"]
    );
    assert_eq!(
        w.hoist(&["ps", "--filter", "status=running", "--services"])
            .success()
            .lines(),
        ["b"]
    );
    assert_eq!(w.hoist(&["ps", "-q"]).success().lines(), [w.id("b")]);
}

fn ps_speaks_json(w: &World) {
    up(w);
    let rows = w.hoist(&["ps", "--format", "json"]).success().json_lines();
    assert_eq!(rows.len(), 2);
    let row = &rows[0];
    assert_eq!(row["Name"], format!("{}-a-1", w.project));
    assert_eq!(row["Service"], "a");
    assert_eq!(row["Project"], w.project.as_str());
    assert_eq!(row["State"], "running");
    assert_eq!(row["ExitCode"], 0);
    for key in [
        "ID",
        "Image",
        "Command",
        "CreatedAt",
        "Health",
        "Labels",
        "Mounts",
        "Networks",
        "Ports",
        "Publishers",
        "RunningFor",
        "Status",
    ] {
        assert!(!row[key].is_null(), "{key} is missing in {row}");
    }
}

fn ps_takes_a_template(w: &World) {
    up(w);
    let output = w
        .hoist(&["ps", "--format", "{{.Service}}:{{.State}}"])
        .success();
    assert_eq!(output.lines(), ["a:running", "b:running"]);
}

fn ps_of_an_unknown_service_fails(w: &World) {
    up(w);
    w.hoist(&["ps", "nosuch"]).exits(1).says("nosuch");
}

fn ls_lists_projects(w: &World) {
    up(w);
    let rows = w.hoist(&["ls", "--format", "json"]).success().json_lines();
    let row = rows
        .iter()
        .find(|row| row["Name"] == w.project.as_str())
        .unwrap();
    assert_eq!(row["Status"], "running(2)");
    assert_eq!(
        row["ConfigFiles"],
        w.folder.join("compose.yaml").to_string_lossy().as_ref()
    );
    w.hoist(&["stop"]).success();
    assert!(
        !w.hoist(&["ls", "-q"])
            .success()
            .lines()
            .contains(&w.project.as_str())
    );
    assert!(
        w.hoist(&["ls", "-qa"])
            .success()
            .lines()
            .contains(&w.project.as_str())
    );
}

fn logs_have_prefixes_and_an_end(w: &World) {
    up(w);
    let output = w.hoist(&["logs"]).success();
    assert!(
        output
            .stdout
            .lines()
            .any(|line| line.starts_with("a-1") && line.contains("| hello from a")),
        "{output}"
    );
    assert!(
        output
            .stdout
            .lines()
            .any(|line| line.starts_with("b-1") && line.contains("| hello from b")),
        "{output}"
    );
    let output = w.hoist(&["logs", "--no-log-prefix", "a"]).success();
    assert_eq!(output.stdout, "hello from a\n");
}

fn logs_tail_counts_lines(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"for i in $$(seq 100); do echo line $$i; done\"]}\n");
    w.hoist(&["up"]).success();
    let output = w
        .hoist(&["logs", "--no-log-prefix", "--tail", "2"])
        .success();
    assert_eq!(output.lines(), ["line 99", "line 100"]);
    assert_eq!(
        w.hoist(&["logs", "--no-log-prefix", "-n", "0"])
            .success()
            .stdout,
        ""
    );
}

fn logs_have_times_on_request(w: &World) {
    up(w);
    let output = w.hoist(&["logs", "-t", "--no-log-prefix", "a"]).success();
    let first = output.stdout.split(' ').next().unwrap();
    assert!(
        first.starts_with("20") && first.contains('T') && first.ends_with('Z'),
        "{output}"
    );
}

fn logs_since_and_until_cut(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"echo early; sleep 2; echo late; sleep 1000\"]}\n");
    w.hoist(&["up", "-d"]).success();
    eventually("the second line", || {
        w.logged("a").contains("late").then_some(())
    });
    let stamps = w.hoist(&["logs", "-t", "--no-log-prefix"]).success();
    let late = stamps
        .lines()
        .iter()
        .find(|line| line.ends_with("late"))
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let output = w
        .hoist(&["logs", "--no-log-prefix", "--since", &late])
        .success();
    assert_eq!(output.lines(), ["late"]);
}

fn logs_follow_new_lines_and_end_with_the_containers(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"echo first; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo second\"]}\n");
    w.hoist(&["up", "-d"]).success();
    let logs = w.start(&["logs", "-f"]);
    logs.wait_for("first");
    w.exec("a", &["touch", "/tmp/go"]);
    logs.wait_for("second");
    logs.finish().success();
}

fn logs_of_a_replica(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"hostname; sleep 1000\"], scale: 2}\n");
    w.hoist(&["up", "-d"]).success();
    let id = w.id("a-2");
    eventually("it spoke", || {
        let output = w
            .hoist(&["logs", "--no-log-prefix", "--index", "2", "a"])
            .success();
        (output.lines().len() == 1 && id.starts_with(output.stdout.trim())).then_some(())
    });
}

fn images_are_listed_by_container(w: &World) {
    up(w);
    let rows = w
        .hoist(&["images", "--format", "json"])
        .success()
        .json_lines();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[0]["ContainerName"], format!("{}-a-1", w.project));
    assert_eq!(rows[0]["Repository"], "hoist-it/busybox");
    w.hoist(&["images", "-q"]).success();
}

fn top_shows_processes(w: &World) {
    up(w);
    let output = w.hoist(&["top"]).success();
    assert!(output.stdout.contains("sleep 1000"), "{output}");
}

fn port_of_nothing_is_an_error(w: &World) {
    up(w);
    w.hoist(&["port", "a", "80"]).exits(1);
}

fn events_are_told_as_they_happen(w: &World) {
    w.compose(TWO);
    w.hoist(&["create"]).success();
    let events = w.start(&["events", "--json"]);
    // The stream is open when its first event comes; a start and stop is repeated until it is seen.
    eventually("an event is seen", || {
        w.hoist(&["restart", "-t", "0", "a"]).success();
        events
            .stdout()
            .contains("\"action\":\"start\"")
            .then_some(())
    });
    let said = events.stdout();
    let line = said
        .lines()
        .find(|line| line.contains("\"action\":\"start\""))
        .unwrap();
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(event["service"], "a");
    assert_eq!(event["type"], "container");
}

fn stats_once_has_a_row_a_container(w: &World) {
    up(w);
    let output = w.hoist(&["stats", "--no-stream"]).success();
    assert!(
        output.stdout.contains(&format!("{}-a-1", w.project)),
        "{output}"
    );
    assert!(output.stdout.contains('%'), "{output}");
}

fn version_is_told_in_three_ways(w: &World) {
    let short = w.hoist(&["version", "--short"]).success();
    assert!(short.stdout.trim().split('.').count() >= 3, "{short}");
    let json = w.hoist(&["version", "-f", "json"]).success().json();
    assert!(json["version"].is_string());
    w.hoist(&["version"]).success().prints("version");
}

fn output_into_a_closed_pipe_ends_quietly(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"for i in $$(seq 20000); do echo line $$i; done\"]}\n");
    w.hoist(&["up"]).success();
    let mut shell = std::process::Command::new("sh");
    let plain = w.command(&["logs", "--no-log-prefix"]);
    let line = format!(
        "{} logs --no-log-prefix | head -n 1",
        plain.get_program().to_string_lossy()
    );
    shell.arg("-c").arg(line).current_dir(&w.folder).env_clear();
    shell.envs(
        plain
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    let output = crate::support::Process::spawn(shell).finish().success();
    assert_eq!(output.stdout, "line 1\n");
    assert!(!output.stderr.contains("panicked"), "{output}");
}

both_engines!(
    ps_shows_a_table,
    ps_lists_only_the_running_unless_all,
    ps_speaks_json,
    ps_takes_a_template,
    ps_of_an_unknown_service_fails,
    ls_lists_projects,
    logs_have_prefixes_and_an_end,
    logs_tail_counts_lines,
    logs_have_times_on_request,
    logs_since_and_until_cut,
    logs_follow_new_lines_and_end_with_the_containers,
    logs_of_a_replica,
    images_are_listed_by_container,
    top_shows_processes,
    port_of_nothing_is_an_error,
    events_are_told_as_they_happen,
    stats_once_has_a_row_a_container,
    version_is_told_in_three_ways,
    output_into_a_closed_pipe_ends_quietly,
);
