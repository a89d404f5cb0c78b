//! `engine`: the life of the bundled engine, seen from outside: whether it runs, its start and end, its log.

use std::process::Command;

use futures_util::StreamExt as _;

use crate::client::streams::EventFilter;
use crate::client::{Client, EngineChoice, Roots};
use crate::ops::OpError;

/// What there is to say about the bundled engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) running: bool,
    pub(crate) pid: Option<u32>,
    pub(crate) socket: String,
    pub(crate) data_root: String,
    pub(crate) run_root: String,
    pub(crate) version: String,
    pub(crate) api_version: String,
    pub(crate) containers: usize,
    pub(crate) containers_running: usize,
}

/// Looks; starts nothing.
///
/// # Errors
/// It listens, but does not answer.
pub(crate) async fn status(roots: &Roots) -> Result<Status, OpError> {
    let mut status = Status {
        running: false,
        pid: None,
        socket: roots.socket().display().to_string(),
        data_root: roots.data.display().to_string(),
        run_root: roots.run.display().to_string(),
        version: String::new(),
        api_version: String::new(),
        containers: 0,
        containers_running: 0,
    };
    let Some(client) = Client::connect_running(EngineChoice::Bundled(roots.clone()))? else {
        return Ok(status);
    };
    status.running = true;
    status.pid = pid(roots);
    (status.version, status.api_version) = client.engine_version().await?;
    let containers = client.all_containers().await?;
    status.containers = containers.len();
    status.containers_running = containers.iter().filter(|row| row.is_running()).count();
    Ok(status)
}

fn pid(roots: &Roots) -> Option<u32> {
    std::fs::read_to_string(roots.run.join("engine.pid"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Starts it, if it does not run.
///
/// # Errors
/// It cannot be started; the message says why.
pub(crate) async fn start(roots: &Roots) -> Result<(), OpError> {
    Client::connect(EngineChoice::Bundled(roots.clone())).await?;
    Ok(())
}

/// Ends it and waits until it is gone; `false`: it did not run. Its containers run on.
///
/// # Errors
/// It runs, but cannot be told to end.
pub(crate) async fn stop(roots: &Roots) -> Result<bool, OpError> {
    let Some(client) = Client::connect_running(EngineChoice::Bundled(roots.clone()))? else {
        return Ok(false);
    };
    let pid = pid(roots).ok_or_else(|| {
        OpError::failed(format!(
            "the engine runs, but {} does not name its process",
            roots.run.join("engine.pid").display()
        ))
    })?;
    // The stream of events ends with the engine: no need to ask again and again.
    let mut events = client.events(&EventFilter::default());
    client.engine_version().await?;
    let told = Command::new("kill")
        .args(["-TERM", &pid.to_string()])
        .status()
        .map_err(|error| OpError::failed(format!("kill: {error}")))?;
    if !told.success() {
        return Err(OpError::failed(format!(
            "process {pid} of the engine cannot be signalled"
        )));
    }
    while let Some(Ok(_)) = events.next().await {}
    Ok(true)
}

/// The engine's own log, as far as it was kept.
///
/// # Errors
/// It cannot be read.
pub(crate) fn log(roots: &Roots) -> Result<String, OpError> {
    match std::fs::read(roots.log()) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(OpError::failed(format!(
            "read {}: {error}",
            roots.log().display()
        ))),
    }
}
