//! Images to and from a registry: Debian's docker-registry on the loopback, with and without a password.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Process, World, both_engines, eventually, free_port, leave_out};

/// `user` with the password `secret`, as bcrypt.
const PASSWORDS: &str = "user:$2b$05$KB3NzrE3UaTiVcLa7C7.seUwN6JMeLIxUSgv9YhqKgX8A5R4CeKNC\n";

struct Registry {
    host: String,
    _process: Process,
}

fn registry(w: &World, password: bool) -> Option<Registry> {
    let named = std::env::var_os("HOIST_TEST_REGISTRY").map(PathBuf::from);
    let known = [
        "/usr/bin/docker-registry",
        "/var/tmp/hoist-peers/usr/bin/docker-registry",
    ];
    let Some(program) = named
        .into_iter()
        .chain(known.map(PathBuf::from))
        .find(|path| path.exists())
    else {
        leave_out("docker-registry is not installed");
        return None;
    };
    let port = free_port();
    let root = w.temp().join("registry");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("passwords"), PASSWORDS).unwrap();
    let auth = format!(
        "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
        root.join("passwords").display()
    );
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n{}",
        root.join("data").display(),
        if password { auth.as_str() } else { "" }
    );
    std::fs::write(root.join("config.yml"), config).unwrap();
    let mut command = Command::new(program);
    command.arg("serve").arg(root.join("config.yml"));
    let process = Process::spawn(command);
    eventually("the registry listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    Some(Registry {
        host: format!("127.0.0.1:{port}"),
        _process: process,
    })
}

/// A service that is built and pushed as `<host>/team/app:v1`, and runs from there.
fn app(w: &World, host: &str) -> String {
    let image = format!("{host}/team/{}:v1", w.project);
    w.owns_image(&image);
    w.file(
        "app/Dockerfile",
        "ARG BASE\nFROM ${BASE}\nRUN echo made > /made\n",
    );
    w.file("build.yaml", &format!("services: {{app: {{image: \"{image}\", build: {{context: app, args: {{BASE: \"${{IMAGE}}\"}}}}}}}}\n"));
    w.compose(&format!(
        "services: {{app: {{image: \"{image}\", command: sleep 1000}}}}\n"
    ));
    image
}

fn login(w: &World, host: &str) {
    let home = w.temp().join("home/.docker");
    std::fs::create_dir_all(&home).unwrap();
    let config = serde_json::json!({"auths": {host: {"auth": "dXNlcjpzZWNyZXQ="}}});
    std::fs::write(home.join("config.json"), config.to_string()).unwrap();
}

fn forget(w: &World, image: &str) {
    w.api.delete(&format!("/images/{image}?force=1"));
    assert!(w.api.find(&format!("/images/{image}/json")).is_none());
}

fn an_image_is_pushed_and_pulled(w: &World) {
    let Some(registry) = registry(w, false) else {
        return;
    };
    let image = app(w, &registry.host);
    w.hoist(&["-f", "build.yaml", "build"]).success();
    w.hoist(&["-f", "build.yaml", "push"]).success();
    forget(w, &image);
    w.hoist(&["pull"]).success();
    assert!(w.api.find(&format!("/images/{image}/json")).is_some());
    forget(w, &image);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("app", &["cat", "/made"]), "made");
    w.hoist(&["down", "-t", "0"]).success();
    w.hoist(&["up", "-d", "--pull", "never"]).success();
}

fn a_password_is_asked_for_and_taken_from_the_docker_config(w: &World) {
    let Some(registry) = registry(w, true) else {
        return;
    };
    let image = app(w, &registry.host);
    w.hoist(&["-f", "build.yaml", "build"]).success();
    assert_ne!(
        w.hoist(&["-f", "build.yaml", "push"]).code,
        0,
        "no password, no push"
    );
    login(w, &registry.host);
    w.hoist(&["-f", "build.yaml", "push"]).success();
    forget(w, &image);
    w.hoist(&["up", "-d"]).success();
    std::fs::remove_file(w.temp().join("home/.docker/config.json")).unwrap();
    w.hoist(&["down", "-t", "0"]).success();
    forget(w, &image);
    assert_ne!(w.hoist(&["up", "-d"]).code, 0, "no password, no pull");
    assert!(w.running().is_empty());
}

fn a_missing_tag_is_named(w: &World) {
    let Some(registry) = registry(w, false) else {
        return;
    };
    let image = format!("{}/team/nosuch:v9", registry.host);
    w.compose(&format!("services: {{app: {{image: \"{image}\"}}, ok: {{image: \"${{IMAGE}}\", command: sleep 1000}}}}\n"));
    assert_ne!(w.hoist(&["pull", "app"]).code, 0);
    w.hoist(&["up", "-d"]).exits(1);
    assert!(w.running().is_empty());
}

fn pull_policy_always_brings_what_changed(w: &World) {
    let Some(registry) = registry(w, false) else {
        return;
    };
    let image = app(w, &registry.host);
    w.compose(&format!(
        "services: {{app: {{image: \"{image}\", command: sleep 1000, pull_policy: always}}}}\n"
    ));
    w.hoist(&["-f", "build.yaml", "build"]).success();
    w.hoist(&["-f", "build.yaml", "push"]).success();
    w.hoist(&["up", "-d"]).success();
    let before = w.id("app");
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.id("app"), before);
    w.file(
        "app/Dockerfile",
        "ARG BASE\nFROM ${BASE}\nRUN echo newer > /made\n",
    );
    w.hoist(&["-f", "build.yaml", "build"]).success();
    w.hoist(&["-f", "build.yaml", "push"]).success();
    forget(w, &image);
    w.hoist(&["up", "-d"]).success();
    assert_ne!(w.id("app"), before);
    assert_eq!(w.exec("app", &["cat", "/made"]), "newer");
}

fn an_image_is_pinned_by_its_digest(w: &World) {
    let Some(registry) = registry(w, false) else {
        return;
    };
    let image = app(w, &registry.host);
    w.hoist(&["-f", "build.yaml", "build"]).success();
    w.hoist(&["-f", "build.yaml", "push"]).success();
    let inspected = w.api.get(&format!("/images/{image}/json"));
    let pinned = inspected["RepoDigests"][0].as_str().unwrap().to_owned();
    forget(w, &image);
    w.compose(&format!(
        "services: {{app: {{image: \"{pinned}\", command: sleep 1000}}}}\n"
    ));
    w.owns_image(&pinned);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("app", &["cat", "/made"]), "made");
}

fn a_registry_that_is_not_there_is_an_error(w: &World) {
    w.compose("services: {app: {image: \"127.0.0.1:1/team/app:v1\"}}\n");
    w.hoist(&["up", "-d"]).exits(1).says("127.0.0.1:1");
    assert!(w.names().is_empty());
}

both_engines!(
    an_image_is_pushed_and_pulled,
    a_password_is_asked_for_and_taken_from_the_docker_config,
    a_missing_tag_is_named,
    pull_policy_always_brings_what_changed,
    an_image_is_pinned_by_its_digest,
    a_registry_that_is_not_there_is_an_error,
);
