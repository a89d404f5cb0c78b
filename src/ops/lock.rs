//! One command at a time on a project: locks on files in the run folder, held while a command
//! lives. Ends with the process, however that ends. It protects nothing from other tools.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;

use crate::client::{EngineChoice, Roots};
use crate::ops::{Context, OpError};
use crate::plan::config_hash::hash;

/// What a lock keeps others from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Making, changing and removing things. Short.
    Change,
    /// The whole of an `up`, waits included: a second `up` finds nothing to do afterwards, while
    /// `stop` and `down` can still end a project that never gets healthy.
    Up,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct ProjectLock {
    _file: File,
}

/// Takes the lock of a project; says so when another command has it, and waits for it.
///
/// # Errors
/// When the run folder cannot be written.
pub(crate) async fn acquire(ctx: &Context, scope: Scope) -> Result<Option<ProjectLock>, OpError> {
    if ctx.dry_run {
        return Ok(None);
    }
    let path = path(ctx, scope)?;
    let failed = |what: &str, error: std::io::Error| {
        OpError::failed(format!("{what} {}: {error}", path.display()))
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| failed("creating the folder of", e))?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| failed("opening", e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only told to the user: an unreadable holder is an unnamed one.
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            let who = if holder.is_empty() {
                "another command".to_owned()
            } else {
                holder.to_owned()
            };
            ctx.progress.notice(format!(
                "Waiting for {who} that works on project {}",
                ctx.project_name
            ));
            let waiting = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
            file = waiting
                .map_err(|e| OpError::failed(format!("waiting for the lock of the project: {e}")))?
                .map_err(|e| failed("locking", e))?;
        }
        Err(TryLockError::Error(error)) => return Err(failed("locking", error)),
    }
    let holder = format!("{} (process {})", command_word(), std::process::id());
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(holder.as_bytes()));
    written.map_err(|e| failed("writing", e))?;
    Ok(Some(ProjectLock { _file: file }))
}

/// Commands that take a lock.
const COMMANDS: [&str; 13] = [
    "up", "down", "create", "start", "stop", "restart", "pause", "unpause", "rm", "run", "scale",
    "watch", "plan",
];

/// `hoist up`: the program and the command in its arguments.
fn command_word() -> String {
    let word = std::env::args()
        .find(|a| COMMANDS.contains(&a.as_str()))
        .unwrap_or_default();
    format!("hoist {word}").trim_end().to_owned()
}

fn path(ctx: &Context, scope: Scope) -> Result<PathBuf, OpError> {
    let project = &ctx.project_name;
    let kind = match scope {
        Scope::Change => "change",
        Scope::Up => "up",
    };
    let (roots, name) = match ctx.client.choice() {
        EngineChoice::Bundled(roots) => (roots.clone(), format!("{project}.{kind}.lock")),
        EngineChoice::Docker { address } => {
            let environment: HashMap<String, String> = std::env::vars().collect();
            let engine: String = hash(address).chars().take(12).collect();
            (
                Roots::from_environment(&environment)?,
                format!("{project}.{engine}.{kind}.lock"),
            )
        }
    };
    Ok(roots.run.join("projects").join(name))
}
