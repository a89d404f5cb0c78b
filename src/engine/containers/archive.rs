//! Files in and out of a container, running or not: stat, read as tar, write from tar, export, changes. Paths
//! are resolved as the container would, beneath its root; no link leads out of it.

use std::io::{Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, readlinkat};
use tokio_util::sync::CancellationToken;

use crate::engine::base::{Error, Result};
use crate::engine::containers::mounts::{MountPoint, MountSource};
use crate::engine::containers::rootfs::{self, Access};
use crate::engine::containers::view::View;
use crate::engine::containers::{Containers, user};
use crate::engine::images::tar_reader::TarReader;
use crate::engine::images::tree_tar::{Marks, write_member, write_tree};
use crate::engine::images::unpack::{Unpack, Whiteouts, unpack};
use crate::engine::images::{Change, ChangeKind, compression};
use crate::oci::runtime_spec::RootfsSource;
use crate::sys::rooted::{self, Root};

/// What a path in a container is, in the terms of `X-Docker-Container-Path-Stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathStat {
    pub(crate) name: String,
    pub(crate) size: i64,
    /// Go's `FileMode` bits.
    pub(crate) mode: u32,
    pub(crate) mtime: String,
    pub(crate) link_target: String,
}

/// How `PUT` treats what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PutOptions {
    /// New files belong to the container's user.
    pub(crate) own_by_user: bool,
    /// A directory and something else never replace each other.
    pub(crate) keep_directories: bool,
}

/// A path beneath a root: a directory and a name in it.
struct Place {
    parent: OwnedFd,
    /// `.` for a root itself.
    name: Vec<u8>,
    /// The last component as the client wrote it.
    shown: Vec<u8>,
}

impl Containers {
    pub(crate) fn stat_path(&self, view: &View, path: &str) -> Result<PathStat> {
        let root = self.root_at(view, path, Access::Read)?;
        let place = find(&root, path)?;
        stat_of(&place, path)
    }

    /// The stat, and a writer of the tar of `path`.
    pub(crate) fn read_path(
        &self,
        view: &View,
        path: &str,
    ) -> Result<(
        PathStat,
        impl FnOnce(&mut dyn Write) -> Result<()> + Send + use<>,
    )> {
        let root = self.root_at(view, path, Access::Read)?;
        let place = find(&root, path)?;
        let stat = stat_of(&place, path)?;
        Ok((stat, move |out: &mut dyn Write| {
            let cancel = CancellationToken::new();
            let written = write_member(
                place.parent.as_fd(),
                &place.name,
                &place.shown,
                out,
                &cancel,
            );
            drop(root);
            Ok(written?)
        }))
    }

    /// Unpacks a tar (plain or compressed) into the directory `path`. Blocking.
    pub(crate) fn write_path(
        &self,
        view: &View,
        path: &str,
        options: PutOptions,
        tar: &mut dyn Read,
    ) -> Result<()> {
        check_writable(view, path)?;
        let root = self.root_at(view, path, Access::Write)?;
        let missing = |_| not_found(view, path);
        let stat = root
            .root
            .stat_target(root.inner(path).as_bytes())
            .map_err(missing)?
            .ok_or_else(|| not_found(view, path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(Error::invalid("extraction point is not a directory"));
        }
        let directory = root
            .root
            .open_dir(root.inner(path).as_bytes())
            .map_err(|error| Error::system(format!("open {path}: {error}")))?;
        let target = Root::from_fd(directory);
        let owner = match options.own_by_user && !view.record.config.user.is_empty() {
            true => {
                let whole = self.root_at(view, "/", Access::Read)?;
                let accounts = rootfs::read_accounts(whole.root.as_fd());
                let resolved = user::resolve(&view.record.config.user, &[], &accounts)?;
                Some((resolved.spec.uid, resolved.spec.gid))
            }
            false => None,
        };
        let (_, plain) = compression::decompress(tar)
            .map_err(|error| Error::invalid(format!("read the archive: {error}")))?;
        let cancel = CancellationToken::new();
        unpack(
            &mut TarReader::new(plain),
            &Unpack {
                root: &target,
                whiteouts: Whiteouts::Literal,
                lowers: &[],
                keep_directories: options.keep_directories,
                owner,
                cancel: &cancel,
            },
        )
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                Error::invalid(error.to_string())
            }
            std::io::ErrorKind::ReadOnlyFilesystem => {
                Error::forbidden("container rootfs is marked read-only")
            }
            _ => Error::system(error.to_string()),
        })?;
        self.deps.publish(&view.record, "extract-to-dir", &[]);
        Ok(())
    }

    /// A writer of the whole file system as a tar.
    pub(crate) fn export(
        &self,
        view: &View,
    ) -> Result<impl FnOnce(&mut dyn Write) -> Result<()> + Send + use<>> {
        let root = self.container_root(view, Access::Read, true)?;
        self.deps.publish(&view.record, "export", &[]);
        Ok(move |out: &mut dyn Write| {
            let cancel = CancellationToken::new();
            write_tree(&root, Marks::Plain, out, &cancel)?;
            Ok(())
        })
    }

    pub(crate) fn changes(&self, view: &View) -> Result<Vec<Change>> {
        let mut changes = self.deps.images.snapshots().diff(view.id())?;
        changes.retain(|change| !is_of_the_engine(view, &change.path));
        // A directory counts as changed for what the engine put in it, too.
        let bare: Vec<String> = changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Modified)
            .map(|change| change.path.clone())
            .filter(|path| matches!(path.as_str(), "/etc" | "/dev" | "/proc" | "/sys"))
            .filter(|path| {
                let inside = format!("{path}/");
                !changes
                    .iter()
                    .any(|change| change.path.starts_with(&inside))
            })
            .collect();
        changes.retain(|change| !bare.contains(&change.path));
        Ok(changes)
    }

    /// The root to resolve `path` in: of the running container as it sees it, else its snapshot, or the
    /// volume or bind that would be mounted over the path.
    fn root_at(&self, view: &View, path: &str, access: Access) -> Result<FoundRoot> {
        if !view.run.state.has_process()
            && let Some((destination, source)) = self.mounted_over(view, path)
        {
            let root = Root::open(&source)
                .map_err(|error| Error::system(format!("open {}: {error}", source.display())))?;
            return Ok(FoundRoot {
                root,
                prefix: destination,
            });
        }
        Ok(FoundRoot {
            root: self.container_root(view, access, false)?,
            prefix: String::new(),
        })
    }

    fn container_root(&self, view: &View, access: Access, image_only: bool) -> Result<Root> {
        if view.run.state.has_process() && !image_only {
            let path = format!("/proc/{}/root", view.run.pid);
            return rootfs::open_directory(Path::new(&path))
                .map(Root::from_fd)
                .map_err(|error| Error::system(format!("open the container's root: {error}")));
        }
        let image = self.deps.images.get(&view.record.image_id)?;
        let spec = self.deps.images.snapshots().prepare(view.id(), &image)?;
        if let RootfsSource::Overlay { .. } = &spec.source {
            return Ok(Root::from_fd(rootfs::open(&spec, access)?));
        }
        Ok(Root::from_fd(rootfs::open(&spec, Access::Read)?))
    }

    /// The innermost bind or volume whose destination holds the path.
    fn mounted_over(&self, view: &View, path: &str) -> Option<(String, std::path::PathBuf)> {
        let covering = covering(view, path)?;
        let source = match &covering.source {
            MountSource::Bind { path, .. } => std::path::PathBuf::from(path),
            MountSource::Volume { name, subpath, .. } => {
                let volume = self.deps.volumes.acquire(name, view.id()).ok()?;
                volume.mountpoint.join(subpath)
            }
            MountSource::Tmpfs { .. } | MountSource::Image { .. } => return None,
        };
        source
            .is_dir()
            .then(|| (covering.destination.clone(), source))
    }
}

/// Mount points that starting a container makes in its writable layer.
fn is_of_the_engine(view: &View, path: &str) -> bool {
    const MADE: [&str; 10] = [
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/dev/console",
        "/proc",
        "/sys",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
    ];
    MADE.contains(&path)
        || view
            .record
            .mounts
            .iter()
            .any(|point| point.destination == path)
}

struct FoundRoot {
    root: Root,
    /// What of the container's paths lies above the root.
    prefix: String,
}

impl FoundRoot {
    /// The path below this root, `.` for the root.
    fn inner(&self, path: &str) -> String {
        let absolute = format!("/{}", path.trim_start_matches('/'));
        let rest = absolute.strip_prefix(&self.prefix).unwrap_or(&absolute);
        match rest.trim_start_matches('/') {
            "" => ".".to_owned(),
            inner => inner.to_owned(),
        }
    }
}

fn not_found(view: &View, path: &str) -> Error {
    Error::not_found(format!(
        "Could not find the file {path} in container {}",
        view.id()
    ))
}

/// The innermost mount whose destination holds the path.
fn covering<'v>(view: &'v View, path: &str) -> Option<&'v MountPoint> {
    let path = format!("/{}", path.trim_start_matches('/'));
    view.record
        .mounts
        .iter()
        .filter(|point| {
            path.strip_prefix(point.destination.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .max_by_key(|point| point.destination.len())
}

fn check_writable(view: &View, path: &str) -> Result<()> {
    match covering(view, path) {
        Some(point) if point.read_only => {
            Err(Error::forbidden("mounted volume is marked read-only"))
        }
        Some(_) => Ok(()),
        None if view.record.host.readonly_rootfs => {
            Err(Error::forbidden("container rootfs is marked read-only"))
        }
        None => Ok(()),
    }
}

/// Finds what `path` names. A last `/` or `/.` asks for what a link leads to; else a link is itself.
fn find(found: &FoundRoot, path: &str) -> Result<Place> {
    let missing = |_: std::io::Error| {
        Error::not_found(format!("Could not find the file {path} in container"))
    };
    let inner = found.inner(path);
    let follows = path.ends_with('/') || path.ends_with("/.");
    let trimmed = inner.trim_end_matches("/.").trim_end_matches('/');
    let shown = match path.trim_end_matches('/').rsplit('/').next() {
        Some("") | None => b".".to_vec(),
        Some(name) => name.as_bytes().to_vec(),
    };
    if trimmed.is_empty() || trimmed == "." || follows {
        let place = if trimmed.is_empty() { "." } else { trimmed };
        let parent = found.root.open_dir(place.as_bytes()).map_err(missing)?;
        return Ok(Place {
            parent,
            name: b".".to_vec(),
            shown,
        });
    }
    let (folder, name) = rooted::split_parent(trimmed.as_bytes());
    if name == b".." {
        let parent = found.root.open_dir(trimmed.as_bytes()).map_err(missing)?;
        return Ok(Place {
            parent,
            name: b".".to_vec(),
            shown: b".".to_vec(),
        });
    }
    let folder = if folder.is_empty() { b"." } else { folder };
    let parent = found.root.open_dir(folder).map_err(missing)?;
    Ok(Place {
        parent,
        name: name.to_vec(),
        shown,
    })
}

fn stat_of(place: &Place, path: &str) -> Result<PathStat> {
    let missing = || Error::not_found(format!("Could not find the file {path} in container"));
    let stat = rooted::stat_at(place.parent.as_fd(), &place.name)
        .map_err(|_| missing())?
        .ok_or_else(missing)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let link_target = if kind == FileType::Symlink {
        readlinkat(&place.parent, rooted::os(&place.name), Vec::new())
            .map(|target| absolute_target(path, &target.to_string_lossy()))
            .unwrap_or_default()
    } else {
        String::new()
    };
    let mtime = jiff::Timestamp::new(
        stat.st_mtime,
        i32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    )
    .map(|time| time.to_string())
    .unwrap_or_default();
    let shown = String::from_utf8_lossy(&place.shown).into_owned();
    Ok(PathStat {
        name: if shown == "." { "/".to_owned() } else { shown },
        size: stat.st_size,
        mode: go_mode(stat.st_mode),
        mtime,
        link_target,
    })
}

/// Where a link at `path` leads, as a path of the container.
fn absolute_target(path: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let joined = format!("{folder}/{target}");
    crate::engine::containers::mounts::clean(&joined).unwrap_or_else(|_| "/".to_owned())
}

/// Permission bits, and Go's bits for the kind of file.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)]
        .into_iter()
        .filter(|(bit, _)| mode & bit != 0)
        .fold(0, |bits, (_, go)| bits | go);
    kind | special | (mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o040_755), 1 << 31 | 0o755);
        assert_eq!(go_mode(0o041_777), 1 << 31 | 1 << 20 | 0o777);
        assert_eq!(go_mode(0o104_755), 1 << 23 | 0o755);
    }

    #[test]
    fn places_are_found_as_docker_names_them() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("etc/sub")).unwrap();
        std::os::unix::fs::symlink("/etc/sub", folder.path().join("link")).unwrap();
        let found = FoundRoot {
            root: Root::open(folder.path()).unwrap(),
            prefix: String::new(),
        };
        let name = |path: &str| {
            let place = find(&found, path).unwrap();
            (
                String::from_utf8(place.name.clone()).unwrap(),
                String::from_utf8(place.shown.clone()).unwrap(),
                stat_of(&place, path).unwrap().mode >> 24,
            )
        };
        assert_eq!(name("/etc"), ("etc".to_owned(), "etc".to_owned(), 1 << 7));
        assert_eq!(name("/etc/."), (".".to_owned(), ".".to_owned(), 1 << 7));
        assert_eq!(name("/"), (".".to_owned(), ".".to_owned(), 1 << 7));
        assert_eq!(
            name("/link"),
            ("link".to_owned(), "link".to_owned(), 1 << 3)
        );
        assert_eq!(name("/link/"), (".".to_owned(), "link".to_owned(), 1 << 7));
        let place = find(&found, "/link").unwrap();
        assert_eq!(stat_of(&place, "/link").unwrap().link_target, "/etc/sub");
        assert!(find(&found, "/nope/x").is_err());
    }
}
