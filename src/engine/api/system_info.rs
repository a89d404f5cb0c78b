//! `/info` and `/system/df`: what the engine has and what it uses.

use std::collections::HashMap;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};

use crate::engine::api::container_view::list_entry;
use crate::engine::api::image_view;
use crate::engine::api::images::shared_sizes;
use crate::engine::api::query::Params;
use crate::engine::api::respond::{self, ApiResult};
use crate::engine::api::system::{SERVER_VERSION, kernel_version};
use crate::engine::api::{ApiState, blocking, volumes};
use crate::engine::base::{Error, Result};
use crate::engine::containers::state::State as ContainerState;
use crate::engine::containers::stats::memory_total;
use crate::engine::images::ImageFilters;
use crate::engine::volumes::{VolumeFilters, size_of};

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/info", get(info))
        .route("/system/df", get(disk_usage))
}

async fn info(State(state): State<ApiState>) -> ApiResult {
    let info = blocking(move || Ok(info_of(&state))).await?;
    Ok(respond::ok(&info))
}

fn info_of(state: &ApiState) -> Value {
    let views = state.containers.list();
    let count = |wanted: &[ContainerState]| {
        views
            .iter()
            .filter(|view| wanted.contains(&view.run.state))
            .count()
    };
    let running = count(&[ContainerState::Running, ContainerState::Restarting]);
    let paused = count(&[ContainerState::Paused]);
    let images = state
        .images
        .list(&ImageFilters::default())
        .map_or(0, |images| images.len());
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let mut info = json!({
        "ID": engine_id(state),
        "Containers": views.len(),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": views.len() - running - paused,
        "Images": images,
        "Driver": "overlay2",
        "DriverStatus": [
            ["Backing Filesystem", "extfs"],
            ["Supports d_type", "true"],
            ["Using metacopy", "false"],
            ["Native Overlay Diff", "true"],
            ["userxattr", "false"],
        ],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": null,
            "Log": ["json-file", "local", "none"],
        },
        "MemoryLimit": true,
        "SwapLimit": true,
        "CpuCfsPeriod": true,
        "CpuCfsQuota": true,
        "CPUShares": true,
        "CPUSet": true,
        "PidsLimit": true,
        "IPv4Forwarding": true,
        "OomKillDisable": !v2,
        "Debug": false,
    });
    let further = further_info(state, processors, v2);
    if let (Some(fields), Value::Object(further)) = (info.as_object_mut(), further) {
        fields.extend(further);
    }
    info
}

fn further_info(state: &ApiState, processors: usize, v2: bool) -> Value {
    json!({
        "NFd": open_descriptors(),
        "NGoroutines": 0,
        "SystemTime": crate::engine::containers::record::now_rfc3339(),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": if v2 { "2" } else { "1" },
        "NEventsListener": 0,
        "KernelVersion": kernel_version(),
        "OperatingSystem": operating_system(),
        "OSVersion": os_release("VERSION_ID"),
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "AllowNondistributableArtifactsCIDRs": null,
            "AllowNondistributableArtifactsHostnames": null,
            "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
            "IndexConfigs": {
                "docker.io": { "Name": "docker.io", "Mirrors": [], "Secure": true, "Official": true },
            },
            "Mirrors": [],
        },
        "NCPU": processors,
        "MemTotal": memory_total(),
        "GenericResources": null,
        "DockerRootDir": state.paths.data_root().display().to_string(),
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": hostname(),
        "Labels": [],
        "ExperimentalBuild": false,
        "ServerVersion": SERVER_VERSION,
        "Runtimes": { "runc": { "path": "hoist" } },
        "DefaultRuntime": "runc",
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": false,
            "Error": "",
            "RemoteManagers": null,
        },
        "LiveRestoreEnabled": true,
        "Isolation": "",
        "InitBinary": "hoist-init",
        "ContainerdCommit": { "ID": "" },
        "RuncCommit": { "ID": "" },
        "InitCommit": { "ID": "" },
        "SecurityOptions": security_options(v2),
        "CDISpecDirs": [],
        "Warnings": null,
    })
}

fn security_options(v2: bool) -> Vec<&'static str> {
    let mut options = vec!["name=seccomp,profile=builtin"];
    if v2 {
        options.push("name=cgroupns");
    }
    options
}

/// An id of this data root, the same over restarts: derived from its place and the machine's id.
fn engine_id(state: &ApiState) -> String {
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let seed = format!("{}{}", machine.trim(), state.paths.data_root().display());
    let hex = crate::oci::Digest::of(seed.as_bytes()).hex().to_owned();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..32]
    )
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn os_release(key: &str) -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(|value| value.trim_matches('"').to_owned())
        .unwrap_or_default()
}

fn operating_system() -> String {
    match os_release("PRETTY_NAME") {
        name if name.is_empty() => "Linux".to_owned(),
        name => name,
    }
}

/// Which parts of `df` were asked for; all when none was named.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    containers: bool,
    images: bool,
    volumes: bool,
    build_cache: bool,
}

impl Wanted {
    fn of(params: &Params) -> Result<Self> {
        let types = params.all("type");
        if types.is_empty() {
            return Ok(Wanted {
                containers: true,
                images: true,
                volumes: true,
                build_cache: true,
            });
        }
        let mut wanted = Wanted {
            containers: false,
            images: false,
            volumes: false,
            build_cache: false,
        };
        for kind in &types {
            match kind.as_str() {
                "container" => wanted.containers = true,
                "image" => wanted.images = true,
                "volume" => wanted.volumes = true,
                "build-cache" => wanted.build_cache = true,
                other => return Err(Error::invalid(format!("unknown object type: {other}"))),
            }
        }
        Ok(wanted)
    }
}

async fn disk_usage(State(state): State<ApiState>, params: Params) -> ApiResult {
    let wanted = Wanted::of(&params)?;
    let answer = blocking(move || usage(&state, wanted)).await?;
    Ok(respond::ok(&answer))
}

fn usage(state: &ApiState, wanted: Wanted) -> Result<Value> {
    let mut answer = json!({
        "LayersSize": 0,
        "Images": null,
        "Containers": null,
        "Volumes": null,
        "BuildCache": null,
    });
    let mut users: HashMap<String, i64> = HashMap::new();
    for view in state.containers.list() {
        *users.entry(view.record.image_id.to_string()).or_default() += 1;
    }
    if wanted.images {
        let images = state.images.list(&ImageFilters::default())?;
        let shared = shared_sizes(&state.images, &images);
        let mut total = 0;
        let mut entries = Vec::new();
        for image in images {
            let shared_size = shared.get(&image.id).copied().unwrap_or(0);
            total += image.size - shared_size.min(image.size);
            let containers = users.get(&image.id.to_string()).copied().unwrap_or(0);
            let shared_size = i64::try_from(shared_size).unwrap_or(-1);
            entries.push(json!(image_view::summary(image, containers, shared_size)));
        }
        total += shared.values().copied().max().unwrap_or(0);
        answer["LayersSize"] = json!(total);
        answer["Images"] = json!(entries);
    }
    if wanted.containers {
        let entries: Vec<Value> = state
            .containers
            .list()
            .iter()
            .map(|view| {
                let usage = state.images.snapshots().usage(view.id()).ok();
                list_entry(&state.containers, view, usage)
            })
            .collect();
        answer["Containers"] = json!(entries);
    }
    if wanted.volumes {
        let entries = state
            .volumes
            .list(&VolumeFilters::default())?
            .into_iter()
            .map(|volume| {
                let size = size_of(&volume).map_or(-1, |size| i64::try_from(size).unwrap_or(-1));
                let users = state.volumes.users(&volume.name).len();
                volumes::view_with_usage(volume, users, size)
            })
            .collect::<Vec<_>>();
        answer["Volumes"] = json!(entries);
    }
    if wanted.build_cache {
        answer["BuildCache"] = json!([]);
    }
    Ok(answer)
}
