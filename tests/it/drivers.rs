//! Other clients on hoist's engine: Docker's own command line and docker compose, unchanged.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Output, Process, World, bundled_engine, eventually, leave_out};

fn find(names: &[&str]) -> Option<PathBuf> {
    let found = names.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        leave_out(&format!("{} is not installed", names[0]));
    }
    found
}

/// Docker's command line in the project's folder, on the scenario's engine.
struct Docker<'a> {
    program: PathBuf,
    w: &'a World,
}

impl<'a> Docker<'a> {
    fn new(w: &'a World) -> Option<Self> {
        find(&["/usr/bin/docker", "/usr/local/bin/docker"]).map(|program| Self { program, w })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(&self.w.folder).env_clear();
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.w.temp().join("home"));
        command
            .env("DOCKER_HOST", self.w.docker_host())
            .env("DOCKER_BUILDKIT", "0");
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Output {
        Process::spawn(self.command(args)).finish()
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.run(args).success().stdout.trim().to_owned()
    }
}

fn docker_run_exec_logs_stop_rm(w: &World) {
    let Some(docker) = Docker::new(w) else { return };
    assert_eq!(docker.ok(&["run", "--rm", &w.image, "echo", "hi"]), "hi");
    docker
        .run(&["run", "--rm", &w.image, "sh", "-c", "exit 9"])
        .exits(9);
    docker
        .run(&["run", "--rm", &w.image, "/no/such"])
        .exits(127);
    let id = docker.ok(&[
        "run",
        "-d",
        "--name",
        "one",
        "-e",
        "A=b",
        "-l",
        "x=y",
        &w.image,
        "sh",
        "-c",
        "echo started; sleep 1000",
    ]);
    assert_eq!(docker.ok(&["ps", "-q", "--no-trunc"]), id);
    assert_eq!(docker.ok(&["exec", "one", "sh", "-c", "echo $A"]), "b");
    docker.run(&["exec", "one", "false"]).exits(1);
    eventually("the log", || {
        (docker.ok(&["logs", "one"]) == "started").then_some(())
    });
    assert_eq!(
        docker.ok(&[
            "inspect",
            "-f",
            "{{.State.Status}} {{.Config.Labels.x}}",
            "one"
        ]),
        "running y"
    );
    assert!(docker.ok(&["top", "one"]).contains("sleep 1000"));
    docker.ok(&["rename", "one", "two"]);
    docker.ok(&["pause", "two"]);
    assert_eq!(
        docker.ok(&["ps", "-q", "--filter", "status=paused", "--no-trunc"]),
        id
    );
    docker.ok(&["unpause", "two"]);
    docker.ok(&["restart", "-t", "0", "two"]);
    docker.ok(&["stop", "-t", "0", "two"]);
    assert_eq!(docker.ok(&["wait", "two"]), "137");
    docker.ok(&["start", "two"]);
    docker.run(&["rm", "two"]).exits(1).says("two");
    docker.ok(&["rm", "-f", "two"]);
    assert_eq!(docker.ok(&["ps", "-aq"]), "");
}

fn docker_run_reads_standard_input(w: &World) {
    let Some(docker) = Docker::new(w) else { return };
    let mut process = Process::spawn(docker.command(&["run", "--rm", "-i", &w.image, "wc", "-c"]));
    process.write(&"y".repeat(200_000));
    process.close_stdin();
    assert_eq!(process.finish().success().stdout.trim(), "200000");
}

fn docker_networks_and_volumes(w: &World) {
    let Some(docker) = Docker::new(w) else { return };
    docker.ok(&["network", "create", "--subnet", "10.199.7.0/24", "net"]);
    docker.ok(&["volume", "create", "vol"]);
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "server",
        "--network",
        "net",
        "--network-alias",
        "other",
        "-v",
        "vol:/v",
        &w.image,
        "sleep",
        "1000",
    ]);
    docker.ok(&["exec", "server", "sh", "-c", "echo kept > /v/file"]);
    assert_eq!(
        docker.ok(&["run", "--rm", "-v", "vol:/v:ro", &w.image, "cat", "/v/file"]),
        "kept"
    );
    assert!(
        docker
            .ok(&[
                "run",
                "--rm",
                "--network",
                "net",
                &w.image,
                "ping",
                "-c1",
                "-W2",
                "other"
            ])
            .contains("10.199.7.")
    );
    docker.run(&["network", "rm", "net"]).exits(1);
    docker.run(&["volume", "rm", "vol"]).exits(1);
    docker.ok(&["network", "disconnect", "net", "server"]);
    docker.ok(&["network", "connect", "--ip", "10.199.7.50", "net", "server"]);
    assert!(
        docker
            .ok(&["exec", "server", "ip", "addr"])
            .contains("10.199.7.50/24")
    );
    docker.ok(&["rm", "-f", "server"]);
    docker.ok(&["network", "rm", "net"]);
    docker.ok(&["volume", "rm", "vol"]);
}

fn docker_images_build_save_load(w: &World) {
    let Some(docker) = Docker::new(w) else { return };
    w.file(
        "ctx/Dockerfile",
        &format!(
            "FROM {}\nRUN echo made > /made\nCMD [\"cat\", \"/made\"]\n",
            w.image
        ),
    );
    docker.ok(&["build", "-t", "made:1", "ctx"]);
    assert_eq!(docker.ok(&["run", "--rm", "made:1"]), "made");
    docker.ok(&["tag", "made:1", "made:2"]);
    assert!(
        docker
            .ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"])
            .contains("made:2")
    );
    docker.ok(&["save", "-o", "made.tar", "made:2"]);
    docker.ok(&["rmi", "made:1", "made:2"]);
    docker
        .run(&["run", "--rm", "--pull", "never", "made:2"])
        .exits(125);
    docker.ok(&["load", "-i", "made.tar"]);
    assert_eq!(docker.ok(&["run", "--rm", "made:2"]), "made");
    assert!(docker.ok(&["history", "made:2"]).contains("made"));
    docker.ok(&["rmi", "made:2"]);
}

fn docker_cp_diff_commit(w: &World) {
    let Some(docker) = Docker::new(w) else { return };
    w.file("note", "note\n");
    docker.ok(&["run", "-d", "--name", "box", &w.image, "sleep", "1000"]);
    docker.ok(&["cp", "note", "box:/tmp/note"]);
    docker.ok(&["cp", "box:/tmp/note", "back"]);
    assert_eq!(
        std::fs::read_to_string(w.folder.join("back")).unwrap(),
        "note\n"
    );
    assert!(docker.ok(&["diff", "box"]).contains("A /tmp/note"));
    docker.ok(&["commit", "box", "committed:1"]);
    assert_eq!(
        docker.ok(&["run", "--rm", "committed:1", "cat", "/tmp/note"]),
        "note"
    );
    docker.ok(&["rm", "-f", "box"]);
    docker.ok(&["rmi", "committed:1"]);
}

fn docker_tells_of_its_engine(w: &World) {
    let Some(docker) = Docker::new(w) else { return };
    docker.ok(&["version"]);
    docker.ok(&["info"]);
    docker.ok(&["system", "df"]);
    docker.ok(&["run", "-d", "--name", "box", &w.image, "sleep", "1000"]);
    assert!(
        docker
            .ok(&["stats", "--no-stream", "--format", "{{.Name}}"])
            .contains("box")
    );
    docker.ok(&["rm", "-f", "box"]);
    docker.ok(&["container", "prune", "-f"]);
}

fn docker_compose_drives_the_engine(w: &World) {
    let named = std::env::var("HOIST_TEST_COMPOSE").unwrap_or_default();
    let known = [
        named.as_str(),
        "/usr/libexec/docker/cli-plugins/docker-compose",
        "/usr/lib/docker/cli-plugins/docker-compose",
    ];
    let known: Vec<&str> = known.into_iter().filter(|path| !path.is_empty()).collect();
    let Some(program) = find(&known) else { return };
    w.compose(
        r#"
services:
  db:
    image: ${IMAGE}
    command: sleep 1000
    healthcheck: {test: "true", interval: 1s}
    volumes: ["store:/store"]
  web:
    image: ${IMAGE}
    command: ["sh", "-c", "echo hello; sleep 1000"]
    depends_on: {db: {condition: service_healthy}}
    scale: 2
volumes: {store: {}}
"#,
    );
    let run = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args).current_dir(&w.folder).env_clear();
        command
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", w.temp().join("home"));
        command
            .env("DOCKER_HOST", w.docker_host())
            .env("IMAGE", &w.image);
        Process::spawn(command).finish()
    };
    run(&["up", "-d"]).success();
    assert_eq!(w.running(), ["db-1", "web-1", "web-2"]);
    run(&["ps"]).success().prints("web-2");
    run(&["exec", "-T", "web", "echo", "hi"])
        .success()
        .prints("hi");
    eventually("the logs", || {
        run(&["logs", "web"])
            .success()
            .stdout
            .contains("| hello")
            .then_some(())
    });
    let before = w.id("web");
    run(&["up", "-d"]).success();
    assert_eq!(w.id("web"), before);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.id("web"), before, "hoist takes the project over");
    run(&["down", "-v", "-t", "0"]).success();
    w.nothing_left();
}

bundled_engine!(
    docker_run_exec_logs_stop_rm,
    docker_run_reads_standard_input,
    docker_networks_and_volumes,
    docker_images_build_save_load,
    docker_cp_diff_commit,
    docker_tells_of_its_engine,
    docker_compose_drives_the_engine,
);
