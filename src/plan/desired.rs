//! What should be: the project with everything that had to be found out before planning (image
//! digests, contents of files), and the names of things. It compares nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compose::model::{Project, Service};

/// The wanted state of a project.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    pub(crate) project: Arc<Project>,
    /// Between the parts of a name: `-`, or `_` in compatibility mode.
    pub(crate) separator: &'static str,
    /// Digest of the local image, by service. Missing where there is none yet.
    pub(crate) image_digests: BTreeMap<String, String>,
    /// Volumes that the image declares, by service; only where it was asked for.
    pub(crate) image_volumes: BTreeMap<String, Vec<String>>,
    /// `target=digest,…` of the image mounts, by service.
    pub(crate) image_mounts: BTreeMap<String, String>,
    /// Digest over the contents of configs and secrets, by service.
    pub(crate) contents: BTreeMap<String, String>,
    /// The files given with `--env-file`.
    pub(crate) env_files: Vec<String>,
}

impl Desired {
    pub(crate) fn new(project: Arc<Project>, separator: &'static str) -> Self {
        Desired {
            project,
            separator,
            image_digests: BTreeMap::new(),
            image_volumes: BTreeMap::new(),
            image_mounts: BTreeMap::new(),
            contents: BTreeMap::new(),
            env_files: Vec::new(),
        }
    }

    pub(crate) fn container_name(&self, service: &Service, number: u32) -> String {
        container_name(&self.project.name, service, number, self.separator)
    }

    pub(crate) fn image_name(&self, service: &Service) -> String {
        image_name(&self.project.name, service, self.separator)
    }
}

/// `container_name`, else `<project>-<service>-<number>`.
pub(crate) fn container_name(
    project: &str,
    service: &Service,
    number: u32,
    separator: &str,
) -> String {
    if service.container_name.is_empty() {
        format!("{project}{separator}{}{separator}{number}", service.name)
    } else {
        service.container_name.clone()
    }
}

/// `image`, else `<project>-<service>`: the name a build gives.
pub(crate) fn image_name(project: &str, service: &Service, separator: &str) -> String {
    if service.image.is_empty() {
        format!("{project}{separator}{}", service.name)
    } else {
        service.image.clone()
    }
}

/// The contents that go into a container through an archive, not as a mount: configs and secrets
/// whose source is no file. `(target, content, uid, gid, mode)`.
pub(crate) fn inline_files(project: &Project, service: &Service) -> Vec<InlineFile> {
    let configs = service.configs.iter().filter_map(|reference| {
        let object = project.configs.get(&reference.source)?;
        let target = if reference.target.is_empty() {
            format!("/{}", reference.source)
        } else {
            reference.target.clone()
        };
        object
            .file
            .is_empty()
            .then(|| InlineFile::new(target, object, reference))
    });
    let secrets = service.secrets.iter().filter_map(|reference| {
        let object = project.secrets.get(&reference.source)?;
        object
            .file
            .is_empty()
            .then(|| InlineFile::new(secret_target(reference), object, reference))
    });
    configs.chain(secrets).collect()
}

/// Where a secret is seen: below `/run/secrets` unless it says where.
pub(crate) fn secret_target(reference: &crate::compose::model::FileReference) -> String {
    let name = if reference.target.is_empty() {
        &reference.source
    } else {
        &reference.target
    };
    if name.starts_with('/') {
        name.clone()
    } else {
        format!("/run/secrets/{name}")
    }
}

/// A file whose content is written in the Compose file or in a variable.
#[derive(Clone, PartialEq)]
pub(crate) struct InlineFile {
    pub(crate) target: String,
    pub(crate) content: String,
    pub(crate) uid: String,
    pub(crate) gid: String,
    pub(crate) mode: u32,
}

impl InlineFile {
    fn new(
        target: String,
        object: &crate::compose::model::FileObject,
        reference: &crate::compose::model::FileReference,
    ) -> Self {
        InlineFile {
            target,
            content: object.content.clone(),
            uid: reference.uid.clone(),
            gid: reference.gid.clone(),
            mode: reference
                .mode
                .and_then(|m| u32::try_from(m).ok())
                .unwrap_or(0o444),
        }
    }
}
