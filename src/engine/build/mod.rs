//! The Dockerfile builder: a context and a Dockerfile become an image. It runs steps through the shim and
//! keeps what they made; it knows no HTTP.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::base::{Error, Paths, Result};
use crate::engine::images::{Images, ProgressSender, RegistryAuth};
use crate::oci::{Digest, Platform};

/// What a client asks for. `Default` is an ordinary build of `Dockerfile`.
#[derive(Debug, Clone, Default)]
pub(crate) struct BuildRequest {
    /// The unpacked context.
    pub(crate) context: PathBuf,
    /// The Dockerfile's text, when it is not in the context.
    pub(crate) dockerfile_text: Option<String>,
    /// Below the context.
    pub(crate) dockerfile: String,
    pub(crate) build_args: BTreeMap<String, Option<String>>,
    pub(crate) target: String,
    pub(crate) tags: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) no_cache: bool,
    pub(crate) pull: bool,
    pub(crate) platform: Option<Platform>,
    pub(crate) network_mode: String,
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
    pub(crate) shm_size: Option<u64>,
    pub(crate) quiet: bool,
    pub(crate) auth: BTreeMap<String, RegistryAuth>,
}

/// The build service.
pub(crate) struct Builder {
    images: Arc<Images>,
    paths: Paths,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(images: Arc<Images>, paths: &Paths) -> Arc<Self> {
        Arc::new(Builder {
            images,
            paths: paths.clone(),
        })
    }

    /// Builds and tags; the id of the image.
    pub(crate) async fn build(
        &self,
        _request: BuildRequest,
        _progress: ProgressSender,
    ) -> Result<Digest> {
        Err(Error::not_implemented("builds are not there yet"))
    }
}
