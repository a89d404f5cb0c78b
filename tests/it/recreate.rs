//! When a container is made anew and when it is kept: the trust in `up`.

use crate::support::{World, both_engines};

const ONE: &str = "services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n";

/// Writes the first file, brings it up, writes the second, brings it up; tells whether `a` is another container.
fn recreated(w: &World, first: &str, second: &str) -> bool {
    w.compose(first);
    w.hoist(&["up", "-d"]).success();
    let before = w.id("a");
    w.compose(second);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.state("a"), "running");
    let ours = w
        .names()
        .into_iter()
        .filter(|name| name.contains("-a-"))
        .count();
    assert_eq!(ours, 1, "the old one is gone: {:?}", w.names());
    w.id("a") != before
}

fn service(line: &str) -> String {
    format!("services:\n  a:\n    image: ${{IMAGE}}\n    command: sleep 1000\n    {line}\n")
}

fn a_changed_environment_recreates(w: &World) {
    assert!(recreated(
        w,
        &service("environment: {A: 1}"),
        &service("environment: {A: 2}")
    ));
    assert_eq!(w.exec("a", &["sh", "-c", "echo $A"]), "2");
}

fn a_changed_command_recreates(w: &World) {
    assert!(recreated(w, ONE, &ONE.replace("1000", "1001")));
}

fn a_changed_port_recreates(w: &World) {
    assert!(recreated(
        w,
        &service("expose: [80]"),
        &service("expose: [81]")
    ));
}

fn a_changed_volume_recreates(w: &World) {
    let with = |target: &str| {
        format!(
            "{}volumes: {{vol: {{}}}}\n",
            service(&format!("volumes: [\"vol:{target}\"]"))
        )
    };
    assert!(recreated(w, &with("/one"), &with("/two")));
}

fn a_changed_env_file_recreates(w: &World) {
    w.file("a.env", "A=1\n");
    w.compose(&service("env_file: a.env"));
    w.hoist(&["up", "-d"]).success();
    let before = w.id("a");
    w.file("a.env", "A=2\n");
    w.hoist(&["up", "-d"]).success();
    assert_ne!(w.id("a"), before);
}

fn a_changed_comment_or_order_keeps(w: &World) {
    let first = service("environment: {A: 1, B: 2}");
    let second = format!(
        "# a comment\n{}",
        service("environment: [\"B=2\", \"A=1\"]")
    );
    assert!(!recreated(w, &first, &second));
}

fn a_changed_dependency_scale_or_profile_keeps(w: &World) {
    let first = "services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n  b: {image: \"${IMAGE}\", command: sleep 1000}\n";
    let second = "services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, depends_on: [b], scale: 1}\n  b: {image: \"${IMAGE}\", command: sleep 1000}\n";
    assert!(!recreated(w, first, second));
}

fn force_recreate_makes_all_anew(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    let before = w.id("a");
    w.hoist(&["up", "-d", "--force-recreate"]).success();
    assert_ne!(w.id("a"), before);
    assert_eq!(
        w.names(),
        [format!("{}-a-1", w.project)],
        "the name is the old one's"
    );
}

fn no_recreate_keeps_what_diverged(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    let before = w.id("a");
    w.compose(&service("environment: {A: 2}"));
    w.hoist(&["up", "-d", "--no-recreate"]).success();
    assert_eq!(w.id("a"), before);
}

fn force_and_no_recreate_exclude_each_other(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d", "--force-recreate", "--no-recreate"])
        .exits(1);
    w.nothing_left();
}

fn a_dependency_is_recreated_too_when_it_diverged(w: &World) {
    let file = |value: &str| {
        format!(
            "services:\n  a: {{image: \"${{IMAGE}}\", command: sleep 1000, environment: {{A: {value}}}}}\n  web: {{image: \"${{IMAGE}}\", command: sleep 1000, depends_on: [a]}}\n"
        )
    };
    w.compose(&file("1"));
    w.hoist(&["up", "-d"]).success();
    let before = (w.id("a"), w.id("web"));
    w.compose(&file("2"));
    w.hoist(&["up", "-d", "web"]).success();
    assert_ne!(w.id("a"), before.0);
    assert_eq!(w.id("web"), before.1);
}

fn no_deps_leaves_the_dependency_alone(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n  web: {image: \"${IMAGE}\", command: sleep 1000, depends_on: [a]}\n");
    w.hoist(&["up", "-d", "--no-deps", "web"]).success();
    assert_eq!(w.running(), ["web-1"]);
}

fn always_recreate_deps_takes_dependencies_along(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n  web: {image: \"${IMAGE}\", command: sleep 1000, depends_on: [a]}\n");
    w.hoist(&["up", "-d"]).success();
    let before = (w.id("a"), w.id("web"));
    w.hoist(&["up", "-d", "--force-recreate", "web"]).success();
    assert_eq!(w.id("a"), before.0);
    assert_ne!(w.id("web"), before.1);
    w.hoist(&[
        "up",
        "-d",
        "--force-recreate",
        "--always-recreate-deps",
        "web",
    ])
    .success();
    assert_ne!(w.id("a"), before.0);
}

fn a_recreated_dependency_restarts_its_restart_dependent(w: &World) {
    let file = |value: &str| {
        format!(
            r#"
services:
  a: {{image: "${{IMAGE}}", command: sleep 1000, environment: {{A: {value}}}}}
  web:
    image: ${{IMAGE}}
    command: sleep 1000
    depends_on:
      a: {{condition: service_started, restart: true}}
"#
        )
    };
    w.compose(&file("1"));
    w.hoist(&["up", "-d"]).success();
    let before = w.inspect("web");
    w.compose(&file("2"));
    w.hoist(&["up", "-d"]).success();
    let after = w.inspect("web");
    assert_eq!(before["Id"], after["Id"]);
    assert_ne!(before["State"]["StartedAt"], after["State"]["StartedAt"]);
    assert_eq!(w.running(), ["a-1", "web-1"]);
}

fn another_image_under_the_same_name_recreates(w: &World) {
    let name = w.image_named("app", &serde_json::json!({"Env": ["V=1"]}));
    w.compose(&format!("services:\n  a: {{image: \"{name}\", command: sleep 1000}}\n  b: {{image: \"${{IMAGE}}\", command: sleep 1000}}\n"));
    w.hoist(&["up", "-d"]).success();
    let (a, b) = (w.id("a"), w.id("b"));
    w.image_named("app", &serde_json::json!({"Env": ["V=2"]}));
    w.hoist(&["up", "-d"]).success();
    assert_ne!(w.id("a"), a);
    assert_eq!(w.id("b"), b);
}

fn anonymous_volumes_are_carried_over(w: &World) {
    w.compose(&service("volumes: [/keep]"));
    w.hoist(&["up", "-d"]).success();
    w.exec("a", &["sh", "-c", "echo kept > /keep/it"]);
    w.hoist(&["up", "-d", "--force-recreate"]).success();
    assert_eq!(w.exec("a", &["cat", "/keep/it"]), "kept");
    w.hoist(&["up", "-d", "--force-recreate", "-V"]).success();
    assert_eq!(w.exec("a", &["sh", "-c", "ls /keep | wc -l"]), "0");
}

fn a_changed_network_is_made_anew_and_containers_stay(w: &World) {
    let file = |label: &str| format!("{ONE}networks:\n  default: {{labels: {{l: \"{label}\"}}}}\n");
    w.compose(&file("1"));
    w.hoist(&["up", "-d"]).success();
    w.compose(&file("2"));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.network("default").unwrap()["Labels"]["l"], "2");
    assert_eq!(w.running(), ["a-1"]);
    let network = format!("{}_default", w.project);
    let connected = w.inspect("a")["NetworkSettings"]["Networks"][&network]["NetworkID"].clone();
    assert_eq!(connected, w.network("default").unwrap()["Id"]);
}

fn a_service_that_left_its_network_is_recreated_on_it(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    let network = format!("{}_default", w.project);
    w.api.post(
        &format!("/networks/{network}/disconnect"),
        &serde_json::json!({"Container": w.id("a"), "Force": true}),
    );
    w.hoist(&["up", "-d"]).success();
    assert!(!w.inspect("a")["NetworkSettings"]["Networks"][&network].is_null());
}

fn orphans_are_named_and_removed_on_request(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n  old: {image: \"${IMAGE}\", command: sleep 1000}\n");
    w.hoist(&["up", "-d"]).success();
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success().says("orphan");
    assert_eq!(w.running(), ["a-1", "old-1"]);
    w.hoist_with(&[("COMPOSE_IGNORE_ORPHANS", "1")], &["up", "-d"])
        .success()
        .never_says("orphan");
    w.hoist(&["up", "-d", "--remove-orphans"]).success();
    assert_eq!(w.names(), [format!("{}-a-1", w.project)]);
}

fn down_leaves_orphans_unless_asked(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n  old: {image: \"${IMAGE}\", command: sleep 1000}\n");
    w.hoist(&["up", "-d"]).success();
    w.compose(ONE);
    w.hoist(&["down"]).success();
    assert_eq!(w.running(), ["old-1"]);
    w.hoist(&["down", "--remove-orphans"]).success();
    w.nothing_left();
}

fn a_service_of_a_profile_is_no_orphan(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n  dbg: {image: \"${IMAGE}\", command: sleep 1000, profiles: [dbg]}\n");
    w.hoist(&["--profile", "dbg", "up", "-d"]).success();
    w.hoist(&["up", "-d", "--remove-orphans"])
        .success()
        .never_says("orphan containers");
    assert_eq!(w.running(), ["a-1", "dbg-1"]);
}

fn scale_makes_and_removes_replicas(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n  b: {image: \"${IMAGE}\", command: sleep 1000}\n");
    w.hoist(&["up", "-d", "--scale", "a=3"]).success();
    assert_eq!(w.running(), ["a-1", "a-2", "a-3", "b-1"]);
    let first = w.id("a-1");
    w.hoist(&["scale", "a=1"]).success();
    assert_eq!(w.running(), ["a-1", "b-1"]);
    assert_eq!(w.id("a"), first, "the lowest number is kept");
    w.hoist(&["scale", "a=2", "b=0"]).success();
    assert_eq!(w.running(), ["a-1", "a-2"]);
}

fn replicas_of_the_file_are_kept_by_up(w: &World) {
    w.compose(
        "services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, deploy: {replicas: 2}}\n",
    );
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.running(), ["a-1", "a-2"]);
    w.hoist(&["up", "-d", "--scale", "a=3"]).success();
    assert_eq!(w.running().len(), 3);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.running().len(), 2, "up follows the file");
}

fn zero_replicas_are_none(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, deploy: {replicas: 0}}\n  b: {image: \"${IMAGE}\", command: sleep 1000}\n");
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.running(), ["b-1"]);
}

fn a_container_name_cannot_be_scaled(w: &World) {
    w.compose(&service(&format!("container_name: only-{}", w.project)));
    w.hoist(&["up", "-d", "--scale", "a=2"]).exits(1);
    assert!(w.names().is_empty());
}

fn a_changed_replica_set_is_recreated_whole(w: &World) {
    let file = |value: &str| {
        format!(
            "services:\n  a: {{image: \"${{IMAGE}}\", command: sleep 1000, scale: 3, environment: {{A: {value}}}}}\n"
        )
    };
    w.compose(&file("1"));
    w.hoist(&["up", "-d"]).success();
    let before = [w.id("a-1"), w.id("a-2"), w.id("a-3")];
    w.compose(&file("2"));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.running(), ["a-1", "a-2", "a-3"]);
    for (name, old) in ["a-1", "a-2", "a-3"].iter().zip(before) {
        assert_ne!(w.id(name), old);
        assert_eq!(w.exec_in(name, &["sh", "-c", "echo $A"]), "2");
    }
}

fn dry_run_changes_nothing(w: &World) {
    w.compose(ONE);
    w.hoist(&["--dry-run", "up", "-d"]).success();
    w.nothing_left();
    w.hoist(&["up", "-d"]).success();
    let id = w.id("a");
    w.compose(&ONE.replace("1000", "1001"));
    w.hoist(&["--dry-run", "up", "-d"]).success();
    w.hoist(&["--dry-run", "down", "-v"]).success();
    assert_eq!((w.id("a"), w.state("a")), (id, "running".to_owned()));
}

both_engines!(
    a_changed_environment_recreates,
    a_changed_command_recreates,
    a_changed_port_recreates,
    a_changed_volume_recreates,
    a_changed_env_file_recreates,
    a_changed_comment_or_order_keeps,
    a_changed_dependency_scale_or_profile_keeps,
    force_recreate_makes_all_anew,
    no_recreate_keeps_what_diverged,
    force_and_no_recreate_exclude_each_other,
    a_dependency_is_recreated_too_when_it_diverged,
    no_deps_leaves_the_dependency_alone,
    always_recreate_deps_takes_dependencies_along,
    a_recreated_dependency_restarts_its_restart_dependent,
    another_image_under_the_same_name_recreates,
    anonymous_volumes_are_carried_over,
    a_changed_network_is_made_anew_and_containers_stay,
    a_service_that_left_its_network_is_recreated_on_it,
    orphans_are_named_and_removed_on_request,
    down_leaves_orphans_unless_asked,
    a_service_of_a_profile_is_no_orphan,
    scale_makes_and_removes_replicas,
    replicas_of_the_file_are_kept_by_up,
    zero_replicas_are_none,
    a_container_name_cannot_be_scaled,
    a_changed_replica_set_is_recreated_whole,
    dry_run_changes_nothing,
);
