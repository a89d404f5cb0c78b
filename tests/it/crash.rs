//! The engine dies, the client dies, two clients run at once: what was acknowledged stays, the next `up` converges,
//! and after `down -v` nothing is left.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{World, both_engines, bundled_engine, eventually, fetch, free_port, pause};

const STACK: &str = r#"
services:
  db:
    image: ${IMAGE}
    command: sleep 1000
    volumes: ["store:/store"]
    healthcheck: {test: "true", interval: 1s}
  cache: {image: "${IMAGE}", command: sleep 1000}
  web:
    image: ${IMAGE}
    command: ["sh", "-c", "mkdir -p /www; echo fine > /www/index.html; exec httpd -f -p 80 -h /www"]
    ports: ["PORT:80"]
    depends_on: {db: {condition: service_healthy}, cache: {condition: service_started}}
volumes: {store: {}}
"#;

const NAMES: [&str; 3] = ["cache-1", "db-1", "web-1"];

fn engine_pid(w: &World) -> Option<Pid> {
    let text = std::fs::read_to_string(w.temp().join("run/engine.pid")).ok()?;
    text.split_whitespace()
        .next()?
        .parse()
        .ok()
        .map(Pid::from_raw)
}

fn kill_engine(w: &World) {
    if let Some(pid) = engine_pid(w) {
        // Gone already is as good.
        let _gone = kill(pid, Signal::SIGKILL);
        eventually("the engine is dead", || {
            kill(pid, None).is_err().then_some(())
        });
    }
}

fn write_stack(w: &World) -> u16 {
    let port = free_port();
    w.compose(&STACK.replace("PORT", &port.to_string()));
    port
}

/// Kills the engine at a part of the time that `args` takes, then asks for the outcome again.
fn kill_at(w: &World, args: &[&str], after: Duration) {
    let command = w.start(args);
    pause(after);
    kill_engine(w);
    drop(command.finish());
}

fn the_engine_is_killed_at_twenty_moments_of_up(w: &World) {
    let port = write_stack(w);
    let began = Instant::now();
    w.hoist(&["up", "-d"]).success();
    let whole = began.elapsed();
    w.hoist(&["down", "-v", "-t", "0"]).success();
    for moment in 1..=20 {
        kill_at(w, &["up", "-d"], whole * moment / 20);
        let again = w.hoist(&["up", "-d"]);
        assert_eq!(again.code, 0, "moment {moment}: {again}");
        assert_eq!(w.running(), NAMES, "moment {moment}");
        assert_eq!(w.names().len(), 3, "moment {moment}: {:?}", w.names());
        assert_eq!(fetch(port, "/").trim(), "fine", "moment {moment}");
        w.hoist(&["down", "-v", "-t", "0"]).success();
        w.nothing_left();
    }
}

fn the_engine_is_killed_at_eight_moments_of_down(w: &World) {
    write_stack(w);
    w.hoist(&["up", "-d"]).success();
    let began = Instant::now();
    w.hoist(&["down", "-v", "-t", "0"]).success();
    let whole = began.elapsed();
    for moment in 1..=8 {
        w.hoist(&["up", "-d"]).success();
        kill_at(w, &["down", "-v", "-t", "0"], whole * moment / 8);
        w.hoist(&["down", "-v", "-t", "0"]).success();
        w.nothing_left();
    }
}

fn the_client_is_killed_at_eight_moments_of_up(w: &World) {
    write_stack(w);
    let began = Instant::now();
    w.hoist(&["up", "-d"]).success();
    let whole = began.elapsed();
    w.hoist(&["down", "-v", "-t", "0"]).success();
    for moment in 1..=8 {
        let up = w.start(&["up", "-d"]);
        pause(whole * moment / 8);
        up.signal(Signal::SIGKILL);
        drop(up.finish());
        w.hoist(&["up", "-d"]).success();
        assert_eq!(w.running(), NAMES, "moment {moment}");
        w.hoist(&["down", "-v", "-t", "0"]).success();
        w.nothing_left();
    }
}

fn containers_outlive_the_engine(w: &World) {
    let port = write_stack(w);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(fetch(port, "/").trim(), "fine");
    let before = w.inspect("web");
    kill_engine(w);
    w.hoist(&["ps"]).success();
    let after = w.inspect("web");
    assert_eq!(before["Id"], after["Id"]);
    assert_eq!(before["State"]["Pid"], after["State"]["Pid"]);
    assert_eq!(w.running(), NAMES);
    assert_eq!(
        fetch(port, "/").trim(),
        "fine",
        "its port is published again"
    );
    assert_eq!(
        w.ask("cache", "web").as_deref(),
        Some("fine"),
        "its name is served again"
    );
    w.hoist(&["up", "-d"]).success();
    assert_eq!(
        w.inspect("web")["State"]["Pid"],
        before["State"]["Pid"],
        "up again changes nothing"
    );
}

fn logs_and_exit_codes_outlive_the_engine(w: &World) {
    w.compose(
        r#"
services:
  talker: {image: "${IMAGE}", command: ["sh", "-c", "i=0; while [ ! -e /go/on ]; do i=$$((i+1)); echo line $$i; sleep 0.02; done; echo end; exit 33"], volumes: ["./go:/go"]}
"#,
    );
    w.hoist(&["up", "-d"]).success();
    eventually("it talks", || {
        w.logged("talker").contains("line 3").then_some(())
    });
    kill_engine(w);
    w.file("go/on", "");
    pause(Duration::from_millis(300));
    w.hoist(&["ps"]).success();
    w.wait_state("talker", "exited");
    assert_eq!(w.inspect("talker")["State"]["ExitCode"], 33);
    let said = w.logged("talker");
    let lines: Vec<&str> = said.lines().collect();
    for (index, line) in lines[..lines.len() - 1].iter().enumerate() {
        assert_eq!(
            *line,
            format!("line {}", index + 1),
            "no line is lost or twice"
        );
    }
    assert_eq!(lines.last(), Some(&"end"));
}

fn a_restart_policy_acts_after_the_engine_came_back(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", restart: always, command: sleep 1000}\n");
    w.hoist(&["up", "-d"]).success();
    let pid = w.inspect("a")["State"]["Pid"].as_i64().unwrap();
    kill_engine(w);
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    w.hoist(&["ps"]).success();
    eventually("it runs again", || {
        let state = w.inspect("a")["State"].clone();
        (state["Running"] == true && state["Pid"] != pid).then_some(())
    });
}

fn the_engine_stops_and_starts_on_demand(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: echo hi}\n");
    w.hoist(&["engine", "status"]).success();
    w.hoist(&["engine", "stop"]).success();
    assert!(std::os::unix::net::UnixStream::connect(w.api.socket()).is_err());
    w.hoist(&["run", "--rm", "-T", "a"]).success().prints("hi");
    w.hoist(&["engine", "env"]).success().prints("DOCKER_HOST=");
}

fn many_first_commands_start_one_engine(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n");
    w.hoist(&["engine", "stop"]).success();
    let commands: Vec<_> = (0..6).map(|_| w.start(&["ps", "-q"])).collect();
    for command in commands {
        command.finish().success();
    }
}

fn a_shim_that_dies_takes_its_container_only(w: &World) {
    write_stack(w);
    w.hoist(&["up", "-d"]).success();
    let pid = w.inspect("cache")["State"]["Pid"].as_i64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kill(Pid::from_raw(parent), Signal::SIGKILL).unwrap();
    w.wait_state("cache", "exited");
    assert_eq!(w.running(), ["db-1", "web-1"]);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.running(), NAMES);
}

fn two_ups_at_once_make_one_project(w: &World) {
    write_stack(w);
    for _ in 0..3 {
        let ups: Vec<_> = (0..3).map(|_| w.start(&["up", "-d"])).collect();
        for up in ups {
            up.finish().success();
        }
        assert_eq!(w.running(), NAMES);
        assert_eq!(w.names().len(), 3);
        w.hoist(&["down", "-v", "-t", "0"]).success();
        w.nothing_left();
    }
}

fn up_during_down_ends_up(w: &World) {
    write_stack(w);
    w.hoist(&["up", "-d"]).success();
    let down = w.start(&["down", "-t", "0"]);
    let up = w.start(&["up", "-d"]);
    down.finish().success();
    up.finish().success();
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.running(), NAMES);
}

fn a_process_killed_from_outside_is_seen_and_up_mends_it(w: &World) {
    write_stack(w);
    w.hoist(&["up", "-d"]).success();
    let pid = w.inspect("cache")["State"]["Pid"].as_i64().unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    w.wait_state("cache", "exited");
    assert_eq!(w.inspect("cache")["State"]["ExitCode"], 137);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.running(), NAMES);
}

bundled_engine!(
    the_engine_is_killed_at_twenty_moments_of_up,
    the_engine_is_killed_at_eight_moments_of_down,
    containers_outlive_the_engine,
    logs_and_exit_codes_outlive_the_engine,
    a_restart_policy_acts_after_the_engine_came_back,
    the_engine_stops_and_starts_on_demand,
    many_first_commands_start_one_engine,
    a_shim_that_dies_takes_its_container_only,
    two_ups_at_once_make_one_project,
    up_during_down_ends_up,
);

both_engines!(
    the_client_is_killed_at_eight_moments_of_up,
    a_process_killed_from_outside_is_seen_and_up_mends_it
);
