//! Each folder of `compose-examples` runs as its README says.
//! All but the quickstart need images of a registry; where `HOIST_TEST_IMAGES` names a folder with archives of them
//! they are played, elsewhere they are left out by name.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::{
    World, both_engines, bundled_engine, eventually, fetch, free_port, leave_out, try_fetch,
};

/// Copies an example into the project's folder; the project keeps its own name.
fn copy(w: &World, name: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("compose-examples")
        .join(name);
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(&w.folder)
        .status()
        .unwrap();
    assert!(copied.success());
}

/// Gives the engine these images, or says that they are not to be had.
fn images_missing(w: &World, wanted: &[(&str, &str)]) -> bool {
    let folder = std::env::var_os("HOIST_TEST_IMAGES")
        .map_or_else(|| PathBuf::from("/var/tmp/hoist-images"), PathBuf::from);
    for (archive, tag) in wanted {
        if w.api.find(&format!("/images/{tag}/json")).is_some() {
            continue;
        }
        let Ok(archive) = std::fs::read(folder.join(format!("{archive}.tar"))) else {
            leave_out(&format!(
                "no archive of the image {tag} (HOIST_TEST_IMAGES names no folder with {archive}.tar)"
            ));
            return true;
        };
        w.api.load(&archive);
    }
    false
}

fn hoist(w: &World, port: u16, args: &[&str]) -> crate::support::Process {
    let mut command = w.command(args);
    command
        .env("COMPOSE_PROJECT_NAME", &w.project)
        .env("PORT", port.to_string());
    crate::support::Process::spawn(command)
}

fn quickstart(w: &World) {
    if !Path::new("/usr/bin/python3").exists() {
        leave_out("python3 is not installed in /usr/bin");
        return;
    }
    copy(w, "quickstart");
    let port = free_port();
    hoist(w, port, &["up", "-d"]).finish().success();
    let page = fetch(port, "/");
    assert!(page.contains("asked for 1 times"), "{page}");
    assert!(
        fetch(port, "/").contains("asked for 2 times"),
        "the store counts"
    );
    eventually("the worker came back", || {
        let worker = w.inspect("worker");
        (worker["RestartCount"] == 1 && worker["State"]["Running"] == true).then_some(())
    });
    eventually("the worker works", || {
        (!fetch(port, "/").contains("done 0 jobs")).then_some(())
    });

    let watch = hoist(w, port, &["watch"]);
    watch.wait_for("Watch enabled");
    w.file("app/page.html", "edited, {visits}\n");
    eventually("the edited page", || {
        try_fetch(port, "/").filter(|page| page.starts_with("edited"))
    });
    watch.signal(Signal::SIGINT);
    drop(watch.finish());

    hoist(w, port, &["down"]).finish().success();
    hoist(w, port, &["up", "-d"]).finish().success();
    assert!(
        !fetch(port, "/").contains("asked for 1 times"),
        "the volume kept the count"
    );
    hoist(w, port, &["down", "-v"]).finish().success();
    w.nothing_left();
}

fn visits(w: &World) {
    if images_missing(
        w,
        &[("redis", "redis:7-alpine"), ("node", "node:20-alpine")],
    ) {
        return;
    }
    copy(w, "visits");
    let port = free_port();
    hoist(w, port, &["up", "-d"]).finish().success();
    assert_eq!(fetch(port, "/"), "Number of visits: 1\n");
    assert_eq!(fetch(port, "/"), "Number of visits: 2\n");
    hoist(w, port, &["restart", "web"]).finish().success();
    assert_eq!(fetch(port, "/"), "Number of visits: 3\n");
    hoist(w, port, &["down", "-v"]).finish().success();
    w.nothing_left();
}

fn postgres_app(w: &World) {
    if images_missing(
        w,
        &[
            ("postgres", "postgres:16-alpine"),
            ("python", "python:3.12-slim"),
        ],
    ) {
        return;
    }
    copy(w, "postgres-app");
    let port = free_port();
    hoist(w, port, &["up", "-d"]).finish().success();
    assert_eq!(w.state("migrate"), "exited");
    assert_eq!(fetch(port, "/"), "");
    hoist(
        w,
        port,
        &[
            "exec",
            "-T",
            "db",
            "psql",
            "-U",
            "notes",
            "-c",
            "INSERT INTO notes (text) VALUES ('milk')",
        ],
    )
    .finish()
    .success();
    assert_eq!(fetch(port, "/"), "1: milk\n");
    hoist(w, port, &["down"]).finish().success();
    hoist(w, port, &["up", "-d"]).finish().success();
    assert_eq!(fetch(port, "/"), "1: milk\n", "the notes stay");
    hoist(w, port, &["down", "-v"]).finish().success();
    w.nothing_left();
}

fn hot_reload(w: &World) {
    if images_missing(w, &[("python", "python:3.12-slim")]) {
        return;
    }
    copy(w, "hot-reload");
    let port = free_port();
    let up = hoist(w, port, &["up", "--watch"]);
    up.wait_for("Watch enabled");
    assert!(fetch(port, "/").contains("Edit me"));
    w.file("app/pages/index.html", "edited\n");
    eventually("the edited page", || {
        try_fetch(port, "/").filter(|page| page == "edited\n")
    });
    let id = w.id("web");
    let server = std::fs::read_to_string(w.folder.join("app/server.py")).unwrap();
    w.file(
        "app/server.py",
        &server.replace("VERSION = \"1\"", "VERSION = \"2\""),
    );
    up.wait_for("server version 2");
    assert_eq!(w.id("web"), id);
    let dockerfile = std::fs::read_to_string(w.folder.join("app/Dockerfile")).unwrap();
    w.file(
        "app/Dockerfile",
        &format!("{dockerfile}LABEL rebuilt=yes\n"),
    );
    eventually("the image is built anew", || {
        w.try_inspect("web").filter(|web| {
            web["Config"]["Labels"]["rebuilt"] == "yes" && web["State"]["Running"] == true
        })
    });
    assert_ne!(w.id("web"), id);
    assert!(fetch(port, "/").contains("edited"));
    up.signal(Signal::SIGINT);
    up.finish().exits(130);
}

fn ci(w: &World) {
    let wanted = [
        ("redis", "redis:7-alpine"),
        ("node", "node:20-alpine"),
        ("python", "python:3.12-slim"),
    ];
    if images_missing(w, &wanted) {
        return;
    }
    copy(w, "ci");
    let run = |expect: &str| {
        let mut command = w.command(&["up", "--exit-code-from", "tests"]);
        command
            .env("COMPOSE_PROJECT_NAME", &w.project)
            .env("EXPECT", expect);
        crate::support::Process::spawn(command).finish()
    };
    run("42").success().says("OK");
    hoist(w, 0, &["down", "-v"]).finish().success();
    w.nothing_left();
    run("41").exits(1);
    hoist(w, 0, &["down", "-v"]).finish().success();
    w.nothing_left();
}

bundled_engine!(quickstart);
both_engines!(visits, postgres_app, hot_reload, ci);
