//! One-off commands: `run`, `exec`, `attach`; their codes, streams, terminals and signals.

use nix::sys::signal::Signal;

use crate::support::{World, both_engines, eventually};

const ONE: &str = "services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n";

fn run_gives_output_and_code_of_its_command(w: &World) {
    w.compose(ONE);
    let output = w
        .hoist(&[
            "run",
            "--rm",
            "-T",
            "a",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 42",
        ])
        .exits(42);
    assert_eq!(output.stdout, "out\n");
    assert!(output.stderr.contains("err\n"), "{output}");
    assert!(w.names().is_empty());
}

fn run_keeps_its_container_without_rm(w: &World) {
    w.compose(ONE);
    w.hoist(&["run", "-T", "a", "true"]).success();
    let names = w.names();
    assert_eq!(names.len(), 1);
    assert!(
        names[0].starts_with(&format!("{}-a-run-", w.project)),
        "{names:?}"
    );
    assert_eq!(w.label(&names[0], "com.docker.compose.oneoff"), "True");
    w.hoist(&["down", "--remove-orphans"]).success();
    w.nothing_left();
}

fn run_reads_standard_input(w: &World) {
    w.compose(ONE);
    let output = w
        .hoist_fed("one\ntwo\n", &["run", "--rm", "-T", "a", "wc", "-l"])
        .success();
    assert_eq!(output.stdout.trim(), "2");
}

fn run_starts_dependencies(w: &World) {
    w.compose("services:\n  db: {image: \"${IMAGE}\", command: sleep 1000}\n  a: {image: \"${IMAGE}\", depends_on: [db]}\n");
    w.hoist(&["run", "--rm", "-T", "a", "true"]).success();
    assert_eq!(w.running(), ["db-1"]);
    w.hoist(&["down"]).success();
    w.hoist(&["run", "--rm", "-T", "--no-deps", "a", "true"])
        .success();
    assert!(w.names().is_empty());
}

fn run_takes_overrides(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", environment: {A: file, B: file}}\n");
    let output = w
        .hoist(&[
            "run",
            "--rm",
            "-T",
            "-e",
            "A=flag",
            "-w",
            "/tmp",
            "-u",
            "1000:50",
            "--name",
            &format!("n{}", w.project),
            "a",
            "sh",
            "-c",
            "echo $A $B $(pwd) $(id -u):$(id -g)",
        ])
        .success();
    assert_eq!(output.stdout.trim(), "flag file /tmp 1000:50");
}

fn run_entrypoint_replaces(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", entrypoint: [\"echo\", \"entry\"], command: [\"command\"]}\n");
    assert_eq!(
        w.hoist(&["run", "--rm", "-T", "a"]).success().stdout.trim(),
        "entry command"
    );
    assert_eq!(
        w.hoist(&["run", "--rm", "-T", "a", "other"])
            .success()
            .stdout
            .trim(),
        "entry other"
    );
    assert_eq!(
        w.hoist(&["run", "--rm", "-T", "--entrypoint", "echo new", "a"])
            .success()
            .stdout
            .trim(),
        "new"
    );
}

fn run_publishes_ports_only_on_request(w: &World) {
    let port = crate::support::free_port();
    w.compose(&format!(
        "services:\n  a: {{image: \"${{IMAGE}}\", command: sleep 1000, ports: [\"{port}:80\"]}}\n"
    ));
    let name = format!("n1{}", w.project);
    w.hoist(&["run", "-d", "--name", &name, "a"]).success();
    let ports = w.inspect(&name)["HostConfig"]["PortBindings"].clone();
    assert!(
        ports.as_object().is_none_or(serde_json::Map::is_empty),
        "{ports}"
    );
    let name = format!("n2{}", w.project);
    w.hoist(&["run", "-d", "-P", "--name", &name, "a"])
        .success();
    assert_eq!(
        w.inspect(&name)["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"],
        port.to_string()
    );
}

fn run_detached_prints_the_container(w: &World) {
    w.compose(ONE);
    let output = w.hoist(&["run", "-d", "a"]).success();
    let printed = output.stdout.trim();
    let running: Vec<_> = w.containers();
    assert_eq!(running.len(), 1);
    let id = running[0]["Id"].as_str().unwrap();
    assert!(
        id.starts_with(printed) || w.names()[0] == printed,
        "{printed}"
    );
}

fn run_of_a_missing_command_fails(w: &World) {
    w.compose(ONE);
    let output = w.hoist(&["run", "--rm", "-T", "a", "/no/such/program"]);
    assert!([1, 127].contains(&output.code), "{output}");
    assert!(
        w.names().is_empty(),
        "nothing is left of a run that could not start"
    );
}

fn run_forwards_signals(w: &World) {
    w.compose(ONE);
    let run = w.start(&[
        "run",
        "--rm",
        "-T",
        "a",
        "sh",
        "-c",
        "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.1; done",
    ]);
    run.wait_for("ready");
    run.signal(Signal::SIGTERM);
    run.wait_for("caught");
    run.finish().exits(5);
}

fn run_of_an_inactive_service_enables_it(w: &World) {
    w.compose("services:\n  tool: {image: \"${IMAGE}\", profiles: [tools], command: echo tool}\n  a: {image: \"${IMAGE}\"}\n");
    assert_eq!(
        w.hoist(&["run", "--rm", "-T", "tool"])
            .success()
            .stdout
            .trim(),
        "tool"
    );
}

fn run_ignores_the_restart_policy(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", restart: always}\n");
    w.hoist(&["run", "-T", "a", "sh", "-c", "exit 3"]).exits(3);
    let name = w.names().remove(0);
    let policy = w.inspect(&name)["HostConfig"]["RestartPolicy"]["Name"].clone();
    assert!(policy == "no" || policy == "", "{policy}");
}

fn run_waits_for_a_healthy_dependency(w: &World) {
    w.compose(
        r#"
services:
  db:
    image: ${IMAGE}
    command: ["sh", "-c", "sleep 0.5; touch /tmp/ready; sleep 1000"]
    healthcheck: {test: "test -e /tmp/ready", interval: 200ms, retries: 50}
  a:
    image: ${IMAGE}
    depends_on: {db: {condition: service_healthy}}
"#,
    );
    w.hoist(&["run", "--rm", "-T", "a", "true"]).success();
    assert_eq!(w.inspect("db")["State"]["Health"]["Status"], "healthy");
}

fn run_mounts_more_volumes(w: &World) {
    w.file("extra/file", "extra\n");
    w.compose(ONE);
    let output = w
        .hoist(&[
            "run",
            "--rm",
            "-T",
            "-v",
            "./extra:/extra",
            "a",
            "cat",
            "/extra/file",
        ])
        .success();
    assert_eq!(output.stdout.trim(), "extra");
}

fn exec_gives_output_and_code(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    let output = w
        .hoist(&[
            "exec",
            "-T",
            "a",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 7",
        ])
        .exits(7);
    assert_eq!(output.stdout, "out\n");
    assert!(output.stderr.contains("err"));
}

fn exec_reads_standard_input(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    let text = "x".repeat(100_000);
    let output = w
        .hoist_fed(&text, &["exec", "-T", "a", "wc", "-c"])
        .success();
    assert_eq!(output.stdout.trim(), "100000");
}

fn exec_takes_user_folder_and_variables(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    let output = w
        .hoist(&[
            "exec",
            "-T",
            "-u",
            "app",
            "-w",
            "/tmp",
            "-e",
            "A=b",
            "a",
            "sh",
            "-c",
            "echo $(id -un) $(pwd) $A",
        ])
        .success();
    assert_eq!(output.stdout.trim(), "app /tmp b");
}

fn exec_picks_a_replica(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, scale: 2}\n");
    w.hoist(&["up", "-d"]).success();
    let host = |index: &str| {
        w.hoist(&["exec", "-T", "--index", index, "a", "hostname"])
            .success()
            .stdout
            .trim()
            .to_owned()
    };
    assert!(w.id("a-1").starts_with(&host("1")));
    assert!(w.id("a-2").starts_with(&host("2")));
    w.hoist(&["exec", "-T", "--index", "9", "a", "true"])
        .exits(1)
        .says("9");
}

fn exec_in_a_stopped_service_fails(w: &World) {
    w.compose(ONE);
    w.hoist(&["exec", "-T", "a", "true"])
        .exits(1)
        .says("is not running");
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["stop"]).success();
    w.hoist(&["exec", "-T", "a", "true"])
        .exits(1)
        .says("is not running");
}

fn exec_of_a_missing_command_is_127(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    if w.lacks_api("1.44") {
        return;
    }
    w.hoist(&["exec", "-T", "a", "/no/such/program"]).exits(127);
    w.hoist(&["exec", "-T", "a", "/etc/passwd"]).exits(126);
}

fn exec_detached_returns_at_once(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["exec", "-d", "a", "sh", "-c", "sleep 0.2; touch /tmp/late"])
        .success();
    eventually("the detached command ran", || {
        (w.hoist(&["exec", "-T", "a", "test", "-e", "/tmp/late"])
            .code
            == 0)
            .then_some(())
    });
}

fn exec_on_a_terminal_has_one(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    let output = w.on_terminal(&["exec", "a", "tty"]).finish().success();
    assert!(output.stdout.contains("/dev/pts/"), "{output}");
    assert_eq!(w.exec("a", &["sh", "-c", "tty || true"]), "not a tty");
}

fn exec_on_a_terminal_talks_both_ways(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    let mut shell = w.on_terminal(&["exec", "a", "sh"]);
    shell.write("echo $((6 * 7))\n");
    shell.wait_for("42");
    shell.write("exit 4\n");
    shell.finish().exits(4);
}

fn exec_privileged_has_more_capabilities(w: &World) {
    if w.lacks_api("1.44") {
        return;
    }
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    let caps = |args: &[&str]| {
        let mut all = vec!["exec", "-T"];
        all.extend(args);
        all.extend(["a", "grep", "CapEff", "/proc/self/status"]);
        w.hoist(&all)
            .success()
            .stdout
            .split_whitespace()
            .last()
            .unwrap()
            .to_owned()
    };
    assert!(caps(&["--privileged"]) > caps(&[]));
}

fn attach_shows_output_and_ends_with_the_container(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"while [ ! -e /tmp/go ]; do echo tick; sleep 0.1; done; exit 6\"]}\n");
    w.hoist(&["up", "-d"]).success();
    let attach = w.start(&["attach", "--no-stdin", "a"]);
    attach.wait_for("tick");
    w.exec("a", &["touch", "/tmp/go"]);
    attach.finish().exits(6);
}

both_engines!(
    run_gives_output_and_code_of_its_command,
    run_keeps_its_container_without_rm,
    run_reads_standard_input,
    run_starts_dependencies,
    run_takes_overrides,
    run_entrypoint_replaces,
    run_publishes_ports_only_on_request,
    run_detached_prints_the_container,
    run_of_a_missing_command_fails,
    run_forwards_signals,
    run_of_an_inactive_service_enables_it,
    run_ignores_the_restart_policy,
    run_waits_for_a_healthy_dependency,
    run_mounts_more_volumes,
    exec_gives_output_and_code,
    exec_reads_standard_input,
    exec_takes_user_folder_and_variables,
    exec_picks_a_replica,
    exec_in_a_stopped_service_fails,
    exec_of_a_missing_command_is_127,
    exec_detached_returns_at_once,
    exec_on_a_terminal_has_one,
    exec_on_a_terminal_talks_both_ways,
    exec_privileged_has_more_capabilities,
    attach_shows_output_and_ends_with_the_container,
);
