//! Files in and out of containers: `cp`, `export`, `commit`.

use crate::support::{World, both_engines};

const ONE: &str = "services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n";

fn cp_brings_a_file_in(w: &World) {
    w.compose(ONE);
    w.file("note", "in\n");
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["cp", "note", "a:/tmp/note"]).success();
    assert_eq!(w.exec("a", &["cat", "/tmp/note"]), "in");
    w.hoist(&["cp", "note", "a:/tmp/"]).success();
    w.hoist(&["cp", "note", "a:/tmp/renamed"]).success();
    assert_eq!(w.exec("a", &["cat", "/tmp/renamed"]), "in");
}

fn cp_brings_a_file_out(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    w.exec("a", &["sh", "-c", "echo out > /tmp/out"]);
    w.hoist(&["cp", "a:/tmp/out", "got"]).success();
    assert_eq!(
        std::fs::read_to_string(w.folder.join("got")).unwrap(),
        "out\n"
    );
}

fn cp_takes_a_folder(w: &World) {
    w.compose(ONE);
    w.file("tree/sub/leaf", "leaf\n");
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["cp", "tree", "a:/tmp/"]).success();
    assert_eq!(w.exec("a", &["cat", "/tmp/tree/sub/leaf"]), "leaf");
    w.hoist(&["cp", "a:/tmp/tree/.", "back"]).success();
    assert!(w.folder.join("back/sub/leaf").exists());
}

fn cp_reaches_all_replicas(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, scale: 2}\n");
    w.file("note", "x\n");
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["cp", "note", "a:/tmp/note"]).success();
    for index in ["1", "2"] {
        w.hoist(&["exec", "-T", "--index", index, "a", "cat", "/tmp/note"])
            .success()
            .prints("x");
    }
}

fn cp_of_a_missing_file_fails(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["cp", "nosuch", "a:/tmp/"]).exits(1);
    w.hoist(&["cp", "a:/nosuch", "."]).exits(1);
    w.hoist(&["cp", "here", "there"]).exits(1);
}

fn cp_speaks_tar_on_standard_streams(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    w.exec("a", &["sh", "-c", "echo streamed > /tmp/s"]);
    let output = w.hoist(&["cp", "a:/tmp/s", "-"]).success();
    assert!(output.stdout.contains("streamed"));
}

fn export_writes_the_file_system(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    w.exec("a", &["sh", "-c", "echo x > /mark"]);
    w.hoist(&["export", "-o", "root.tar", "a"]).success();
    let file = std::fs::File::open(w.folder.join("root.tar")).unwrap();
    let mut archive = tar::Archive::new(file);
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert!(
        names.iter().any(|name| name == "mark") && names.iter().any(|name| name == "bin/busybox")
    );
}

fn commit_makes_an_image(w: &World) {
    w.compose(ONE);
    w.hoist(&["up", "-d"]).success();
    w.exec("a", &["sh", "-c", "echo x > /mark"]);
    let name = format!("hoist-it/{}-committed:1", w.project);
    w.owns_image(&name);
    w.hoist(&["commit", "a", &name]).success();
    w.compose(&format!(
        "services:\n  a: {{image: \"{name}\", command: sleep 1000}}\n"
    ));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/mark"]), "x");
}

both_engines!(
    cp_brings_a_file_in,
    cp_brings_a_file_out,
    cp_takes_a_folder,
    cp_reaches_all_replicas,
    cp_of_a_missing_file_fails,
    cp_speaks_tar_on_standard_streams,
    export_writes_the_file_system,
    commit_makes_an_image,
);
