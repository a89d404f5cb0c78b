//! A service with every attribute of the specification, in canonical form.
//! Empty strings, zero numbers and empty lists mean "not set", as in the engine's own API,
//! except where `Option` tells the two apart.

use indexmap::IndexMap;

use crate::compose::model::{
    BuildConfig, Deploy, Develop, DeviceRequest, Environment, Extensions, FileReference, Hosts,
    Mapping, ServiceNetwork, ServiceVolume,
};
use crate::units::Duration;

/// A service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) profiles: Vec<String>,
    pub(crate) annotations: Mapping,
    pub(crate) attach: Option<bool>,
    pub(crate) build: Option<Box<BuildConfig>>,
    pub(crate) develop: Option<Box<Develop>>,
    pub(crate) blkio_config: Option<Box<BlkioConfig>>,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) cgroup_parent: String,
    /// `host` or `private`.
    pub(crate) cgroup: String,
    pub(crate) cpu_count: i64,
    pub(crate) cpu_percent: f32,
    pub(crate) cpu_period: i64,
    pub(crate) cpu_quota: i64,
    pub(crate) cpu_rt_period: i64,
    pub(crate) cpu_rt_runtime: i64,
    /// Whole CPUs and fractions of one.
    pub(crate) cpus: f32,
    pub(crate) cpuset: String,
    pub(crate) cpu_shares: i64,
    /// `None`: the image's; `Some([])`: none.
    pub(crate) command: Option<Vec<String>>,
    pub(crate) configs: Vec<FileReference>,
    pub(crate) container_name: String,
    pub(crate) credential_spec: Option<Box<CredentialSpec>>,
    pub(crate) depends_on: IndexMap<String, Dependency>,
    pub(crate) deploy: Option<Box<Deploy>>,
    pub(crate) device_cgroup_rules: Vec<String>,
    pub(crate) devices: Vec<Device>,
    pub(crate) dns: Vec<String>,
    pub(crate) dns_opt: Vec<String>,
    pub(crate) dns_search: Vec<String>,
    pub(crate) domainname: String,
    /// `None`: the image's; `Some([])`: none.
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) provider: Option<Box<Provider>>,
    pub(crate) environment: Environment,
    /// Empty once the files were read into `environment`.
    pub(crate) env_file: Vec<EnvFile>,
    pub(crate) expose: Vec<String>,
    /// Only left in views that do not resolve it.
    pub(crate) extends: Option<Box<Extends>>,
    pub(crate) external_links: Vec<String>,
    pub(crate) extra_hosts: Hosts,
    pub(crate) group_add: Vec<String>,
    pub(crate) gpus: Vec<DeviceRequest>,
    pub(crate) hostname: String,
    pub(crate) healthcheck: Option<Box<Healthcheck>>,
    pub(crate) image: String,
    pub(crate) init: Option<bool>,
    pub(crate) ipc: String,
    pub(crate) isolation: String,
    pub(crate) labels: Mapping,
    /// Empty once the files were read into `labels`.
    pub(crate) label_file: Vec<String>,
    pub(crate) links: Vec<String>,
    pub(crate) logging: Option<Box<Logging>>,
    /// Bytes.
    pub(crate) mem_limit: i64,
    /// Bytes.
    pub(crate) mem_reservation: i64,
    /// Bytes; −1 means unlimited.
    pub(crate) memswap_limit: i64,
    pub(crate) mem_swappiness: i64,
    pub(crate) mac_address: String,
    /// `None` for a model without options.
    pub(crate) models: IndexMap<String, Option<ServiceModel>>,
    pub(crate) network_mode: String,
    /// `None` for a network without options.
    pub(crate) networks: IndexMap<String, Option<Box<ServiceNetwork>>>,
    pub(crate) oom_kill_disable: bool,
    pub(crate) oom_score_adj: i64,
    pub(crate) pid: String,
    pub(crate) pids_limit: i64,
    pub(crate) platform: String,
    pub(crate) ports: Vec<PortConfig>,
    pub(crate) pre_start: Vec<Hook>,
    pub(crate) privileged: bool,
    pub(crate) pull_policy: String,
    pub(crate) pull_refresh_after: String,
    pub(crate) read_only: bool,
    pub(crate) restart: String,
    pub(crate) runtime: String,
    pub(crate) scale: Option<i64>,
    pub(crate) secrets: Vec<FileReference>,
    pub(crate) security_opt: Vec<String>,
    /// Bytes.
    pub(crate) shm_size: i64,
    pub(crate) stdin_open: bool,
    pub(crate) stop_grace_period: Option<Duration>,
    pub(crate) stop_signal: String,
    pub(crate) storage_opt: Mapping,
    pub(crate) sysctls: Mapping,
    pub(crate) tmpfs: Vec<String>,
    pub(crate) tty: bool,
    pub(crate) ulimits: IndexMap<String, Ulimit>,
    pub(crate) use_api_socket: bool,
    pub(crate) user: String,
    pub(crate) userns_mode: String,
    pub(crate) uts: String,
    pub(crate) volumes: Vec<ServiceVolume>,
    pub(crate) volumes_from: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) post_start: Vec<Hook>,
    pub(crate) pre_stop: Vec<Hook>,
    pub(crate) extensions: Extensions,
}

impl Service {
    /// How many replicas are wanted.
    pub(crate) fn wanted_scale(&self) -> i64 {
        self.scale
            .or_else(|| self.deploy.as_ref().and_then(|d| d.replicas))
            .unwrap_or(1)
    }

    /// Sets the number of replicas in both places that hold it.
    pub(crate) fn set_scale(&mut self, scale: i64) {
        self.scale = Some(scale);
        if let Some(deploy) = &mut self.deploy {
            deploy.replicas = Some(scale);
        }
    }

    /// Whether one of the active profiles enables the service.
    pub(crate) fn has_profile(&self, active: &[String]) -> bool {
        self.profiles.is_empty() || active.iter().any(|p| p == "*" || self.profiles.contains(p))
    }

    /// The networks, highest priority first, then by name.
    pub(crate) fn networks_by_priority(&self) -> Vec<&str> {
        let priority = |n: &Option<Box<ServiceNetwork>>| n.as_ref().map_or(0, |n| n.priority);
        let mut names: Vec<(&str, i64)> = self
            .networks
            .iter()
            .map(|(name, n)| (name.as_str(), priority(n)))
            .collect();
        names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        names.into_iter().map(|(name, _)| name).collect()
    }
}

/// How one service depends on another.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Dependency {
    /// `service_started`, `service_healthy` or `service_completed_successfully`.
    pub(crate) condition: String,
    pub(crate) restart: bool,
    pub(crate) required: bool,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Healthcheck {
    /// First word `CMD`, `CMD-SHELL` or `NONE`; empty: the image's.
    pub(crate) test: Vec<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) interval: Option<Duration>,
    pub(crate) retries: Option<u64>,
    pub(crate) start_period: Option<Duration>,
    pub(crate) start_interval: Option<Duration>,
    pub(crate) disable: bool,
    pub(crate) extensions: Extensions,
}

/// A published port, in long form.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PortConfig {
    pub(crate) name: String,
    /// `ingress` or `host`.
    pub(crate) mode: String,
    pub(crate) host_ip: String,
    pub(crate) target: u32,
    /// A port, a range `a-b`, or empty for an ephemeral one.
    pub(crate) published: String,
    pub(crate) protocol: String,
    pub(crate) app_protocol: String,
    pub(crate) extensions: Extensions,
}

/// A command run in a container at a point of its life.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Hook {
    pub(crate) command: Option<Vec<String>>,
    /// `pre_start` only: the image, when not the service's.
    pub(crate) image: String,
    pub(crate) user: String,
    pub(crate) privileged: bool,
    pub(crate) working_dir: String,
    pub(crate) environment: Environment,
    /// `pre_start` only.
    pub(crate) per_replica: bool,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Device {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) permissions: String,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BlkioConfig {
    pub(crate) weight: u16,
    pub(crate) weight_device: Vec<WeightDevice>,
    pub(crate) device_read_bps: Vec<ThrottleDevice>,
    pub(crate) device_read_iops: Vec<ThrottleDevice>,
    pub(crate) device_write_bps: Vec<ThrottleDevice>,
    pub(crate) device_write_iops: Vec<ThrottleDevice>,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct WeightDevice {
    pub(crate) path: String,
    pub(crate) weight: u16,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ThrottleDevice {
    pub(crate) path: String,
    /// Bytes or operations a second.
    pub(crate) rate: i64,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CredentialSpec {
    pub(crate) config: String,
    pub(crate) file: String,
    pub(crate) registry: String,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Provider {
    pub(crate) kind: String,
    /// Each option may stand several times.
    pub(crate) options: IndexMap<String, Vec<String>>,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EnvFile {
    pub(crate) path: String,
    pub(crate) required: bool,
    /// Empty for the `.env` grammar, `raw` for KEY=VALUE lines.
    pub(crate) format: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Extends {
    pub(crate) file: String,
    pub(crate) service: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Logging {
    pub(crate) driver: String,
    pub(crate) options: Mapping,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServiceModel {
    pub(crate) endpoint_var: String,
    pub(crate) model_var: String,
    pub(crate) extensions: Extensions,
}

/// A resource limit: one number for both, or soft and hard.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ulimit {
    /// Not zero: the limit for both.
    pub(crate) single: i64,
    pub(crate) soft: i64,
    pub(crate) hard: i64,
}
