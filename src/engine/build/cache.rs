//! What earlier builds made: cache key → layer. A key says everything a step depends on, so equal keys mean equal
//! results. Only steps built here get in; a pulled image never does.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::engine::base::Result;
use crate::engine::base::records::{self, Durability};
use crate::engine::base::sync::lock;
use crate::engine::images::Images;
use crate::engine::images::listing::unix_seconds;
use crate::oci::Digest;

/// More entries than this, and the ones longest unused go.
const ENTRIES_MAX: usize = 4000;

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) key: Digest,
    /// The top layer after the step; `None` for a step that changed no file (or an image's end).
    pub(crate) layer: Option<Digest>,
    /// The step made the layer, and did not only pass it on.
    pub(crate) has_layer: bool,
    /// RFC 3339.
    pub(crate) created: String,
    pub(crate) last_used: String,
    pub(crate) uses: u64,
    pub(crate) description: String,
}

/// All entries of the data root.
pub(crate) struct Cache {
    folder: PathBuf,
    images: Arc<Images>,
    entries: Mutex<HashMap<Digest, Entry>>,
}

impl Cache {
    pub(crate) fn open(folder: PathBuf, images: Arc<Images>) -> Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut entries = HashMap::new();
        for (path, entry) in records::load_all::<Entry>(&folder)? {
            match entry {
                Ok(entry) => {
                    images.keep_layer(entry.key.as_str(), entry.layer.as_ref());
                    entries.insert(entry.key.clone(), entry);
                }
                // A cache that cannot be read is only a cache.
                Err(error) => {
                    tracing::warn!(%error, "removing a cache entry");
                    records::remove(&path)?;
                }
            }
        }
        Ok(Cache {
            folder,
            images,
            entries: Mutex::new(entries),
        })
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.folder.join(format!("{}.json", key.hex()))
    }

    /// The entry of a key whose layer is still there.
    pub(crate) fn find(&self, key: &Digest) -> Option<Entry> {
        let mut entries = lock(&self.entries);
        let entry = entries.get_mut(key)?;
        if let Some(layer) = &entry.layer
            && self.images.layers().get(layer).is_none()
        {
            return None;
        }
        entry.uses += 1;
        entry.last_used = crate::engine::images::now();
        Some(entry.clone())
    }

    /// Remembers what a step made.
    pub(crate) fn add(
        &self,
        key: &Digest,
        layer: Option<&Digest>,
        has_layer: bool,
        description: &str,
    ) -> Result<Entry> {
        let now = crate::engine::images::now();
        let entry = Entry {
            key: key.clone(),
            layer: layer.cloned(),
            has_layer,
            created: now.clone(),
            last_used: now,
            uses: 0,
            description: description.to_owned(),
        };
        self.images.keep_layer(key.as_str(), layer);
        records::save(&self.path(key), &entry, Durability::Renamed)?;
        lock(&self.entries).insert(key.clone(), entry.clone());
        Ok(entry)
    }

    pub(crate) fn list(&self) -> Vec<Entry> {
        let mut list: Vec<Entry> = lock(&self.entries).values().cloned().collect();
        list.sort_by(|a, b| b.last_used.cmp(&a.last_used));
        list
    }

    /// Drops entries last used before `until` (seconds; all without), and the layers nothing else needs.
    pub(crate) fn prune(&self, until: Option<i64>) -> Result<(Vec<Digest>, u64)> {
        let gone: Vec<Digest> = self
            .list()
            .into_iter()
            .filter(|entry| until.is_none_or(|until| unix_seconds(&entry.last_used) < until))
            .map(|entry| entry.key)
            .collect();
        self.remove(&gone)?;
        let freed = self.images.collect()?.iter().map(|(_, size)| size).sum();
        Ok((gone, freed))
    }

    /// Keeps the number of entries bounded.
    pub(crate) fn trim(&self) -> Result<()> {
        let gone: Vec<Digest> = self
            .list()
            .into_iter()
            .skip(ENTRIES_MAX)
            .map(|entry| entry.key)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.remove(&gone)?;
        self.images.collect()?;
        Ok(())
    }

    fn remove(&self, keys: &[Digest]) -> Result<()> {
        for key in keys {
            records::remove(&self.path(key))?;
            self.images.keep_layer(key.as_str(), None);
            lock(&self.entries).remove(key);
        }
        Ok(())
    }
}
