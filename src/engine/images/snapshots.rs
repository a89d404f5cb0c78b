//! The file systems of containers: an overlay of an image's layers and a writable directory. It gives
//! paths; mounting is the shim's work.

use crate::engine::base::{Error, Paths, Result};
use crate::engine::images::{Change, Image, Usage};
use crate::oci::runtime_spec::RootfsSpec;

pub(crate) struct Snapshots {}

fn absent<T>() -> Result<T> {
    Err(Error::not_implemented("snapshots are not there yet"))
}

impl Snapshots {
    pub(crate) fn open(_paths: &Paths) -> Result<Self> {
        Ok(Snapshots {})
    }

    /// The writable layer of a container, made when missing. Idempotent.
    pub(crate) fn prepare(&self, _container_id: &str, _image: &Image) -> Result<RootfsSpec> {
        absent()
    }

    /// Removes the writable layer; a missing one is fine. It must not be mounted.
    pub(crate) fn remove(&self, _container_id: &str) -> Result<()> {
        absent()
    }

    /// What the container changed, parents before children.
    pub(crate) fn diff(&self, _container_id: &str) -> Result<Vec<Change>> {
        absent()
    }

    pub(crate) fn usage(&self, _container_id: &str) -> Result<Usage> {
        absent()
    }
}
