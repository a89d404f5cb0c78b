//! What a service mounts: volumes, and references to configs and secrets. Not the top-level resources.

use crate::compose::model::{Extensions, Mapping};

/// An entry of a service's `volumes`, in long form.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServiceVolume {
    /// `bind`, `volume`, `tmpfs`, `image`, `npipe` or `cluster`.
    pub(crate) kind: String,
    /// A host path, a volume's key, an image, or empty for an anonymous volume.
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) consistency: String,
    pub(crate) bind: Option<Box<BindOptions>>,
    pub(crate) volume: Option<Box<VolumeOptions>>,
    pub(crate) tmpfs: Option<Box<TmpfsOptions>>,
    pub(crate) image: Option<Box<ImageOptions>>,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BindOptions {
    /// `z` or `Z`.
    pub(crate) selinux: String,
    pub(crate) propagation: String,
    pub(crate) create_host_path: bool,
    pub(crate) recursive: String,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct VolumeOptions {
    pub(crate) labels: Mapping,
    pub(crate) nocopy: bool,
    pub(crate) subpath: String,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TmpfsOptions {
    /// Bytes; 0 means no limit.
    pub(crate) size: i64,
    /// Mode bits; 0 means the default.
    pub(crate) mode: u32,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ImageOptions {
    pub(crate) subpath: String,
    pub(crate) extensions: Extensions,
}

/// A service's (or build's) use of a config or a secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FileReference {
    /// Key of the top-level resource.
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) uid: String,
    pub(crate) gid: String,
    pub(crate) mode: Option<i64>,
    pub(crate) extensions: Extensions,
}
