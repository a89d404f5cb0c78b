//! Which engine is meant, and a connection to it. Starts the bundled engine when nobody listens
//! yet. It does not know what the engine is then asked.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bollard::{API_DEFAULT_VERSION, Docker};

use super::context;
use super::error::ClientError;

/// A year: the engine decides how long an answer takes (a stop with its grace, a wait).
const REQUEST_TIMEOUT_S: u64 = 365 * 24 * 3600;

/// Which engine the commands of this run go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineChoice {
    /// The one inside this binary, started on demand.
    Bundled(Roots),
    /// A Docker Engine API at `unix://…` or `tcp://…`.
    Docker { address: String },
}

/// Where the bundled engine keeps its things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roots {
    pub(crate) data: PathBuf,
    pub(crate) run: PathBuf,
}

impl Roots {
    pub(crate) fn socket(&self) -> PathBuf {
        self.run.join("engine.sock")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.run.join("engine.log")
    }

    /// `HOIST_DATA_ROOT` and `HOIST_RUN_ROOT`, else the system's folders for root and the
    /// user's (XDG) for everybody else.
    pub(crate) fn from_environment(
        environment: &HashMap<String, String>,
    ) -> Result<Roots, ClientError> {
        let set = |name: &str| {
            environment
                .get(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let is_root = is_root();
        let data = match set("HOIST_DATA_ROOT") {
            Some(path) => path,
            None if is_root => PathBuf::from("/var/lib/hoist"),
            None => match (set("XDG_DATA_HOME"), set("HOME")) {
                (Some(path), _) => path.join("hoist"),
                (None, Some(home)) => home.join(".local/share/hoist"),
                (None, None) => return Err(ClientError::Choice("neither HOIST_DATA_ROOT, XDG_DATA_HOME nor HOME is set: no place for the engine's data".to_owned())),
            },
        };
        let run = match set("HOIST_RUN_ROOT") {
            Some(path) => path,
            None if is_root => PathBuf::from("/run/hoist"),
            None => match set("XDG_RUNTIME_DIR") {
                Some(path) => path.join("hoist"),
                None => data.join("run"),
            },
        };
        Ok(Roots {
            data: absolute(data),
            run: absolute(run),
        })
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

impl EngineChoice {
    /// `--engine` > `HOIST_ENGINE` > `DOCKER_HOST` > the selected docker context > bundled.
    pub(crate) fn select(
        flag: Option<&str>,
        environment: &HashMap<String, String>,
    ) -> Result<EngineChoice, ClientError> {
        let set = |name: &str| {
            environment
                .get(name)
                .map(String::as_str)
                .filter(|v| !v.is_empty())
        };
        let (wanted, source) = match (flag, set("HOIST_ENGINE")) {
            (Some(flag), _) => (Some(flag), "--engine"),
            (None, Some(value)) => (Some(value), "HOIST_ENGINE"),
            (None, None) => (None, ""),
        };
        let bundled = || Roots::from_environment(environment).map(EngineChoice::Bundled);
        match wanted {
            Some("bundled") => bundled(),
            Some("docker") => Ok(EngineChoice::Docker {
                address: docker_address(environment)?
                    .unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned()),
            }),
            Some(address) if address.contains("://") => Ok(EngineChoice::Docker {
                address: address.to_owned(),
            }),
            Some(other) => Err(ClientError::Choice(format!(
                "{source}: unknown engine \"{other}\": use bundled, docker, or an address such as unix:///path/to/docker.sock"
            ))),
            None => match docker_address(environment)? {
                Some(address) => Ok(EngineChoice::Docker { address }),
                None => bundled(),
            },
        }
    }

    /// A text that tells engines apart, for names of locks and messages.
    pub(crate) fn address(&self) -> String {
        match self {
            EngineChoice::Bundled(roots) => format!("unix://{}", roots.socket().display()),
            EngineChoice::Docker { address } => address.clone(),
        }
    }

    pub(crate) fn is_bundled(&self) -> bool {
        matches!(self, EngineChoice::Bundled(_))
    }
}

/// `DOCKER_HOST`, else the endpoint of the selected context; None for the default context.
fn docker_address(environment: &HashMap<String, String>) -> Result<Option<String>, ClientError> {
    if let Some(host) = environment.get("DOCKER_HOST").filter(|v| !v.is_empty()) {
        return Ok(Some(host.clone()));
    }
    context::selected_endpoint(environment)
}

/// Opens the connection; nothing is sent yet to a foreign engine.
pub(super) async fn open(choice: &EngineChoice) -> Result<Docker, ClientError> {
    match choice {
        EngineChoice::Bundled(roots) => {
            ensure_running(roots)?;
            unix(&roots.socket().to_string_lossy())
        }
        EngineChoice::Docker { address } => docker(address),
    }
}

/// A connection to the bundled engine only when it runs already.
pub(super) fn open_running(choice: &EngineChoice) -> Result<Option<Docker>, ClientError> {
    match choice {
        EngineChoice::Bundled(roots) if !listens(&roots.socket()) => Ok(None),
        EngineChoice::Bundled(roots) => unix(&roots.socket().to_string_lossy()).map(Some),
        EngineChoice::Docker { address } => docker(address).map(Some),
    }
}

/// A client that reaches nobody.
pub(super) fn nowhere() -> Result<Docker, ClientError> {
    Docker::connect_with_http("127.0.0.1:1", REQUEST_TIMEOUT_S, API_DEFAULT_VERSION)
        .map_err(|e| unreachable("nowhere", e))
}

fn docker(address: &str) -> Result<Docker, ClientError> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return Err(ClientError::Choice(format!(
            "unable to parse docker host `{address}`"
        )));
    };
    match scheme {
        "unix" => unix(rest),
        "tcp" | "http" => {
            if std::env::var("DOCKER_TLS_VERIFY").is_ok_and(|v| !v.is_empty()) {
                return Err(ClientError::Unsupported(format!(
                    "DOCKER_TLS_VERIFY with {address}: TLS connections to an engine are not supported yet"
                )));
            }
            Docker::connect_with_http(rest, REQUEST_TIMEOUT_S, API_DEFAULT_VERSION)
                .map_err(|e| unreachable(address, e))
        }
        other => Err(ClientError::Unsupported(format!(
            "engine address {address}: {other}:// connections are not supported yet; use unix:// or tcp://"
        ))),
    }
}

fn unix(path: &str) -> Result<Docker, ClientError> {
    Docker::connect_with_unix(path, REQUEST_TIMEOUT_S, API_DEFAULT_VERSION)
        .map_err(|e| unreachable(&format!("unix://{path}"), e))
}

fn unreachable(address: &str, error: bollard::errors::Error) -> ClientError {
    match ClientError::from(error) {
        ClientError::Unreachable { reason, .. } => ClientError::Unreachable {
            address: address.to_owned(),
            reason: format!("{reason}. Is the docker daemon running?"),
        },
        ClientError::Broken(reason) => ClientError::Unreachable {
            address: address.to_owned(),
            reason,
        },
        other => other,
    }
}

fn listens(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

/// Starts the bundled engine when nobody listens on its socket. Clients that come at the same
/// time queue on a lock, and the later ones find it running.
pub(crate) fn ensure_running(roots: &Roots) -> Result<(), ClientError> {
    if listens(&roots.socket()) {
        return Ok(());
    }
    if !cfg!(target_os = "linux") {
        return Err(ClientError::Unsupported(
            "the bundled engine runs on Linux only; use --engine docker or set DOCKER_HOST"
                .to_owned(),
        ));
    }
    let context = |what: &str, path: &Path| format!("{what} {}", path.display());
    std::fs::create_dir_all(&roots.run)
        .map_err(|e| ClientError::io(context("creating", &roots.run), e))?;
    let lock_path = roots.run.join("launch.lock");
    let lock =
        File::create(&lock_path).map_err(|e| ClientError::io(context("opening", &lock_path), e))?;
    lock.lock()
        .map_err(|e| ClientError::io(context("locking", &lock_path), e))?;
    if listens(&roots.socket()) {
        return Ok(());
    }
    launch(roots)
}

fn launch(roots: &Roots) -> Result<(), ClientError> {
    let log_path = roots.log();
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .map_err(|e| ClientError::io(format!("opening {}", log_path.display()), e))?;
    let binary =
        std::env::current_exe().map_err(|e| ClientError::io("finding this program's file", e))?;
    let (reader, writer) = std::io::pipe().map_err(|e| ClientError::io("making a pipe", e))?;
    // The ready pipe is the daemon's stdout: no descriptor has to be handed over by number.
    let child = Command::new(binary)
        .arg("engine-daemon")
        .env("HOIST_DATA_ROOT", &roots.data)
        .env("HOIST_RUN_ROOT", &roots.run)
        .env("HOIST_READY_FD", "1")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(log)
        .spawn();
    // The Command owned the pipe's writing end and is gone here: only the daemon keeps it open.
    child.map_err(|e| ClientError::io("starting the bundled engine", e))?;
    let mut answer = String::new();
    let mut reader = BufReader::new(reader);
    let failed = |reason: String| ClientError::EngineStart {
        reason,
        log: log_path.clone(),
    };
    reader
        .read_line(&mut answer)
        .map_err(|e| failed(e.to_string()))?;
    if answer.trim() == "ok" {
        return Ok(());
    }
    // What is not `ok` is the reason, to the end of the stream.
    let _ = reader.read_to_string(&mut answer);
    let reason = answer.trim();
    Err(failed(if reason.is_empty() {
        last_log_line(&log_path).unwrap_or_else(|| "it ended before it was ready".to_owned())
    } else {
        reason.to_owned()
    }))
}

fn last_log_line(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn flag_beats_environment_and_environment_beats_docker_host() {
        let env = environment(&[
            ("HOIST_ENGINE", "bundled"),
            ("DOCKER_HOST", "tcp://h:1"),
            ("HOIST_DATA_ROOT", "/d"),
            ("HOIST_RUN_ROOT", "/r"),
            ("HOME", "/nowhere"),
        ]);
        let docker = EngineChoice::Docker {
            address: "tcp://h:1".to_owned(),
        };
        assert_eq!(EngineChoice::select(Some("docker"), &env).unwrap(), docker);
        assert_eq!(
            EngineChoice::select(None, &env).unwrap().address(),
            "unix:///r/engine.sock"
        );
        let env = environment(&[("DOCKER_HOST", "tcp://h:1"), ("HOME", "/nowhere")]);
        assert_eq!(EngineChoice::select(None, &env).unwrap(), docker);
        assert!(
            EngineChoice::select(Some("bundeld"), &env)
                .unwrap_err()
                .to_string()
                .contains("bundeld")
        );
    }
}
