//! Lifecycle hooks: post_start and pre_stop in the container.

use crate::support::{World, both_engines};

fn post_start_runs_in_the_container(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, environment: {E: env}, post_start: [{command: [sh, -c, \"echo $$E $$X > /tmp/hook\"], environment: [X=own]}]}\n");
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/tmp/hook"]), "env own");
}

fn a_failing_post_start_fails_up(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, post_start: [{command: [sh, -c, \"exit 12\"]}]}\n");
    w.hoist(&["up", "-d"]).exits(1).says("12");
}

fn pre_stop_runs_before_the_signal(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, volumes: [\"./out:/out\"], pre_stop: [{command: [sh, -c, \"echo stopping > /out/mark\"]}]}\n");
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["stop"]).success();
    assert_eq!(
        std::fs::read_to_string(w.folder.join("out/mark")).unwrap(),
        "stopping\n"
    );
    w.hoist(&["start"]).success();
    std::fs::remove_file(w.folder.join("out/mark")).unwrap();
    w.hoist(&["down"]).success();
    assert!(w.folder.join("out/mark").exists(), "down runs it too");
}

fn a_hook_has_its_user(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, post_start: [{command: [sh, -c, \"id -un > /tmp/who\"], user: app, working_dir: /tmp}]}\n");
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/tmp/who"]), "app");
}

both_engines!(
    post_start_runs_in_the_container,
    a_failing_post_start_fails_up,
    pre_stop_runs_before_the_signal,
    a_hook_has_its_user,
);
