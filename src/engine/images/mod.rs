//! Images: their content, their layers unpacked, the names that point to them, and the file systems of
//! containers made of them. It runs nothing and knows no container beyond an id that holds an image.
//!
//! ```text
//! images/configs/<id>            the config as it came: its digest is the image's id
//!        records/<id>.json       what else is known of the image
//!        repositories.json       names → ids; replaced last, so that a name never leads to half an image
//!        layers/<chain id>/      see `layers`
//! ```

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::engine::base::records::{self, Durability};
use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Event, EventBus, Paths, Result};
use crate::oci::digest::is_hex;
use crate::oci::{Digest, ImageConfig, Reference};
use crate::sys::rooted;

pub(crate) mod archive_load;
pub(crate) mod archive_save;
pub(crate) mod commit;
pub(crate) mod compression;
pub(crate) mod image;
pub(crate) mod layers;
pub(crate) mod listing;
pub(crate) mod names;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod remove;
pub(crate) mod skeleton;
pub(crate) mod snapshots;
pub(crate) mod tar_reader;
pub(crate) mod tree_tar;
pub(crate) mod unpack;

pub(crate) use commit::ImportOptions;
pub(crate) use image::{
    Change, ChangeKind, CommitOptions, Deleted, HistoryEntry, Image, ImageFilters, ProgressMessage,
    RegistryAuth, Usage,
};
pub(crate) use layers::{Layers, Pin};
pub(crate) use snapshots::Snapshots;

use names::Names;

/// Where a long call reports; a closed receiver cancels it.
pub(crate) type ProgressSender = mpsc::Sender<ProgressMessage>;

/// What is kept of an image beside its config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    id: Digest,
    parent: Option<Digest>,
    last_tagged: Option<String>,
}

struct Known {
    record: Record,
    config: Arc<ImageConfig>,
    chain: Vec<Digest>,
}

/// An image to add: its config, the image it was made from, its names.
pub(crate) struct NewImage {
    pub(crate) config: Vec<u8>,
    pub(crate) parent: Option<Digest>,
    pub(crate) names: Vec<Reference>,
}

/// A container that needs an image.
#[derive(Debug, Clone)]
struct Hold {
    image: Digest,
    running: bool,
}

struct State {
    images: HashMap<Digest, Known>,
    names: Names,
    holds: HashMap<String, Hold>,
    /// Layers that a cache needs, by the name of the cache entry.
    kept: HashMap<String, Digest>,
}

/// The image service.
pub(crate) struct Images {
    folder: PathBuf,
    layers: Arc<Layers>,
    snapshots: Snapshots,
    state: Mutex<State>,
    events: Arc<EventBus>,
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images").finish_non_exhaustive()
    }
}

impl Images {
    pub(crate) fn open(paths: &Paths, events: Arc<EventBus>) -> Result<Arc<Self>> {
        let folder = paths.images();
        for name in ["configs", "records"] {
            fs::create_dir_all(folder.join(name))?;
        }
        sweep(&paths.tmp())?;
        let layers = Layers::open(paths)?;
        let mut names = Names::open(&folder.join("repositories.json"))?;
        let mut images = HashMap::new();
        for (path, record) in records::load_all::<Record>(&folder.join("records"))? {
            match record.and_then(|record| load_known(&folder, record, &layers)) {
                Ok(known) => {
                    images.insert(known.record.id.clone(), known);
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "image left out"),
            }
        }
        names.retain(|id| images.contains_key(id));
        Ok(Arc::new(Images {
            folder,
            snapshots: Snapshots::open(paths, layers.clone())?,
            layers,
            state: Mutex::new(State {
                images,
                names,
                holds: HashMap::new(),
                kept: HashMap::new(),
            }),
            events,
        }))
    }

    pub(crate) fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    pub(crate) fn layers(&self) -> &Arc<Layers> {
        &self.layers
    }

    /// By short, familiar or full name, id, id prefix or digest.
    pub(crate) fn resolve(&self, name: &str) -> Result<Image> {
        let state = lock(&self.state);
        let id = state.find(name)?;
        self.view(&state, &id)
    }

    pub(crate) fn get(&self, id: &Digest) -> Result<Image> {
        self.view(&lock(&self.state), id)
    }

    fn view(&self, state: &State, id: &Digest) -> Result<Image> {
        let known = state
            .images
            .get(id)
            .ok_or_else(|| Error::not_found(format!("No such image: {id}")))?;
        let (digests, tags): (Vec<Reference>, Vec<Reference>) = state
            .names
            .of(id)
            .into_iter()
            .partition(|name| name.digest.is_some());
        let size = known
            .chain
            .iter()
            .filter_map(|chain_id| self.layers.get(chain_id))
            .map(|layer| layer.size)
            .sum();
        Ok(Image {
            id: id.clone(),
            config: ImageConfig::clone(&known.config),
            repo_tags: tags.iter().map(Reference::familiar).collect(),
            repo_digests: digests.iter().map(Reference::familiar).collect(),
            size,
            created: known.config.created.clone().unwrap_or_default(),
            platform: known.config.platform(),
            parent: known.record.parent.clone(),
            last_tagged: known.record.last_tagged.clone(),
            chain: known.chain.clone(),
        })
    }

    /// The config as it came.
    pub(crate) fn config_bytes(&self, id: &Digest) -> Result<Vec<u8>> {
        Ok(fs::read(self.folder.join("configs").join(id.hex()))?)
    }

    /// Adds an image whose layers are there, and points names to it. Everything is on the disk when it returns.
    pub(crate) fn register(
        &self,
        config: &[u8],
        parent: Option<Digest>,
        names: &[Reference],
    ) -> Result<Image> {
        let new = NewImage {
            config: config.to_vec(),
            parent,
            names: names.to_vec(),
        };
        let mut ids = self.register_all(vec![new])?;
        let id = ids.pop().unwrap_or_else(|| Digest::of(config));
        self.get(&id)
    }

    /// As `register`, for several at once: the disk is waited for once.
    pub(crate) fn register_all(&self, new: Vec<NewImage>) -> Result<Vec<Digest>> {
        let mut prepared = Vec::new();
        let mut pointed = Vec::new();
        for image in new {
            let id = Digest::of(&image.config);
            let record = Record {
                id: id.clone(),
                parent: image.parent,
                last_tagged: (!image.names.is_empty()).then(now),
            };
            pointed.extend(image.names.into_iter().map(|name| (name, id.clone())));
            prepared.push((
                known_from(&image.config, record, &self.layers)?,
                image.config,
            ));
        }
        let chains: Vec<Digest> = prepared
            .iter()
            .flat_map(|(known, _)| known.chain.clone())
            .collect();
        self.layers.commit(&chains)?;
        let ids = prepared
            .iter()
            .map(|(known, _)| known.record.id.clone())
            .collect();
        let mut is_new = false;
        for (known, config) in &prepared {
            let id = &known.record.id;
            if !lock(&self.state).images.contains_key(id) {
                is_new = true;
                write_renamed(&self.folder.join("configs"), id.hex(), config)?;
                records::save(&self.record_path(id), &known.record, Durability::Renamed)?;
            }
        }
        if is_new {
            self.layers.sync()?;
        }
        let mut state = lock(&self.state);
        for (known, _) in prepared {
            state.images.entry(known.record.id.clone()).or_insert(known);
        }
        state.names.change(&pointed, &[])?;
        Ok(ids)
    }

    fn record_path(&self, id: &Digest) -> PathBuf {
        self.folder
            .join("records")
            .join(format!("{}.json", id.hex()))
    }

    /// Points `target` to the image `name`.
    pub(crate) fn tag(&self, name: &str, target: &Reference) -> Result<()> {
        if target.digest.is_some() {
            return Err(Error::invalid(
                "refusing to create a tag with a digest reference",
            ));
        }
        let id = {
            let mut state = lock(&self.state);
            let id = state.find(name)?;
            state
                .names
                .change(&[(target.clone().or_latest(), id.clone())], &[])?;
            let known = state.images.get_mut(&id);
            if let Some(known) = known {
                known.record.last_tagged = Some(now());
                records::save(&self.record_path(&id), &known.record, Durability::Renamed)?;
            }
            id
        };
        self.publish("tag", &id, &target.clone().or_latest().familiar());
        Ok(())
    }

    /// The container needs the image: removing it is a conflict until `release`.
    pub(crate) fn hold(&self, container_id: &str, image: &Digest) {
        let hold = Hold {
            image: image.clone(),
            running: false,
        };
        lock(&self.state)
            .holds
            .insert(container_id.to_owned(), hold);
    }

    pub(crate) fn release(&self, container_id: &str) {
        lock(&self.state).holds.remove(container_id);
    }

    /// A cache entry needs the layer (and those below) until it is dropped.
    pub(crate) fn keep_layer(&self, entry: &str, layer: Option<&Digest>) {
        let kept = &mut lock(&self.state).kept;
        match layer {
            Some(layer) => kept.insert(entry.to_owned(), layer.clone()),
            None => kept.remove(entry),
        };
    }

    /// Removes layers nothing needs.
    pub(crate) fn collect(&self) -> Result<Vec<(Digest, u64)>> {
        let mut roots: HashSet<Digest> = self.snapshots.roots();
        {
            let state = lock(&self.state);
            roots.extend(
                state
                    .images
                    .values()
                    .filter_map(|known| known.chain.last().cloned()),
            );
            roots.extend(state.kept.values().cloned());
        }
        self.layers.collect(&roots)
    }

    /// Tells listeners what happened to an image.
    pub(crate) fn announce(&self, action: &str, id: &Digest, name: &str) {
        self.publish(action, id, name);
    }

    fn publish(&self, action: &str, id: &Digest, name: &str) {
        let mut attributes = match lock(&self.state).images.get(id) {
            Some(known) => known.config.config.labels.clone(),
            None => std::collections::BTreeMap::new(),
        };
        attributes.insert("name".to_owned(), name.to_owned());
        self.events
            .publish(Event::now("image", action, id.as_str(), attributes));
    }
}

impl State {
    /// The image a text means: a name first, then an id or its beginning.
    fn find(&self, name: &str) -> Result<Digest> {
        if let Ok(id) = Digest::parse(name) {
            return match self.images.contains_key(&id) {
                true => Ok(id),
                false => Err(no_such_image(name)),
            };
        }
        let reference = Reference::parse(name).ok();
        if let Some(id) = reference
            .as_ref()
            .and_then(|reference| self.names.get(reference))
        {
            return Ok(id.clone());
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        if !prefix.is_empty() && is_hex(prefix) {
            let mut matching = self.images.keys().filter(|id| id.hex().starts_with(prefix));
            if let (Some(id), None) = (matching.next(), matching.next()) {
                return Ok(id.clone());
            }
        }
        match reference {
            Some(_) => Err(no_such_image(name)),
            None if is_hex(prefix) => Err(no_such_image(name)),
            None => Reference::parse(name)
                .map_err(|error| Error::invalid(error.to_string()))
                .and_then(|_| Err(no_such_image(name))),
        }
    }
}

/// As docker says it: with the tag that was meant.
pub(crate) fn no_such_image(name: &str) -> Error {
    let shown = match Reference::parse(name) {
        Ok(reference) => reference.or_latest().familiar(),
        Err(_) => name.to_owned(),
    };
    Error::not_found(format!("No such image: {shown}"))
}

fn load_known(folder: &std::path::Path, record: Record, layers: &Layers) -> Result<Known> {
    let bytes = fs::read(folder.join("configs").join(record.id.hex()))?;
    if Digest::of(&bytes) != record.id {
        return Err(Error::system(format!(
            "the config of {} is damaged",
            record.id
        )));
    }
    known_from(&bytes, record, layers)
}

fn known_from(config: &[u8], record: Record, layers: &Layers) -> Result<Known> {
    let config: ImageConfig = serde_json::from_slice(config)
        .map_err(|error| Error::invalid(format!("the image config is not valid: {error}")))?;
    let chain = layers::chain_ids(&config.rootfs.diff_ids);
    if let Some(missing) = chain.iter().find(|id| layers.get(id).is_none()) {
        return Err(Error::system(format!("layer {missing} is missing")));
    }
    Ok(Known {
        record,
        config: Arc::new(config),
        chain,
    })
}

fn write_renamed(folder: &std::path::Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.persist(folder.join(name))
        .map_err(|error| error.error)?;
    Ok(())
}

/// Empties the folder of half-written things.
fn sweep(tmp: &std::path::Path) -> Result<()> {
    fs::create_dir_all(tmp)?;
    for entry in fs::read_dir(tmp)? {
        rooted::remove_tree(&entry?.path())?;
    }
    Ok(())
}

/// Now, as RFC 3339 with nanoseconds.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

#[cfg(test)]
#[path = "images_tests.rs"]
pub(crate) mod tests;
