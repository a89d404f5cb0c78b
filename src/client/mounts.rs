//! What a service mounts → `Binds` and `Mounts` of a create body, as docker compose splits them:
//! binds for what they can express, mounts for the rest. Tmpfs lists are in `container_body`.

use std::collections::HashSet;
use std::path::Path;

use bollard::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountImageOptions, MountTmpfsOptions,
    MountType, MountVolumeOptions,
};

use super::error::ClientError;
use crate::compose::model::{
    BindOptions, FileObject, FileReference, Project, Service, ServiceVolume,
};
use crate::plan::InheritedMount;
use crate::plan::desired::{Desired, secret_target};

/// The two lists.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) binds: Vec<String>,
    pub(super) mounts: Vec<Mount>,
}

/// All mounts of a container of `service`. What is inherited comes first and hides what the
/// service declares for the same place.
pub(super) fn mounts(
    desired: &Desired,
    service: &Service,
    inherited: &[InheritedMount],
) -> Result<Mounts, ClientError> {
    let project = &desired.project;
    let mut result = Mounts::default();
    let mut taken: HashSet<String> = HashSet::new();
    for mount in inherited {
        taken.insert(mount.destination.clone());
        result.mounts.push(Mount {
            typ: Some(MountType::VOLUME),
            source: Some(mount.volume.clone()),
            target: Some(mount.destination.clone()),
            read_only: Some(mount.read_only),
            ..Mount::default()
        });
    }
    for volume in &service.volumes {
        if taken.insert(volume.target.clone()) {
            add_volume(desired, service, volume, &mut result)?;
        }
    }
    for reference in &service.configs {
        let target = if reference.target.is_empty() {
            format!("/{}", reference.source)
        } else {
            reference.target.clone()
        };
        let object = project.configs.get(&reference.source);
        result
            .mounts
            .extend(file_mount("config", service, reference, object, target)?);
    }
    for reference in &service.secrets {
        let object = project.secrets.get(&reference.source);
        result.mounts.extend(file_mount(
            "secret",
            service,
            reference,
            object,
            secret_target(reference),
        )?);
    }
    Ok(result)
}

fn add_volume(
    desired: &Desired,
    service: &Service,
    volume: &ServiceVolume,
    result: &mut Mounts,
) -> Result<(), ClientError> {
    let project = &desired.project;
    match volume.kind.as_str() {
        "bind" => {
            let source = absolute(project, &volume.source);
            if needs_bind_mount(volume.bind.as_deref()) {
                result.mounts.push(bind_mount(volume, source)?);
            } else {
                result.binds.push(bind_text(&source, volume));
            }
        }
        "volume" if volume.source.is_empty() => result.mounts.push(volume_mount(volume, None)),
        "volume" => {
            let name = project
                .volumes
                .get(&volume.source)
                .map_or(volume.source.as_str(), |v| v.name.as_str());
            if needs_volume_mount(volume) {
                result.mounts.push(volume_mount(volume, Some(name)));
            } else {
                result.binds.push(bind_text(name, volume));
            }
        }
        "tmpfs" => result.mounts.push(tmpfs_mount(volume)),
        "image" => result.mounts.push(image_mount(desired, volume)),
        other => {
            return Err(ClientError::Unsupported(format!(
                "service \"{}\": volumes of type {other} are not supported (target {})",
                service.name, volume.target
            )));
        }
    }
    Ok(())
}

fn absolute(project: &Project, source: &str) -> String {
    if Path::new(source).is_absolute() {
        source.to_owned()
    } else {
        project
            .working_dir
            .join(source)
            .to_string_lossy()
            .into_owned()
    }
}

fn needs_bind_mount(bind: Option<&BindOptions>) -> bool {
    bind.is_some_and(|bind| {
        !bind.create_host_path || !bind.propagation.is_empty() || !bind.recursive.is_empty()
    })
}

fn needs_volume_mount(volume: &ServiceVolume) -> bool {
    volume
        .volume
        .as_deref()
        .is_some_and(|v| !v.labels.is_empty() || !v.subpath.is_empty() || v.nocopy)
}

/// `source:target:rw,z`
fn bind_text(source: &str, volume: &ServiceVolume) -> String {
    let mut text = format!(
        "{source}:{}:{}",
        volume.target,
        if volume.read_only { "ro" } else { "rw" }
    );
    if let Some(bind) = &volume.bind
        && !bind.selinux.is_empty()
    {
        text.push(',');
        text.push_str(&bind.selinux);
    }
    text
}

fn plain_mount(kind: MountType, volume: &ServiceVolume) -> Mount {
    Mount {
        typ: Some(kind),
        target: Some(volume.target.clone()),
        read_only: Some(volume.read_only),
        consistency: Some(volume.consistency.clone()).filter(|c| !c.is_empty()),
        ..Mount::default()
    }
}

fn bind_mount(volume: &ServiceVolume, source: String) -> Result<Mount, ClientError> {
    let mut options = MountBindOptions::default();
    if let Some(bind) = &volume.bind {
        if !bind.propagation.is_empty() {
            let propagation: MountBindOptionsPropagationEnum =
                bind.propagation.parse().map_err(|_| {
                    ClientError::Invalid(format!(
                        "invalid propagation \"{}\" for {}",
                        bind.propagation, volume.target
                    ))
                })?;
            options.propagation = Some(propagation);
        }
        options.create_mountpoint = Some(bind.create_host_path);
        match bind.recursive.as_str() {
            "disabled" => options.non_recursive = Some(true),
            "writable" => options.read_only_non_recursive = Some(true),
            "readonly" => options.read_only_force_recursive = Some(true),
            _ => {}
        }
    }
    Ok(Mount {
        source: Some(source),
        bind_options: Some(options),
        ..plain_mount(MountType::BIND, volume)
    })
}

fn volume_mount(volume: &ServiceVolume, name: Option<&str>) -> Mount {
    let options = volume.volume.as_deref().map(|v| MountVolumeOptions {
        no_copy: Some(v.nocopy),
        labels: (!v.labels.is_empty()).then(|| v.labels.clone().into_iter().collect()),
        subpath: Some(v.subpath.clone()).filter(|s| !s.is_empty()),
        ..MountVolumeOptions::default()
    });
    Mount {
        source: name.map(str::to_owned),
        volume_options: options,
        ..plain_mount(MountType::VOLUME, volume)
    }
}

fn tmpfs_mount(volume: &ServiceVolume) -> Mount {
    let options = volume.tmpfs.as_deref().map(|t| MountTmpfsOptions {
        size_bytes: Some(t.size).filter(|s| *s != 0),
        mode: Some(i64::from(t.mode)).filter(|m| *m != 0),
        options: None,
    });
    Mount {
        tmpfs_options: options,
        ..plain_mount(MountType::TMPFS, volume)
    }
}

/// The source may be a service: then its image is meant.
fn image_mount(desired: &Desired, volume: &ServiceVolume) -> Mount {
    let image = match desired.project.services.get(&volume.source) {
        Some(service) => desired.image_name(service),
        None => volume.source.clone(),
    };
    let options = volume.image.as_deref().map(|i| MountImageOptions {
        subpath: Some(i.subpath.clone()).filter(|s| !s.is_empty()),
    });
    Mount {
        source: Some(image),
        image_options: options,
        ..plain_mount(MountType::IMAGE, volume)
    }
}

/// A config or secret from a file is a read-only bind. One from a variable or with its content in
/// the Compose file is no mount: it is put into the container before it starts.
fn file_mount(
    what: &str,
    service: &Service,
    reference: &FileReference,
    object: Option<&FileObject>,
    target: String,
) -> Result<Option<Mount>, ClientError> {
    let Some(object) = object else {
        return Err(ClientError::Invalid(format!(
            "service \"{}\" refers to undefined {what} {}",
            service.name, reference.source
        )));
    };
    if object.external {
        return Err(ClientError::Unsupported(format!(
            "unsupported external {what} {}",
            object.name
        )));
    }
    if !object.driver.is_empty() || !object.template_driver.is_empty() {
        return Err(ClientError::Unsupported(format!(
            "{what} {}: drivers are not supported",
            object.name
        )));
    }
    if object.file.is_empty() {
        if service.read_only {
            return Err(ClientError::Invalid(format!(
                "cannot create {what} \"{}\" in read-only service {}: `file` is the sole supported option",
                reference.source, service.name
            )));
        }
        return Ok(None);
    }
    Ok(Some(Mount {
        typ: Some(MountType::BIND),
        source: Some(object.file.clone()),
        target: Some(target),
        read_only: Some(true),
        bind_options: Some(MountBindOptions::default()),
        ..Mount::default()
    }))
}
