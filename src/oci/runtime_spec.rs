//! What a shim needs to make one container, as plain data: our own subset of the OCI runtime spec, with numbers
//! and paths already resolved. It decides nothing and knows no image, network or API.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::oci::capabilities::Capabilities;

/// Everything about one container. Sent to its shim once, over a socket (never through argv).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerSpec {
    pub(crate) id: String,
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    pub(crate) root: RootfsSpec,
    /// Mounted in this order; each destination is resolved inside the rootfs and made when missing.
    /// Start from [`default_mounts`] and keep parents before children.
    pub(crate) mounts: Vec<MountSpec>,
    pub(crate) process: ProcessSpec,
    pub(crate) namespaces: Namespaces,
    /// Below the root of each hierarchy, without a leading slash: `hoist/<id>`.
    pub(crate) cgroup_path: String,
    pub(crate) resources: Resources,
    /// Nodes made in `/dev` besides the standard ones.
    pub(crate) devices: Vec<DeviceSpec>,
    /// Added after [`default_device_rules`]; a privileged container gets one rule that allows everything.
    pub(crate) device_rules: Vec<DeviceRule>,
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) masked_paths: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
    /// PID 1 is the built-in init, which starts the process, forwards signals and reaps.
    pub(crate) init: bool,
}

/// Where `/` of the container comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootfsSpec {
    pub(crate) source: RootfsSource,
    pub(crate) readonly: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RootfsSource {
    Overlay {
        /// Topmost first, at least one.
        lowers: Vec<PathBuf>,
        upper: PathBuf,
        work: PathBuf,
        /// Skip the sync at unmount: for `--rm`, one-off containers and build steps.
        volatile: bool,
    },
    /// A plain directory, bound.
    Directory(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountSpec {
    /// Absolute path in the container.
    pub(crate) destination: String,
    pub(crate) kind: MountKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MountKind {
    Proc,
    /// The `/dev` tmpfs with the standard nodes and links.
    Dev,
    Devpts,
    Mqueue,
    Sysfs {
        readonly: bool,
    },
    /// The cgroup view: all hierarchies (v1) or the unified one (v2).
    Cgroup {
        readonly: bool,
    },
    Tmpfs(TmpfsMount),
    /// `/dev/shm` of the running container with this PID 1.
    ShmOf {
        pid: i32,
    },
    Bind(BindMount),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TmpfsMount {
    pub(crate) size_bytes: Option<u64>,
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) flags: MountFlags,
    /// Further options of tmpfs as `key=value` or `key` (`nr_inodes=4k`, `huge=…`), checked by the kernel.
    pub(crate) extra: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BindMount {
    /// On the host; links are followed. Must exist.
    pub(crate) source: PathBuf,
    /// Below `source`, resolved so that it cannot leave it (`volume.subpath`).
    pub(crate) subpath: Option<String>,
    /// With the mounts below the source (`rbind`).
    pub(crate) recursive: bool,
    pub(crate) readonly: ReadonlyBind,
    pub(crate) propagation: Propagation,
    pub(crate) flags: MountFlags,
}

impl BindMount {
    /// A private recursive bind with no further options.
    pub(crate) fn new(source: impl Into<PathBuf>, readonly: ReadonlyBind) -> Self {
        BindMount {
            source: source.into(),
            subpath: None,
            recursive: true,
            readonly,
            propagation: Propagation::Rprivate,
            flags: MountFlags::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReadonlyBind {
    /// Writable.
    No,
    /// Only the top mount is read-only.
    TopOnly,
    /// Submounts as well, where the kernel can (`:ro`).
    Recursive,
    /// As `Recursive`, and refuse where the kernel cannot (`ReadOnlyForceRecursive`).
    RecursiveOrFail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct MountFlags {
    pub(crate) readonly: bool,
    pub(crate) nosuid: bool,
    pub(crate) nodev: bool,
    pub(crate) noexec: bool,
    pub(crate) noatime: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Propagation {
    Private,
    #[default]
    Rprivate,
    Slave,
    Rslave,
    Shared,
    Rshared,
}

/// One process: the container's first, or an exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessSpec {
    pub(crate) args: Vec<String>,
    /// `NAME=value`. `PATH` and `HOME` are the caller's to add.
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) user: UserSpec,
    pub(crate) tty: bool,
    pub(crate) console_size: Option<ConsoleSize>,
    pub(crate) capabilities: Capabilities,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) no_new_privileges: bool,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) seccomp: Seccomp,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct UserSpec {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) additional_gids: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConsoleSize {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rlimit {
    /// As in compose's `ulimits`, without prefix: `nofile`, `nproc`, `memlock`…
    pub(crate) name: String,
    /// -1 is unlimited.
    pub(crate) soft: i64,
    pub(crate) hard: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Seccomp {
    Unconfined,
    /// Docker's default profile, for the capabilities of the process and this kernel.
    Default,
    /// A profile in Docker's JSON form.
    Profile(String),
}

/// Where each namespace comes from. User namespaces are not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Namespaces {
    pub(crate) net: Namespace,
    pub(crate) pid: Namespace,
    pub(crate) ipc: Namespace,
    pub(crate) uts: Namespace,
    /// `Path` is not possible here.
    pub(crate) cgroup: Namespace,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Namespace {
    New,
    Host,
    /// A pinned namespace or `/proc/<pid>/ns/<kind>`.
    Path(PathBuf),
}

/// Limits. `None` leaves the kernel's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Resources {
    pub(crate) memory_bytes: Option<i64>,
    /// Memory and swap together, as Docker counts; -1 is unlimited.
    pub(crate) memory_swap_bytes: Option<i64>,
    pub(crate) memory_reservation_bytes: Option<i64>,
    pub(crate) memory_swappiness: Option<i64>,
    pub(crate) oom_kill_disable: bool,
    pub(crate) cpu_shares: Option<u64>,
    pub(crate) cpu_quota_us: Option<i64>,
    pub(crate) cpu_period_us: Option<u64>,
    pub(crate) cpu_realtime_runtime_us: Option<i64>,
    pub(crate) cpu_realtime_period_us: Option<u64>,
    pub(crate) cpuset_cpus: Option<String>,
    pub(crate) cpuset_mems: Option<String>,
    /// 0 and below: no limit.
    pub(crate) pids_limit: Option<i64>,
    pub(crate) blkio_weight: Option<u16>,
    pub(crate) blkio_weight_devices: Vec<BlkioDevice>,
    pub(crate) blkio_read_bps: Vec<BlkioDevice>,
    pub(crate) blkio_write_bps: Vec<BlkioDevice>,
    pub(crate) blkio_read_iops: Vec<BlkioDevice>,
    pub(crate) blkio_write_iops: Vec<BlkioDevice>,
}

/// A rate or weight of one block device on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlkioDevice {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeviceKind {
    Char,
    Block,
}

/// A node to make in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceSpec {
    /// Absolute path in the container.
    pub(crate) path: String,
    pub(crate) kind: DeviceKind,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What the device cgroup lets through. A later rule wins over an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRule {
    pub(crate) allow: bool,
    /// `None`: character and block devices.
    pub(crate) kind: Option<DeviceKind>,
    /// `None`: any.
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    /// Letters of `rwm`.
    pub(crate) access: String,
}

impl DeviceRule {
    /// All devices, as a privileged container has them.
    pub(crate) fn allow_all() -> Self {
        DeviceRule {
            allow: true,
            kind: None,
            major: None,
            minor: None,
            access: "rwm".to_owned(),
        }
    }

    fn allow(kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: &str) -> Self {
        DeviceRule {
            allow: true,
            kind: Some(kind),
            major,
            minor,
            access: access.to_owned(),
        }
    }
}

/// The mounts of every container, in order. `shm_bytes`: `None` for `ipc: none`.
/// A privileged container gets writable views of sysfs and the cgroups.
pub(crate) fn default_mounts(privileged: bool, shm_bytes: Option<u64>) -> Vec<MountSpec> {
    let mount = |destination: &str, kind| MountSpec {
        destination: destination.to_owned(),
        kind,
    };
    let readonly = !privileged;
    let mut mounts = vec![
        mount("/proc", MountKind::Proc),
        mount("/dev", MountKind::Dev),
        mount("/dev/pts", MountKind::Devpts),
        mount("/sys", MountKind::Sysfs { readonly }),
        mount("/sys/fs/cgroup", MountKind::Cgroup { readonly }),
        mount("/dev/mqueue", MountKind::Mqueue),
    ];
    if let Some(size_bytes) = shm_bytes {
        mounts.push(mount("/dev/shm", MountKind::Tmpfs(shm(size_bytes))));
    }
    mounts
}

fn shm(size_bytes: u64) -> TmpfsMount {
    TmpfsMount {
        size_bytes: Some(size_bytes),
        mode: Some(0o1777),
        uid: None,
        gid: None,
        flags: MountFlags {
            nosuid: true,
            nodev: true,
            noexec: true,
            ..MountFlags::default()
        },
        extra: Vec::new(),
    }
}

/// What a container that is not privileged may do with devices, as Docker has it: nothing but make any node and
/// use the standard ones. The caller appends the rules of its own devices.
pub(crate) fn default_device_rules() -> Vec<DeviceRule> {
    use DeviceKind::{Block, Char};
    vec![
        DeviceRule {
            allow: false,
            ..DeviceRule::allow_all()
        },
        DeviceRule::allow(Char, None, None, "m"),
        DeviceRule::allow(Block, None, None, "m"),
        DeviceRule::allow(Char, Some(1), Some(3), "rwm"), // null
        DeviceRule::allow(Char, Some(1), Some(5), "rwm"), // zero
        DeviceRule::allow(Char, Some(1), Some(7), "rwm"), // full
        DeviceRule::allow(Char, Some(1), Some(8), "rwm"), // random
        DeviceRule::allow(Char, Some(1), Some(9), "rwm"), // urandom
        DeviceRule::allow(Char, Some(5), Some(0), "rwm"), // tty
        DeviceRule::allow(Char, Some(5), Some(1), "rwm"), // console
        DeviceRule::allow(Char, Some(5), Some(2), "rwm"), // ptmx
        DeviceRule::allow(Char, Some(136), None, "rwm"),  // pts/*
    ]
}

/// Docker's masked paths, for a container that is not privileged.
pub(crate) fn default_masked_paths() -> Vec<String> {
    [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ]
    .map(str::to_owned)
    .into()
}

/// Docker's read-only paths, for a container that is not privileged.
pub(crate) fn default_readonly_paths() -> Vec<String> {
    [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ]
    .map(str::to_owned)
    .into()
}
