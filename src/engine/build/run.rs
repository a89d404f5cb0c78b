//! `RUN`: a command in a container of its own on top of the layers so far; what it changed becomes a layer. The
//! container has the default isolation; nothing of it is left when the step ends, however it ends.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType};
use tokio_util::sync::CancellationToken;

use crate::engine::base::{Error, Paths, Result};
use crate::engine::build::account::Account;
use crate::engine::build::event::{BuildError, BuildEvent, BuildResult, EventSender};
use crate::engine::images::Images;
use crate::engine::networks::{EndpointConfig, Networks, SandboxConfig, SandboxKind};
use crate::oci::Digest;
use crate::oci::capabilities::Capabilities;
use crate::oci::runtime_spec::{
    self, BindMount, ContainerSpec, MountKind, MountSpec, Namespace, Namespaces, ProcessSpec,
    ReadonlyBind, Resources, RootfsSource, RootfsSpec, Seccomp, UserSpec,
};
use crate::shim::client::{AttachOptions, Shim, ShimOptions, StdStream, Target};
use crate::sys::rooted::{self, Root, split_parent};

const DEFAULT_SHM_BYTES: u64 = 64 << 20;
const SIGKILL: i32 = 9;

/// What a step needs of the engine.
#[derive(Clone)]
pub(crate) struct RunServices {
    pub(crate) images: Arc<Images>,
    pub(crate) networks: Arc<Networks>,
    pub(crate) paths: Paths,
}

/// One command to run.
pub(crate) struct RunRequest {
    pub(crate) step: usize,
    /// The layer it runs on.
    pub(crate) top: Option<Digest>,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) account: Account,
    pub(crate) mounts: Vec<MountSpec>,
    /// `default`, `none`, `host`, or a network's name.
    pub(crate) network: String,
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) shm_size: Option<u64>,
    /// Paths that do not exist below and are only made to mount on.
    pub(crate) stubs: Vec<String>,
}

/// 64 hex digits.
pub(crate) fn random_id() -> Result<String> {
    let mut bytes = [0; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Runs the command; the directory with what it changed, whose snapshot `id` the caller removes.
pub(crate) async fn run(
    services: &RunServices,
    id: &str,
    request: RunRequest,
    events: &EventSender,
    cancel: &CancellationToken,
) -> BuildResult<PathBuf> {
    let root = services
        .images
        .snapshots()
        .prepare_scratch(id, request.top.as_ref())?;
    let upper = services.images.snapshots().upper(id)?;
    let stubs = request.stubs.clone();
    let result = run_isolated(services, id, root, request, events, cancel).await;
    let removed = services.networks.remove_sandbox(id);
    result?;
    removed?;
    let upper_path = upper.clone();
    tokio::task::spawn_blocking(move || remove_stubs(&upper_path, &stubs))
        .await
        .map_err(|error| Error::system(error.to_string()))??;
    Ok(upper)
}

async fn run_isolated(
    services: &RunServices,
    id: &str,
    root: RootfsSpec,
    request: RunRequest,
    events: &EventSender,
    cancel: &CancellationToken,
) -> BuildResult<()> {
    let step = request.step;
    let args = request.args.clone();
    let (net, files) = connect(services, id, &request)?;
    let spec = spec(id, root, request, net, files);
    let shim = Shim::create(ShimOptions {
        state_dir: services.paths.shim(id),
        spec,
        log: None,
        open_stdin: false,
        stdin_once: false,
    })
    .await
    .map_err(|error| Error::system(error.message))?;
    let result = follow(&shim, step, &args, events, cancel).await;
    if shim.exit().is_none() && shim.started().is_some() {
        // Cancelled, or a stream broke: nothing of the step may live on.
        if shim.signal(SIGKILL, Target::All).await.is_ok() {
            shim.wait().await;
        }
    }
    if let Err(error) = shim.release().await {
        tracing::warn!(%error, "release the shim of a build step");
    }
    result
}

async fn follow(
    shim: &Shim,
    step: usize,
    args: &[String],
    events: &EventSender,
    cancel: &CancellationToken,
) -> BuildResult<()> {
    let mut attached = shim
        .attach(AttachOptions {
            stdin: false,
            stdout: true,
            stderr: true,
        })
        .await
        .map_err(|error| Error::system(error.message))?;
    shim.start().await.map_err(|error| BuildError {
        code: Some(error.exit_code()),
        error: Error::invalid(format!("failed to run {}: {}", shown(args), error.message)),
    })?;
    loop {
        tokio::select! {
            piece = attached.output.next() => match piece {
                Some((stream, bytes)) => {
                    let stderr = stream == StdStream::Stderr;
                    let event = BuildEvent::Output { step, stderr, bytes };
                    if events.send(event).await.is_err() {
                        return Err(Error::system("the build was cancelled").into());
                    }
                }
                None => break,
            },
            () = cancel.cancelled() => return Err(Error::system("the build was cancelled").into()),
        }
    }
    let exit = tokio::select! {
        exit = shim.wait() => exit,
        () = cancel.cancelled() => return Err(Error::system("the build was cancelled").into()),
    };
    if exit.code == 0 {
        return Ok(());
    }
    let mut message = format!(
        "The command '{}' returned a non-zero code: {}",
        args.join(" "),
        exit.code
    );
    if exit.oom_killed {
        message.push_str(" (it ran out of memory)");
    }
    Err(BuildError {
        error: Error::invalid(message),
        code: Some(exit.code),
    })
}

fn shown(args: &[String]) -> String {
    args.first().cloned().unwrap_or_default()
}

/// Files of `/etc` that the network makes.
type EtcFiles = Vec<(&'static str, PathBuf)>;

fn connect(
    services: &RunServices,
    id: &str,
    request: &RunRequest,
) -> Result<(Namespace, EtcFiles)> {
    let kind = match request.network.as_str() {
        "none" => SandboxKind::None,
        "host" => SandboxKind::Host,
        _ => SandboxKind::Isolated,
    };
    let sandbox = services.networks.create_sandbox(
        id,
        SandboxConfig {
            kind,
            container_name: format!("build-{}", &id[..12]),
            project: None,
            hostname: id[..12].to_owned(),
            domainname: String::new(),
            extra_hosts: request.extra_hosts.clone(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
        },
    )?;
    if kind == SandboxKind::Isolated {
        let name = match request.network.as_str() {
            "" | "default" => "bridge",
            other => other,
        };
        let network = services.networks.get(name)?;
        services
            .networks
            .join(id, &network.id, EndpointConfig::default())?;
    }
    let net = match (kind, sandbox.netns_path) {
        (SandboxKind::Host, _) => Namespace::Host,
        (_, Some(path)) => Namespace::Path(path),
        (_, None) => Namespace::New,
    };
    let files = vec![
        ("/etc/hosts", sandbox.hosts_path),
        ("/etc/resolv.conf", sandbox.resolv_conf_path),
        ("/etc/hostname", sandbox.hostname_path),
    ];
    Ok((net, files))
}

/// Where every step has something mounted.
pub(crate) const ALWAYS_MOUNTED: [&str; 6] = [
    "/proc",
    "/dev",
    "/sys",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/hostname",
];

fn spec(
    id: &str,
    root: RootfsSpec,
    request: RunRequest,
    net: Namespace,
    files: EtcFiles,
) -> ContainerSpec {
    let shm = request.shm_size.unwrap_or(DEFAULT_SHM_BYTES);
    let mut mounts = runtime_spec::default_mounts(false, Some(shm));
    mounts.extend(files.into_iter().map(|(destination, path)| MountSpec {
        destination: destination.to_owned(),
        kind: MountKind::Bind(BindMount::new(path, ReadonlyBind::No)),
    }));
    mounts.extend(request.mounts);
    let source = match root.source {
        RootfsSource::Overlay {
            lowers,
            upper,
            work,
            ..
        } => RootfsSource::Overlay {
            lowers,
            upper,
            work,
            // What counts is pressed to the disk once, at the end of the build.
            volatile: true,
        },
        other => other,
    };
    ContainerSpec {
        id: id.to_owned(),
        hostname: id[..12].to_owned(),
        domainname: String::new(),
        root: RootfsSpec {
            source,
            readonly: false,
        },
        mounts,
        process: ProcessSpec {
            args: request.args,
            env: request.env,
            cwd: request.cwd,
            user: UserSpec {
                uid: request.account.uid,
                gid: request.account.gid,
                additional_gids: request.account.additional_gids,
            },
            tty: false,
            console_size: None,
            capabilities: Capabilities::docker_default(),
            rlimits: Vec::new(),
            no_new_privileges: false,
            oom_score_adj: None,
            seccomp: Seccomp::Default,
        },
        namespaces: Namespaces {
            net,
            pid: Namespace::New,
            ipc: Namespace::New,
            uts: Namespace::New,
            cgroup: Namespace::New,
        },
        cgroup_path: format!("hoist/{id}"),
        resources: Resources::default(),
        devices: Vec::new(),
        device_rules: runtime_spec::default_device_rules(),
        sysctls: BTreeMap::new(),
        masked_paths: runtime_spec::default_masked_paths(),
        readonly_paths: runtime_spec::default_readonly_paths(),
        init: false,
    }
}

/// The paths, shallowest first, that have to be made so that `targets` can be mounted on.
pub(crate) fn stubs(view: &Root, targets: &[String]) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for target in targets {
        let mut path = String::new();
        for component in target.split('/').filter(|component| !component.is_empty()) {
            path.push('/');
            path.push_str(component);
            if !missing.contains(&path) && view.stat_target(path.as_bytes())?.is_none() {
                missing.push(path.clone());
            }
        }
    }
    Ok(missing)
}

/// Removes mount points that are still empty: they are no change the step made. Links are not followed out, and
/// nothing that has content is touched.
fn remove_stubs(upper: &std::path::Path, stubs: &[String]) -> Result<()> {
    let root = Root::open(upper)?;
    for stub in stubs.iter().rev() {
        let path = stub.trim_start_matches('/').as_bytes();
        let (parent, name) = split_parent(path);
        let Ok(parent) = root.open_dir(parent) else {
            continue;
        };
        let Some(stat) = rooted::stat_at(parent.as_fd(), name)? else {
            continue;
        };
        let flags = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => AtFlags::REMOVEDIR,
            FileType::RegularFile if stat.st_size == 0 => AtFlags::empty(),
            _ => continue,
        };
        match rustix::fs::unlinkat(&parent, name, flags) {
            Ok(()) | Err(rustix::io::Errno::NOTEMPTY | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
    Ok(())
}
