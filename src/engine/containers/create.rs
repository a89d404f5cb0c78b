//! Making a container: check everything, then make its directory, volumes, snapshot and record; what was
//! made goes again when a later step fails.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::engine::base::{Error, ErrorKind, Result};
use crate::engine::containers::actor::Actor;
use crate::engine::containers::config::{
    Config, EndpointSettings, HostConfig, SharedWith, shared_with,
};
use crate::engine::containers::mounts::{self, MountPoint, MountSource};
use crate::engine::containers::record::{Record, RunState, now_rfc3339, save_record};
use crate::engine::containers::{
    Container, Containers, Deps, merge, names, network, spec, validate,
};
use crate::engine::images::Image;
use crate::engine::volumes::VolumeConfig;

/// A create request, decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct CreateRequest {
    /// Empty: one is made up.
    pub(crate) name: String,
    pub(crate) platform: String,
    pub(crate) config: Config,
    pub(crate) host: HostConfig,
    pub(crate) networks: IndexMap<String, EndpointSettings>,
}

/// The new container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Created {
    pub(crate) id: String,
    pub(crate) warnings: Vec<String>,
}

impl Containers {
    /// Makes a container. Blocking for some file system calls.
    pub(crate) fn create(&self, request: CreateRequest) -> Result<Created> {
        create(&self.deps, request)
    }
}

fn create(deps: &Arc<Deps>, mut request: CreateRequest) -> Result<Created> {
    let given_name = match request.name.trim_start_matches('/') {
        "" => None,
        _ => Some(names::checked(&request.name)?),
    };
    let image = find_image(deps, &request)?;
    merge::merge(&mut request.config, &image.config.config)?;
    validate::check_config(&request.config)?;
    validate::check_host(&request.config, &mut request.host)?;
    for rule in request.host.resources.device_cgroup_rules.iter().flatten() {
        spec::parse_device_rule(rule)?;
    }
    resolve_shared(deps, &mut request.host)?;
    let networks = check_networks(&request)?;
    let mut points = mounts::collect(&request.config, &request.host)?;
    inherit_volumes(deps, &request.host, &mut points)?;
    check_bind_sources(&points)?;

    let id = names::new_id()?;
    let name = match given_name {
        Some(name) => {
            deps.reserve_name(&name, &id)?;
            name
        }
        None => loop {
            let name = names::generated(|name| deps.is_name_taken(name))?;
            if deps.reserve_name(&name, &id).is_ok() {
                break name;
            }
        },
    };
    let record = Record {
        id: id.clone(),
        name: name.clone(),
        created: now_rfc3339(),
        image_id: image.id.clone(),
        config: request.config,
        host: request.host,
        mounts: points,
        networks,
        platform: image.platform.os.clone(),
    };
    let made = make(deps, record, &image).inspect_err(|_| deps.release_name(&name, &id))?;
    let warnings = warnings(&made);
    deps.publish(&made, "create", &[]);
    Actor::spawn(Arc::clone(deps), made, RunState::created(), None);
    Ok(Created { id, warnings })
}

fn find_image(deps: &Deps, request: &CreateRequest) -> Result<Image> {
    let name = request.config.image.as_str();
    if name.is_empty() {
        return Err(Error::invalid("no image specified"));
    }
    let image = deps.images.resolve(name)?;
    if !request.platform.is_empty() {
        let wanted = crate::oci::Platform::parse(&request.platform)
            .map_err(|error| Error::invalid(error.to_string()))?;
        if image.platform.rank_for(&wanted).is_none() {
            return Err(Error::not_found(format!(
                "image with reference {name} was found but its platform ({}) does not match the specified \
                 platform ({})",
                image.platform, request.platform
            )));
        }
    }
    Ok(image)
}

/// Names of other containers become ids: a rename must not change what is shared.
fn resolve_shared(deps: &Deps, host: &mut HostConfig) -> Result<()> {
    for mode in [
        &mut host.network_mode,
        &mut host.ipc_mode,
        &mut host.pid_mode,
    ] {
        if let SharedWith::Container(target) = shared_with(mode) {
            let id = other_container(deps, target)?.id.clone();
            *mode = format!("container:{id}");
        }
    }
    Ok(())
}

/// A container that the request refers to. A missing one is a bad request: clients take "not found" for the
/// image and pull it.
fn other_container(deps: &Deps, name: &str) -> Result<Arc<Container>> {
    deps.get(name)
        .map_err(|error| Error::invalid(error.message))
}

fn check_networks(request: &CreateRequest) -> Result<IndexMap<String, EndpointSettings>> {
    let mode = request.host.network_mode.as_str();
    let mut networks = IndexMap::new();
    if let SharedWith::Container(_) = shared_with(mode) {
        return Ok(networks);
    }
    // The mode's network first: its endpoint is eth0 unless priorities say otherwise.
    let main = request
        .networks
        .get(mode)
        .or_else(|| request.networks.get("default").filter(|_| mode == "bridge"))
        .cloned();
    networks.insert(mode.to_owned(), main.unwrap_or_default());
    for (name, settings) in &request.networks {
        if name == mode || (name == "default" && mode == "bridge") {
            continue;
        }
        if matches!(mode, "host" | "none") || matches!(name.as_str(), "host" | "none") {
            return Err(Error::invalid(format!(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes: {name} and {mode}"
            )));
        }
        networks.insert(name.clone(), settings.clone());
    }
    Ok(networks)
}

/// `volumes_from`: the other container's binds and volumes, `:ro` or `:rw`.
fn inherit_volumes(deps: &Deps, host: &HostConfig, points: &mut Vec<MountPoint>) -> Result<()> {
    for text in host.volumes_from.iter().flatten() {
        let (name, mode) = text.split_once(':').unwrap_or((text, ""));
        if !matches!(mode, "" | "ro" | "rw" | "z" | "Z") {
            return Err(Error::invalid(format!(
                "invalid mode for volumes-from: {mode}"
            )));
        }
        let other = other_container(deps, name)?.view();
        for inherited in &other.record.mounts {
            let kept = matches!(
                inherited.source,
                MountSource::Bind { .. } | MountSource::Volume { .. }
            );
            let is_anonymous = |point: &MountPoint| matches!(&point.source, MountSource::Volume { name, .. } if name.is_empty());
            // A volume that only the image asks for gives way to the inherited one.
            points.retain(|own| own.destination != inherited.destination || !is_anonymous(own));
            if kept
                && points
                    .iter()
                    .all(|own| own.destination != inherited.destination)
            {
                let mut point = inherited.clone();
                point.read_only |= mode == "ro";
                points.push(point);
            }
        }
    }
    Ok(())
}

fn check_bind_sources(points: &[MountPoint]) -> Result<()> {
    for point in points {
        if let MountSource::Bind { path, create, .. } = &point.source
            && !create
            && !Path::new(path).exists()
        {
            return Err(Error::invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {path}"
            )));
        }
    }
    Ok(())
}

/// Everything on disk, or nothing.
fn make(deps: &Deps, mut record: Record, image: &Image) -> Result<Record> {
    let result = make_parts(deps, &mut record, image);
    match result {
        Ok(()) => Ok(record),
        Err(error) => {
            crate::engine::containers::removal::remove_parts(deps, &record, true);
            Err(error)
        }
    }
}

fn make_parts(deps: &Deps, record: &mut Record, image: &Image) -> Result<()> {
    let directory = deps.paths.container(&record.id);
    std::fs::create_dir_all(&directory)
        .map_err(|error| Error::system(format!("create {}: {error}", directory.display())))?;
    deps.images.hold(&record.id, &image.id);
    for name in record.networks.keys() {
        // An endpoint's wishes are read now: a bad address is the client's error, not the start's.
        network::endpoint_config(record, name, &record.networks[name])?;
    }
    let id = record.id.clone();
    for point in &mut record.mounts {
        make_mount(deps, &id, point)?;
    }
    deps.images
        .snapshots()
        .prepare(&record.id, image)
        .map_err(|error| error.context("make the container's file system"))?;
    save_record(&deps.paths, record)
}

fn make_mount(deps: &Deps, id: &str, point: &mut MountPoint) -> Result<()> {
    match &mut point.source {
        MountSource::Bind { path, create, .. } => {
            if *create && !Path::new(path.as_str()).exists() {
                std::fs::create_dir_all(path.as_str()).map_err(|error| {
                    Error::new(
                        ErrorKind::System,
                        format!(
                            "error while creating mount source path '{path}': mkdir {path}: {error}"
                        ),
                    )
                })?;
            }
        }
        MountSource::Volume {
            name,
            driver,
            driver_opts,
            labels,
            anonymous,
            ..
        } => {
            let mut labels = labels.clone();
            if *anonymous && name.is_empty() {
                labels.insert("com.docker.volume.anonymous".to_owned(), String::new());
            }
            let volume = deps.volumes.create(VolumeConfig {
                name: (!name.is_empty()).then(|| name.clone()),
                driver: driver.clone(),
                driver_opts: driver_opts.clone(),
                labels,
            })?;
            name.clone_from(&volume.name);
            driver.clone_from(&volume.driver);
            deps.volumes.hold(name, id)?;
        }
        MountSource::Image { reference, .. } => {
            let image = deps.images.resolve(reference)?;
            *reference = image.id.to_string();
            deps.images
                .hold(&image_mount_id(id, &point.destination), &image.id);
        }
        MountSource::Tmpfs { .. } => {}
    }
    Ok(())
}

/// The name under which an image mount holds its image and has its read-only snapshot.
pub(crate) fn image_mount_id(container_id: &str, destination: &str) -> String {
    let digest = crate::oci::Digest::of(destination.as_bytes());
    format!("{container_id}-{}", &digest.hex()[..12])
}

fn warnings(record: &Record) -> Vec<String> {
    let mut warnings = Vec::new();
    if record.host.network_mode == "host" && !record.host.port_bindings.is_empty() {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    if record.host.resources.oom_kill_disable == Some(true) && record.host.resources.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in \
             the system running out of resources."
                .to_owned(),
        );
    }
    warnings
}
