//! A build context as a tar archive: what `.dockerignore` leaves, owned by root, streamed while it is
//! read. It sends nothing.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::client::ClientError;
use crate::client::files::{Pieces, TarStream, stream_archive};
use crate::oci::dockerignore::{self, PatternSet};

/// The Dockerfile of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dockerfile {
    /// A path, absolute or relative to the context.
    Path(PathBuf),
    /// `dockerfile_inline`.
    Inline(String),
}

/// A context that is ready to be sent.
pub(crate) struct ContextTar {
    /// The Dockerfile's name inside the archive.
    pub(crate) dockerfile: String,
    pub(crate) archive: TarStream,
}

/// Opens a local folder as a context.
///
/// # Errors
/// No such folder or Dockerfile, a broken `.dockerignore`.
pub(crate) fn open(context: &Path, dockerfile: &Dockerfile) -> Result<ContextTar, ClientError> {
    let root = fs::canonicalize(context)
        .map_err(|error| ClientError::io(format!("build context {}", context.display()), error))?;
    if !root.is_dir() {
        return Err(ClientError::Invalid(format!(
            "build context {} is not a folder",
            context.display()
        )));
    }
    let (name, extra) = place_dockerfile(&root, dockerfile)?;
    let ignore = read_ignore(&root, dockerfile)?;
    let in_archive = name.clone();
    let archive =
        stream_archive(move |pieces| write(&root, &ignore, &in_archive, extra.as_ref(), pieces));
    Ok(ContextTar {
        dockerfile: name,
        archive,
    })
}

/// The name of the Dockerfile in the archive, and its content when it is no file of the context.
fn place_dockerfile(
    root: &Path,
    dockerfile: &Dockerfile,
) -> Result<(String, Option<Vec<u8>>), ClientError> {
    let outside = |content: Vec<u8>| {
        let name = format!(".dockerfile.{}", std::process::id());
        (name, Some(content))
    };
    match dockerfile {
        Dockerfile::Inline(text) => Ok(outside(text.clone().into_bytes())),
        Dockerfile::Path(path) => {
            let full = root.join(path);
            let real = fs::canonicalize(&full).map_err(|_| {
                ClientError::Invalid(format!(
                    "failed to read dockerfile: open {}: no such file or directory",
                    path.display()
                ))
            })?;
            match real.strip_prefix(root) {
                // A link inside the context is sent as a link: name the file it leads to.
                Ok(inside) => Ok((slashed(inside), None)),
                Err(_) => {
                    let content = fs::read(&real).map_err(|error| {
                        ClientError::io(format!("read {}", real.display()), error)
                    })?;
                    Ok(outside(content))
                }
            }
        }
    }
}

/// `<Dockerfile>.dockerignore` wins over the context's own.
pub(crate) fn read_ignore(root: &Path, dockerfile: &Dockerfile) -> Result<PatternSet, ClientError> {
    let mut candidates = Vec::new();
    if let Dockerfile::Path(path) = dockerfile {
        let mut own = root.join(path).into_os_string();
        own.push(".dockerignore");
        candidates.push(PathBuf::from(own));
    }
    candidates.push(root.join(".dockerignore"));
    for candidate in candidates {
        match fs::read_to_string(&candidate) {
            Ok(text) => {
                return PatternSet::new(&dockerignore::parse(&text)).map_err(|error| {
                    ClientError::Invalid(format!("{}: {error}", candidate.display()))
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(ClientError::io(
                    format!("read {}", candidate.display()),
                    error,
                ));
            }
        }
    }
    Ok(PatternSet::default())
}

fn write(
    root: &Path,
    ignore: &PatternSet,
    dockerfile: &str,
    extra: Option<&Vec<u8>>,
    pieces: &mut Pieces,
) -> io::Result<()> {
    let mut archive = Builder::new(pieces);
    archive.follow_symlinks(false);
    if let Some(content) = extra {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, dockerfile, content.as_slice())?;
    }
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut names: Vec<PathBuf> = fs::read_dir(root.join(&folder))?
            .map(|entry| entry.map(|entry| folder.join(entry.file_name())))
            .collect::<io::Result<_>>()?;
        names.sort();
        for path in names {
            let text = slashed(&path);
            let metadata = match fs::symlink_metadata(root.join(&path)) {
                Ok(metadata) => metadata,
                // Removed while we read: as if it had never been there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_needed = text == dockerfile || text == ".dockerignore";
            let is_ignored = !is_needed && ignore.matches(&text);
            if metadata.is_dir() {
                let leads_to_dockerfile = dockerfile.starts_with(&format!("{text}/"));
                if is_ignored && !ignore.may_match_below(&text) && !leads_to_dockerfile {
                    continue;
                }
                folders.push(path.clone());
            }
            if !is_ignored {
                append(&mut archive, &root.join(&path), &path, &metadata)?;
            }
        }
    }
    archive.finish()
}

fn append(
    archive: &mut Builder<&mut Pieces>,
    full: &Path,
    path: &Path,
    metadata: &fs::Metadata,
) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
        return Ok(());
    }
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        archive.append_data(&mut header, path, io::empty())
    } else if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, path, fs::read_link(full)?)
    } else {
        let file = File::open(full)?;
        let size = metadata.len();
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        // A file that grows or shrinks meanwhile must not break the archive's frame.
        let padded = io::Read::take(io::Read::chain(file, io::repeat(0)), size);
        archive.append_data(&mut header, path, padded)
    }
}

fn slashed(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    async fn names(folder: &Path, dockerfile: Dockerfile) -> (String, Vec<String>) {
        let context = open(folder, &dockerfile).unwrap();
        let mut bytes = Vec::new();
        let mut archive = context.archive;
        while let Some(piece) = archive.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        let mut names: Vec<String> = tar::Archive::new(bytes.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        names.sort();
        (context.dockerfile, names)
    }

    #[tokio::test]
    async fn a_context_holds_what_is_not_ignored_and_always_the_dockerfile() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(".dockerignore", "*\n!src\nsrc/*.log\n");
        write("docker/Dockerfile", "FROM scratch");
        write("src/a.rs", "a");
        write("src/b.log", "b");
        write("node_modules/x", "x");
        std::os::unix::fs::symlink("a.rs", folder.path().join("src/link")).unwrap();
        let (name, names) =
            names(folder.path(), Dockerfile::Path("docker/Dockerfile".into())).await;
        assert_eq!(name, "docker/Dockerfile");
        assert_eq!(
            names,
            [
                ".dockerignore",
                "docker/Dockerfile",
                "src",
                "src/a.rs",
                "src/link"
            ]
        );
    }

    #[tokio::test]
    async fn an_inline_dockerfile_gets_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (name, names) = names(folder.path(), Dockerfile::Inline("FROM x".to_owned())).await;
        assert_eq!(names, [name]);
    }
}
