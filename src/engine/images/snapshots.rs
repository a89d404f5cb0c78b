//! The file systems of containers: an overlay of an image's layers and a writable directory. It gives
//! paths; mounting is the shim's work.
//!
//! ```text
//! snapshots/<container id>/upper/   what the container wrote
//!                          work/    overlayfs' own
//!                          top      chain id of the layer below, empty for none
//! ```

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{FileType, Stat};

use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Paths, Result};
use crate::engine::images::layers::Layers;
use crate::engine::images::unpack::OPAQUE_XATTR;
use crate::engine::images::{Change, ChangeKind, Image, Usage};
use crate::oci::Digest;
use crate::oci::runtime_spec::{RootfsSource, RootfsSpec};
use crate::sys::rooted::{self, Root};

const TOP: &str = "top";
/// Marks a snapshot that is worth nothing to the next engine.
const SCRATCH: &str = "scratch";

/// Writable layers by container.
pub(crate) struct Snapshots {
    folder: PathBuf,
    /// The lower directory of an image without layers.
    empty: PathBuf,
    layers: Arc<Layers>,
    /// The layer each snapshot stands on; what is collected depends on it.
    tops: Mutex<HashMap<String, Option<Digest>>>,
}

impl Snapshots {
    pub(crate) fn open(paths: &Paths, layers: Arc<Layers>) -> Result<Self> {
        let folder = paths.snapshots();
        let empty = paths.images().join("empty");
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(&empty)?;
        let mut tops = HashMap::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.path().join(SCRATCH).exists() {
                // A build step that an engine before this one did not finish.
                rooted::remove_tree(&entry.path())?;
                continue;
            }
            let id = entry.file_name().to_string_lossy().into_owned();
            let top = fs::read_to_string(entry.path().join(TOP)).unwrap_or_default();
            tops.insert(id, Digest::parse(top.trim()).ok());
        }
        Ok(Snapshots {
            folder,
            empty,
            layers,
            tops: Mutex::new(tops),
        })
    }

    fn path(&self, container_id: &str) -> Result<PathBuf> {
        let safe = !container_id.is_empty()
            && container_id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !safe {
            return Err(Error::invalid(format!(
                "{container_id:?} is no container id"
            )));
        }
        Ok(self.folder.join(container_id))
    }

    /// The writable layer of a container, made when missing. Idempotent.
    pub(crate) fn prepare(&self, container_id: &str, image: &Image) -> Result<RootfsSpec> {
        self.prepare_on(container_id, image.chain.last())
    }

    /// As `prepare`, on top of any layer.
    pub(crate) fn prepare_on(
        &self,
        container_id: &str,
        top: Option<&Digest>,
    ) -> Result<RootfsSpec> {
        let path = self.path(container_id)?;
        let mut lowers = self.layers.lowers(top)?;
        if lowers.is_empty() {
            lowers.push(self.empty.clone());
        }
        let upper = path.join("upper");
        let work = path.join("work");
        if !work.exists() {
            self.make(container_id, &path, top, &lowers[0])?;
        }
        Ok(RootfsSpec {
            source: RootfsSource::Overlay {
                lowers,
                upper,
                work,
                volatile: false,
            },
            readonly: false,
        })
    }

    /// As `prepare_on`, for a build step: an engine that starts removes it.
    pub(crate) fn prepare_scratch(&self, id: &str, top: Option<&Digest>) -> Result<RootfsSpec> {
        let path = self.path(id)?;
        fs::create_dir_all(&path)?;
        fs::write(path.join(SCRATCH), "")?;
        self.prepare_on(id, top)
    }

    fn make(
        &self,
        container_id: &str,
        path: &Path,
        top: Option<&Digest>,
        below: &Path,
    ) -> Result<()> {
        // Known before it is on the disk: a collection meanwhile must see it.
        lock(&self.tops).insert(container_id.to_owned(), top.cloned());
        let upper = path.join("upper");
        fs::create_dir_all(&upper)?;
        // The root of an overlay looks as its upper directory does.
        let (from, to) = (Root::open(below)?, Root::open(&upper)?);
        rooted::copy_attributes(from.as_fd(), to.as_fd())?;
        fs::write(path.join(TOP), top.map_or("", |top| top.as_str()))?;
        fs::create_dir_all(path.join("work"))?;
        Ok(())
    }

    /// Removes the writable layer; a missing one is fine. It must not be mounted.
    pub(crate) fn remove(&self, container_id: &str) -> Result<()> {
        rooted::remove_tree(&self.path(container_id)?)
            .map_err(|error| Error::from(error).context("remove the container's file system"))?;
        lock(&self.tops).remove(container_id);
        Ok(())
    }

    pub(crate) fn upper(&self, container_id: &str) -> Result<PathBuf> {
        Ok(self.path(container_id)?.join("upper"))
    }

    /// The layer the container's writable layer stands on.
    pub(crate) fn top(&self, container_id: &str) -> Option<Digest> {
        lock(&self.tops).get(container_id).cloned().flatten()
    }

    /// Layers that snapshots need.
    pub(crate) fn roots(&self) -> HashSet<Digest> {
        lock(&self.tops).values().flatten().cloned().collect()
    }

    /// What the container changed, parents before children.
    pub(crate) fn diff(&self, container_id: &str) -> Result<Vec<Change>> {
        let upper = Root::open(&self.upper(container_id)?)?;
        let lowers = self.layers.lower_roots(self.top(container_id).as_ref())?;
        let mut changes = Vec::new();
        collect_changes(&upper, &lowers, b"", &mut changes)?;
        Ok(changes)
    }

    pub(crate) fn usage(&self, container_id: &str) -> Result<Usage> {
        let writable = rooted::tree_size(&self.upper(container_id)?)?;
        let mut rootfs = writable;
        let mut next = self.top(container_id);
        while let Some(layer) = next.and_then(|id| self.layers.get(&id)) {
            rootfs += layer.size;
            next = layer.parent;
        }
        Ok(Usage { writable, rootfs })
    }
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_opaque(root: &Root, path: &[u8]) -> io::Result<bool> {
    let fd = root.open_dir(path)?;
    let xattrs = rooted::xattrs(fd.as_fd())?;
    Ok(xattrs
        .iter()
        .any(|(name, value)| name == OPAQUE_XATTR && value == b"y"))
}

/// What the layers below show at `path`.
fn below(lowers: &[Root], path: &[u8]) -> io::Result<Option<Stat>> {
    for lower in lowers {
        if let Some(stat) = lower.stat(path)? {
            return Ok((!is_whiteout(&stat)).then_some(stat));
        }
        // A parent that is hidden or replaced here hides what lies deeper.
        for at in path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| at)
        {
            let Some(stat) = lower.stat(&path[..at])? else {
                break;
            };
            if !is_dir(&stat) || is_opaque(lower, &path[..at])? {
                return Ok(None);
            }
        }
    }
    Ok(None)
}

fn names_below(lowers: &[Root], path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut found = std::collections::BTreeSet::new();
    for lower in lowers {
        let Some(stat) = lower.stat(path)? else {
            continue;
        };
        if !is_dir(&stat) {
            break;
        }
        let dir = lower.open_dir(path)?;
        for name in rooted::names(dir.as_fd())? {
            found.insert(name.to_bytes().to_vec());
        }
        if is_opaque(lower, path)? {
            break;
        }
    }
    Ok(found.into_iter().collect())
}

fn collect_changes(
    upper: &Root,
    lowers: &[Root],
    path: &[u8],
    changes: &mut Vec<Change>,
) -> Result<()> {
    let dir = upper.open_dir(path)?;
    let names = rooted::names(dir.as_fd())?;
    drop(dir);
    let here: HashSet<Vec<u8>> = names.iter().map(|name| name.to_bytes().to_vec()).collect();
    let mut push = |path: &[u8], kind| {
        changes.push(Change {
            path: format!("/{}", rooted::shown(path)),
            kind,
        });
    };
    if !path.is_empty() && is_opaque(upper, path)? {
        for name in names_below(lowers, path)? {
            let child = joined(path, &name);
            if !here.contains(&name) && below(lowers, &child)?.is_some() {
                push(&child, ChangeKind::Deleted);
            }
        }
    }
    for name in names {
        let child = joined(path, name.to_bytes());
        let Some(stat) = upper.stat(&child)? else {
            continue;
        };
        if is_whiteout(&stat) {
            if below(lowers, &child)?.is_some() {
                changes.push(Change {
                    path: format!("/{}", rooted::shown(&child)),
                    kind: ChangeKind::Deleted,
                });
            }
            continue;
        }
        let kind = match below(lowers, &child)? {
            Some(_) => ChangeKind::Modified,
            None => ChangeKind::Added,
        };
        changes.push(Change {
            path: format!("/{}", rooted::shown(&child)),
            kind,
        });
        if is_dir(&stat) {
            collect_changes(upper, lowers, &child, changes)?;
        }
    }
    Ok(())
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return name.to_vec();
    }
    [path, b"/", name].concat()
}
