//! Durable state as one JSON file an object: written to a temporary name, renamed, synced when asked.
//! It knows no object: the schema is the caller's, the version is checked here.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::engine::base::{Error, Result};

/// The version of the envelope that this binary writes.
const SCHEMA_VERSION: u32 = 1;

/// How hard a write is pressed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives a power cut: file and directory are synced (about 5 ms on a disk).
    Synced,
    /// Survives the death of the process only (0.2 ms).
    Renamed,
}

#[derive(Serialize)]
struct Written<'a, T> {
    schema: u32,
    record: &'a T,
}

#[derive(Deserialize)]
struct Read<T> {
    schema: u32,
    record: T,
}

/// Writes `record` to `path`, whole or not at all.
pub(crate) fn save<T: Serialize>(path: &Path, record: &T, durability: Durability) -> Result<()> {
    let text = serde_json::to_vec(&Written {
        schema: SCHEMA_VERSION,
        record,
    })
    .map_err(|error| Error::system(format!("encode {}: {error}", path.display())))?;
    write_whole(path, &text, durability)
        .map_err(|error| Error::system(format!("write {}: {error}", path.display())))
}

fn write_whole(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    if durability == Durability::Synced {
        file.as_file().sync_all()?;
    }
    file.persist(path).map_err(|error| error.error)?;
    if durability == Durability::Synced {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Reads one record. A missing file is `NotFound`, a damaged one names itself.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("{} does not exist", path.display())),
        _ => Error::system(format!("read {}: {error}", path.display())),
    })?;
    let read: Read<T> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::system(format!("{} is damaged: {error}", path.display())))?;
    if read.schema > SCHEMA_VERSION {
        return Err(Error::system(format!(
            "{} was written by a newer hoist (schema {})",
            path.display(),
            read.schema
        )));
    }
    Ok(read.record)
}

/// A record, or why it could not be read, for every `*.json` in `folder` (none when it is missing).
pub(crate) fn load_all<T: DeserializeOwned>(folder: &Path) -> Result<Vec<(PathBuf, Result<T>)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::system(format!("read {}: {error}", folder.display()))),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths
        .into_iter()
        .map(|path| {
            let record = load(&path);
            (path, record)
        })
        .collect())
}

/// Removes a record; a missing one is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::system(format!("remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_a_damaged_one_names_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        save(&path, &vec![1, 2], Durability::Synced).unwrap();
        assert_eq!(load::<Vec<u32>>(&path).unwrap(), [1, 2]);
        fs::write(folder.path().join("b.json"), "{\"schema\":1,").unwrap();
        let all = load_all::<Vec<u32>>(folder.path()).unwrap();
        assert_eq!(all.len(), 2);
        let message = all[1].1.as_ref().unwrap_err().to_string();
        assert!(message.contains("b.json is damaged"), "{message}");
    }
}
