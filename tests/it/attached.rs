//! `up` in the foreground: interleaved logs, Ctrl-C, and the cascades that end a run in CI.

use nix::sys::signal::Signal;

use crate::support::{World, both_engines, eventually};

/// Waits for the first line, and for the end of the start: an old Docker may tell of it later than of the line.
fn ready(up: &crate::support::Process) {
    up.wait_for("| ready");
    if !crate::support::is_oracle() {
        up.wait_for("-a-1 Started");
    }
}

fn logs_of_all_services_are_interleaved(w: &World) {
    w.compose("services:\n  one: {image: \"${IMAGE}\", command: echo from one}\n  two: {image: \"${IMAGE}\", command: echo from two}\n");
    let output = w.hoist(&["up"]).success();
    assert!(
        output
            .stdout
            .lines()
            .any(|line| line.starts_with("one-1") && line.ends_with("| from one")),
        "{output}"
    );
    assert!(
        output
            .stdout
            .lines()
            .any(|line| line.starts_with("two-1") && line.ends_with("| from two")),
        "{output}"
    );
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains("one-1 exited with code 0"), "{output}");
    assert_eq!(w.in_state("exited"), ["one-1", "two-1"]);
}

fn ctrl_c_stops_what_up_started_and_exits_130(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"echo ready; sleep 1000\"]}\n");
    let up = w.start(&["up"]);
    ready(&up);
    up.signal(Signal::SIGINT);
    up.finish().exits(130);
    assert_eq!(w.in_state("exited"), ["a-1"]);
}

fn a_second_ctrl_c_kills(w: &World) {
    if crate::support::is_oracle() {
        return;
    }
    w.compose(
        r#"
services:
  a:
    image: ${IMAGE}
    stop_signal: SIGTERM
    stop_grace_period: 5m
    command: ["sh", "-c", "trap 'echo stubborn' TERM; echo ready; while :; do sleep 0.1; done"]
"#,
    );
    let up = w.start(&["up"]);
    ready(&up);
    up.signal(Signal::SIGINT);
    up.wait_for("stubborn");
    up.signal(Signal::SIGINT);
    up.finish().exits(130);
    w.wait_state("a", "exited");
    assert_eq!(w.inspect("a")["State"]["ExitCode"], 137);
}

fn sigterm_stops_gracefully_too(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"echo ready; sleep 1000\"]}\n");
    let up = w.start(&["up"]);
    ready(&up);
    up.signal(Signal::SIGTERM);
    up.finish().exits(130);
    assert_eq!(w.in_state("exited"), ["a-1"]);
}

fn the_last_words_after_ctrl_c_are_shown(w: &World) {
    w.compose(
        r#"
services:
  a:
    image: ${IMAGE}
    stop_signal: SIGTERM
    command: ["sh", "-c", "trap 'echo last words; exit 0' TERM; echo ready; while :; do sleep 0.05; done"]
"#,
    );
    let up = w.start(&["up"]);
    ready(&up);
    up.signal(Signal::SIGINT);
    let output = up.finish().exits(130);
    assert!(
        crate::support::is_oracle() || output.stdout.contains("last words"),
        "{output}"
    );
}

fn ctrl_c_of_a_service_leaves_its_dependency(w: &World) {
    w.compose("services:\n  db: {image: \"${IMAGE}\", command: sleep 1000}\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"echo ready; sleep 1000\"], depends_on: [db]}\n");
    let up = w.start(&["up", "a"]);
    ready(&up);
    up.signal(Signal::SIGINT);
    up.finish().exits(130);
    assert_eq!(w.running(), ["db-1"]);
}

fn abort_on_container_exit_gives_its_code(w: &World) {
    w.compose("services:\n  quick: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"sleep 0.3; exit 3\"]}\n  slow: {image: \"${IMAGE}\", command: sleep 1000}\n");
    w.hoist(&["up", "--abort-on-container-exit"]).exits(3);
    assert_eq!(w.in_state("exited"), ["quick-1", "slow-1"]);
}

fn abort_on_container_failure_ignores_success(w: &World) {
    w.compose(
        r#"
services:
  fine: {image: "${IMAGE}", command: "true"}
  bad: {image: "${IMAGE}", command: ["sh", "-c", "sleep 0.6; exit 4"]}
  slow: {image: "${IMAGE}", command: sleep 1000}
"#,
    );
    w.hoist(&["up", "--abort-on-container-failure"]).exits(4);
    assert_eq!(w.in_state("exited"), ["bad-1", "fine-1", "slow-1"]);
}

fn exit_code_from_a_service_is_its_own(w: &World) {
    w.compose(
        r#"
services:
  test: {image: "${IMAGE}", command: ["sh", "-c", "sleep 0.4; exit 11"]}
  db: {image: "${IMAGE}", command: sleep 1000}
"#,
    );
    w.hoist(&["up", "--exit-code-from", "test"]).exits(11);
    assert_eq!(w.in_state("exited"), ["db-1", "test-1"]);
}

fn exit_code_from_an_unknown_service_is_an_error(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: \"true\"}\n");
    w.hoist(&["up", "--exit-code-from", "nosuch"])
        .exits(1)
        .says("nosuch");
}

fn attach_names_whose_logs_are_shown(w: &World) {
    w.compose("services:\n  loud: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"echo loud; sleep 0.5\"]}\n  other: {image: \"${IMAGE}\", command: echo hidden}\n");
    let output = w.hoist(&["up", "--attach", "loud"]).success();
    assert!(output.stdout.contains("| loud"), "{output}");
    assert!(!output.stdout.contains("hidden"), "{output}");
    let output = w.hoist(&["up", "--no-attach", "other"]).success();
    assert!(!output.stdout.contains("hidden"), "{output}");
}

fn a_service_can_refuse_to_be_attached(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: echo seen}\n  b: {image: \"${IMAGE}\", command: echo unseen, attach: false}\n");
    let output = w.hoist(&["up"]).success();
    assert!(
        output.stdout.contains("seen") && !output.stdout.contains("unseen"),
        "{output}"
    );
}

fn up_in_front_follows_a_restarting_service(w: &World) {
    w.compose(
        r#"
services:
  a:
    image: ${IMAGE}
    restart: on-failure
    command: ["sh", "-c", "if [ -e /tmp/mark ]; then echo second; exit 0; fi; touch /tmp/mark; echo first; exit 1"]
"#,
    );
    let output = w.hoist(&["up"]).success();
    assert!(
        output.stdout.contains("| first") && output.stdout.contains("| second"),
        "{output}"
    );
}

fn nothing_of_the_first_line_is_lost(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"for i in $$(seq 2000); do echo line $$i; done\"]}\n");
    let output = w.hoist(&["up", "--no-log-prefix"]).success();
    let lines = output
        .stdout
        .lines()
        .filter(|line| line.contains("line "))
        .count();
    assert_eq!(lines, 2000);
}

fn no_log_prefix_shows_bare_lines(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: echo bare}\n");
    let output = w.hoist(&["up", "--no-log-prefix", "--no-color"]).success();
    assert!(output.stdout.lines().any(|line| line == "bare"), "{output}");
}

fn conflicting_flags_are_refused(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: \"true\"}\n");
    for flags in [
        &["-d", "--abort-on-container-exit"][..],
        &["-d", "--attach", "a"],
        &["--abort-on-container-exit", "--abort-on-container-failure"],
        &["--build", "--no-build"],
        &["-d", "--watch"],
        &["--always-recreate-deps", "--no-recreate"],
    ] {
        let mut args = vec!["up"];
        args.extend(flags);
        w.hoist(&args).exits(1);
    }
    w.nothing_left();
}

fn a_killed_up_leaves_services_running_and_the_next_goes_on(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"echo ready; sleep 1000\"]}\n");
    let up = w.start(&["up"]);
    ready(&up);
    up.signal(Signal::SIGKILL);
    up.finish().exits(137);
    eventually("it runs on", || (w.state("a") == "running").then_some(()));
    let id = w.id("a");
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.id("a"), id);
}

both_engines!(
    logs_of_all_services_are_interleaved,
    ctrl_c_stops_what_up_started_and_exits_130,
    a_second_ctrl_c_kills,
    sigterm_stops_gracefully_too,
    the_last_words_after_ctrl_c_are_shown,
    ctrl_c_of_a_service_leaves_its_dependency,
    abort_on_container_exit_gives_its_code,
    abort_on_container_failure_ignores_success,
    exit_code_from_a_service_is_its_own,
    exit_code_from_an_unknown_service_is_an_error,
    attach_names_whose_logs_are_shown,
    a_service_can_refuse_to_be_attached,
    up_in_front_follows_a_restarting_service,
    nothing_of_the_first_line_is_lost,
    no_log_prefix_shows_bare_lines,
    conflicting_flags_are_refused,
    a_killed_up_leaves_services_running_and_the_next_goes_on,
);
