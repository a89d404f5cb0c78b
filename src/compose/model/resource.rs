//! The other top-level resources: volumes, configs, secrets, models.

use crate::compose::model::{Extensions, Mapping};

/// A top-level volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Volume {
    /// The engine's name of it (`<project>_<key>` unless named or external).
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) driver_opts: Mapping,
    pub(crate) external: bool,
    pub(crate) labels: Mapping,
    pub(crate) extensions: Extensions,
}

/// A top-level config or secret.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct FileObject {
    pub(crate) name: String,
    /// Absolute path of the source file.
    pub(crate) file: String,
    /// Name of the source variable; `content` then holds its value.
    pub(crate) environment: String,
    /// The content given in the file or taken from the environment. A secret: never shown.
    pub(crate) content: String,
    pub(crate) external: bool,
    pub(crate) labels: Mapping,
    pub(crate) driver: String,
    pub(crate) driver_opts: Mapping,
    pub(crate) template_driver: String,
    pub(crate) extensions: Extensions,
}

impl std::fmt::Debug for FileObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileObject")
            .field("name", &self.name)
            .field("file", &self.file)
            .field("environment", &self.environment)
            .field("external", &self.external)
            .finish_non_exhaustive()
    }
}

/// A top-level model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) context_size: i64,
    pub(crate) runtime_flags: Vec<String>,
    pub(crate) extensions: Extensions,
}
