//! From what a container was asked to be to what its shim is told: process, namespaces, limits. Pure; what
//! must be looked up on the host comes in as [`Inputs`]. Mounts are built in `spec_mounts`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::engine::base::{Error, Result};
use crate::engine::containers::config::{
    HostConfig, Resources as Limits, SharedWith, ThrottleDevice, shared_with,
};
use crate::engine::containers::record::Record;
use crate::engine::containers::spec_mounts;
use crate::engine::containers::user::ResolvedUser;
use crate::engine::containers::validate::security_options;
use crate::oci::capabilities::Capabilities;
use crate::oci::runtime_spec::{
    BlkioDevice, ConsoleSize, ContainerSpec, DeviceKind, DeviceRule, DeviceSpec, Namespace,
    Namespaces, ProcessSpec, Resources, Rlimit, RootfsSpec, default_device_rules,
};

pub(crate) const DEFAULT_PATH: &str =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The files that the sandbox keeps for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EtcFiles {
    pub(crate) hosts: PathBuf,
    pub(crate) resolv_conf: PathBuf,
    pub(crate) hostname: PathBuf,
}

/// A device of the host that goes into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostDevice {
    pub(crate) spec: DeviceSpec,
    /// Letters of `rwm`.
    pub(crate) access: String,
}

/// What is known only when the container starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inputs {
    pub(crate) root: RootfsSpec,
    pub(crate) user: ResolvedUser,
    pub(crate) hostname: String,
    pub(crate) netns: Namespace,
    /// PID 1 of the container whose namespace is shared, by kind.
    pub(crate) pid_of: Option<i32>,
    pub(crate) ipc_of: Option<i32>,
    pub(crate) etc: Option<EtcFiles>,
    /// Where each volume's content is, by name.
    pub(crate) volumes: BTreeMap<String, PathBuf>,
    /// Where each image mount's content is, by destination.
    pub(crate) images: BTreeMap<String, PathBuf>,
    pub(crate) devices: Vec<HostDevice>,
    /// Numbers of the block devices that limits name, by path.
    pub(crate) block_devices: BTreeMap<String, (u32, u32)>,
    pub(crate) cgroup_parent: String,
    /// Of links; the container's own variables win.
    pub(crate) link_env: Vec<String>,
}

/// The spec of a container.
pub(crate) fn build(record: &Record, inputs: Inputs) -> Result<ContainerSpec> {
    let host = &record.host;
    let process = process(record, &inputs)?;
    let mounts = spec_mounts::build(record, &inputs)?;
    let resources = resources(&host.resources, &inputs.block_devices)?;
    let (devices, device_rules) = devices(record, &inputs)?;
    let cgroup_path = format!("{}/{}", inputs.cgroup_parent, record.id);
    Ok(ContainerSpec {
        id: record.id.clone(),
        hostname: inputs.hostname.clone(),
        domainname: record.config.domainname.clone(),
        namespaces: namespaces(record, &inputs),
        root: inputs.root,
        mounts,
        process,
        cgroup_path,
        resources,
        devices,
        device_rules,
        sysctls: host.sysctls.clone(),
        masked_paths: host.masked_paths.clone().unwrap_or_default(),
        readonly_paths: host.readonly_paths.clone().unwrap_or_default(),
        init: host.init.unwrap_or(false),
    })
}

/// The limits of a process, as `ulimits` has them.
pub(super) fn rlimits(host: &HostConfig) -> Vec<Rlimit> {
    host.resources
        .ulimits
        .iter()
        .flatten()
        .map(|limit| Rlimit {
            name: limit
                .name
                .trim_start_matches("RLIMIT_")
                .to_ascii_lowercase(),
            soft: limit.soft,
            hard: limit.hard,
        })
        .collect()
}

fn process(record: &Record, inputs: &Inputs) -> Result<ProcessSpec> {
    let (config, host) = (&record.config, &record.host);
    let security = security_options(host)?;
    let capabilities = capabilities(record, host.privileged)?;
    let cwd = match config.working_dir.as_str() {
        "" => "/".to_owned(),
        path => path.to_owned(),
    };
    let rlimits = rlimits(host);
    let console_size = match host.console_size {
        [0, _] | [_, 0] => None,
        [rows, columns] => Some(ConsoleSize { rows, columns }),
    };
    Ok(ProcessSpec {
        args: record.args(),
        env: environment(record, inputs),
        cwd,
        user: inputs.user.spec.clone(),
        tty: config.tty,
        console_size,
        capabilities,
        rlimits,
        no_new_privileges: security.no_new_privileges,
        oom_score_adj: i32::try_from(host.oom_score_adj)
            .ok()
            .filter(|adjust| *adjust != 0),
        seccomp: security.seccomp,
    })
}

/// The capabilities of the container, or all of them for a privileged process.
pub(crate) fn capabilities(record: &Record, privileged: bool) -> Result<Capabilities> {
    if privileged {
        return Ok(Capabilities::ALL);
    }
    Capabilities::docker_default()
        .adjusted(
            record.host.cap_add.as_deref().unwrap_or_default(),
            record.host.cap_drop.as_deref().unwrap_or_default(),
        )
        .map_err(|error| Error::invalid(error.to_string()))
}

/// Docker's own variables first, unless the container or its image has them; then theirs.
fn environment(record: &Record, inputs: &Inputs) -> Vec<String> {
    let config = &record.config;
    let mut env = Vec::with_capacity(config.env.len() + 4);
    let mut default = |entry: String| {
        let key_end = entry.find('=').map_or(entry.len(), |at| at + 1);
        let taken = config
            .env
            .iter()
            .any(|own| own.starts_with(&entry[..key_end]));
        if !taken {
            env.push(entry);
        }
    };
    default(DEFAULT_PATH.to_owned());
    default(format!("HOSTNAME={}", inputs.hostname));
    if config.tty {
        default("TERM=xterm".to_owned());
    }
    default(format!("HOME={}", inputs.user.home));
    for entry in &inputs.link_env {
        default(entry.clone());
    }
    // A name without a value asks for the variable to be absent.
    env.extend(
        config
            .env
            .iter()
            .filter(|entry| entry.contains('='))
            .cloned(),
    );
    env
}

fn namespaces(record: &Record, inputs: &Inputs) -> Namespaces {
    let host = &record.host;
    let of = |pid: Option<i32>, kind: &str, mode: &str| match (shared_with(mode), pid) {
        (SharedWith::Host, _) => Namespace::Host,
        (SharedWith::Container(_), Some(pid)) => {
            Namespace::Path(PathBuf::from(format!("/proc/{pid}/ns/{kind}")))
        }
        _ => Namespace::New,
    };
    Namespaces {
        net: inputs.netns.clone(),
        pid: of(inputs.pid_of, "pid", &host.pid_mode),
        ipc: of(inputs.ipc_of, "ipc", &host.ipc_mode),
        uts: of(None, "uts", &host.uts_mode),
        cgroup: of(None, "cgroup", &host.cgroupns_mode),
    }
}

/// Docker's numbers as the kernel's. Zero means: not asked.
pub(crate) fn resources(
    limits: &Limits,
    block_devices: &BTreeMap<String, (u32, u32)>,
) -> Result<Resources> {
    let given = |value: i64| (value != 0).then_some(value);
    let unsigned = |value: i64| u64::try_from(value).ok().filter(|value| *value != 0);
    let text = |value: &String| (!value.is_empty()).then(|| value.clone());
    let throttle = |list: &Option<Vec<ThrottleDevice>>| -> Result<Vec<BlkioDevice>> {
        list.iter()
            .flatten()
            .map(|device| block_device(&device.path, device.rate, block_devices))
            .collect()
    };
    let (cpu_quota_us, cpu_period_us) = if limits.nano_cpus > 0 {
        // A period of 100 ms, and the share of it in microseconds.
        (Some(limits.nano_cpus / 10_000), Some(100_000))
    } else {
        (given(limits.cpu_quota), unsigned(limits.cpu_period))
    };
    let blkio_weight_devices = limits
        .blkio_weight_device
        .iter()
        .flatten()
        .map(|device| block_device(&device.path, u64::from(device.weight), block_devices))
        .collect::<Result<_>>()?;
    Ok(Resources {
        memory_bytes: given(limits.memory),
        memory_swap_bytes: given(limits.memory_swap),
        memory_reservation_bytes: given(limits.memory_reservation),
        memory_swappiness: limits.memory_swappiness.filter(|value| *value >= 0),
        oom_kill_disable: limits.oom_kill_disable.unwrap_or(false),
        cpu_shares: unsigned(limits.cpu_shares),
        cpu_quota_us,
        cpu_period_us,
        cpu_realtime_runtime_us: given(limits.cpu_realtime_runtime),
        cpu_realtime_period_us: unsigned(limits.cpu_realtime_period),
        cpuset_cpus: text(&limits.cpuset_cpus),
        cpuset_mems: text(&limits.cpuset_mems),
        pids_limit: limits.pids_limit.filter(|value| *value > 0),
        blkio_weight: (limits.blkio_weight != 0).then_some(limits.blkio_weight),
        blkio_weight_devices,
        blkio_read_bps: throttle(&limits.blkio_device_read_bps)?,
        blkio_write_bps: throttle(&limits.blkio_device_write_bps)?,
        blkio_read_iops: throttle(&limits.blkio_device_read_iops)?,
        blkio_write_iops: throttle(&limits.blkio_device_write_iops)?,
    })
}

fn block_device(
    path: &str,
    value: u64,
    known: &BTreeMap<String, (u32, u32)>,
) -> Result<BlkioDevice> {
    let (major, minor) = *known
        .get(path)
        .ok_or_else(|| Error::invalid(format!("{path} is not a block device")))?;
    Ok(BlkioDevice {
        major,
        minor,
        value,
    })
}

fn devices(record: &Record, inputs: &Inputs) -> Result<(Vec<DeviceSpec>, Vec<DeviceRule>)> {
    let nodes = inputs
        .devices
        .iter()
        .map(|device| device.spec.clone())
        .collect();
    if record.host.privileged {
        return Ok((nodes, vec![DeviceRule::allow_all()]));
    }
    let mut rules = default_device_rules();
    rules.extend(inputs.devices.iter().map(|device| DeviceRule {
        allow: true,
        kind: Some(device.spec.kind),
        major: Some(device.spec.major),
        minor: Some(device.spec.minor),
        access: device.access.clone(),
    }));
    for text in record.host.resources.device_cgroup_rules.iter().flatten() {
        rules.push(parse_device_rule(text)?);
    }
    Ok((nodes, rules))
}

/// `c 1:3 rwm`, with `a` for both kinds and `*` for any number.
pub(crate) fn parse_device_rule(text: &str) -> Result<DeviceRule> {
    let bad = || Error::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind, numbers, access] = words[..] else {
        return Err(bad());
    };
    let kind = match kind {
        "a" => None,
        "c" => Some(DeviceKind::Char),
        "b" => Some(DeviceKind::Block),
        _ => return Err(bad()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| bad()),
    };
    if access.is_empty() || !access.chars().all(|letter| "rwm".contains(letter)) {
        return Err(bad());
    }
    Ok(DeviceRule {
        allow: true,
        kind,
        major: number(major)?,
        minor: number(minor)?,
        access: access.to_owned(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::containers::config::{Config, HostConfig, Ulimit};
    use crate::engine::containers::mounts;
    use crate::engine::containers::validate::check_host;
    use crate::oci::Digest;
    use crate::oci::runtime_spec::{RootfsSource, UserSpec};

    pub(crate) fn record(config: Config, mut host: HostConfig) -> Record {
        check_host(&config, &mut host).unwrap();
        Record {
            id: "c0ffee".repeat(10) + "c0ff",
            name: "web".to_owned(),
            created: "2026-01-01T00:00:00.000000000Z".to_owned(),
            image_id: Digest::of(b"image"),
            mounts: mounts::collect(&config, &host).unwrap(),
            config,
            host,
            networks: indexmap::IndexMap::new(),
            platform: "linux".to_owned(),
        }
    }

    pub(crate) fn inputs() -> Inputs {
        Inputs {
            root: RootfsSpec {
                source: RootfsSource::Directory(PathBuf::from("/rootfs")),
                readonly: false,
            },
            user: ResolvedUser {
                spec: UserSpec::default(),
                home: "/root".to_owned(),
            },
            hostname: "c0ffeec0ffee".to_owned(),
            netns: Namespace::Path(PathBuf::from("/run/netns/a")),
            pid_of: None,
            ipc_of: None,
            etc: Some(EtcFiles {
                hosts: "/etc-of/hosts".into(),
                resolv_conf: "/etc-of/resolv.conf".into(),
                hostname: "/etc-of/hostname".into(),
            }),
            volumes: BTreeMap::from([("data".to_owned(), PathBuf::from("/volumes/data"))]),
            images: BTreeMap::new(),
            devices: Vec::new(),
            block_devices: BTreeMap::new(),
            cgroup_parent: "hoist".to_owned(),
            link_env: Vec::new(),
        }
    }

    fn config() -> Config {
        Config {
            cmd: Some(vec!["serve".to_owned(), "--all".to_owned()]),
            env: vec!["PATH=/own".to_owned(), "A=b".to_owned(), "GONE".to_owned()],
            working_dir: "/srv".to_owned(),
            ..Config::default()
        }
    }

    /// The golden form: the spec as JSON, line by line, in `fixtures/engine`.
    fn assert_golden(name: &str, spec: &ContainerSpec) {
        let path = format!("{}/fixtures/engine/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = serde_json::to_string_pretty(spec).unwrap() + "\n";
        if std::env::var_os("HOIST_BLESS").is_some() {
            std::fs::create_dir_all(format!("{}/fixtures/engine", env!("CARGO_MANIFEST_DIR")))
                .unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text, expected,
            "run with HOIST_BLESS=1 to accept the new spec of {name}"
        );
    }

    #[test]
    fn an_ordinary_container() {
        assert_golden(
            "spec-ordinary",
            &build(&record(config(), HostConfig::default()), inputs()).unwrap(),
        );
    }

    #[test]
    fn a_container_with_everything() {
        let mut host = HostConfig {
            binds: Some(vec![
                "/src:/src:ro".to_owned(),
                "data:/var/lib/data".to_owned(),
            ]),
            cap_add: Some(vec!["NET_ADMIN".to_owned()]),
            cap_drop: Some(vec!["ALL".to_owned()]),
            readonly_rootfs: true,
            init: Some(true),
            ipc_mode: "host".to_owned(),
            pid_mode: "host".to_owned(),
            security_opt: Some(vec![
                "no-new-privileges".to_owned(),
                "seccomp=unconfined".to_owned(),
            ]),
            oom_score_adj: 500,
            ..HostConfig::default()
        };
        host.tmpfs
            .insert("/run".to_owned(), "size=1m,mode=755".to_owned());
        host.sysctls
            .insert("net.core.somaxconn".to_owned(), "1024".to_owned());
        host.resources.memory = 64 << 20;
        host.resources.pids_limit = Some(100);
        host.resources.device_cgroup_rules = Some(vec!["c 10:* rm".to_owned()]);
        host.resources.ulimits = Some(vec![Ulimit {
            name: "nofile".to_owned(),
            soft: 10,
            hard: 20,
        }]);
        let mut config = config();
        config.tty = true;
        assert_golden(
            "spec-everything",
            &build(&record(config, host), inputs()).unwrap(),
        );
    }

    #[test]
    fn a_privileged_container() {
        let host = HostConfig {
            privileged: true,
            network_mode: "host".to_owned(),
            uts_mode: "host".to_owned(),
            ..HostConfig::default()
        };
        let spec = build(&record(config(), host), inputs()).unwrap();
        assert_eq!(spec.process.capabilities, Capabilities::ALL);
        assert_eq!(spec.device_rules, [DeviceRule::allow_all()]);
        assert!(spec.masked_paths.is_empty() && spec.readonly_paths.is_empty());
        assert_eq!(spec.namespaces.uts, Namespace::Host);
    }

    #[test]
    fn device_rules_are_read() {
        let rule = parse_device_rule("c 1:* rwm").unwrap();
        assert_eq!(
            (rule.kind, rule.major, rule.minor),
            (Some(DeviceKind::Char), Some(1), None)
        );
        for wrong in ["", "c 1 r", "x 1:1 r", "c 1:1 z", "c a:1 r"] {
            assert!(parse_device_rule(wrong).is_err(), "{wrong}");
        }
    }
}
