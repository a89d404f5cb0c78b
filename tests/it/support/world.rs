//! A world of its own for each scenario: a project folder, an engine, a project name; and the look back at its end.
//!
//! On hoist's own engine a scenario has private roots and a private network namespace, so that scenarios run side by
//! side and what is left over can be told. On Docker it shares the daemon and is told apart by its project's name.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use tempfile::TempDir;

use super::api::{Api, escape};
use super::process::{Output, PATIENCE, Process};
use super::{image, leftovers};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Bundled,
    Docker,
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) api: Api,
    /// The name of the project, and of its folder.
    pub(crate) project: String,
    pub(crate) folder: PathBuf,
    pub(crate) image: String,
    root: TempDir,
    environment: BTreeMap<String, String>,
    seen: Mutex<Vec<String>>,
    images: Mutex<Vec<String>>,
}

/// Asks again until there is an answer; a scenario's only way to wait for a state.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let (_never_tx, never) = mpsc::channel::<()>();
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "never true: {what}");
        // A pause: nobody sends.
        let _pause = never.recv_timeout(Duration::from_millis(20));
    }
}

/// Lets time pass: only where the moment itself is the point, as with a crash at a random one.
pub(crate) fn pause(time: Duration) {
    let (_never_tx, never) = mpsc::channel::<()>();
    // Nobody sends.
    let _pause = never.recv_timeout(time);
}

impl World {
    /// Plays a scenario, or says by name why it is left out.
    pub(crate) fn run(engine: Engine, scenario: impl FnOnce(&World)) {
        if let Some(why) = cannot(engine) {
            leave_out(&why);
            return;
        }
        let world = Self::new(engine);
        scenario(&world);
        world.leave();
    }

    fn new(engine: Engine) -> Self {
        let root = tempfile::Builder::new()
            .prefix("hoist-it-")
            .tempdir_in("/tmp")
            .unwrap();
        let random = root
            .path()
            .to_string_lossy()
            .rsplit('-')
            .next()
            .unwrap()
            .to_lowercase();
        let project = format!("it{}{random}", std::process::id());
        let folder = root.path().join(&project);
        fs::create_dir(&folder).unwrap();
        fs::create_dir(root.path().join("home")).unwrap();
        if is_oracle() {
            let plugins = root.path().join("home/.docker/cli-plugins");
            fs::create_dir_all(&plugins).unwrap();
            let buildx = Path::new(&binary()[0]).with_file_name("docker-buildx");
            std::os::unix::fs::symlink(buildx, plugins.join("docker-buildx")).unwrap();
        }
        let (image, archive) = image::busybox();
        let api = match engine {
            Engine::Bundled => Api::new(root.path().join("run/engine.sock")),
            Engine::Docker => Api::new(docker_socket().unwrap()),
        };
        let environment = environment(engine, root.path(), &image, &api);
        if engine == Engine::Bundled {
            private_network();
        }
        let seen = Mutex::default();
        let images = Mutex::default();
        let world = Self {
            engine,
            api,
            project,
            folder,
            image,
            root,
            environment,
            seen,
            images,
        };
        if engine == Engine::Bundled {
            world.hoist(&["engine", "start"]).success();
        }
        if world
            .api
            .find(&format!("/images/{}/json", world.image))
            .is_none()
        {
            world.api.load(&archive);
        }
        world
    }

    pub(crate) fn bundled(&self) -> bool {
        self.engine == Engine::Bundled
    }

    /// Whether Docker under test speaks this version of the API; where it does not, the scenario is left out by name.
    pub(crate) fn lacks_api(&self, wanted: &str) -> bool {
        let number = |version: &str| -> Vec<u32> {
            version
                .split('.')
                .filter_map(|part| part.parse().ok())
                .collect()
        };
        let version = self.api.get("/version")["ApiVersion"]
            .as_str()
            .unwrap_or("0")
            .to_owned();
        let lacks = number(&version) < number(wanted);
        if lacks {
            leave_out(&format!(
                "the engine speaks API {version}, {wanted} is needed"
            ));
        }
        lacks
    }

    /// Writes a file of the project and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes the project's `compose.yaml`. `${IMAGE}` is the test image.
    pub(crate) fn compose(&self, text: &str) {
        self.file("compose.yaml", text);
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut parts = binary();
        let mut command = Command::new(parts.remove(0));
        command
            .args(parts)
            .args(args)
            .current_dir(&self.folder)
            .env_clear()
            .envs(&self.environment);
        command
    }

    /// Runs hoist in the project's folder to its end.
    #[track_caller]
    pub(crate) fn hoist(&self, args: &[&str]) -> Output {
        Process::spawn(self.command(args)).finish()
    }

    /// The same with more variables.
    #[track_caller]
    pub(crate) fn hoist_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Output {
        let mut command = self.command(args);
        command.envs(variables.iter().copied());
        Process::spawn(command).finish()
    }

    /// The same in another folder.
    #[track_caller]
    pub(crate) fn hoist_in(&self, folder: &Path, args: &[&str]) -> Output {
        let mut command = self.command(args);
        command.current_dir(folder);
        Process::spawn(command).finish()
    }

    /// The same with something on standard input.
    #[track_caller]
    pub(crate) fn hoist_fed(&self, input: &str, args: &[&str]) -> Output {
        let mut process = Process::spawn(self.command(args));
        process.write(input);
        process.close_stdin();
        process.finish()
    }

    /// Starts hoist and goes on.
    pub(crate) fn start(&self, args: &[&str]) -> Process {
        Process::spawn(self.command(args))
    }

    /// Starts hoist on a terminal of its own, typed to through `Process::write`.
    pub(crate) fn on_terminal(&self, args: &[&str]) -> Process {
        let plain = self.command(args);
        let mut line = String::new();
        for word in std::iter::once(plain.get_program()).chain(plain.get_args()) {
            line.push_str(&format!(
                "'{}' ",
                word.to_string_lossy().replace('\'', "'\\''")
            ));
        }
        let mut command = Command::new("script");
        command.args(["-qefc", &line, "/dev/null"]);
        command
            .current_dir(&self.folder)
            .env_clear()
            .envs(&self.environment)
            .env("TERM", "xterm-256color");
        Process::spawn(command)
    }

    /// The environment of the commands of this world, for other clients of its engine.
    pub(crate) fn docker_host(&self) -> String {
        format!("unix://{}", self.api.socket().display())
    }

    pub(crate) fn temp(&self) -> &Path {
        self.root.path()
    }

    /// The containers of the project, all states, as listed; one-offs included.
    pub(crate) fn containers(&self) -> Vec<Value> {
        let list = self.api.containers(&self.project);
        let mut seen = self.seen.lock().unwrap();
        for container in &list {
            let id = container["Id"].as_str().unwrap().to_owned();
            if !seen.contains(&id) {
                seen.push(id);
            }
        }
        list
    }

    /// Names of the project's containers, without the slash, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.containers().iter().map(name_of).collect();
        names.sort();
        names
    }

    /// Names without the project's prefix, of those in a state.
    pub(crate) fn in_state(&self, state: &str) -> Vec<String> {
        let prefix = format!("{}-", self.project);
        let list = self.containers();
        let chosen = list
            .iter()
            .filter(|container| container["State"] == state)
            .map(name_of);
        let mut names: Vec<String> = chosen
            .map(|name| name.strip_prefix(&prefix).unwrap_or(&name).to_owned())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn running(&self) -> Vec<String> {
        self.in_state("running")
    }

    /// `web` is the first container of service web, `web-2` its second, another name is taken as it is.
    #[track_caller]
    pub(crate) fn inspect(&self, name: &str) -> Value {
        self.try_inspect(name)
            .unwrap_or_else(|| panic!("there is no container {name} among {:?}", self.names()))
    }

    pub(crate) fn try_inspect(&self, name: &str) -> Option<Value> {
        let numbered = name
            .rsplit('-')
            .next()
            .is_some_and(|end| end.parse::<u32>().is_ok());
        let long = format!(
            "{}-{name}{}",
            self.project,
            if numbered { "" } else { "-1" }
        );
        [long.as_str(), name].iter().find_map(|name| {
            let found = self
                .api
                .find(&format!("/containers/{}/json", escape(name)))?;
            let id = found["Id"].as_str().unwrap().to_owned();
            let mut seen = self.seen.lock().unwrap();
            if !seen.contains(&id) {
                seen.push(id);
            }
            Some(found)
        })
    }

    #[track_caller]
    pub(crate) fn id(&self, name: &str) -> String {
        self.inspect(name)["Id"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn state(&self, name: &str) -> String {
        self.inspect(name)["State"]["Status"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The value of a label of a container.
    #[track_caller]
    pub(crate) fn label(&self, name: &str, label: &str) -> String {
        self.inspect(name)["Config"]["Labels"][label]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// What a command in a running service prints, trimmed.
    #[track_caller]
    pub(crate) fn exec(&self, service: &str, words: &[&str]) -> String {
        let mut args = vec!["exec", "-T", service];
        args.extend(words);
        self.hoist(&args).success().stdout.trim().to_owned()
    }

    /// The same in a replica, `a-2`.
    #[track_caller]
    pub(crate) fn exec_in(&self, replica: &str, words: &[&str]) -> String {
        let (service, index) = replica.rsplit_once('-').unwrap();
        let mut args = vec!["exec", "-T", "--index", index, service];
        args.extend(words);
        self.hoist(&args).success().stdout.trim().to_owned()
    }

    /// What an HTTP server on port 80 of a host answers to a service, body only; nothing where it cannot be reached.
    pub(crate) fn ask(&self, service: &str, host: &str) -> Option<String> {
        let request = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} 80");
        let output = self.hoist(&["exec", "-T", service, "sh", "-c", &request]);
        let (_head, body) = output.stdout.split_once("\r\n\r\n")?;
        (output.code == 0).then(|| body.trim().to_owned())
    }

    /// All lines a service has logged, without prefix.
    #[track_caller]
    pub(crate) fn logged(&self, service: &str) -> String {
        self.hoist(&["logs", "--no-log-prefix", "--no-color", service])
            .success()
            .stdout
    }

    #[track_caller]
    pub(crate) fn wait_state(&self, name: &str, state: &str) {
        eventually(&format!("{name} is {state}"), || {
            self.try_inspect(name)
                .filter(|found| found["State"]["Status"] == state)
        });
    }

    pub(crate) fn network(&self, key: &str) -> Option<Value> {
        self.api.find(&format!("/networks/{}_{key}", self.project))
    }

    pub(crate) fn volume(&self, key: &str) -> Option<Value> {
        self.api.find(&format!("/volumes/{}_{key}", self.project))
    }

    /// Loads the test image under a name that only this scenario knows, with other settings.
    pub(crate) fn image_named(&self, suffix: &str, settings: &Value) -> String {
        let name = format!("hoist-it/{}-{suffix}:1", self.project);
        self.api.load(&image::variant(&name, settings));
        self.images.lock().unwrap().push(name.clone());
        name
    }

    /// An image of this name goes with the scenario.
    pub(crate) fn owns_image(&self, name: &str) {
        self.images.lock().unwrap().push(name.to_owned());
    }

    /// Nothing of the project is there: containers, networks, volumes.
    #[track_caller]
    pub(crate) fn nothing_left(&self) {
        assert_eq!(self.names(), Vec::<String>::new(), "containers left");
        let named = |list: Vec<Value>| -> Vec<String> {
            list.iter()
                .map(|one| one["Name"].as_str().unwrap_or("?").to_owned())
                .collect()
        };
        assert_eq!(
            named(self.api.networks(&self.project)),
            Vec::<String>::new(),
            "networks left"
        );
        assert_eq!(
            named(self.api.volumes(&self.project)),
            Vec::<String>::new(),
            "volumes left"
        );
    }

    fn tidy_up(&self) {
        for container in self.api.containers(&self.project) {
            self.api.delete(&format!(
                "/containers/{}?force=1&v=1",
                container["Id"].as_str().unwrap()
            ));
        }
        for network in self.api.networks(&self.project) {
            self.api
                .delete(&format!("/networks/{}", network["Id"].as_str().unwrap()));
        }
        for volume in self.api.volumes(&self.project) {
            self.api.delete(&format!(
                "/volumes/{}?force=1",
                escape(volume["Name"].as_str().unwrap())
            ));
        }
        let mut images = self.images.lock().unwrap().clone();
        let filters = escape(&format!(
            "{{\"label\":[\"com.docker.compose.project={}\"]}}",
            self.project
        ));
        let built = self
            .api
            .find(&format!("/images/json?filters={filters}"))
            .unwrap_or_default();
        images.extend(
            built
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|one| one["Id"].as_str().map(str::to_owned)),
        );
        for image in images {
            self.api.delete(&format!("/images/{image}?force=1"));
        }
    }

    /// Ends the world and looks back: whatever the scenario did, nothing of it may stay.
    fn leave(self) {
        self.containers();
        self.tidy_up();
        if self.bundled() {
            self.hoist(&["engine", "stop"]).success();
            let ids = self.seen.lock().unwrap().clone();
            let root = self.root.path().to_path_buf();
            let mut left = Vec::new();
            let gone = Instant::now() + Duration::from_secs(10);
            eventually("the engine leaves nothing, or time is up", || {
                left = leftovers::find(&root, &ids, true);
                (left.is_empty() || Instant::now() > gone).then_some(())
            });
            assert!(
                left.is_empty(),
                "left behind by the engine:\n{}",
                left.join("\n")
            );
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if std::env::var_os("HOIST_KEEP_FAILED").is_some() {
            self.root.disable_cleanup(true);
            let variables: Vec<String> = self
                .environment
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            complain(&format!(
                "kept: cd {} && env {} hoist …",
                self.folder.display(),
                variables.join(" ")
            ));
            return;
        }
        if self.bundled() {
            let log =
                fs::read_to_string(self.root.path().join("run/engine.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            complain(&format!(
                "the engine's log ends:\n{}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            ));
        }
        // A world that failed may have no engine to ask any more; what can be removed is.
        if std::os::unix::net::UnixStream::connect(self.api.socket()).is_ok() {
            self.tidy_up();
            if self.bundled() {
                self.hoist(&["engine", "stop"]);
            }
        }
    }
}

fn complain(text: &str) {
    // The runner shows it with the failure; a closed stream loses only this.
    drop(writeln!(std::io::stderr(), "{text}"));
}

fn name_of(container: &Value) -> String {
    container["Names"][0]
        .as_str()
        .unwrap()
        .trim_start_matches('/')
        .to_owned()
}

/// The binary under test. `HOIST_TEST_BIN` puts another one in its place: docker compose, to judge the scenarios.
fn binary() -> Vec<String> {
    match std::env::var("HOIST_TEST_BIN") {
        Ok(words) if !words.is_empty() => words.split_whitespace().map(str::to_owned).collect(),
        _ => vec![env!("CARGO_BIN_EXE_hoist").to_owned()],
    }
}

/// True where docker compose stands in for hoist, to judge the scenarios.
pub(crate) fn is_oracle() -> bool {
    std::env::var("HOIST_TEST_BIN").is_ok_and(|words| !words.is_empty())
}

fn environment(engine: Engine, root: &Path, image: &str, api: &Api) -> BTreeMap<String, String> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let mut environment = BTreeMap::from([
        (
            "PATH".to_owned(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        ),
        ("HOME".to_owned(), text(root.join("home"))),
        ("TMPDIR".to_owned(), "/tmp".to_owned()),
        ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
        ("IMAGE".to_owned(), image.to_owned()),
        ("HOIST_DATA_ROOT".to_owned(), text(root.join("data"))),
        ("HOIST_RUN_ROOT".to_owned(), text(root.join("run"))),
    ]);
    match engine {
        Engine::Bundled => environment.insert("HOIST_ENGINE".to_owned(), "bundled".to_owned()),
        Engine::Docker => environment.insert(
            "DOCKER_HOST".to_owned(),
            format!("unix://{}", api.socket().display()),
        ),
    };
    environment
}

fn docker_socket() -> Option<PathBuf> {
    let host = std::env::var("DOCKER_HOST").ok()?;
    host.strip_prefix("unix://").map(PathBuf::from)
}

/// Why no scenario can be played on this engine here.
fn cannot(engine: Engine) -> Option<String> {
    if !Path::new("/bin/busybox").exists() {
        return Some("busybox-static is not installed".to_owned());
    }
    match engine {
        Engine::Bundled if !nix::unistd::geteuid().is_root() => {
            Some("root is needed for an engine of its own".to_owned())
        }
        Engine::Docker if docker_socket().is_none() => {
            Some("no Docker: DOCKER_HOST names no unix socket".to_owned())
        }
        _ => None,
    }
}

/// Says that the running test is left out; the runner of all tests repeats it in its summary.
pub(crate) fn leave_out(why: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    complain(&format!("left out: {name}: {why}"));
    if let Some(file) = std::env::var_os("HOIST_TEST_LEFT_OUT") {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .unwrap();
        writeln!(file, "{name}: {why}").unwrap();
    }
}

/// Gives this thread, and all it starts, a network of their own with nothing but a loopback.
fn private_network() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let up = Command::new("/bin/busybox")
        .args(["ip", "link", "set", "lo", "up"])
        .status()
        .unwrap();
    assert!(
        up.success(),
        "the loopback of the scenario's network stays down"
    );
}

/// A TCP port that is free now. Another process may take it; on a private network there is none.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// What an HTTP server on this machine answers, body only, once it does.
pub(crate) fn fetch(port: u16, path: &str) -> String {
    eventually(&format!("an answer on port {port}"), || {
        try_fetch(port, path)
    })
}

pub(crate) fn try_fetch(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}
