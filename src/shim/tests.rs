//! Whole containers through the shim, as the engine has them; each test looks again afterwards.

use std::fs;
use std::path::Path;

use crate::oci::runtime_spec::{
    BindMount, ConsoleSize, MountKind, MountSpec, Namespace, ReadonlyBind, Rlimit, RootfsSource,
    TmpfsMount, default_masked_paths, default_readonly_paths,
};
use crate::shim::client::{AttachOptions, ExecSpec, Reconnected, Shim, StartErrorKind, Target};
use crate::shim::test_container::{ALL_OUTPUT, TestContainer, process};
use crate::shim::zygote;

/// Not a test: the zygote of the others.
#[test]
fn zygote_role() {
    if std::env::var_os(zygote::ROLE).is_some() {
        zygote::main();
    }
}

fn with_busybox(script: &str) -> String {
    format!(
        "export PATH=/bin; for a in $(busybox --list); do busybox ln -s busybox /bin/$a 2>/dev/null; done; {script}"
    )
}

#[tokio::test]
async fn a_container_is_isolated_and_its_end_is_told() {
    let Some(container) = TestContainer::new(&with_busybox(
        "echo pid $$; hostname; id -u; ls /proc | grep -c '^[0-9]'; grep CapEff /proc/self/status; \
         grep Seccomp: /proc/self/status; cat /proc/self/cgroup | cut -d: -f3 | sort -u; \
         ls /proc/self/fd | wc -l; echo err >&2; exit 7",
    )) else {
        return;
    };
    let outcome = container.run().await;
    assert_eq!(outcome.exit.code, 7, "{outcome:?}");
    assert_eq!(outcome.stderr, "err\n");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], "pid 1");
    assert_eq!(lines[1], "box");
    assert_eq!(lines[2], "0");
    assert!(
        outcome.stdout.contains("CapEff:\t00000000a80425fb"),
        "{outcome:?}"
    );
    assert!(outcome.stdout.contains("Seccomp:\t2"), "{outcome:?}");
    assert!(!outcome.exit.oom_killed);
}

#[tokio::test]
async fn the_root_is_the_containers_and_the_devices_are_there() {
    let Some(container) = TestContainer::new(&with_busybox(
        "ls /; ls -l /dev | cut -c1-10; echo x > /dev/null && head -c4 /dev/zero | wc -c; \
         mount | wc -l; cat /proc/sysrq-trigger 2>&1; (echo 1 > /proc/sys/vm/swappiness) 2>&1; \
         ls /sys/firmware | wc -l; mknod /tmp/m c 1 1; (: < /tmp/m) 2>&1; unshare -U true 2>&1; \
         mount -t tmpfs x /tmp 2>&1",
    )) else {
        return;
    };
    let outcome = container.run().await;
    assert!(
        outcome.stdout.contains("Read-only file system"),
        "{outcome:?}"
    );
    assert!(
        outcome.stdout.contains("Operation not permitted"),
        "{outcome:?}"
    );
    assert!(outcome.stdout.contains("permission denied"), "{outcome:?}");
    assert!(
        outcome
            .stdout
            .starts_with("bin\ndev\netc\nproc\nsys\ntmp\n"),
        "{outcome:?}"
    );
    assert!(container.path("upper/tmp/m").exists());
}

#[tokio::test]
async fn every_masked_and_readonly_path_that_exists_is_covered() {
    let masked = default_masked_paths().join(" ");
    let readonly = default_readonly_paths().join(" ");
    let Some(container) = TestContainer::new(&with_busybox(&format!(
        "for p in {masked}; do [ ! -e $p ] || grep -q \" $p \" /proc/self/mountinfo || echo open $p; \
           [ ! -d $p ] || [ -z \"$(ls -A $p)\" ] || echo shown $p; \
           [ ! -f $p ] || echo file $p; done; \
         for p in {readonly}; do [ ! -e $p ] || grep -q \" $p ro,\" /proc/self/mountinfo || echo writable $p; done; \
         grep -E 'Cap(Inh|Amb)|NoNewPrivs' /proc/self/status; ls /proc/1/fd; \
         grep -c ' / / ' /proc/self/mountinfo; grep -E 'shared|master' /proc/self/mountinfo | wc -l"
    ))) else {
        return;
    };
    let outcome = container.run().await;
    let expected =
        "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\n0\n1\n2\n1\n0\n";
    assert_eq!(outcome.stdout, expected, "{outcome:?}");
}

#[tokio::test]
async fn errors_of_the_command_are_dockers() {
    let cases: [(&[&str], StartErrorKind, &str); 6] = [
        (
            &["nosuch"],
            StartErrorKind::NotFound,
            "exec: \"nosuch\": executable file not found in $PATH",
        ),
        (
            &["/nosuch"],
            StartErrorKind::NotFound,
            "exec: \"/nosuch\": stat /nosuch: no such file or directory",
        ),
        (
            &["/etc/plain"],
            StartErrorKind::PermissionDenied,
            "exec: \"/etc/plain\": permission denied",
        ),
        (
            &["/etc"],
            StartErrorKind::PermissionDenied,
            "exec: \"/etc\": is a directory",
        ),
        (
            &["/etc/garbage"],
            StartErrorKind::PermissionDenied,
            "exec /etc/garbage: exec format error",
        ),
        (
            &["/etc/script"],
            StartErrorKind::NotFound,
            "exec /etc/script: no such file or directory",
        ),
    ];
    for (args, kind, text) in cases {
        let Some(mut container) = TestContainer::new("") else {
            return;
        };
        let etc = container.path("lower/etc");
        for (name, content, mode) in [
            ("plain", "x", 0o644),
            ("garbage", "\u{1}\u{2}", 0o755),
            ("script", "#!/no/interpreter\n", 0o755),
        ] {
            fs::write(etc.join(name), content).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(etc.join(name), mode).unwrap();
        }
        container.spec.process = process(args);
        let shim = container.create().await;
        let error = shim.start().await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.ends_with(text), "{error}");
        shim.release().await.unwrap();
        container.assert_nothing_left();
    }
}

#[tokio::test]
async fn exec_joins_the_container_and_has_its_own_streams() {
    let Some(container) = TestContainer::new("exec busybox sleep 1000") else {
        return;
    };
    let shim = container.create().await;
    shim.start().await.unwrap();
    let spec = ExecSpec {
        exec_id: "e1".to_owned(),
        process: process(&[
            "/bin/busybox",
            "sh",
            "-c",
            "read a; echo got $a $$; busybox readlink /proc/1/exe; exit 3",
        ]),
        attach: AttachOptions {
            stdin: true,
            ..ALL_OUTPUT
        },
    };
    let mut exec = shim.exec(spec).await.unwrap();
    let mut attached = exec.attached.take().unwrap();
    let mut input = attached.input.take().unwrap();
    input.write_all(b"hello\n").await.unwrap();
    input.close().await.unwrap();
    let mut output = Vec::new();
    while let Some((_, bytes)) = attached.output.next().await {
        output.extend_from_slice(&bytes);
    }
    let output = String::from_utf8(output).unwrap();
    assert!(output.starts_with("got hello "), "{output}");
    assert!(output.ends_with("/bin/busybox\n"), "{output}");
    assert_eq!(exec.wait().await, 3);
    let missing = ExecSpec {
        exec_id: "e2".to_owned(),
        process: process(&["nosuch"]),
        attach: ALL_OUTPUT,
    };
    let error = shim.exec(missing).await.unwrap_err();
    assert_eq!(error.exit_code(), 127);
    assert!(
        error.message.starts_with("OCI runtime exec failed"),
        "{error}"
    );
    shim.signal(libc::SIGKILL, Target::Main).await.unwrap();
    assert_eq!(shim.wait().await.code, 137);
    shim.release().await.unwrap();
    container.assert_nothing_left();
}

#[tokio::test]
async fn what_an_exec_leaves_behind_does_not_hold_its_end_up() {
    let Some(container) = TestContainer::new("exec busybox sleep 1000") else {
        return;
    };
    let shim = container.create().await;
    shim.start().await.unwrap();
    for script in ["busybox sleep 1000 & exit 6", "busybox yes & exit 6"] {
        let spec = ExecSpec {
            exec_id: script.to_owned(),
            process: process(&["/bin/sh", "-c", script]),
            attach: ALL_OUTPUT,
        };
        let mut exec = shim.exec(spec).await.unwrap();
        let mut attached = exec.attached.take().unwrap();
        while attached.output.next().await.is_some() {}
        assert_eq!(exec.wait().await, 6);
    }
    shim.release().await.unwrap();
    container.assert_nothing_left();
}

#[tokio::test]
async fn a_container_starts_again_on_its_volatile_root() {
    let Some(container) =
        TestContainer::new("echo x >> /file; while read l; do echo $l; done < /file")
    else {
        return;
    };
    assert_eq!(container.run().await.stdout, "x\n");
    assert_eq!(container.run().await.stdout, "x\nx\n");
}

#[tokio::test]
async fn a_terminal_has_a_size_and_is_the_console() {
    let Some(mut container) = TestContainer::new(&with_busybox(
        "stty size; tty; test -c /dev/console && echo console; read x; stty size; echo got $x",
    )) else {
        return;
    };
    container.spec.process.tty = true;
    container.spec.process.console_size = Some(ConsoleSize {
        rows: 33,
        columns: 111,
    });
    container.open_stdin = true;
    let shim = container.create().await;
    let wants = AttachOptions {
        stdin: true,
        ..ALL_OUTPUT
    };
    let mut attached = shim.attach(wants).await.unwrap();
    shim.start().await.unwrap();
    let mut output = String::new();
    while !output.contains("console") {
        let (_, bytes) = attached.output.next().await.unwrap();
        output.push_str(&String::from_utf8_lossy(&bytes));
    }
    shim.resize(ConsoleSize {
        rows: 20,
        columns: 70,
    })
    .await
    .unwrap();
    attached
        .input
        .as_mut()
        .unwrap()
        .write_all(b"hi\n")
        .await
        .unwrap();
    while let Some((_, bytes)) = attached.output.next().await {
        output.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(
        output.starts_with("33 111\r\n/dev/pts/0\r\nconsole\r\n"),
        "{output:?}"
    );
    assert!(output.contains("20 70\r\ngot hi\r\n"), "{output:?}");
    assert_eq!(shim.wait().await.code, 0);
    shim.release().await.unwrap();
    container.assert_nothing_left();
}

#[tokio::test]
async fn the_log_has_every_line_also_without_a_client() {
    let Some(mut container) = TestContainer::new(&with_busybox("seq 1 20000; echo e >&2")) else {
        return;
    };
    container.log = true;
    let shim = container.create().await;
    shim.start().await.unwrap();
    shim.wait().await;
    let log = fs::read_to_string(container.path("c.log")).unwrap();
    let stdout = log
        .lines()
        .filter(|line| line.contains("\"stream\":\"stdout\""));
    assert_eq!(stdout.count(), 20000);
    assert!(log.contains("{\"log\":\"20000\\n\",\"stream\":\"stdout\",\"time\":\"2"));
    shim.release().await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let Some(mut container) = TestContainer::new(&with_busybox("seq 1 500000")) else {
        return;
    };
    container.log = true;
    let shim = container.create().await;
    let mut slow = shim.attach(ALL_OUTPUT).await.unwrap();
    shim.start().await.unwrap();
    assert_eq!(shim.wait().await.code, 0);
    let mut length = 0;
    while let Some((_, bytes)) = slow.output.next().await {
        length += bytes.len();
    }
    assert_eq!(length, 3_388_895);
    shim.release().await.unwrap();
    container.assert_nothing_left();
}

#[tokio::test]
async fn stdin_once_ends_with_its_client() {
    let Some(mut container) = TestContainer::new("exec busybox cat") else {
        return;
    };
    (container.open_stdin, container.stdin_once) = (true, true);
    let shim = container.create().await;
    let wants = AttachOptions {
        stdin: true,
        ..ALL_OUTPUT
    };
    let mut attached = shim.attach(wants).await.unwrap();
    let mut input = attached.input.take().unwrap();
    input.write_all(b"before the start\n").await.unwrap();
    shim.start().await.unwrap();
    input.write_all(&vec![b'x'; 300_000]).await.unwrap();
    input.close().await.unwrap();
    let mut length = 0;
    while let Some((_, bytes)) = attached.output.next().await {
        length += bytes.len();
    }
    assert_eq!(length, 300_017);
    assert_eq!(shim.wait().await.code, 0);
    shim.release().await.unwrap();
}

#[tokio::test]
async fn mounts_limits_user_and_kernel_parameters_are_as_asked() {
    let Some(mut container) = TestContainer::new(&with_busybox(
        "id; ulimit -n; cat /data/file; (echo x > /data/new) 2>&1; cat /file; df /scratch | tail -1; \
         cat /proc/sys/kernel/msgmax; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; pwd; echo ok > /dev/stdout; \
         umask; touch /rw/made; cat /proc/self/oom_score_adj",
    )) else {
        return;
    };
    let host = container.path("host");
    for folder in [host.clone(), container.path("rw")] {
        fs::create_dir(&folder).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(folder, mode).unwrap();
    }
    let bin = container.path("lower/bin");
    fs::set_permissions(bin, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    fs::write(host.join("file"), "content\n").unwrap();
    let mut bind = |source: &Path, destination: &str, readonly| {
        container.spec.mounts.push(MountSpec {
            destination: destination.to_owned(),
            kind: MountKind::Bind(BindMount::new(source, readonly)),
        });
    };
    bind(&host, "/data", ReadonlyBind::Recursive);
    bind(&host.join("file"), "/file", ReadonlyBind::No);
    let rw = host.parent().unwrap().join("rw");
    bind(&rw, "/rw", ReadonlyBind::No);
    container.spec.mounts.push(MountSpec {
        destination: "/scratch".to_owned(),
        kind: MountKind::Tmpfs(TmpfsMount {
            size_bytes: Some(1 << 20),
            mode: Some(0o1777),
            uid: None,
            gid: None,
            flags: crate::oci::runtime_spec::MountFlags::default(),
            extra: Vec::new(),
        }),
    });
    let spec = &mut container.spec;
    spec.process.user.uid = 1000;
    spec.process.user.gid = 1001;
    spec.process.user.additional_gids = vec![5, 6];
    spec.process.cwd = "/made/by/start".to_owned();
    spec.process.oom_score_adj = Some(500);
    spec.process.rlimits.push(Rlimit {
        name: "nofile".to_owned(),
        soft: 77,
        hard: 99,
    });
    for (name, value) in [
        ("kernel.msgmax", "9000"),
        ("net.ipv4.ip_unprivileged_port_start", "0"),
    ] {
        spec.sysctls.insert(name.to_owned(), value.to_owned());
    }
    let outcome = container.run().await;
    let text = &outcome.stdout;
    assert!(
        text.starts_with("uid=1000 gid=1001 groups=5,6,1001\n77\ncontent\n"),
        "{outcome:?}"
    );
    assert!(
        text.contains("/data/new: Read-only file system\ncontent\n"),
        "{outcome:?}"
    );
    assert!(text.contains(" 1024 "), "{outcome:?}");
    assert!(
        text.ends_with("9000\n0\n/made/by/start\nok\n0022\n500\n"),
        "{outcome:?}"
    );
    assert!(rw.join("made").exists());
}

#[tokio::test]
async fn a_sysctl_of_the_host_is_refused() {
    let Some(mut container) = TestContainer::new("true") else {
        return;
    };
    container
        .spec
        .sysctls
        .insert("kernel.panic".to_owned(), "1".to_owned());
    let shim = container.create().await;
    let error = shim.start().await.unwrap_err();
    assert!(
        error
            .message
            .ends_with("sysctl \"kernel.panic\" is not in a separate kernel namespace"),
        "{error}"
    );
    shim.release().await.unwrap();
}

#[tokio::test]
async fn init_reaps_forwards_and_ends_as_its_child() {
    let Some(mut container) = TestContainer::new(&with_busybox(
        "(sleep 0.01 &); trap 'echo term; exit 9' TERM; echo ready $$; while :; do sleep 0.01; done",
    )) else {
        return;
    };
    container.spec.init = true;
    let shim = container.create().await;
    let mut attached = shim.attach(ALL_OUTPUT).await.unwrap();
    shim.start().await.unwrap();
    let (_, ready) = attached.output.next().await.unwrap();
    assert_eq!(ready, "ready 2\n");
    shim.signal(libc::SIGTERM, Target::Main).await.unwrap();
    let (_, term) = attached.output.next().await.unwrap();
    assert_eq!(term, "term\n");
    assert_eq!(shim.wait().await.code, 9);
    shim.release().await.unwrap();
    container.assert_nothing_left();
}

#[tokio::test]
async fn memory_that_runs_out_is_told() {
    let Some(mut container) = TestContainer::new("exec busybox tail /dev/zero") else {
        return;
    };
    container.spec.resources.memory_bytes = Some(16 << 20);
    container.spec.resources.memory_swap_bytes = Some(16 << 20);
    let outcome = container.run().await;
    assert_eq!(outcome.exit.code, 137);
    assert!(outcome.exit.oom_killed);
}

#[tokio::test]
async fn a_killed_shim_takes_its_container_along() {
    for pid in [Namespace::New, Namespace::Host] {
        let Some(mut container) = TestContainer::new("busybox sleep 1000 & busybox sleep 1000")
        else {
            return;
        };
        container.spec.namespaces.pid = pid;
        let shim = container.create().await;
        let started = shim.start().await.unwrap();
        crate::sys::process::kill(shim.shim_pid(), libc::SIGKILL).unwrap();
        let exit = shim.wait().await;
        assert_eq!(exit.code, 137);
        assert!(!Path::new(&format!("/proc/{}/exe", started.pid)).exists());
        shim.release().await.unwrap();
        container.assert_nothing_left();
    }
}

#[tokio::test]
async fn processes_in_the_hosts_pid_namespace_do_not_stay() {
    let Some(mut container) =
        TestContainer::new("busybox setsid busybox sleep 1000 & busybox sleep 1000 & exit 4")
    else {
        return;
    };
    container.spec.namespaces.pid = Namespace::Host;
    let outcome = container.run().await;
    assert_eq!(outcome.exit.code, 4);
}

#[tokio::test]
async fn a_new_engine_finds_the_container_and_its_end() {
    let Some(mut container) = TestContainer::new("read x; exit $x") else {
        return;
    };
    container.open_stdin = true;
    let first = container.create().await;
    let started = first.start().await.unwrap();
    let found = Shim::reconnect(&container.state_dir()).await.unwrap();
    let Reconnected::Running(second) = found else {
        panic!("{found:?}");
    };
    assert_eq!(second.started(), Some(started));
    let wants = AttachOptions {
        stdin: true,
        stdout: true,
        stderr: true,
    };
    let mut attached = second.attach(wants).await.unwrap();
    attached
        .input
        .as_mut()
        .unwrap()
        .write_all(b"5\n")
        .await
        .unwrap();
    assert_eq!(second.wait().await.code, 5);
    assert_eq!(first.wait().await.code, 5);
    let found = Shim::reconnect(&container.state_dir()).await.unwrap();
    let Reconnected::Running(third) = found else {
        panic!("{found:?}");
    };
    assert_eq!(third.exit().unwrap().code, 5);
    third.release().await.unwrap();
    container.assert_nothing_left();
    let found = Shim::reconnect(&container.state_dir()).await.unwrap();
    assert!(matches!(found, Reconnected::Gone));
}

#[tokio::test]
async fn hostile_images_get_an_error_and_touch_nothing() {
    let cases = ["proc", "dev", "sys"];
    for name in cases {
        let Some(container) = TestContainer::new("true") else {
            return;
        };
        let canary = container.path("canary");
        fs::create_dir(&canary).unwrap();
        std::os::unix::fs::symlink("../canary", container.path("lower").join(name)).unwrap();
        let shim = container.create().await;
        let error = shim.start().await.unwrap_err();
        assert!(error.message.contains("symbolic link"), "{error}");
        shim.release().await.unwrap();
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 0);
        container.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_working_directory_behind_a_descriptor_is_refused() {
    for number in 0..12 {
        let Some(mut container) = TestContainer::new("true") else {
            return;
        };
        container.spec.process.cwd = format!("/proc/self/fd/{number}");
        let shim = container.create().await;
        let error = shim.start().await.unwrap_err();
        assert!(error.message.contains("chdir to cwd"), "{error}");
        shim.release().await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_mounted_over_proc() {
    for destination in ["/proc/sys", "/proc", "/link/sys"] {
        let Some(mut container) = TestContainer::new("true") else {
            return;
        };
        std::os::unix::fs::symlink("/proc", container.path("lower/link")).unwrap();
        let source = container.path("lower/etc");
        container.spec.mounts.push(MountSpec {
            destination: destination.to_owned(),
            kind: MountKind::Bind(BindMount::new(source, ReadonlyBind::No)),
        });
        let shim = container.create().await;
        let error = shim.start().await.unwrap_err();
        assert!(
            error.message.contains("cannot be mounted because"),
            "{error}"
        );
        shim.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_read_only_root_is_one_also_as_a_plain_directory() {
    let Some(mut container) =
        TestContainer::new("(echo x > /new) 2>&1; echo x > /dev/shm/new && echo shm")
    else {
        return;
    };
    for name in ["proc", "dev", "sys"] {
        fs::create_dir(container.path("lower").join(name)).unwrap();
    }
    container.spec.root.source = RootfsSource::Directory(container.path("lower"));
    container.spec.root.readonly = true;
    let outcome = container.run().await;
    assert!(
        outcome.stdout.contains("Read-only file system"),
        "{outcome:?}"
    );
    assert!(outcome.stdout.ends_with("shm\n"), "{outcome:?}");
}

#[tokio::test]
async fn namespaces_and_shared_memory_of_another_container_are_joined() {
    let Some(first) = TestContainer::new("echo secret > /dev/shm/x; exec busybox sleep 1000")
    else {
        return;
    };
    let one = first.create().await;
    let started = one.start().await.unwrap();
    let Some(mut second) = TestContainer::new(
        "while ! busybox test -s /dev/shm/x; do :; done; read x < /dev/shm/x; echo $x; busybox hostname; busybox ps | busybox grep -c '[s]leep 1000'",
    ) else {
        return;
    };
    let path = |kind: &str| Namespace::Path(format!("/proc/{}/ns/{kind}", started.pid).into());
    second.spec.namespaces.ipc = path("ipc");
    second.spec.namespaces.pid = path("pid");
    second.spec.namespaces.net = path("net");
    second.spec.namespaces.uts = path("uts");
    second.spec.hostname = "other".to_owned();
    for entry in &mut second.spec.mounts {
        if entry.destination == "/dev/shm" {
            entry.kind = MountKind::ShmOf { pid: started.pid };
        }
    }
    let outcome = second.run().await;
    assert_eq!(outcome.stdout, "secret\nbox\n1\n", "{outcome:?}");
    one.release().await.unwrap();
    first.assert_nothing_left();
}
