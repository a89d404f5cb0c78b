//! The `build` section of a service. Not the builder (`engine::build`).

use indexmap::IndexMap;

use crate::compose::model::{Environment, Extensions, FileReference, Hosts, Mapping, Ulimit};

/// How the image of a service is built.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BuildConfig {
    pub(crate) context: String,
    pub(crate) dockerfile: String,
    pub(crate) dockerfile_inline: String,
    pub(crate) entitlements: Vec<String>,
    pub(crate) args: Environment,
    pub(crate) provenance: String,
    pub(crate) sbom: String,
    pub(crate) ssh: Vec<SshKey>,
    pub(crate) labels: Mapping,
    pub(crate) cache_from: Vec<String>,
    pub(crate) cache_to: Vec<String>,
    pub(crate) no_cache: bool,
    pub(crate) no_cache_filter: Vec<String>,
    pub(crate) additional_contexts: Mapping,
    pub(crate) pull: bool,
    pub(crate) extra_hosts: Hosts,
    pub(crate) isolation: String,
    pub(crate) network: String,
    pub(crate) target: String,
    pub(crate) secrets: Vec<FileReference>,
    /// Bytes; 0 means the builder's default.
    pub(crate) shm_size: i64,
    pub(crate) tags: Vec<String>,
    pub(crate) ulimits: IndexMap<String, Ulimit>,
    pub(crate) platforms: Vec<String>,
    pub(crate) privileged: bool,
    pub(crate) extensions: Extensions,
}

/// An SSH agent or key offered to the build.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SshKey {
    pub(crate) id: String,
    /// Empty for the agent of the environment.
    pub(crate) path: String,
}
