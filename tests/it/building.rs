//! Images of the project's own: `build`, and what `up` makes of a `build:` section.

use crate::support::{World, both_engines};

/// A Dockerfile on the test image; its name comes as an argument of the build.
fn context(w: &World, folder: &str, lines: &str) {
    w.file(
        &format!("{folder}/Dockerfile"),
        &format!("ARG BASE\nFROM ${{BASE}}\n{lines}"),
    );
}

const APP: &str = r#"
services:
  app:
    build: {context: ./app, args: {BASE: "${IMAGE}", WHO: "${WHO:-world}"}}
    command: sleep 1000
"#;

fn up_builds_what_is_missing(w: &World) {
    context(w, "app", "COPY hello /hello\n");
    w.file("app/hello", "built\n");
    w.compose(APP);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("app", &["cat", "/hello"]), "built");
    assert_eq!(
        w.inspect("app")["Config"]["Image"],
        format!("{}-app", w.project)
    );
}

fn up_builds_again_only_on_request(w: &World) {
    context(w, "app", "COPY hello /hello\n");
    w.file("app/hello", "one\n");
    w.compose(APP);
    w.hoist(&["up", "-d"]).success();
    let before = w.id("app");
    w.file("app/hello", "two\n");
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.id("app"), before);
    w.hoist(&["up", "-d", "--build"]).success();
    assert_ne!(w.id("app"), before);
    assert_eq!(w.exec("app", &["cat", "/hello"]), "two");
}

fn build_then_up_uses_the_new_image(w: &World) {
    context(w, "app", "COPY hello /hello\n");
    w.file("app/hello", "one\n");
    w.compose(APP);
    w.hoist(&["build"]).success();
    assert!(w.names().is_empty());
    w.hoist(&["up", "-d", "--no-build"]).success();
    assert_eq!(w.exec("app", &["cat", "/hello"]), "one");
}

fn no_build_without_an_image_fails(w: &World) {
    context(w, "app", "");
    w.compose(APP);
    w.hoist(&["up", "-d", "--no-build"]).exits(1);
    assert!(w.running().is_empty());
}

fn args_reach_the_build(w: &World) {
    context(w, "app", "ARG WHO\nRUN echo hello $WHO > /hello\n");
    w.compose(APP);
    w.hoist_with(&[("WHO", "shell")], &["up", "-d"]).success();
    assert_eq!(w.exec("app", &["cat", "/hello"]), "hello shell");
    w.hoist(&["build", "--build-arg", "WHO=flag"]).success();
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("app", &["cat", "/hello"]), "hello flag");
}

fn an_inline_dockerfile_is_built(w: &World) {
    w.compose(
        r#"
services:
  app:
    build:
      context: .
      args: {BASE: "${IMAGE}"}
      dockerfile_inline: |
        ARG BASE
        FROM $${BASE}
        RUN echo inline > /inline
    command: sleep 1000
"#,
    );
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("app", &["cat", "/inline"]), "inline");
}

fn a_target_stage_is_the_end(w: &World) {
    w.file(
        "app/Dockerfile",
        "ARG BASE\nFROM ${BASE} AS first\nRUN echo first > /stage\nFROM first AS second\nRUN echo second > /stage\nFROM second AS third\nRUN exit 1\n",
    );
    w.compose("services:\n  app: {build: {context: app, target: second, args: {BASE: \"${IMAGE}\"}}, command: sleep 1000}\n");
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("app", &["cat", "/stage"]), "second");
}

fn stages_copy_from_each_other(w: &World) {
    w.file(
        "app/Dockerfile",
        "ARG BASE\nFROM ${BASE} AS make\nRUN mkdir /out && echo made > /out/file\nFROM ${BASE}\nCOPY --from=make /out /in\n",
    );
    w.compose(APP);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("app", &["cat", "/in/file"]), "made");
}

fn the_image_keeps_what_the_file_says(w: &World) {
    context(
        w,
        "app",
        "ENV COLOUR=green\nWORKDIR /srv\nUSER app\nEXPOSE 8080\nLABEL made.by=test\nVOLUME /vol\nSTOPSIGNAL SIGKILL\nENTRYPOINT [\"sh\", \"-c\"]\nCMD [\"echo $COLOUR $(pwd) $(id -un); sleep 1000\"]\n",
    );
    w.compose("services:\n  app: {build: {context: app, args: {BASE: \"${IMAGE}\"}}}\n");
    w.hoist(&["up", "-d"]).success();
    crate::support::eventually("it spoke", || {
        (w.logged("app").trim() == "green /srv app").then_some(())
    });
    let config = w.inspect("app")["Config"].clone();
    assert!(!config["ExposedPorts"]["8080/tcp"].is_null());
    assert_eq!(config["Labels"]["made.by"], "test");
    assert_eq!(w.inspect("app")["Mounts"][0]["Destination"], "/vol");
}

fn dockerignore_is_kept(w: &World) {
    context(w, "app", "COPY . /ctx\n");
    w.file("app/.dockerignore", "*.log\n!keep.log\nsub\n");
    for name in ["a.txt", "a.log", "keep.log", "sub/x"] {
        w.file(&format!("app/{name}"), "x");
    }
    w.compose(APP);
    w.hoist(&["up", "-d"]).success();
    let files = w.exec("app", &["ls", "/ctx"]);
    assert!(
        files.contains("a.txt") && files.contains("keep.log"),
        "{files}"
    );
    assert!(
        !files.contains("a.log") && !files.contains("sub"),
        "{files}"
    );
}

fn a_failing_build_fails_up_and_leaves_nothing(w: &World) {
    context(w, "app", "RUN echo before && exit 23\n");
    w.compose(APP);
    let output = w.hoist(&["up", "-d"]);
    assert_ne!(output.code, 0, "{output}");
    assert!(
        output.stderr.contains("23") || output.stdout.contains("23"),
        "{output}"
    );
    assert!(w.names().is_empty());
}

fn a_missing_dockerfile_is_named(w: &World) {
    w.file("app/other", "");
    w.compose(APP);
    let output = w.hoist(&["build"]);
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("Dockerfile"), "{output}");
}

fn a_named_image_is_tagged(w: &World) {
    context(w, "app", "");
    let name = format!("hoist-it/{}-named:v1", w.project);
    w.owns_image(&name);
    w.compose(&format!("services:\n  app: {{image: \"{name}\", build: {{context: app, args: {{BASE: \"${{IMAGE}}\"}}, tags: [\"{name}-extra\"]}}, command: sleep 1000}}\n"));
    w.owns_image(&format!("{name}-extra"));
    w.hoist(&["build"]).success();
    assert!(w.api.find(&format!("/images/{name}/json")).is_some());
    assert!(w.api.find(&format!("/images/{name}-extra/json")).is_some());
}

fn a_rebuild_uses_the_cache(w: &World) {
    context(
        w,
        "app",
        "RUN cat /proc/sys/kernel/random/uuid > /stamp\nCOPY late /late\n",
    );
    w.file("app/late", "1");
    w.compose(APP);
    w.hoist(&["up", "-d", "--build"]).success();
    let stamp = w.exec("app", &["cat", "/stamp"]);
    w.file("app/late", "2");
    w.hoist(&["up", "-d", "--build"]).success();
    assert_eq!(
        w.exec("app", &["cat", "/stamp"]),
        stamp,
        "the step before the change is cached"
    );
    w.hoist(&["build", "--no-cache"]).success();
    w.hoist(&["up", "-d"]).success();
    assert_ne!(w.exec("app", &["cat", "/stamp"]), stamp);
}

fn down_rmi_local_removes_the_built_image(w: &World) {
    context(w, "app", "");
    w.compose(APP);
    w.hoist(&["up", "-d"]).success();
    let image = format!("/images/{}-app/json", w.project);
    assert!(w.api.find(&image).is_some());
    w.hoist(&["down"]).success();
    assert!(w.api.find(&image).is_some());
    w.hoist(&["down", "--rmi", "local"]).success();
    assert!(w.api.find(&image).is_none());
    assert!(w.api.find(&format!("/images/{}/json", w.image)).is_some());
}

fn pull_policy_build_builds_each_time(w: &World) {
    context(w, "app", "COPY hello /hello\n");
    w.file("app/hello", "one\n");
    w.compose(&APP.replace("    command", "    pull_policy: build\n    command"));
    w.hoist(&["up", "-d"]).success();
    w.file("app/hello", "two\n");
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("app", &["cat", "/hello"]), "two");
}

fn build_of_a_dependency_only_on_request(w: &World) {
    context(w, "app", "");
    context(w, "db", "");
    w.compose("services:\n  db: {build: {context: db, args: {BASE: \"${IMAGE}\"}}}\n  app: {build: {context: app, args: {BASE: \"${IMAGE}\"}}, depends_on: [db]}\n");
    w.hoist(&["build", "app"]).success();
    let there = |name: &str| {
        w.api
            .find(&format!("/images/{}-{name}/json", w.project))
            .is_some()
    };
    assert!(there("app") && !there("db"));
    w.hoist(&["build", "--with-dependencies", "app"]).success();
    assert!(there("db"));
}

fn a_missing_image_is_an_error_and_nothing_is_started(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000}\n  b: {image: \"127.0.0.1:1/no/such:image\"}\n");
    w.hoist(&["up", "-d"]).exits(1);
    assert!(w.running().is_empty());
}

fn pull_policy_never_says_what_is_missing(w: &World) {
    w.compose("services:\n  b: {image: \"hoist-it/nosuch:image\", pull_policy: never}\n");
    w.hoist(&["up", "-d"])
        .exits(1)
        .says("hoist-it/nosuch:image");
}

both_engines!(
    up_builds_what_is_missing,
    up_builds_again_only_on_request,
    build_then_up_uses_the_new_image,
    no_build_without_an_image_fails,
    args_reach_the_build,
    an_inline_dockerfile_is_built,
    a_target_stage_is_the_end,
    stages_copy_from_each_other,
    the_image_keeps_what_the_file_says,
    dockerignore_is_kept,
    a_failing_build_fails_up_and_leaves_nothing,
    a_missing_dockerfile_is_named,
    a_named_image_is_tagged,
    a_rebuild_uses_the_cache,
    down_rmi_local_removes_the_built_image,
    pull_policy_build_builds_each_time,
    build_of_a_dependency_only_on_request,
    a_missing_image_is_an_error_and_nothing_is_started,
    pull_policy_never_says_what_is_missing,
);
