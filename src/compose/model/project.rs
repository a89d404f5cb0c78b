//! The project: everything the Compose files say, for one run. Holds no rules of selection (see `compose::profiles`).

use std::path::PathBuf;

use indexmap::IndexMap;

use crate::compose::model::{Extensions, FileObject, Mapping, Model, Network, Service, Volume};

/// A loaded project. Maps keep the order of the files.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Project {
    pub(crate) name: String,
    /// Absolute; base of the relative paths of the files.
    pub(crate) working_dir: PathBuf,
    /// Absolute paths of the files, in merge order (`-` for stdin).
    pub(crate) compose_files: Vec<PathBuf>,
    /// The interpolation environment: process environment over `.env` files.
    pub(crate) environment: Mapping,
    /// Services enabled for this run.
    pub(crate) services: IndexMap<String, Service>,
    /// Services switched off by profiles or by selection.
    pub(crate) disabled_services: IndexMap<String, Service>,
    pub(crate) networks: IndexMap<String, Network>,
    pub(crate) volumes: IndexMap<String, Volume>,
    pub(crate) configs: IndexMap<String, FileObject>,
    pub(crate) secrets: IndexMap<String, FileObject>,
    pub(crate) models: IndexMap<String, Model>,
    pub(crate) extensions: Extensions,
    /// The active profiles.
    pub(crate) profiles: Vec<String>,
}

impl Project {
    /// The enabled service of this name.
    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name)
    }

    /// Enabled and disabled services.
    pub(crate) fn all_services(&self) -> impl Iterator<Item = (&String, &Service)> {
        self.services.iter().chain(self.disabled_services.iter())
    }

    /// Names of the enabled services, sorted.
    pub(crate) fn service_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.services.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Enabled services that depend on `name`, with how they depend.
    pub(crate) fn dependents<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a Service, &'a crate::compose::model::Dependency)> {
        self.services
            .values()
            .filter_map(move |service| service.depends_on.get(name).map(|d| (service, d)))
    }
}
