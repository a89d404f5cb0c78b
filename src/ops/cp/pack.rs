//! Local files → an archive for a container, under the name that they get there.

use std::io;
use std::path::{Path, PathBuf};

use crate::client::files::{Pieces, TarStream, stream_archive};
use crate::ops::OpError;

/// The folder of the container to extract in, and the name of the archive's top entry there (empty: the
/// contents of a folder go right into it). `target_is_dir` is `None` when nothing is there.
pub(super) fn place(
    source: &str,
    source_is_dir: bool,
    target: &str,
    target_is_dir: Option<bool>,
) -> Result<(String, String), OpError> {
    let base = Path::new(source)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let wants_contents = source == "." || source.ends_with("/.");
    let trimmed = target.trim_end_matches('/');
    let (parent, name) = match trimmed.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None if trimmed.is_empty() => ("/", ""),
        None => ("/", trimmed),
    };
    match target_is_dir {
        Some(true) if wants_contents => Ok((target.to_owned(), String::new())),
        Some(true) => Ok((target.to_owned(), base)),
        Some(false) if source_is_dir => Err(OpError::failed(format!(
            "cannot copy a directory to the file {target}"
        ))),
        Some(false) if target.ends_with('/') => {
            Err(OpError::failed(format!("{target} is not a directory")))
        }
        None if target.ends_with('/') && !source_is_dir => {
            Err(OpError::failed(format!("no such directory: {target}")))
        }
        Some(false) | None => Ok((parent.to_owned(), name.to_owned())),
    }
}

/// Streams `source` as an archive whose top entry is `name`.
pub(super) fn archive(source: PathBuf, name: String) -> TarStream {
    stream_archive(move |pieces| write(&source, &name, pieces))
}

fn write(source: &Path, name: &str, pieces: &mut Pieces) -> io::Result<()> {
    let mut archive = tar::Builder::new(pieces);
    archive.follow_symlinks(false);
    let is_dir = std::fs::symlink_metadata(source)?.is_dir();
    match (is_dir, name.is_empty()) {
        (true, true) => archive.append_dir_all(".", source)?,
        (true, false) => archive.append_dir_all(name, source)?,
        (false, _) => archive.append_path_with_name(source, name)?,
    }
    archive.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_goes_where_docker_cp_puts_it() {
        for (source, is_dir, target, target_is_dir, folder, name) in [
            ("a.txt", false, "/tmp", Some(true), "/tmp", "a.txt"),
            ("a.txt", false, "/tmp/b.txt", None, "/tmp", "b.txt"),
            ("a.txt", false, "/b.txt", Some(false), "/", "b.txt"),
            ("dir", true, "/tmp", Some(true), "/tmp", "dir"),
            ("dir/.", true, "/tmp", Some(true), "/tmp", ""),
            ("dir", true, "/tmp/new", None, "/tmp", "new"),
            ("dir/", true, "/tmp/new/", None, "/tmp", "new"),
        ] {
            assert_eq!(
                place(source, is_dir, target, target_is_dir).unwrap(),
                (folder.to_owned(), name.to_owned()),
                "{source} to {target}"
            );
        }
        assert!(place("dir", true, "/b.txt", Some(false)).is_err());
        assert!(place("a", false, "/new/", None).is_err());
    }
}
