//! The `develop` section: what `watch` does when files change. Not the watcher (`watch`).

use crate::compose::model::{Extensions, Hook};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Develop {
    pub(crate) watch: Vec<WatchRule>,
    pub(crate) extensions: Extensions,
}

/// One rule: changes under `path` cause `action`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct WatchRule {
    /// Absolute.
    pub(crate) path: String,
    /// `rebuild`, `sync`, `restart`, `sync+restart` or `sync+exec`.
    pub(crate) action: String,
    pub(crate) target: String,
    pub(crate) exec: Hook,
    pub(crate) include: Vec<String>,
    pub(crate) ignore: Vec<String>,
    pub(crate) initial_sync: bool,
    pub(crate) extensions: Extensions,
}
