//! Changed paths → one archive → each replica of the service. What is gone here is removed there first.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tar::{Builder, EntryType, Header};

use crate::client::reads::ContainerRow;
use crate::client::streams::ExecOptions;
use crate::ops::{Context, OpError};

/// Paths (in the container → here) split by whether they still exist.
#[derive(Debug, Default)]
struct Packed {
    archive: Vec<u8>,
    files: usize,
    gone: Vec<String>,
}

/// Brings the replicas up to date; returns how many files were copied and removed.
///
/// # Errors
/// The engine, or a file that cannot be read.
pub(super) async fn sync(
    ctx: &Context,
    replicas: &[ContainerRow],
    paths: &BTreeMap<String, PathBuf>,
) -> Result<(usize, usize), OpError> {
    let owned = paths.clone();
    let packed = tokio::task::spawn_blocking(move || pack(&owned))
        .await
        .map_err(|error| OpError::failed(error.to_string()))?
        .map_err(|error| OpError::failed(format!("sync: {error}")))?;
    let archive = Bytes::from(packed.archive);
    let copies = replicas.iter().map(|replica| {
        let archive = archive.clone();
        let gone = packed.gone.clone();
        async move {
            if !gone.is_empty() {
                remove(ctx, replica, gone).await?;
            }
            if packed.files > 0 {
                ctx.client
                    .put_archive_bytes(&replica.id, "/", true, archive)
                    .await?;
            }
            Ok::<_, OpError>(())
        }
    });
    futures_util::future::try_join_all(copies).await?;
    Ok((packed.files, packed.gone.len()))
}

/// The engine has no call that removes a file.
async fn remove(ctx: &Context, replica: &ContainerRow, gone: Vec<String>) -> Result<(), OpError> {
    let mut command: Vec<String> = ["rm", "-rf", "--"].map(str::to_owned).to_vec();
    command.extend(gone);
    let options = ExecOptions {
        command,
        user: Some("0".to_owned()),
        ..ExecOptions::default()
    };
    let id = ctx.client.create_exec(&replica.id, &options).await?;
    let mut attached = ctx.client.start_exec(&id, false).await?;
    let mut said = Vec::new();
    while let Some(chunk) = attached.output.next().await {
        said.extend_from_slice(&chunk?.bytes);
    }
    match ctx.client.exec_exit_code(&id).await? {
        0 => Ok(()),
        code => Err(OpError::failed(format!(
            "removing files in {}: exit code {code}: {}",
            replica.name,
            String::from_utf8_lossy(&said).trim()
        ))),
    }
}

fn pack(paths: &BTreeMap<String, PathBuf>) -> io::Result<Packed> {
    let mut packed = Packed::default();
    let mut archive = Builder::new(Vec::new());
    archive.follow_symlinks(false);
    for (target, path) in paths {
        let metadata = match std::fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                packed.gone.push(target.clone());
                continue;
            }
            Err(error) => return Err(error),
        };
        if append(
            &mut archive,
            target.trim_start_matches('/'),
            path,
            &metadata,
        )? {
            packed.files += 1;
        }
    }
    packed.archive = archive.into_inner()?;
    Ok(packed)
}

/// `false`: it was something that is not copied.
fn append(
    archive: &mut Builder<Vec<u8>>,
    target: &str,
    path: &Path,
    metadata: &std::fs::Metadata,
) -> io::Result<bool> {
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(u64::from(metadata.uid()));
    header.set_gid(u64::from(metadata.gid()));
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    let kind = metadata.file_type();
    if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, target, std::fs::read_link(path)?)?;
    } else if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        archive.append_data(&mut header, target, io::empty())?;
    } else if kind.is_file() {
        // Whole in memory: the size must not change between header and content.
        let content = std::fs::read(path)?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, target, content.as_slice())?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_packed_and_what_is_gone_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "A").unwrap();
        let paths = BTreeMap::from([
            ("/app/a".to_owned(), file),
            ("/app/b".to_owned(), folder.path().join("b")),
        ]);
        let packed = pack(&paths).unwrap();
        assert_eq!((packed.files, packed.gone), (1, vec!["/app/b".to_owned()]));
        let mut archive = tar::Archive::new(packed.archive.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap(), Path::new("app/a"));
    }
}
