//! How long commands take, from exec to exit, against the budgets of the design: a private engine, the image of the
//! scenario tests, one row a workload. It compares with nobody and fails on no figure: machines differ.
//!
//! `cargo bench [-- WORD…]` runs the workloads whose names contain a word. `HOIST_BENCH_RUNS` sets the repetitions.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run its workload has nothing to say"
)]

#[path = "../tests/it/support/image.rs"]
#[expect(dead_code, reason = "the scenarios make more kinds of images")]
mod image;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const DEFAULT_RUNS: usize = 9;
const SERVICES: usize = 10;

/// A project folder and an engine of the benchmark's own.
struct Bench {
    root: tempfile::TempDir,
    image: String,
    runs: usize,
    wanted: Vec<String>,
}

fn main() {
    let wanted = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let runs = std::env::var("HOIST_BENCH_RUNS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(DEFAULT_RUNS);
    let root = tempfile::Builder::new()
        .prefix("hoist-bench-")
        .tempdir()
        .unwrap();
    let (image, archive) = image::busybox();
    let bench = Bench {
        root,
        image,
        runs,
        wanted,
    };
    bench.write_projects();
    say(&format!(
        "{:<18} {:>9} {:>9} {:>9} {:>9}",
        "workload", "median", "min", "max", "budget"
    ));
    bench.client_rows();
    bench.hoist("ten", &["engine", "start"]);
    bench.load(&archive);
    bench.project_rows();
    bench.waiting_rows();
    bench.hoist("ten", &["engine", "stop"]);
}

fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
}

impl Bench {
    fn write_projects(&self) {
        let service = |number: usize, rest: &str| {
            format!(
                "  s{number}:\n    image: {}\n    command: sleep infinity\n{rest}",
                self.image
            )
        };
        let instant = "    stop_grace_period: 0s\n";
        let ten: String = (0..SERVICES).map(|n| service(n, instant)).collect();
        // PID 1 of these ignores SIGTERM and has the default grace.
        let grace = "    stop_signal: SIGTERM\n";
        let five: String = (0..5).map(|n| service(n, grace)).collect();
        let chain: String = (0..5)
            .map(|n| {
                let mut rest = format!(
                    "{instant}    healthcheck: {{test: [CMD, 'true'], interval: 1s, retries: 3}}\n"
                );
                if n > 0 {
                    rest.push_str(&format!(
                        "    depends_on: {{s{}: {{condition: service_healthy}}}}\n",
                        n - 1
                    ));
                }
                service(n, &rest)
            })
            .collect();
        let big: String = (0..300)
            .map(|n| {
                format!(
                    "  svc{n}:\n    image: example/app:${{TAG:-1.{n}}}\n    environment: {{A: '${{HOME}}', B: '{n}'}}\n    \
                     ports: ['{}:80']\n    volumes: ['data{}:/data', './src:/src:ro']\n    networks: [n{}]\n",
                    10000 + n,
                    n % 20,
                    n % 5
                )
            })
            .collect();
        let names = |prefix: &str, count: usize| -> String {
            (0..count)
                .map(|n| format!("  {prefix}{n}: {{}}\n"))
                .collect()
        };
        let big = format!(
            "{big}volumes:\n{}networks:\n{}",
            names("data", 20),
            names("n", 5)
        );
        for (name, services) in [("ten", ten), ("five", five), ("chain", chain), ("big", big)] {
            let folder = self.root.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(
                folder.join("compose.yaml"),
                format!("services:\n{services}"),
            )
            .unwrap();
        }
    }

    fn socket(&self) -> PathBuf {
        self.root.path().join("run/engine.sock")
    }

    /// Runs a command to its end and says how long it took.
    fn hoist(&self, project: &str, arguments: &[&str]) -> Duration {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hoist"));
        command
            .args(arguments)
            .current_dir(self.root.path().join(project))
            .env("HOIST_DATA_ROOT", self.root.path().join("data"))
            .env("HOIST_RUN_ROOT", self.root.path().join("run"))
            .env("HOIST_ENGINE", "bundled")
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null());
        let started = Instant::now();
        let output = command.output().unwrap();
        let time = started.elapsed();
        assert!(
            output.status.success(),
            "{arguments:?} in {project}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        time
    }

    /// One request on a connection of its own; the answer's body.
    fn request(&self, head: &str, body: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let head = format!(
            "{head} HTTP/1.1\r\nHost: hoist\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        stream.shutdown(Shutdown::Both).ok();
        assert!(answer.starts_with("HTTP/1.1 2"), "{head}: {answer}");
        answer
    }

    fn load(&self, archive: &[u8]) {
        self.request("POST /images/load?quiet=1", archive);
    }

    fn row(&self, name: &str, budget_ms: f64, mut run: impl FnMut() -> Duration) {
        if !self.wanted.is_empty() && !self.wanted.iter().any(|word| name.contains(word)) {
            return;
        }
        let mut times: Vec<f64> = (0..self.runs)
            .map(|_| run().as_secs_f64() * 1000.0)
            .collect();
        times.sort_by(f64::total_cmp);
        say(&format!(
            "{name:<18} {:>9.1} {:>9.1} {:>9.1} {budget_ms:>9.0}",
            times[times.len() / 2],
            times[0],
            times[times.len() - 1]
        ));
    }

    /// What needs no engine.
    fn client_rows(&self) {
        self.row("version", 3.0, || self.hoist("ten", &["--version"]));
        self.row("config-300", 15.0, || self.hoist("big", &["config", "-q"]));
    }

    fn project_rows(&self) {
        let down = || self.hoist("ten", &["down", "-t", "0"]);
        let up = || self.hoist("ten", &["up", "-d"]);
        self.row("up-10", 80.0, || {
            let time = up();
            down();
            time
        });
        self.row("down-10", 50.0, || {
            up();
            down()
        });
        up();
        self.row("up-10-noop", 10.0, up);
        self.row("ps", 6.0, || self.hoist("ten", &["ps"]));
        self.row("exec", 12.0, || {
            self.hoist("ten", &["exec", "-T", "s0", "true"])
        });
        self.row("run", 25.0, || {
            self.hoist("ten", &["run", "--rm", "s0", "true"])
        });
        self.row("api-container", 8.0, || self.whole_life());
        down();
    }

    fn waiting_rows(&self) {
        self.row("down-ignoring-5", 200.0, || {
            self.hoist("five", &["up", "-d"]);
            self.hoist("five", &["down"])
        });
        self.row("chain-healthy-5", 400.0, || {
            let time = self.hoist("chain", &["up", "-d"]);
            self.hoist("chain", &["down", "-t", "0"]);
            time
        });
    }

    /// A container created, started, waited for and removed over the API.
    fn whole_life(&self) -> Duration {
        let body = format!(r#"{{"Image":"{}","Cmd":["true"]}}"#, self.image);
        let started = Instant::now();
        let created = self.request("POST /containers/create", body.as_bytes());
        let id = created
            .split("\"Id\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap();
        self.request(&format!("POST /containers/{id}/start"), b"");
        self.request(&format!("POST /containers/{id}/wait"), b"");
        self.request(&format!("DELETE /containers/{id}"), b"");
        started.elapsed()
    }
}
