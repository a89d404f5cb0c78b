//! Volumes: named directories that outlive containers. The `local` driver keeps them below the data root, or
//! mounts what its options name. It does not know what is in them.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::base::{Error, EventBus, Paths, Result};

/// What a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VolumeConfig {
    /// `None` or empty: an anonymous volume with 64 hex digits.
    pub(crate) name: Option<String>,
    /// Empty is `local`.
    pub(crate) driver: String,
    pub(crate) driver_opts: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A volume as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) driver_opts: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// Made without a name: prune may take it.
    pub(crate) anonymous: bool,
    /// The directory to bind into containers.
    pub(crate) mountpoint: PathBuf,
}

/// Which volumes `list` and `prune` see. Empty lists do not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VolumeFilters {
    /// Substrings.
    pub(crate) names: Vec<String>,
    pub(crate) drivers: Vec<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) labels_not: Vec<String>,
    pub(crate) dangling: Option<bool>,
}

/// The volume service.
pub(crate) struct Volumes {}

fn absent<T>() -> Result<T> {
    Err(Error::not_implemented("volumes are not there yet"))
}

impl Volumes {
    pub(crate) fn open(_paths: &Paths, _events: Arc<EventBus>) -> Result<Arc<Self>> {
        Ok(Arc::new(Volumes {}))
    }

    /// Makes a volume, or gives the one of that name (another driver is a conflict).
    pub(crate) fn create(&self, _config: VolumeConfig) -> Result<Volume> {
        absent()
    }

    pub(crate) fn get(&self, _name: &str) -> Result<Volume> {
        absent()
    }

    pub(crate) fn list(&self, _filters: &VolumeFilters) -> Result<Vec<Volume>> {
        absent()
    }

    pub(crate) fn remove(&self, _name: &str, _force: bool) -> Result<()> {
        absent()
    }

    /// Names removed and bytes freed. Without `all` only anonymous ones.
    pub(crate) fn prune(&self, _filters: &VolumeFilters, _all: bool) -> Result<(Vec<String>, u64)> {
        absent()
    }

    /// The container refers to the volume from now on (create): removing it is a conflict.
    pub(crate) fn hold(&self, _name: &str, _container_id: &str) -> Result<Volume> {
        absent()
    }

    /// The container starts: what the driver's options name is mounted. Implies `hold`.
    pub(crate) fn acquire(&self, _name: &str, _container_id: &str) -> Result<Volume> {
        absent()
    }

    /// The container stopped: mounts nobody else uses go.
    pub(crate) fn unmount(&self, _container_id: &str) -> Result<()> {
        absent()
    }

    /// The container is gone: nothing of it holds a volume.
    pub(crate) fn release(&self, _container_id: &str) -> Result<()> {
        absent()
    }

    /// Containers that refer to the volume.
    pub(crate) fn users(&self, _name: &str) -> Vec<String> {
        Vec::new()
    }

    /// Copies what the image has at the target (`source`, a directory opened beneath the rootfs) into an empty
    /// volume, with its owner and mode. Done once a volume.
    pub(crate) fn copy_up(&self, _volume: &Volume, _source: BorrowedFd<'_>) -> Result<()> {
        absent()
    }
}
