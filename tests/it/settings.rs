//! What a service's attributes do to its container: process, limits, privileges, namespaces.

use crate::support::{World, both_engines, eventually};

fn up(w: &World, lines: &str) {
    w.compose(&format!(
        "services:\n  a:\n    image: ${{IMAGE}}\n    command: sleep 1000\n{lines}"
    ));
    w.hoist(&["up", "-d"]).success();
}

fn user_and_folder_are_the_processs(w: &World) {
    up(
        w,
        "    user: app:staff\n    working_dir: /tmp\n    group_add: [\"1234\"]\n",
    );
    assert_eq!(
        w.exec("a", &["sh", "-c", "id -u; id -g; id -G; pwd"])
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        "1000 50 50 1234 /tmp"
    );
    let status = w.exec("a", &["grep", "-E", "^(Uid|Gid|Groups)", "/proc/1/status"]);
    assert!(
        status.contains("1000") && status.contains("1234"),
        "{status}"
    );
}

fn an_unknown_user_is_an_error(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", user: nosuch}\n");
    w.hoist(&["up", "-d"]).exits(1).says("nosuch");
}

fn a_missing_working_dir_is_made(w: &World) {
    up(w, "    working_dir: /new/folder\n");
    assert_eq!(w.exec("a", &["pwd"]), "/new/folder");
}

fn the_environment_is_merged(w: &World) {
    w.file("one.env", "A=one\nB=one\nC=\"quoted $A\"\n");
    w.file(".env", "FROM_DOTENV=dot\n");
    w.compose(
        r#"
services:
  a:
    image: ${IMAGE}
    command: sleep 1000
    env_file: one.env
    environment: {B: own, D: "${FROM_DOTENV}", E: }
"#,
    );
    w.hoist_with(&[("E", "passed")], &["up", "-d"]).success();
    let env = w.exec("a", &["env"]);
    for line in ["A=one", "B=own", "C=quoted one", "D=dot", "E=passed"] {
        assert!(
            env.lines().any(|have| have == line),
            "{line} is missing in {env}"
        );
    }
}

fn entrypoint_and_command_combine(w: &World) {
    let image = w.image_named(
        "entry",
        &serde_json::json!({"Entrypoint": ["echo", "image"], "Cmd": ["default"]}),
    );
    w.compose(&format!(
        r#"
services:
  plain: {{image: "{image}"}}
  cmd: {{image: "{image}", command: given}}
  entry: {{image: "{image}", entrypoint: ["echo", "own"]}}
  both: {{image: "{image}", entrypoint: "echo own", command: ["a b", c]}}
"#
    ));
    w.hoist(&["up"]).success();
    assert_eq!(w.logged("plain").trim(), "image default");
    assert_eq!(w.logged("cmd").trim(), "image given");
    assert_eq!(w.logged("entry").trim(), "own");
    assert_eq!(w.logged("both").trim(), "own a b c");
}

fn memory_and_pids_are_limited(w: &World) {
    up(w, "    mem_limit: 64m\n    pids_limit: 40\n    cpus: 0.5\n");
    let host = w.inspect("a")["HostConfig"].clone();
    assert_eq!(host["Memory"], 64 << 20);
    assert_eq!(host["PidsLimit"], 40);
    assert_eq!(host["NanoCpus"], 500_000_000);
    w.hoist(&[
        "exec",
        "-T",
        "a",
        "sh",
        "-c",
        "for i in $(seq 60); do sleep 5 & done",
    ])
    .says("fork");
}

fn too_much_memory_ends_the_process(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", mem_limit: 24m, memswap_limit: 24m, command: [\"sh\", \"-c\", \"tail /dev/zero\"]}\n");
    w.hoist(&["up", "-d"]).success();
    w.wait_state("a", "exited");
    let state = w.inspect("a")["State"].clone();
    assert_eq!(state["ExitCode"], 137, "{state}");
    assert_eq!(state["OOMKilled"], true, "{state}");
}

fn deploy_limits_count(w: &World) {
    up(
        w,
        "    deploy: {resources: {limits: {memory: 48M, cpus: \"0.25\", pids: 33}, reservations: {memory: 16M}}}\n",
    );
    let host = w.inspect("a")["HostConfig"].clone();
    assert_eq!(host["Memory"], 48 << 20);
    assert_eq!(host["MemoryReservation"], 16 << 20);
    assert_eq!(host["NanoCpus"], 250_000_000);
    assert_eq!(host["PidsLimit"], 33);
}

fn ulimits_are_set(w: &World) {
    up(
        w,
        "    ulimits: {nofile: {soft: 1000, hard: 2000}, nproc: 500}\n",
    );
    assert_eq!(
        w.exec("a", &["sh", "-c", "ulimit -Sn; ulimit -Hn"])
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["1000", "2000"]
    );
}

fn sysctls_are_set(w: &World) {
    up(
        w,
        "    sysctls: {net.ipv4.ip_unprivileged_port_start: 1234}\n",
    );
    assert_eq!(
        w.exec(
            "a",
            &["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]
        ),
        "1234"
    );
}

fn capabilities_are_added_and_dropped(w: &World) {
    up(w, "    cap_add: [NET_ADMIN]\n    cap_drop: [CHOWN]\n");
    let caps = w.exec("a", &["grep", "CapEff", "/proc/1/status"]);
    let caps = u64::from_str_radix(caps.split_whitespace().last().unwrap(), 16).unwrap();
    assert_ne!(caps & (1 << 12), 0, "NET_ADMIN");
    assert_eq!(caps & 1, 0, "CHOWN");
}

fn privileged_has_all(w: &World) {
    if w.lacks_api("1.44") {
        return;
    }
    up(w, "    privileged: true\n");
    w.exec(
        "a",
        &["sh", "-c", "mount -t tmpfs none /tmp && umount /tmp"],
    );
}

fn unprivileged_cannot_mount(w: &World) {
    up(w, "");
    assert_ne!(
        w.hoist(&["exec", "-T", "a", "mount", "-t", "tmpfs", "none", "/tmp"])
            .code,
        0
    );
}

fn init_reaps_orphans(w: &World) {
    up(w, "    init: true\n");
    w.exec("a", &["sh", "-c", "(sleep 0.1 &)"]);
    eventually("no zombie is left", || {
        (!w.exec("a", &["ps", "-o", "stat,comm"]).contains('Z')).then_some(())
    });
    assert_ne!(
        w.exec("a", &["sh", "-c", "cat /proc/1/comm"]),
        "sleep",
        "PID 1 is an init"
    );
}

fn shm_size_is_set(w: &World) {
    up(w, "    shm_size: 16m\n");
    let mounts = w.exec("a", &["grep", "/dev/shm", "/proc/mounts"]);
    assert!(mounts.contains("size=16384k"), "{mounts}");
}

fn labels_are_the_containers(w: &World) {
    up(
        w,
        "    labels: {com.example.a: b}\n    annotations: {note: here}\n",
    );
    assert_eq!(w.label("a", "com.example.a"), "b");
}

fn devices_are_passed(w: &World) {
    up(w, "    devices: [\"/dev/null:/dev/mynull\"]\n");
    w.exec(
        "a",
        &["sh", "-c", "test -c /dev/mynull && echo x > /dev/mynull"],
    );
}

fn a_shared_pid_namespace_shows_the_other(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 4321}\n  b: {image: \"${IMAGE}\", command: sleep 1000, pid: \"service:a\"}\n");
    w.hoist(&["up", "-d"]).success();
    assert!(w.exec("b", &["ps", "-o", "args"]).contains("sleep 4321"));
}

fn the_hosts_pids_are_seen_on_request(w: &World) {
    up(w, "    pid: host\n");
    assert_ne!(w.exec("a", &["cat", "/proc/1/comm"]), "sleep");
}

fn a_shared_ipc_namespace_is_the_same(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, ipc: shareable}\n  b: {image: \"${IMAGE}\", command: sleep 1000, ipc: \"service:a\"}\n");
    w.hoist(&["up", "-d"]).success();
    let link = |name: &str| w.exec(name, &["readlink", "/proc/self/ns/ipc"]);
    assert_eq!(link("a"), link("b"));
}

fn no_new_privileges_is_set(w: &World) {
    up(w, "    security_opt: [\"no-new-privileges:true\"]\n");
    assert!(
        w.exec("a", &["grep", "NoNewPrivs", "/proc/1/status"])
            .ends_with('1')
    );
}

fn a_tty_is_given(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: [\"sh\", \"-c\", \"tty; sleep 1000\"], tty: true}\n");
    w.hoist(&["up", "-d"]).success();
    eventually("the terminal is named", || {
        w.logged("a").contains("/dev/").then_some(())
    });
}

fn oom_score_is_adjusted(w: &World) {
    up(w, "    oom_score_adj: 321\n");
    assert_eq!(w.exec("a", &["cat", "/proc/1/oom_score_adj"]), "321");
}

fn logs_are_rotated_as_told(w: &World) {
    up(
        w,
        "    logging: {driver: json-file, options: {max-size: 1m, max-file: \"2\"}}\n",
    );
    let config = w.inspect("a")["HostConfig"]["LogConfig"].clone();
    assert_eq!(config["Type"], "json-file");
    assert_eq!(config["Config"]["max-size"], "1m");
}

fn a_service_without_logs_has_none(w: &World) {
    w.compose(
        "services:\n  a: {image: \"${IMAGE}\", command: echo hidden, logging: {driver: none}}\n",
    );
    w.hoist(&["up"]).success();
    assert!(!w.hoist(&["logs"]).stdout.contains("hidden"));
}

fn a_missing_program_fails_up(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: /no/such/program}\n");
    w.hoist(&["up", "-d"])
        .exits(1)
        .says("no such file or directory");
    assert_eq!(w.inspect("a")["State"]["ExitCode"], 127);
}

fn a_program_without_permission_fails_up(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: /etc/passwd}\n");
    w.hoist(&["up", "-d"]).exits(1).says("permission denied");
    assert_eq!(w.inspect("a")["State"]["ExitCode"], 126);
}

fn the_hosts_uts_namespace_is_shared_on_request(w: &World) {
    w.compose(
        "services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, cgroup: host, uts: host}\n",
    );
    w.hoist(&["up", "-d"]).success();
    let host = nix::unistd::gethostname().unwrap();
    assert_eq!(w.exec("a", &["hostname"]), host.to_string_lossy());
}

both_engines!(
    user_and_folder_are_the_processs,
    an_unknown_user_is_an_error,
    a_missing_working_dir_is_made,
    the_environment_is_merged,
    entrypoint_and_command_combine,
    memory_and_pids_are_limited,
    too_much_memory_ends_the_process,
    deploy_limits_count,
    ulimits_are_set,
    sysctls_are_set,
    capabilities_are_added_and_dropped,
    privileged_has_all,
    unprivileged_cannot_mount,
    init_reaps_orphans,
    shm_size_is_set,
    labels_are_the_containers,
    devices_are_passed,
    a_shared_pid_namespace_shows_the_other,
    the_hosts_pids_are_seen_on_request,
    a_shared_ipc_namespace_is_the_same,
    no_new_privileges_is_set,
    a_tty_is_given,
    oom_score_is_adjusted,
    logs_are_rotated_as_told,
    a_service_without_logs_has_none,
    a_missing_program_fails_up,
    a_program_without_permission_fails_up,
    the_hosts_uts_namespace_is_shared_on_request,
);
