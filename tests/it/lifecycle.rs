//! A project's life: up, ps, create, start, stop, restart, kill, pause, rm, down; state first, words second.

use crate::support::{World, both_engines, eventually};

const TWO: &str = r#"
services:
  a:
    image: ${IMAGE}
    command: sleep 1000
  b:
    image: ${IMAGE}
    command: sleep 1000
"#;

fn up_creates_and_starts_each_service(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.running(), ["a-1", "b-1"]);
    assert!(w.network("default").is_some());
    w.hoist(&["down"]).success();
    w.nothing_left();
}

fn up_of_one_service_leaves_the_other(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d", "b"]).success();
    assert_eq!(w.running(), ["b-1"]);
}

fn up_again_changes_nothing(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    let before = (
        w.inspect("a")["Id"].clone(),
        w.inspect("a")["State"]["StartedAt"].clone(),
    );
    w.hoist(&["up", "-d"]).success();
    assert_eq!(
        before,
        (
            w.inspect("a")["Id"].clone(),
            w.inspect("a")["State"]["StartedAt"].clone()
        )
    );
}

fn up_starts_again_what_was_stopped(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    let id = w.id("a");
    w.hoist(&["stop", "a"]).success();
    assert_eq!(w.state("a"), "exited");
    w.hoist(&["up", "-d"]).success();
    assert_eq!((w.state("a").as_str(), w.id("a")), ("running", id));
}

fn up_brings_back_what_was_removed(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    let (a, b) = (w.id("a"), w.id("b"));
    w.api.delete(&format!("/containers/{a}?force=1"));
    w.hoist(&["up", "-d"]).success();
    assert_ne!(w.id("a"), a);
    assert_eq!(w.id("b"), b);
    assert_eq!(w.running(), ["a-1", "b-1"]);
}

fn create_starts_nothing(w: &World) {
    w.compose(TWO);
    w.hoist(&["create"]).success();
    assert_eq!(w.in_state("created"), ["a-1", "b-1"]);
    w.hoist(&["start"]).success();
    assert_eq!(w.running(), ["a-1", "b-1"]);
}

fn up_no_start_only_creates(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "--no-start"]).success();
    assert_eq!(w.in_state("created"), ["a-1", "b-1"]);
}

fn stop_keeps_and_start_revives(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    let id = w.id("a");
    w.hoist(&["stop"]).success();
    assert_eq!(w.in_state("exited"), ["a-1", "b-1"]);
    w.hoist(&["start", "a"]).success();
    assert_eq!(w.running(), ["a-1"]);
    assert_eq!(w.id("a"), id);
}

fn start_of_a_running_service_is_silent_success(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["start"]).success();
    assert_eq!(w.running(), ["a-1", "b-1"]);
}

fn start_without_containers_fails(w: &World) {
    w.compose(TWO);
    w.hoist(&["start", "a"])
        .exits(1)
        .says("has no container to start");
}

fn restart_keeps_the_container_and_gives_a_new_process(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    let before = w.inspect("a");
    let other = w.inspect("b");
    w.hoist(&["restart", "a"]).success();
    let after = w.inspect("a");
    assert_eq!(before["Id"], after["Id"]);
    assert_ne!(before["State"]["StartedAt"], after["State"]["StartedAt"]);
    assert_eq!(
        other["State"]["StartedAt"],
        w.inspect("b")["State"]["StartedAt"]
    );
}

fn restart_starts_what_was_stopped(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["stop", "a"]).success();
    w.hoist(&["restart"]).success();
    assert_eq!(w.running(), ["a-1", "b-1"]);
}

fn restart_of_one_service_restarts_its_restart_dependents_only(w: &World) {
    w.compose(
        r#"
services:
  db: {image: "${IMAGE}", command: sleep 1000}
  api:
    image: ${IMAGE}
    command: sleep 1000
    depends_on:
      db: {condition: service_started, restart: true}
  web:
    image: ${IMAGE}
    command: sleep 1000
    depends_on: [db]
"#,
    );
    w.hoist(&["up", "-d"]).success();
    let started = |name: &str| w.inspect(name)["State"]["StartedAt"].clone();
    let (api, web) = (started("api"), started("web"));
    w.hoist(&["restart", "db"]).success();
    assert_ne!(started("api"), api, "api depends on db with restart: true");
    assert_eq!(started("web"), web, "web does not");
    let api = started("api");
    w.hoist(&["restart", "--no-deps", "db"]).success();
    assert_eq!(started("api"), api, "--no-deps restarts only db");
}

fn kill_ends_at_once_with_the_signal(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["kill", "a"]).success();
    w.wait_state("a", "exited");
    assert_eq!(w.inspect("a")["State"]["ExitCode"], 137);
    assert_eq!(w.running(), ["b-1"]);
}

fn kill_sends_the_signal_that_is_asked_for(w: &World) {
    w.compose(
        r#"
services:
  a:
    image: ${IMAGE}
    command: ["sh", "-c", "trap 'echo got usr1' USR1; echo ready; while :; do sleep 0.1; done"]
"#,
    );
    w.hoist(&["up", "-d"]).success();
    eventually("the trap is set", || {
        w.logged("a").contains("ready").then_some(())
    });
    w.hoist(&["kill", "-s", "SIGUSR1"]).success();
    eventually("the signal is seen", || {
        w.logged("a").contains("got usr1").then_some(())
    });
    assert_eq!(w.state("a"), "running");
}

fn kill_of_nothing_succeeds(w: &World) {
    w.compose(TWO);
    w.hoist(&["kill"]).success();
}

fn pause_freezes_and_unpause_goes_on(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["pause", "a"]).success();
    assert_eq!(w.state("a"), "paused");
    assert_eq!(w.state("b"), "running");
    w.hoist(&["ps", "--status", "paused", "-q"])
        .success()
        .prints(&w.id("a"));
    w.hoist(&["unpause", "a"]).success();
    assert_eq!(w.state("a"), "running");
}

fn pause_twice_is_an_error(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["pause", "a"]).success();
    w.hoist(&["pause", "a"]).exits(1);
    w.hoist(&["unpause", "a"]).success();
}

fn a_paused_project_can_be_taken_down(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["pause"]).success();
    w.hoist(&["down", "-t", "0"]).success();
    w.nothing_left();
}

fn rm_removes_only_what_is_stopped(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["stop", "a"]).success();
    w.hoist(&["rm", "-f"]).success();
    assert_eq!(w.running(), ["b-1"]);
    assert_eq!(w.names().len(), 1);
}

fn rm_stop_stops_first(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["rm", "-fs", "a"]).success();
    assert_eq!(w.names().len(), 1);
}

fn rm_asks_and_takes_no_for_an_answer(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["stop"]).success();
    w.hoist_fed("n\n", &["rm"]);
    assert_eq!(w.names().len(), 2);
    w.hoist_fed("y\n", &["rm"]).success();
    assert!(w.names().is_empty());
}

fn rm_with_nothing_stopped_says_so(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["rm", "-f"])
        .success()
        .says("No stopped containers");
    assert_eq!(w.running().len(), 2);
}

fn down_is_safe_to_repeat(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["down"]).success();
    w.hoist(&["down"]).success();
    w.hoist(&["down", "-v", "--remove-orphans"]).success();
    w.nothing_left();
}

fn down_of_one_service_keeps_the_others(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["down", "a"]).success();
    assert_eq!(w.running(), ["b-1"]);
}

fn down_works_by_name_without_the_file(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    std::fs::remove_file(w.folder.join("compose.yaml")).unwrap();
    w.hoist(&["down"]).exits(1);
    w.hoist(&["-p", &w.project, "stop"]).success();
    assert_eq!(w.in_state("exited"), ["a-1", "b-1"]);
    w.hoist(&["-p", &w.project, "down"]).success();
    w.nothing_left();
}

fn a_project_can_be_run_from_elsewhere_by_name(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    let elsewhere = w.temp().to_path_buf();
    let name = w.project.as_str();
    w.hoist_in(&elsewhere, &["-p", name, "ps", "-q"]).success();
    w.hoist_in(&elsewhere, &["-p", name, "exec", "-T", "a", "echo", "hi"])
        .success()
        .prints("hi");
    w.hoist_in(&elsewhere, &["-p", name, "restart", "a"])
        .success();
    w.hoist_in(&elsewhere, &["-p", name, "logs"]).success();
    w.hoist_in(&elsewhere, &["-p", name, "down"]).success();
    w.nothing_left();
}

fn an_unknown_service_is_refused_before_anything_happens(w: &World) {
    w.compose(TWO);
    for verb in [
        &["up", "-d"][..],
        &["create"],
        &["stop"],
        &["restart"],
        &["kill"],
        &["pause"],
    ] {
        let mut args = verb.to_vec();
        args.push("nosuch");
        w.hoist(&args).exits(1).says("nosuch");
    }
    w.nothing_left();
}

fn containers_carry_composes_labels(w: &World) {
    w.compose(TWO);
    w.hoist(&["up", "-d"]).success();
    let label = |key: &str| w.label("a", &format!("com.docker.compose.{key}"));
    assert_eq!(label("project"), w.project);
    assert_eq!(label("service"), "a");
    assert_eq!(label("container-number"), "1");
    assert_eq!(label("oneoff"), "False");
    assert_eq!(label("project.working_dir"), w.folder.to_string_lossy());
    assert_eq!(
        label("project.config_files"),
        w.folder.join("compose.yaml").to_string_lossy()
    );
    assert_eq!(label("config-hash").len(), 64);
    let network = w.network("default").unwrap();
    assert_eq!(network["Labels"]["com.docker.compose.network"], "default");
    assert_eq!(
        network["Labels"]["com.docker.compose.project"],
        w.project.as_str()
    );
}

fn a_container_name_is_taken_as_it_is(w: &World) {
    let name = format!("own-{}", w.project);
    w.compose(&format!(
        "services:\n  a: {{image: \"${{IMAGE}}\", command: sleep 1000, container_name: {name}}}\n"
    ));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.names(), [name]);
}

fn a_stop_signal_is_sent_and_the_grace_is_kept(w: &World) {
    w.compose(
        r#"
services:
  a:
    image: ${IMAGE}
    stop_signal: SIGUSR2
    stop_grace_period: 30s
    command: ["sh", "-c", "trap 'echo bye; sleep 0.3; exit 3' USR2; echo ready; while :; do sleep 0.1; done"]
"#,
    );
    w.hoist(&["up", "-d"]).success();
    eventually("the trap is set", || {
        w.logged("a").contains("ready").then_some(())
    });
    w.hoist(&["stop"]).success();
    assert_eq!(
        w.inspect("a")["State"]["ExitCode"],
        3,
        "it ended by itself, in its grace"
    );
    assert!(w.logged("a").contains("bye"));
}

fn a_process_that_ignores_the_signal_is_killed_after_the_grace(w: &World) {
    w.compose(
        r#"
services:
  a:
    image: ${IMAGE}
    stop_signal: SIGTERM
    command: ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
"#,
    );
    w.hoist(&["up", "-d"]).success();
    eventually("the trap is set", || {
        w.logged("a").contains("ready").then_some(())
    });
    w.hoist(&["stop", "-t", "1"]).success();
    assert_eq!(w.inspect("a")["State"]["ExitCode"], 137);
}

fn a_service_that_fails_is_restarted_on_failure(w: &World) {
    w.compose(
        r#"
services:
  a:
    image: ${IMAGE}
    restart: on-failure
    command: ["sh", "-c", "if [ -e /tmp/mark ]; then echo second; sleep 1000; fi; touch /tmp/mark; echo first; exit 1"]
"#,
    );
    w.hoist(&["up", "-d"]).success();
    eventually("the second life", || {
        w.logged("a").contains("second").then_some(())
    });
    w.wait_state("a", "running");
    assert_eq!(w.inspect("a")["RestartCount"], 1);
}

fn restart_on_failure_has_an_end(w: &World) {
    w.compose(
        r#"
services:
  a: {image: "${IMAGE}", restart: "on-failure:2", command: ["sh", "-c", "echo life; exit 7"]}
"#,
    );
    w.hoist(&["up", "-d"]).success();
    let found = eventually("it gave up", || {
        w.try_inspect("a")
            .filter(|a| a["State"]["Status"] == "exited" && a["RestartCount"] == 2)
    });
    assert_eq!(found["State"]["ExitCode"], 7);
    assert_eq!(w.logged("a").matches("life").count(), 3);
}

fn restart_always_revives_what_ended_well(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", restart: always, command: [\"sh\", \"-c\", \"sleep 0.1\"]}\n");
    w.hoist(&["up", "-d"]).success();
    eventually("two restarts", || {
        (w.inspect("a")["RestartCount"].as_u64() >= Some(2)).then_some(())
    });
    w.hoist(&["stop"]).success();
    assert_eq!(
        w.state("a"),
        "exited",
        "a stop is the user's wish and stays"
    );
}

fn wait_gives_the_exit_code(w: &World) {
    w.compose(
        r#"
services:
  quick: {image: "${IMAGE}", command: ["sh", "-c", "sleep 0.5; exit 9"]}
  slow: {image: "${IMAGE}", command: sleep 1000}
"#,
    );
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["wait", "quick"]).exits(9);
    assert_eq!(w.state("slow"), "running");
}

fn wait_can_take_the_project_down(w: &World) {
    w.compose(
        r#"
services:
  quick: {image: "${IMAGE}", command: ["sh", "-c", "sleep 0.5; exit 4"]}
  slow: {image: "${IMAGE}", command: sleep 1000}
"#,
    );
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["wait", "--down-project", "quick"]).exits(4);
    assert!(w.names().is_empty());
}

both_engines!(
    up_creates_and_starts_each_service,
    up_of_one_service_leaves_the_other,
    up_again_changes_nothing,
    up_starts_again_what_was_stopped,
    up_brings_back_what_was_removed,
    create_starts_nothing,
    up_no_start_only_creates,
    stop_keeps_and_start_revives,
    start_of_a_running_service_is_silent_success,
    start_without_containers_fails,
    restart_keeps_the_container_and_gives_a_new_process,
    restart_starts_what_was_stopped,
    restart_of_one_service_restarts_its_restart_dependents_only,
    kill_ends_at_once_with_the_signal,
    kill_sends_the_signal_that_is_asked_for,
    kill_of_nothing_succeeds,
    pause_freezes_and_unpause_goes_on,
    pause_twice_is_an_error,
    a_paused_project_can_be_taken_down,
    rm_removes_only_what_is_stopped,
    rm_stop_stops_first,
    rm_asks_and_takes_no_for_an_answer,
    rm_with_nothing_stopped_says_so,
    down_is_safe_to_repeat,
    down_of_one_service_keeps_the_others,
    down_works_by_name_without_the_file,
    a_project_can_be_run_from_elsewhere_by_name,
    an_unknown_service_is_refused_before_anything_happens,
    containers_carry_composes_labels,
    a_container_name_is_taken_as_it_is,
    a_stop_signal_is_sent_and_the_grace_is_kept,
    a_process_that_ignores_the_signal_is_killed_after_the_grace,
    a_service_that_fails_is_restarted_on_failure,
    restart_on_failure_has_an_end,
    restart_always_revives_what_ended_well,
    wait_gives_the_exit_code,
    wait_can_take_the_project_down,
);
