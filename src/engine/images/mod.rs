//! Images: their content, their layers unpacked, the names that point to them, and the file systems of
//! containers made of them. It runs nothing and knows no container beyond an id that holds an image.

use std::io::Read;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::engine::base::{Error, EventBus, Paths, Result};
use crate::oci::{Digest, Platform, Reference};

pub(crate) mod image;
pub(crate) mod snapshots;

pub(crate) use image::{
    Change, ChangeKind, CommitOptions, Deleted, HistoryEntry, Image, ImageFilters, ProgressMessage,
    RegistryAuth, Usage,
};
pub(crate) use snapshots::Snapshots;

/// Where a long call reports; a closed receiver cancels it.
pub(crate) type ProgressSender = mpsc::Sender<ProgressMessage>;

/// The image service.
pub(crate) struct Images {
    snapshots: Snapshots,
}

fn absent<T>() -> Result<T> {
    Err(Error::not_implemented("images are not there yet"))
}

impl Images {
    pub(crate) fn open(paths: &Paths, _events: Arc<EventBus>) -> Result<Arc<Self>> {
        Ok(Arc::new(Images {
            snapshots: Snapshots::open(paths)?,
        }))
    }

    pub(crate) fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// By short, familiar or full name, id, id prefix or digest.
    pub(crate) fn resolve(&self, _name: &str) -> Result<Image> {
        absent()
    }

    pub(crate) fn get(&self, _id: &Digest) -> Result<Image> {
        absent()
    }

    pub(crate) fn list(&self, _filters: &ImageFilters) -> Result<Vec<Image>> {
        absent()
    }

    pub(crate) fn history(&self, _name: &str) -> Result<Vec<HistoryEntry>> {
        absent()
    }

    pub(crate) fn tag(&self, _name: &str, _target: &Reference) -> Result<()> {
        absent()
    }

    pub(crate) fn remove(&self, _name: &str, _force: bool, _noprune: bool) -> Result<Vec<Deleted>> {
        absent()
    }

    /// Removes images no name and no container needs (all unused ones with `dangling: Some(false)`).
    pub(crate) fn prune(&self, _filters: &ImageFilters) -> Result<(Vec<Deleted>, u64)> {
        absent()
    }

    /// Reads a docker or OCI archive. Blocking.
    pub(crate) fn load(
        &self,
        _archive: &mut dyn Read,
        _progress: &ProgressSender,
    ) -> Result<Vec<Image>> {
        absent()
    }

    pub(crate) async fn pull(
        self: &Arc<Self>,
        _reference: &Reference,
        _platform: Option<&Platform>,
        _auth: &RegistryAuth,
        _progress: ProgressSender,
    ) -> Result<Image> {
        absent()
    }

    /// Makes an image of a container's changes. Blocking.
    pub(crate) fn commit(&self, _container_id: &str, _options: CommitOptions) -> Result<Image> {
        absent()
    }

    /// The container needs the image: removing it is a conflict until `release`.
    pub(crate) fn hold(&self, _container_id: &str, _image: &Digest) {}

    pub(crate) fn release(&self, _container_id: &str) {}
}
