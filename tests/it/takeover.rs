//! A project goes back and forth between docker compose and hoist on Docker, and nothing is made anew.

use std::path::PathBuf;

use crate::support::{Process, World, docker_engine, leave_out};

const STACK: &str = r#"
services:
  db:
    image: ${IMAGE}
    command: ["sleep", "1000"]
    volumes: ["store:/store", "./bound:/bound:ro", "/anonymous"]
    environment: {A: "1", B: }
    labels: {x: y}
  web:
    image: ${IMAGE}
    command: sleep 1000
    depends_on: {db: {condition: service_started, restart: true}}
    ports: ["80"]
    networks: {front: {aliases: [page]}, default: }
    healthcheck: {test: "true", interval: 1m30s}
    deploy: {resources: {limits: {memory: 64m, cpus: "0.5"}}}
    ulimits: {nofile: 1000}
    configs: [{source: conf, target: /conf}]
    tmpfs: /scratch
    scale: 2
volumes: {store: {}}
networks: {front: {driver_opts: {a: b}}}
configs: {conf: {content: "text"}}
"#;

/// docker compose as a program of its own: where the runner of the tests says, or where distributions put it.
fn compose(w: &World, args: &[&str]) -> Option<Process> {
    let named = std::env::var_os("HOIST_TEST_COMPOSE").map(PathBuf::from);
    let known = [
        "/usr/libexec/docker/cli-plugins/docker-compose",
        "/usr/lib/docker/cli-plugins/docker-compose",
    ];
    let program = named
        .into_iter()
        .chain(known.map(PathBuf::from))
        .find(|path| path.exists());
    let Some(program) = program else {
        leave_out("docker compose is not installed");
        return None;
    };
    let model = w.command(args);
    let mut command = std::process::Command::new(program);
    command.args(args).current_dir(&w.folder).env_clear();
    command.envs(
        model
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    Some(Process::spawn(command))
}

fn everything(w: &World) -> Vec<(String, String)> {
    let field = |container: &serde_json::Value| {
        (
            container["Id"].as_str().unwrap().to_owned(),
            container["State"].as_str().unwrap().to_owned(),
        )
    };
    let mut all: Vec<_> = w.containers().iter().map(field).collect();
    all.sort();
    all
}

fn hoist_takes_over_from_docker_compose(w: &World) {
    if w.lacks_api("1.44") {
        return;
    }
    w.file("bound/file", "");
    w.compose(STACK);
    let Some(up) = compose(w, &["up", "-d"]) else {
        return;
    };
    up.finish().success();
    let before = everything(w);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(everything(w), before);
    w.hoist(&["down", "-v", "-t", "0"]).success();
    w.nothing_left();
}

fn docker_compose_takes_over_from_hoist(w: &World) {
    if w.lacks_api("1.44") {
        return;
    }
    w.file("bound/file", "");
    w.compose(STACK);
    w.hoist(&["up", "-d"]).success();
    let before = everything(w);
    let Some(up) = compose(w, &["up", "-d"]) else {
        return;
    };
    up.finish().success();
    assert_eq!(everything(w), before);
    compose(w, &["down", "-v", "-t", "0"])
        .unwrap()
        .finish()
        .success();
    w.nothing_left();
}

fn both_give_the_same_hashes(w: &World) {
    w.compose(STACK);
    let Some(theirs) = compose(w, &["config", "--hash", "*"]) else {
        return;
    };
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let theirs = sorted(&theirs.finish().success().stdout);
    assert_eq!(
        sorted(&w.hoist(&["config", "--hash", "*"]).success().stdout),
        theirs
    );
}

docker_engine!(
    hoist_takes_over_from_docker_compose,
    docker_compose_takes_over_from_hoist,
    both_give_the_same_hashes
);
