//! Who waits for whom, and what happens when the one waited for fails.

use crate::support::{World, both_engines, eventually};

const HEALTHY: &str = r#"
services:
  db:
    image: ${IMAGE}
    command: ["sh", "-c", "sleep 0.5; touch /tmp/ready; sleep 1000"]
    healthcheck: {test: ["CMD", "test", "-e", "/tmp/ready"], interval: 1s, retries: 10}
  web:
    image: ${IMAGE}
    command: sleep 1000
    depends_on:
      db: {condition: service_healthy}
"#;

fn a_dependent_starts_after_its_dependency_is_healthy(w: &World) {
    w.compose(HEALTHY);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.inspect("db")["State"]["Health"]["Status"], "healthy");
    let started = |name: &str| {
        w.inspect(name)["State"]["StartedAt"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(started("web") > started("db"));
    assert_eq!(w.running(), ["db-1", "web-1"]);
}

fn start_waits_for_the_condition_too(w: &World) {
    w.compose(HEALTHY);
    w.hoist(&["create"]).success();
    w.hoist(&["start", "web"]).success();
    assert_eq!(w.inspect("db")["State"]["Health"]["Status"], "healthy");
    assert_eq!(w.running(), ["db-1", "web-1"]);
}

fn an_unhealthy_dependency_fails_up_and_the_dependent_never_starts(w: &World) {
    w.compose(
        r#"
services:
  db:
    image: ${IMAGE}
    command: sleep 1000
    healthcheck: {test: ["CMD", "false"], interval: 100ms, retries: 2, timeout: 5s}
  web:
    image: ${IMAGE}
    command: sleep 1000
    depends_on:
      db: {condition: service_healthy}
"#,
    );
    w.hoist(&["up", "-d"]).exits(1).says("unhealthy");
    assert_eq!(w.state("db"), "running");
    assert_ne!(w.state("web"), "running");
}

fn a_dependency_that_exits_fails_up_at_once(w: &World) {
    w.compose(
        r#"
services:
  db:
    image: ${IMAGE}
    command: ["sh", "-c", "sleep 0.2; exit 5"]
    healthcheck: {test: ["CMD", "false"], interval: 30s, retries: 10}
  web:
    image: ${IMAGE}
    command: sleep 1000
    depends_on:
      db: {condition: service_healthy}
"#,
    );
    w.hoist(&["up", "-d"]).exits(1).says("exited (5)");
    assert_ne!(w.state("web"), "running");
}

fn a_dependency_without_healthcheck_cannot_be_healthy(w: &World) {
    w.compose(
        r#"
services:
  db: {image: "${IMAGE}", command: sleep 1000}
  web:
    image: ${IMAGE}
    command: sleep 1000
    depends_on:
      db: {condition: service_healthy}
"#,
    );
    w.hoist(&["up", "-d"]).exits(1).says("healthcheck");
    assert!(
        w.try_inspect("web")
            .is_none_or(|web| web["State"]["Status"] != "running")
    );
}

fn a_completed_dependency_lets_the_dependent_start(w: &World) {
    w.compose(
        r#"
services:
  init: {image: "${IMAGE}", command: ["sh", "-c", "sleep 0.3; echo done > /out/mark"], volumes: ["shared:/out"]}
  web:
    image: ${IMAGE}
    command: ["sh", "-c", "cat /in/mark; sleep 1000"]
    volumes: ["shared:/in"]
    depends_on:
      init: {condition: service_completed_successfully}
volumes: {shared: {}}
"#,
    );
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.state("init"), "exited");
    eventually("web sees the work of init", || {
        w.logged("web").contains("done").then_some(())
    });
}

fn a_failed_one_shot_stops_the_dependent(w: &World) {
    w.compose(
        r#"
services:
  init: {image: "${IMAGE}", command: ["sh", "-c", "exit 6"]}
  web:
    image: ${IMAGE}
    command: sleep 1000
    depends_on:
      init: {condition: service_completed_successfully}
"#,
    );
    w.hoist(&["up", "-d"])
        .exits(1)
        .says("didn't complete successfully: exit 6");
    assert_ne!(w.state("web"), "running");
}

fn an_optional_dependency_may_fail(w: &World) {
    w.compose(
        r#"
services:
  init: {image: "${IMAGE}", command: ["sh", "-c", "exit 6"]}
  web:
    image: ${IMAGE}
    command: sleep 1000
    depends_on:
      init: {condition: service_completed_successfully, required: false}
"#,
    );
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.running(), ["web-1"]);
}

fn an_optional_dependency_of_an_inactive_profile_is_left_out(w: &World) {
    w.compose(
        r#"
services:
  extra: {image: "${IMAGE}", command: sleep 1000, profiles: [extra]}
  web:
    image: ${IMAGE}
    command: sleep 1000
    depends_on:
      extra: {condition: service_started, required: false}
"#,
    );
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.running(), ["web-1"]);
}

fn a_required_dependency_of_an_inactive_profile_is_an_error(w: &World) {
    w.compose("services:\n  extra: {image: \"${IMAGE}\", profiles: [extra]}\n  web: {image: \"${IMAGE}\", depends_on: [extra]}\n");
    w.hoist(&["up", "-d"]).exits(1).says("extra");
    w.nothing_left();
}

fn dependencies_come_along(w: &World) {
    w.compose(
        r#"
services:
  a: {image: "${IMAGE}", command: sleep 1000}
  b: {image: "${IMAGE}", command: sleep 1000, depends_on: [a]}
  c: {image: "${IMAGE}", command: sleep 1000, depends_on: [b]}
  other: {image: "${IMAGE}", command: sleep 1000}
"#,
    );
    w.hoist(&["up", "-d", "c"]).success();
    assert_eq!(w.running(), ["a-1", "b-1", "c-1"]);
    let started = |name: &str| {
        w.inspect(name)["State"]["StartedAt"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(started("a") < started("b") && started("b") < started("c"));
}

fn down_goes_in_reverse_order(w: &World) {
    w.compose(
        r#"
services:
  db:
    image: ${IMAGE}
    stop_signal: SIGTERM
    command: ["sh", "-c", "trap 'echo db >> /out/order; exit' TERM; while :; do sleep 0.05; done"]
    volumes: ["./out:/out"]
  web:
    image: ${IMAGE}
    stop_signal: SIGTERM
    command: ["sh", "-c", "trap 'sleep 0.3; echo web >> /out/order; exit' TERM; touch /out/ready; while :; do sleep 0.05; done"]
    volumes: ["./out:/out"]
    depends_on: [db]
"#,
    );
    w.hoist(&["up", "-d"]).success();
    eventually("web is ready", || {
        w.folder.join("out/ready").exists().then_some(())
    });
    w.hoist(&["down"]).success();
    assert_eq!(
        std::fs::read_to_string(w.folder.join("out/order")).unwrap(),
        "web\ndb\n"
    );
}

fn a_cycle_is_refused_with_its_path(w: &World) {
    w.compose("services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [c]}\n  c: {image: x, depends_on: [a]}\n");
    let output = w.hoist(&["up", "-d"]).exits(1).says("cycle");
    for name in ["a", "b", "c"] {
        assert!(output.stderr.contains(name), "{output}");
    }
}

fn an_undefined_dependency_is_refused(w: &World) {
    w.compose("services:\n  a: {image: x, depends_on: [nosuch]}\n");
    w.hoist(&["config", "-q"]).exits(1).says("nosuch");
}

fn up_wait_returns_when_all_is_healthy(w: &World) {
    w.compose(
        r#"
services:
  db:
    image: ${IMAGE}
    command: ["sh", "-c", "sleep 0.5; touch /tmp/ready; sleep 1000"]
    healthcheck: {test: "test -e /tmp/ready", interval: 200ms, retries: 50}
  web: {image: "${IMAGE}", command: sleep 1000}
"#,
    );
    w.hoist(&["up", "--wait"]).success();
    assert_eq!(w.inspect("db")["State"]["Health"]["Status"], "healthy");
    assert_eq!(w.running(), ["db-1", "web-1"]);
}

fn up_wait_fails_when_a_service_dies(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"sleep 0.3; exit 8\"], healthcheck: {test: \"false\", interval: 30s}}\n");
    w.hoist(&["up", "--wait"]).exits(1).says("exited (8)");
}

fn up_wait_has_a_timeout(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, healthcheck: {test: \"false\", interval: 30s, start_period: 60s}}\n");
    w.hoist(&["up", "--wait", "--wait-timeout", "1"]).exits(1);
}

fn a_disabled_healthcheck_is_none(w: &World) {
    let image = w.image_named(
        "health",
        &serde_json::json!({"Healthcheck": {"Test": ["CMD", "false"], "Interval": 100_000_000}}),
    );
    w.compose(&format!("services:\n  a: {{image: \"{image}\", command: sleep 1000, healthcheck: {{disable: true}}}}\n"));
    w.hoist(&["up", "-d"]).success();
    assert!(w.inspect("a")["State"]["Health"].is_null());
    if !crate::support::is_oracle() {
        w.hoist(&["up", "--wait"]).success();
    }
}

fn a_healthcheck_of_the_image_is_kept(w: &World) {
    let image = w.image_named("health", &serde_json::json!({"Healthcheck": {"Test": ["CMD-SHELL", "test -e /tmp/ready"], "Interval": 100_000_000}}));
    w.compose(&format!("services:\n  a: {{image: \"{image}\", command: [\"sh\", \"-c\", \"touch /tmp/ready; sleep 1000\"]}}\n"));
    w.hoist(&["up", "--wait"]).success();
    assert_eq!(w.inspect("a")["State"]["Health"]["Status"], "healthy");
}

fn a_service_falls_ill_and_recovers(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, healthcheck: {test: \"test ! -e /tmp/ill\", interval: 200ms, retries: 2}}\n");
    w.hoist(&["up", "--wait"]).success();
    let health =
        |status: &str| (w.inspect("a")["State"]["Health"]["Status"] == status).then_some(());
    w.exec("a", &["touch", "/tmp/ill"]);
    eventually("it is unhealthy", || health("unhealthy"));
    w.exec("a", &["rm", "/tmp/ill"]);
    eventually("it is healthy again", || health("healthy"));
    assert_eq!(
        w.inspect("a")["RestartCount"],
        0,
        "an unhealthy container is not restarted"
    );
}

both_engines!(
    a_dependent_starts_after_its_dependency_is_healthy,
    start_waits_for_the_condition_too,
    an_unhealthy_dependency_fails_up_and_the_dependent_never_starts,
    a_dependency_that_exits_fails_up_at_once,
    a_dependency_without_healthcheck_cannot_be_healthy,
    a_completed_dependency_lets_the_dependent_start,
    a_failed_one_shot_stops_the_dependent,
    an_optional_dependency_may_fail,
    an_optional_dependency_of_an_inactive_profile_is_left_out,
    a_required_dependency_of_an_inactive_profile_is_an_error,
    dependencies_come_along,
    down_goes_in_reverse_order,
    a_cycle_is_refused_with_its_path,
    an_undefined_dependency_is_refused,
    up_wait_returns_when_all_is_healthy,
    up_wait_fails_when_a_service_dies,
    up_wait_has_a_timeout,
    a_disabled_healthcheck_is_none,
    a_healthcheck_of_the_image_is_kept,
    a_service_falls_ill_and_recovers,
);
