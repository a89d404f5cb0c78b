//! The dev loop: what is saved reaches the running container.

use crate::support::{World, both_engines, eventually};

fn service(action: &str, more: &str) -> String {
    format!(
        r#"
services:
  app:
    build:
      context: .
      args: {{BASE: "${{IMAGE}}"}}
      dockerfile_inline: |
        ARG BASE
        FROM $${{BASE}}
        COPY src /app
    command: ["sh", "-c", "cat /proc/sys/kernel/random/uuid > /tmp/life; sleep 1000"]
    develop:
      watch:
        - {{path: ./src, target: /app, action: {action}{more}}}
"#
    )
}

/// Waits until a command in the container prints this.
#[track_caller]
fn prints(w: &World, words: &[&str], wanted: &str) {
    eventually(&format!("{words:?} prints {wanted:?}"), || {
        let mut args = vec!["exec", "-T", "app"];
        args.extend(words);
        let output = w.hoist(&args);
        (output.code == 0 && output.stdout.trim() == wanted).then_some(())
    });
}

fn a_saved_file_is_synced(w: &World) {
    w.file("src/page", "one\n");
    w.compose(&service("sync", ""));
    let watch = w.start(&["watch"]);
    watch.wait_for("Watch enabled");
    prints(w, &["cat", "/app/page"], "one");
    let id = w.id("app");
    w.file("src/page", "two\n");
    prints(w, &["cat", "/app/page"], "two");
    w.file("src/new/deep", "new\n");
    prints(w, &["cat", "/app/new/deep"], "new");
    assert_eq!(w.id("app"), id);
}

fn a_deleted_file_is_deleted(w: &World) {
    w.file("src/page", "one\n");
    w.file("src/gone", "x\n");
    w.compose(&service("sync", ""));
    let watch = w.start(&["watch"]);
    watch.wait_for("Watch enabled");
    prints(w, &["ls", "/app"], "gone\npage");
    std::fs::remove_file(w.folder.join("src/gone")).unwrap();
    prints(w, &["ls", "/app"], "page");
}

fn an_ignored_file_is_ignored(w: &World) {
    w.file("src/page", "one\n");
    w.compose(&service("sync", ", ignore: [\"*.tmp\"]"));
    let watch = w.start(&["watch"]);
    watch.wait_for("Watch enabled");
    w.file("src/x.tmp", "no\n");
    w.file("src/page", "two\n");
    prints(w, &["cat", "/app/page"], "two");
    w.hoist(&["exec", "-T", "app", "test", "-e", "/app/x.tmp"])
        .exits(1);
}

fn sync_and_restart_gives_a_new_process(w: &World) {
    w.file("src/page", "one\n");
    w.compose(&service("sync+restart", ""));
    let watch = w.start(&["watch"]);
    watch.wait_for("Watch enabled");
    let (id, life) = (w.id("app"), w.exec("app", &["cat", "/tmp/life"]));
    w.file("src/page", "two\n");
    prints(w, &["cat", "/app/page"], "two");
    eventually("a new life", || {
        let output = w.hoist(&["exec", "-T", "app", "cat", "/tmp/life"]);
        (output.code == 0 && !output.stdout.is_empty() && output.stdout.trim() != life)
            .then_some(())
    });
    assert_eq!(w.id("app"), id);
}

fn rebuild_gives_a_new_container(w: &World) {
    w.file("src/page", "one\n");
    w.compose(&service("rebuild", "").replace(", target: /app", ""));
    let watch = w.start(&["watch"]);
    watch.wait_for("Watch enabled");
    let id = w.id("app");
    w.file("src/page", "two\n");
    prints(w, &["cat", "/app/page"], "two");
    assert_ne!(w.id("app"), id);
}

fn up_watch_watches_too(w: &World) {
    w.file("src/page", "one\n");
    w.compose(&service("sync", ""));
    let up = w.start(&["up", "--watch"]);
    up.wait_for("Watch enabled");
    w.file("src/page", "two\n");
    prints(w, &["cat", "/app/page"], "two");
    up.signal(nix::sys::signal::Signal::SIGINT);
    up.finish().exits(130);
    assert_eq!(w.in_state("exited"), ["app-1"]);
}

fn nothing_to_watch_is_an_error(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n");
    w.hoist(&["watch"]).exits(1).says("watch");
}

both_engines!(
    a_saved_file_is_synced,
    a_deleted_file_is_deleted,
    an_ignored_file_is_ignored,
    sync_and_restart_gives_a_new_process,
    rebuild_gives_a_new_container,
    up_watch_watches_too,
    nothing_to_watch_is_an_error,
);
