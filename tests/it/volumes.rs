//! Data: named, anonymous and bound volumes, tmpfs; secrets and configs; what stays and what goes.

use crate::support::{World, both_engines, eventually};

const NAMED: &str = r#"
services:
  a: {image: "${IMAGE}", command: sleep 1000, volumes: ["store:/store"]}
volumes: {store: {}}
"#;

fn service(lines: &str) -> String {
    format!("services:\n  a:\n    image: ${{IMAGE}}\n    command: sleep 1000\n{lines}")
}

fn a_named_volume_outlives_its_container(w: &World) {
    w.compose(NAMED);
    w.hoist(&["up", "-d"]).success();
    w.exec("a", &["sh", "-c", "echo kept > /store/file"]);
    w.hoist(&["down"]).success();
    assert!(w.volume("store").is_some());
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/store/file"]), "kept");
    w.hoist(&["down", "-v"]).success();
    w.nothing_left();
}

fn a_named_volume_has_composes_labels(w: &World) {
    w.compose(NAMED);
    w.hoist(&["up", "-d"]).success();
    let labels = w.volume("store").unwrap()["Labels"].clone();
    assert_eq!(labels["com.docker.compose.volume"], "store");
    assert_eq!(labels["com.docker.compose.project"], w.project.as_str());
}

fn an_empty_volume_takes_the_images_content(w: &World) {
    w.compose(&format!(
        "{}volumes: {{vol: {{}}}}\n",
        service("    volumes: [\"vol:/data\"]\n")
    ));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/data/seed"]), "from the image");
}

fn nocopy_leaves_it_empty(w: &World) {
    w.compose(&format!(
        "{}volumes: {{vol: {{}}}}\n",
        service(
            "    volumes: [{type: volume, source: vol, target: /data, volume: {nocopy: true}}]\n"
        )
    ));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["sh", "-c", "ls /data | wc -l"]), "0");
}

fn two_services_share_a_volume(w: &World) {
    w.compose(
        r#"
services:
  a: {image: "${IMAGE}", command: sleep 1000, volumes: ["store:/store"]}
  b: {image: "${IMAGE}", command: sleep 1000, volumes: ["store:/elsewhere:ro"]}
volumes: {store: {}}
"#,
    );
    w.hoist(&["up", "-d"]).success();
    w.exec("a", &["sh", "-c", "echo shared > /store/file"]);
    assert_eq!(w.exec("b", &["cat", "/elsewhere/file"]), "shared");
    w.hoist(&["exec", "-T", "b", "touch", "/elsewhere/no"])
        .exits(1);
}

fn an_anonymous_volume_goes_with_down_v(w: &World) {
    w.compose(&service("    volumes: [/anon]\n"));
    w.hoist(&["up", "-d"]).success();
    let mounts = w.inspect("a")["Mounts"].clone();
    let name = mounts[0]["Name"].as_str().unwrap().to_owned();
    assert!(w.api.find(&format!("/volumes/{name}")).is_some());
    w.hoist(&["down", "-v"]).success();
    assert!(w.api.find(&format!("/volumes/{name}")).is_none());
}

fn an_external_volume_is_never_removed(w: &World) {
    let name = format!("ext-{}", w.project);
    w.compose(&format!(
        "{}volumes: {{vol: {{name: {name}, external: true}}}}\n",
        service("    volumes: [\"vol:/v\"]\n")
    ));
    w.hoist(&["up", "-d"]).exits(1).says(&name);
    w.api
        .post("/volumes/create", &serde_json::json!({"Name": name}));
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["down", "-v"]).success();
    assert!(w.api.find(&format!("/volumes/{name}")).is_some());
    assert!(w.api.delete(&format!("/volumes/{name}")) < 300);
}

fn a_relative_bind_is_of_the_projects_folder(w: &World) {
    w.file("site/page", "hello\n");
    w.compose(&service("    volumes: [\"./site:/site:ro\"]\n"));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/site/page"]), "hello");
    w.file("site/page", "changed\n");
    assert_eq!(
        w.exec("a", &["cat", "/site/page"]),
        "changed",
        "a bind is live"
    );
    w.hoist(&["exec", "-T", "a", "touch", "/site/no"]).exits(1);
}

fn a_missing_bind_source_is_made(w: &World) {
    w.compose(&service("    volumes: [\"./made:/made\"]\n"));
    w.hoist(&["up", "-d"]).success();
    assert!(w.folder.join("made").is_dir());
}

fn a_missing_bind_source_can_be_an_error(w: &World) {
    w.compose(&service(
        "    volumes: [{type: bind, source: ./missing, target: /x, bind: {create_host_path: false}}]\n",
    ));
    w.hoist(&["up", "-d"]).exits(1).says("missing");
    assert!(w.running().is_empty());
    assert!(!w.folder.join("missing").exists());
}

fn a_single_file_is_bound(w: &World) {
    w.file("app.conf", "key=1\n");
    w.compose(&service("    volumes: [\"./app.conf:/etc/app.conf\"]\n"));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/etc/app.conf"]), "key=1");
}

fn tmpfs_is_in_memory_and_empty(w: &World) {
    w.compose(&service("    tmpfs: [\"/scratch:size=1m,mode=0700\"]\n    volumes: [{type: tmpfs, target: /more, tmpfs: {size: 2m}}]\n"));
    w.hoist(&["up", "-d"]).success();
    let mounts = w.exec("a", &["cat", "/proc/mounts"]);
    let line = |target: &str| {
        mounts
            .lines()
            .find(|line| line.split(' ').nth(1) == Some(target))
            .unwrap_or("")
            .to_owned()
    };
    assert!(
        line("/scratch").contains("tmpfs") && line("/scratch").contains("size=1024k"),
        "{mounts}"
    );
    assert!(line("/more").contains("size=2048k"), "{mounts}");
}

fn a_subpath_of_a_volume_is_mounted(w: &World) {
    if w.lacks_api("1.45") {
        return;
    }
    w.compose(
        r#"
services:
  seed: {image: "${IMAGE}", command: ["sh", "-c", "mkdir -p /v/sub; echo deep > /v/sub/file"], volumes: ["vol:/v"]}
  a:
    image: ${IMAGE}
    command: sleep 1000
    volumes: [{type: volume, source: vol, target: /sub, volume: {subpath: sub}}]
    depends_on: {seed: {condition: service_completed_successfully}}
volumes: {vol: {}}
"#,
    );
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/sub/file"]), "deep");
}

fn volumes_from_another_service(w: &World) {
    w.compose(
        r#"
services:
  base: {image: "${IMAGE}", command: sleep 1000, volumes: [/shared]}
  a: {image: "${IMAGE}", command: sleep 1000, volumes_from: [base]}
"#,
    );
    w.hoist(&["up", "-d"]).success();
    w.exec("base", &["sh", "-c", "echo x > /shared/file"]);
    assert_eq!(w.exec("a", &["cat", "/shared/file"]), "x");
}

fn volume_driver_options_mount_a_folder(w: &World) {
    w.file("backing/file", "backed\n");
    w.compose(&format!(
        "{}volumes:\n  vol:\n    driver: local\n    driver_opts: {{type: none, o: bind, device: ./backing}}\n",
        service("    volumes: [\"vol:/v\"]\n")
    ));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/v/file"]), "backed");
    w.hoist(&["down", "-v"]).success();
    assert!(
        w.folder.join("backing/file").exists(),
        "the folder is the user's"
    );
}

fn volumes_are_listed(w: &World) {
    w.compose(NAMED);
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["volumes", "-q"])
        .success()
        .prints(&format!("{}_store", w.project));
}

fn a_read_only_root_can_have_writable_places(w: &World) {
    w.compose(&service("    read_only: true\n    tmpfs: [/tmp]\n"));
    w.hoist(&["up", "-d"]).success();
    w.hoist(&["exec", "-T", "a", "touch", "/no"]).exits(1);
    w.exec("a", &["touch", "/tmp/yes"]);
}

fn a_file_secret_is_mounted_read_only(w: &World) {
    w.file("token.txt", "s3cret\n");
    w.compose(&format!(
        "{}secrets: {{token: {{file: ./token.txt}}}}\n",
        service("    secrets: [token]\n")
    ));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/run/secrets/token"]), "s3cret");
    w.hoist(&["exec", "-T", "a", "sh", "-c", "echo x > /run/secrets/token"])
        .exits(1);
}

fn a_secret_of_the_environment_has_its_mode(w: &World) {
    w.compose(&format!(
        "{}secrets: {{token: {{environment: TOKEN}}}}\n",
        service("    secrets: [{source: token, target: renamed, uid: \"1000\", gid: \"1000\", mode: 0400}]\n")
    ));
    w.hoist_with(&[("TOKEN", "from-env")], &["up", "-d"])
        .success();
    assert_eq!(w.exec("a", &["cat", "/run/secrets/renamed"]), "from-env");
    assert_eq!(
        w.exec("a", &["stat", "-c", "%a %u %g", "/run/secrets/renamed"]),
        "400 1000 1000"
    );
}

fn a_secret_of_an_unset_variable_is_an_error(w: &World) {
    w.compose(&format!(
        "{}secrets: {{token: {{environment: NO_SUCH_TOKEN}}}}\n",
        service("    secrets: [token]\n")
    ));
    w.hoist(&["up", "-d"]).exits(1).says("NO_SUCH_TOKEN");
}

fn configs_come_from_files_and_content(w: &World) {
    w.file("app.conf", "from file\n");
    w.compose(&format!(
        "{}configs:\n  one: {{file: ./app.conf}}\n  two: {{content: \"hello ${{WHO:-world}}\\n\"}}\n",
        service("    configs: [one, {source: two, target: /etc/two.conf, mode: 0440}]\n")
    ));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/one"]), "from file");
    assert_eq!(w.exec("a", &["cat", "/etc/two.conf"]), "hello world");
    assert_eq!(w.exec("a", &["stat", "-c", "%a", "/etc/two.conf"]), "440");
}

fn a_config_of_the_environment_is_written(w: &World) {
    w.compose(&format!(
        "{}configs: {{c: {{environment: CONF}}}}\n",
        service("    configs: [{source: c, target: /c}]\n")
    ));
    w.hoist_with(&[("CONF", "value")], &["up", "-d"]).success();
    assert_eq!(w.exec("a", &["cat", "/c"]), "value");
}

fn a_volume_in_use_elsewhere_is_kept_by_down(w: &World) {
    w.compose(NAMED);
    w.hoist(&["up", "-d"]).success();
    let other = w.api.post(
        "/containers/create",
        &serde_json::json!({"Image": w.image, "Cmd": ["true"], "HostConfig": {"Binds": [format!("{}_store:/v", w.project)]}}),
    );
    w.hoist(&["down", "-v"]);
    assert!(w.volume("store").is_some());
    w.api.delete(&format!(
        "/containers/{}?force=1",
        other["Id"].as_str().unwrap()
    ));
    w.hoist(&["down", "-v"]).success();
    eventually("the volume is gone", || {
        w.volume("store").is_none().then_some(())
    });
}

both_engines!(
    a_named_volume_outlives_its_container,
    a_named_volume_has_composes_labels,
    an_empty_volume_takes_the_images_content,
    nocopy_leaves_it_empty,
    two_services_share_a_volume,
    an_anonymous_volume_goes_with_down_v,
    an_external_volume_is_never_removed,
    a_relative_bind_is_of_the_projects_folder,
    a_missing_bind_source_is_made,
    a_missing_bind_source_can_be_an_error,
    a_single_file_is_bound,
    tmpfs_is_in_memory_and_empty,
    a_subpath_of_a_volume_is_mounted,
    volumes_from_another_service,
    volume_driver_options_mount_a_folder,
    volumes_are_listed,
    a_read_only_root_can_have_writable_places,
    a_file_secret_is_mounted_read_only,
    a_secret_of_the_environment_has_its_mode,
    a_secret_of_an_unset_variable_is_an_error,
    configs_come_from_files_and_content,
    a_config_of_the_environment_is_written,
    a_volume_in_use_elsewhere_is_kept_by_down,
);
