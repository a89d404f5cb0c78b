//! Layers unpacked once and shared by images and containers, named by chain id. A layer counts when its record
//! is written, which happens after its files reached the disk; anything else is swept when the engine starts.
//!
//! ```text
//! layers/<chain id>/diff/          lower directory of overlays
//!                   skeleton.gz    what makes the archive again, for layers that came as archives
//!                   blob           the archive itself, where tree and skeleton are not enough
//!                   layer.json     written last
//! ```

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::engine::base::records::{self, Durability};
use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Paths, Result};
use crate::engine::images::compression;
use crate::engine::images::skeleton::{self, SkeletonWriter};
use crate::engine::images::tar_reader::TarReader;
use crate::engine::images::tree_tar::{self, Marks};
use crate::engine::images::unpack::{self, Unpack, Whiteouts};
use crate::oci::Digest;
use crate::oci::digest::{HashingReader, HashingWriter};
use crate::sys::rooted::{self, Root};

const RECORD: &str = "layer.json";
const SKELETON: &str = "skeleton.gz";
const BLOB: &str = "blob";
const DIFF: &str = "diff";

/// How the layer's archive is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LayerSource {
    /// From the tree alone: it was made here.
    Tree,
    Skeleton,
    Blob,
}

/// The layer as a blob of a registry, so that a push need not send it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemoteLayer {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) media_type: String,
    /// Full repository names that have it.
    pub(crate) repositories: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    pub(crate) chain_id: Digest,
    pub(crate) diff_id: Digest,
    pub(crate) parent: Option<Digest>,
    /// Bytes in files.
    pub(crate) size: u64,
    pub(crate) source: LayerSource,
    /// Bytes of the uncompressed archive.
    pub(crate) archive_size: u64,
    #[serde(default)]
    pub(crate) remote: Vec<RemoteLayer>,
}

struct Known {
    layer: Layer,
    /// Its record is written.
    durable: bool,
}

#[derive(Default)]
struct State {
    known: HashMap<Digest, Known>,
    /// Layers that an operation under way relies on.
    pins: HashMap<Digest, usize>,
}

/// All layers of the data root.
pub(crate) struct Layers {
    folder: PathBuf,
    tmp: PathBuf,
    state: Mutex<State>,
}

/// Keeps a layer from being collected while it lives.
pub(crate) struct Pin {
    layers: Arc<Layers>,
    chain_id: Digest,
}

impl Pin {
    pub(crate) fn chain_id(&self) -> &Digest {
        &self.chain_id
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = lock(&self.layers.state);
        if let Some(count) = state.pins.get_mut(&self.chain_id) {
            *count -= 1;
            if *count == 0 {
                state.pins.remove(&self.chain_id);
            }
        }
    }
}

/// Removes a half-made directory unless it was moved into its place.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = rooted::remove_tree(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "remove a half-made layer");
        }
    }
}

/// The chain id of a layer on top of `parent`.
pub(crate) fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    match parent {
        None => diff_id.clone(),
        Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
    }
}

/// The chain ids of a list of diff ids, bottom first.
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chain.push(chain_id(chain.last(), diff_id));
    }
    chain
}

impl Layers {
    pub(crate) fn open(paths: &Paths) -> Result<Arc<Self>> {
        let folder = paths.images().join("layers");
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(paths.tmp())?;
        let mut state = State::default();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            match records::load::<Layer>(&path.join(RECORD)) {
                Ok(layer) => {
                    let known = Known {
                        layer,
                        durable: true,
                    };
                    state.known.insert(known.layer.chain_id.clone(), known);
                }
                Err(error) => {
                    tracing::info!(path = %path.display(), %error, "removing an unfinished layer");
                    rooted::remove_tree(&path)?;
                }
            }
        }
        Ok(Arc::new(Layers {
            folder,
            tmp: paths.tmp(),
            state: Mutex::new(state),
        }))
    }

    pub(crate) fn get(&self, chain_id: &Digest) -> Option<Layer> {
        lock(&self.state)
            .known
            .get(chain_id)
            .map(|known| known.layer.clone())
    }

    fn path(&self, chain_id: &Digest) -> PathBuf {
        self.folder.join(chain_id.hex())
    }

    /// The layer's tree.
    pub(crate) fn tree(&self, chain_id: &Digest) -> PathBuf {
        self.path(chain_id).join(DIFF)
    }

    /// The trees from the layer `top` down, as overlayfs wants them.
    pub(crate) fn lowers(&self, top: Option<&Digest>) -> Result<Vec<PathBuf>> {
        let state = lock(&self.state);
        let mut paths = Vec::new();
        let mut next = top.cloned();
        while let Some(chain_id) = next {
            let Some(known) = state.known.get(&chain_id) else {
                return Err(Error::system(format!("layer {chain_id} is missing")));
            };
            paths.push(self.tree(&chain_id));
            next = known.layer.parent.clone();
        }
        Ok(paths)
    }

    pub(crate) fn lower_roots(&self, top: Option<&Digest>) -> Result<Vec<Root>> {
        self.lowers(top)?
            .iter()
            .map(|path| {
                Root::open(path).map_err(|error| Error::from(error).context(path.display()))
            })
            .collect()
    }

    /// Pins a layer that is known.
    pub(crate) fn pin(self: &Arc<Self>, chain_id: &Digest) -> Option<Pin> {
        let mut state = lock(&self.state);
        if !state.known.contains_key(chain_id) {
            return None;
        }
        *state.pins.entry(chain_id.clone()).or_default() += 1;
        Some(Pin {
            layers: self.clone(),
            chain_id: chain_id.clone(),
        })
    }

    /// A directory of its own below the data root, for the caller to fill and remove.
    pub(crate) fn scratch(&self, prefix: &str) -> Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(&self.tmp)
            .map_err(|error| Error::from(error).context("make a temporary directory"))
    }

    /// Unpacks the archive at `archive` (compressed or not) on top of `parent`. It must have the digest
    /// `diff_id` when unpacked. The layer counts after `commit`.
    pub(crate) fn ingest(
        self: &Arc<Self>,
        parent: Option<&Digest>,
        diff_id: &Digest,
        archive: &Path,
        cancel: &CancellationToken,
    ) -> Result<Pin> {
        let id = chain_id(parent, diff_id);
        if let Some(pin) = self.pin(&id) {
            return Ok(pin);
        }
        let scratch = Scratch(self.scratch("layer-")?.keep());
        let lowers = self.lower_roots(parent)?;
        let (unpacked, archive_size) =
            unpack_archive(&scratch.0, &lowers, diff_id, archive, cancel).map_err(|error| {
                Error::from(error).context(format!("layer {}", diff_id.short()))
            })?;
        let layer = Layer {
            chain_id: id,
            diff_id: diff_id.clone(),
            parent: parent.cloned(),
            size: unpacked.bytes,
            source: if unpacked.replaced {
                LayerSource::Blob
            } else {
                LayerSource::Skeleton
            },
            archive_size,
            remote: Vec::new(),
        };
        self.place(layer, &scratch.0)
    }

    /// Takes the tree at `tree` (an overlay's upper directory that is mounted no more) as a layer.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        parent: Option<&Digest>,
        tree: &Path,
        cancel: &CancellationToken,
    ) -> Result<Pin> {
        let root = Root::open(tree)?;
        let mut hash = HashingWriter::new(io::sink());
        let size = tree_tar::write_tree(&root, Marks::Whiteouts, &mut hash, cancel)?;
        let (_, diff_id, archive_size) = hash.finish();
        let id = chain_id(parent, &diff_id);
        if let Some(pin) = self.pin(&id) {
            rooted::remove_tree(tree)?;
            return Ok(pin);
        }
        let scratch = Scratch(self.scratch("layer-")?.keep());
        fs::rename(tree, scratch.0.join(DIFF))?;
        let layer = Layer {
            chain_id: id,
            diff_id,
            parent: parent.cloned(),
            size,
            source: LayerSource::Tree,
            archive_size,
            remote: Vec::new(),
        };
        self.place(layer, &scratch.0)
    }

    fn place(self: &Arc<Self>, layer: Layer, from: &Path) -> Result<Pin> {
        let id = layer.chain_id.clone();
        let mut state = lock(&self.state);
        if !state.known.contains_key(&id) {
            fs::rename(from, self.path(&id))
                .map_err(|error| Error::from(error).context(format!("place layer {id}")))?;
            let known = Known {
                layer,
                durable: false,
            };
            state.known.insert(id.clone(), known);
        }
        *state.pins.entry(id.clone()).or_default() += 1;
        Ok(Pin {
            layers: self.clone(),
            chain_id: id,
        })
    }

    /// Presses the layers to the disk and writes their records: from now on they outlive the engine.
    pub(crate) fn commit(&self, chain: &[Digest]) -> Result<()> {
        let pending: Vec<Layer> = {
            let state = lock(&self.state);
            chain
                .iter()
                .filter_map(|id| state.known.get(id))
                .filter(|known| !known.durable)
                .map(|known| known.layer.clone())
                .collect()
        };
        if pending.is_empty() {
            return Ok(());
        }
        self.sync()?;
        for layer in pending {
            let path = self.path(&layer.chain_id).join(RECORD);
            records::save(&path, &layer, Durability::Renamed)?;
            if let Some(known) = lock(&self.state).known.get_mut(&layer.chain_id) {
                known.durable = true;
            }
        }
        Ok(())
    }

    /// Everything written below the data root reaches the disk, at once instead of file by file.
    pub(crate) fn sync(&self) -> Result<()> {
        let folder = File::open(&self.folder)?;
        rustix::fs::syncfs(folder.as_fd()).map_err(|error| {
            Error::from(io::Error::from(error)).context("write the image to the disk")
        })
    }

    /// Remembers that a registry has the layer as a blob.
    pub(crate) fn add_remote(&self, chain_id: &Digest, remote: &RemoteLayer) -> Result<()> {
        let mut state = lock(&self.state);
        let Some(known) = state.known.get_mut(chain_id) else {
            return Ok(());
        };
        let list = &mut known.layer.remote;
        match list.iter_mut().find(|other| other.digest == remote.digest) {
            Some(other) => {
                for repository in &remote.repositories {
                    if !other.repositories.contains(repository) {
                        other.repositories.push(repository.clone());
                    }
                }
            }
            None => list.push(remote.clone()),
        }
        if known.durable {
            let path = self.path(chain_id).join(RECORD);
            records::save(&path, &known.layer, Durability::Renamed)?;
        }
        Ok(())
    }

    /// Writes the layer's archive, uncompressed, and checks that it is the right one.
    pub(crate) fn write_archive(
        &self,
        chain_id: &Digest,
        out: &mut dyn Write,
        cancel: &CancellationToken,
    ) -> Result<u64> {
        let layer = self
            .get(chain_id)
            .ok_or_else(|| Error::system(format!("layer {chain_id} is missing")))?;
        let folder = self.path(chain_id);
        let root = Root::open(&folder.join(DIFF))?;
        let mut hash = HashingWriter::new(out);
        match layer.source {
            LayerSource::Tree => {
                tree_tar::write_tree(&root, Marks::Whiteouts, &mut hash, cancel)?;
            }
            LayerSource::Skeleton => skeleton::assemble(&folder.join(SKELETON), &root, &mut hash)?,
            LayerSource::Blob => {
                let (_, mut plain) = compression::decompress(File::open(folder.join(BLOB))?)?;
                io::copy(&mut plain, &mut hash)?;
            }
        }
        let (_, digest, count) = hash.finish();
        if digest != layer.diff_id {
            return Err(Error::system(format!(
                "layer {} is damaged: its content has the digest {digest}",
                layer.diff_id
            )));
        }
        Ok(count)
    }

    /// Removes layers that no root in `roots` needs, from the top down: their ids and bytes.
    pub(crate) fn collect(&self, roots: &HashSet<Digest>) -> Result<Vec<(Digest, u64)>> {
        let mut removed = Vec::new();
        let mut trash = Vec::new();
        {
            let mut state = lock(&self.state);
            let mut needed: HashSet<Digest> = HashSet::new();
            let starts: Vec<Digest> = roots.iter().chain(state.pins.keys()).cloned().collect();
            for start in starts {
                let mut next = Some(start);
                while let Some(id) = next {
                    if !needed.insert(id.clone()) {
                        break;
                    }
                    next = state
                        .known
                        .get(&id)
                        .and_then(|known| known.layer.parent.clone());
                }
            }
            let unneeded: Vec<Digest> = state
                .known
                .keys()
                .filter(|id| !needed.contains(*id))
                .cloned()
                .collect();
            for id in unneeded {
                // Without its record it is no layer, whatever happens next.
                records::remove(&self.path(&id).join(RECORD))?;
                let target = self.tmp.join(format!("trash-{}", id.hex()));
                rooted::remove_tree(&target)?;
                fs::rename(self.path(&id), &target)?;
                trash.push(target);
                if let Some(known) = state.known.remove(&id) {
                    removed.push((id, known.layer.size));
                }
            }
        }
        for path in trash {
            rooted::remove_tree(&path)?;
        }
        Ok(removed)
    }
}

fn unpack_archive(
    folder: &Path,
    lowers: &[Root],
    diff_id: &Digest,
    archive: &Path,
    cancel: &CancellationToken,
) -> io::Result<(unpack::Unpacked, u64)> {
    let tree = folder.join(DIFF);
    fs::create_dir(&tree)?;
    let root = Root::open(&tree)?;
    let mode = rustix::fs::Mode::from_raw_mode(0o755);
    rustix::fs::fchmod(&root, mode)?;
    // The layer below decides how `/` looks until this one says otherwise.
    unpack::inherit(lowers, b".", root.as_fd())?;
    let (_, plain) = compression::decompress(File::open(archive)?)?;
    let skeleton_path = folder.join(SKELETON);
    let mut reader = TarReader::new(HashingReader::new(plain))
        .with_skeleton(SkeletonWriter::create(&skeleton_path)?);
    let unpacked = unpack::unpack(
        &mut reader,
        &Unpack {
            root: &root,
            whiteouts: Whiteouts::Overlay,
            lowers,
            keep_directories: false,
            owner: None,
            cancel,
        },
    )?;
    let (hashed, skeleton) = reader.finish()?;
    let (digest, archive_size) = hashed.finish();
    if digest != *diff_id {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("its content has the digest {digest}, the image says {diff_id}"),
        ));
    }
    if unpacked.replaced {
        fs::remove_file(&skeleton_path)?;
        fs::copy(archive, folder.join(BLOB))?;
    } else if let Some(skeleton) = skeleton {
        skeleton.finish()?;
    }
    Ok((unpacked, archive_size))
}
