//! What a dead shim leaves: processes in the container's cgroup, an exit file, a state directory. Blocking.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;

use crate::shim::protocol::{EXIT_FILE, Exit, RECORD_FILE, ShimRecord};
use crate::sys::cgroup::Cgroup;

/// Kills what is left of the container whose shim is dead, and reads how it ended, if the shim could still say.
pub(crate) fn sweep(state_dir: &Path) -> io::Result<Option<Exit>> {
    if let Some(record) = read::<ShimRecord>(&state_dir.join(RECORD_FILE))? {
        let cgroup = Cgroup::at(&record.cgroup_path);
        cgroup.kill_and_wait()?;
        cgroup.remove()?;
    }
    read(&state_dir.join(EXIT_FILE))
}

/// Removes the state directory; a missing one is fine.
pub(crate) fn remove(state_dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(state_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A damaged file counts as missing: it tells nothing, and must not keep the sweep from going on.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Nanoseconds since the epoch.
pub(crate) fn now_ns() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
