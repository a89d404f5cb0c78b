//! What a container was asked to be, in the terms of the Engine API: `Config` travels with the image,
//! `HostConfig` belongs to this host. Both are kept in the container's record as they came and shown by
//! inspect; what they mean is checked once, at create (`validate`).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::oci::image_config::{Empty, Healthcheck, KeySet};

/// Go clients send `null` for every absent list, map and text.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A command may be one text or a list of words.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    match value {
        None => Ok(None),
        Some(serde_json::Value::String(one)) => Ok(Some(vec![one])),
        Some(list) => serde_json::from_value(list)
            .map(Some)
            .map_err(serde::de::Error::custom),
    }
}

/// A set may come as `{"a": {}}` or, from some clients, as `["a"]`.
fn key_set<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeySet, D::Error> {
    match Option::<serde_json::Value>::deserialize(deserializer)? {
        None => Ok(KeySet::new()),
        Some(serde_json::Value::Object(fields)) => {
            Ok(fields.into_iter().map(|(key, _)| (key, Empty {})).collect())
        }
        Some(serde_json::Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                serde_json::Value::String(key) => Ok((key, Empty {})),
                other => Err(serde::de::Error::custom(format!("{other} is not a text"))),
            })
            .collect(),
        Some(other) => Err(serde::de::Error::custom(format!("{other} is not a set"))),
    }
}

/// The part of a container that could be in an image as well.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Config {
    #[serde(deserialize_with = "nullable")]
    pub(crate) hostname: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) domainname: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) user: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) attach_stdin: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) attach_stdout: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) attach_stderr: bool,
    #[serde(deserialize_with = "key_set", skip_serializing_if = "KeySet::is_empty")]
    pub(crate) exposed_ports: KeySet,
    #[serde(deserialize_with = "nullable")]
    pub(crate) tty: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) open_stdin: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) stdin_once: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "words")]
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) args_escaped: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) image: String,
    #[serde(deserialize_with = "key_set")]
    pub(crate) volumes: KeySet,
    #[serde(deserialize_with = "nullable")]
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "words")]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) network_disabled: Option<bool>,
    /// Deprecated since API 1.44: the address of the main network's endpoint.
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) mac_address: String,
    pub(crate) on_build: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds; -1 waits for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shell: Option<Vec<String>>,
}

/// What this host gives the container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    pub(crate) binds: Option<Vec<String>>,
    #[serde(rename = "ContainerIDFile", deserialize_with = "nullable")]
    pub(crate) container_id_file: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) log_config: LogConfig,
    #[serde(deserialize_with = "nullable")]
    pub(crate) network_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) port_bindings: PortMap,
    #[serde(deserialize_with = "nullable")]
    pub(crate) restart_policy: RestartPolicy,
    #[serde(deserialize_with = "nullable")]
    pub(crate) auto_remove: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) volume_driver: String,
    pub(crate) volumes_from: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) console_size: [u16; 2],
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) cap_add: Option<Vec<String>>,
    pub(crate) cap_drop: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cgroupns_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) dns: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) dns_options: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) dns_search: Vec<String>,
    pub(crate) extra_hosts: Option<Vec<String>>,
    pub(crate) group_add: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) ipc_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cgroup: String,
    pub(crate) links: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) oom_score_adj: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) pid_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) privileged: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) publish_all_ports: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) readonly_rootfs: bool,
    pub(crate) security_opt: Option<Vec<String>>,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(crate) storage_opt: BTreeMap<String, String>,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(crate) tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode", deserialize_with = "nullable")]
    pub(crate) uts_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) userns_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) shm_size: i64,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(crate) sysctls: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) runtime: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) isolation: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) mounts: Vec<Mount>,
    /// `None`: Docker's default list; empty: nothing is masked.
    pub(crate) masked_paths: Option<Vec<String>>,
    pub(crate) readonly_paths: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) init: Option<bool>,
    #[serde(flatten)]
    pub(crate) resources: Resources,
}

/// The limits, which `update` can change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Resources {
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpu_shares: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) memory: i64,
    #[serde(rename = "NanoCpus", deserialize_with = "nullable")]
    pub(crate) nano_cpus: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cgroup_parent: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) blkio_weight: u16,
    pub(crate) blkio_weight_device: Option<Vec<WeightDevice>>,
    pub(crate) blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    pub(crate) blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub(crate) blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub(crate) blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpu_period: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpu_quota: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpu_realtime_period: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpu_realtime_runtime: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpuset_cpus: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpuset_mems: String,
    pub(crate) devices: Option<Vec<DeviceMapping>>,
    pub(crate) device_cgroup_rules: Option<Vec<String>>,
    pub(crate) device_requests: Option<Vec<DeviceRequest>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) memory_reservation: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) memory_swap: i64,
    pub(crate) memory_swappiness: Option<i64>,
    pub(crate) oom_kill_disable: Option<bool>,
    pub(crate) pids_limit: Option<i64>,
    pub(crate) ulimits: Option<Vec<Ulimit>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpu_count: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpu_percent: i64,
    #[serde(rename = "IOMaximumIOps", deserialize_with = "nullable")]
    pub(crate) io_maximum_iops: i64,
    #[serde(rename = "IOMaximumBandwidth", deserialize_with = "nullable")]
    pub(crate) io_maximum_bandwidth: i64,
}

/// `80/tcp` → where it is published. `null` means published nowhere.
pub(crate) type PortMap = BTreeMap<String, Option<Vec<HostPort>>>;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct HostPort {
    #[serde(deserialize_with = "nullable")]
    pub(crate) host_ip: String,
    /// A port, a range `8000-8010`, or empty for any free one.
    #[serde(deserialize_with = "nullable")]
    pub(crate) host_port: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct LogConfig {
    #[serde(rename = "Type", deserialize_with = "nullable")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) config: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct RestartPolicy {
    /// `no`, `always`, `unless-stopped`, `on-failure`; empty is `no`.
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) maximum_retry_count: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Mount {
    #[serde(rename = "Type", deserialize_with = "nullable")]
    pub(crate) kind: String,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) source: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) target: String,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub(crate) read_only: bool,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) consistency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bind_options: Option<BindOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volume_options: Option<VolumeOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_options: Option<ImageOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tmpfs_options: Option<TmpfsOptions>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct BindOptions {
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) propagation: String,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub(crate) non_recursive: bool,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub(crate) create_mountpoint: bool,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub(crate) read_only_non_recursive: bool,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub(crate) read_only_force_recursive: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct VolumeOptions {
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub(crate) no_copy: bool,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) driver_config: Option<DriverConfig>,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) subpath: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct DriverConfig {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ImageOptions {
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) subpath: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct TmpfsOptions {
    #[serde(deserialize_with = "nullable")]
    pub(crate) size_bytes: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) mode: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) options: Option<Vec<Vec<String>>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct WeightDevice {
    #[serde(deserialize_with = "nullable")]
    pub(crate) path: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) weight: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ThrottleDevice {
    #[serde(deserialize_with = "nullable")]
    pub(crate) path: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) rate: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct DeviceMapping {
    #[serde(deserialize_with = "nullable")]
    pub(crate) path_on_host: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) path_in_container: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cgroup_permissions: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct DeviceRequest {
    #[serde(deserialize_with = "nullable")]
    pub(crate) driver: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) count: i64,
    #[serde(rename = "DeviceIDs")]
    pub(crate) device_ids: Option<Vec<String>>,
    pub(crate) capabilities: Option<Vec<Vec<String>>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Ulimit {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) hard: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) soft: i64,
}

/// One network of the container, as asked for at create or connect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct EndpointSettings {
    #[serde(rename = "IPAMConfig")]
    pub(crate) ipam_config: Option<EndpointIpam>,
    pub(crate) links: Option<Vec<String>>,
    pub(crate) aliases: Option<Vec<String>>,
    pub(crate) driver_opts: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) gw_priority: i64,
    #[serde(rename = "NetworkID", deserialize_with = "nullable")]
    pub(crate) network_id: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) mac_address: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct EndpointIpam {
    #[serde(
        rename = "IPv4Address",
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) ipv4_address: String,
    #[serde(
        rename = "IPv6Address",
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) ipv6_address: String,
    #[serde(
        rename = "LinkLocalIPs",
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) link_local_ips: Vec<String>,
}

/// Another container's or the host's namespace, or one of the container's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SharedWith<'a> {
    Own,
    Host,
    Container(&'a str),
}

/// Reads `""`, `private`, `host`, `container:<id>`.
pub(crate) fn shared_with(mode: &str) -> SharedWith<'_> {
    match mode.strip_prefix("container:") {
        Some(target) => SharedWith::Container(target),
        None if mode == "host" => SharedWith::Host,
        None => SharedWith::Own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_sends_is_read() {
        let host: HostConfig = serde_json::from_str(
            r#"{"Binds":null,"NetworkMode":"default","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},
                "RestartPolicy":{"Name":"always","MaximumRetryCount":0},"ConsoleSize":[24,80],"MaskedPaths":[],
                "NanoCpus":500000000,"Memory":1048576,"Ulimits":[{"Name":"nofile","Hard":2,"Soft":1}],"Init":true,
                "LogConfig":{"Type":"","Config":null},"Unknown":1}"#,
        )
        .unwrap();
        assert_eq!(host.resources.nano_cpus, 500_000_000);
        assert_eq!(host.masked_paths, Some(Vec::new()));
        assert_eq!(host.readonly_paths, None);
        assert_eq!(host.console_size, [24, 80]);
        let text = serde_json::to_string(&host).unwrap();
        assert_eq!(serde_json::from_str::<HostConfig>(&text).unwrap(), host);
        let config: Config = serde_json::from_str(
            r#"{"Cmd":"true","Entrypoint":null,"Volumes":{"/v":{}},"ExposedPorts":["80/tcp"],"Env":null}"#,
        )
        .unwrap();
        assert_eq!(config.cmd, Some(vec!["true".to_owned()]));
        assert!(config.volumes.contains_key("/v") && config.exposed_ports.contains_key("80/tcp"));
    }
}
