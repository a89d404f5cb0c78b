//! A service of the tree → [`Service`].

use crate::compose::decode::{Decoder, Fields, build, deploy, mounts};
use crate::compose::merge::go_text;
use crate::compose::model::{
    BlkioConfig, CredentialSpec, Dependency, Device, EnvFile, Extends, Healthcheck, Logging,
    PortConfig, Provider, Service, ServiceModel, ServiceNetwork, ThrottleDevice, Ulimit,
    WeightDevice,
};
use crate::compose::node::{Path, Value};

pub(super) fn service(d: &mut Decoder<'_>, f: &Fields<'_>, name: &str) -> Service {
    let mut service = Service {
        name: name.to_owned(),
        ..Service::default()
    };
    identity(d, f, &mut service);
    process(d, f, &mut service);
    limits(d, f, &mut service);
    connections(d, f, &mut service);
    storage(d, f, &mut service);
    service.extensions = d.extensions(f);
    service
}

fn identity(d: &mut Decoder<'_>, f: &Fields<'_>, service: &mut Service) {
    service.profiles = d.texts(f, "profiles");
    service.annotations = d.mapping(f, "annotations");
    service.attach = d.optional_boolean(f, "attach");
    service.build = d.section(f, "build", build::build).map(Box::new);
    service.develop = d.section(f, "develop", build::develop).map(Box::new);
    service.container_name = d.text(f, "container_name");
    service.depends_on = d.entries(f, "depends_on", |d, f, _| Dependency {
        condition: d.text(f, "condition"),
        restart: d.boolean(f, "restart"),
        required: d.boolean(f, "required"),
        extensions: d.extensions(f),
    });
    service.deploy = d.section(f, "deploy", deploy::deploy).map(Box::new);
    service.provider = d.section(f, "provider", provider).map(Box::new);
    service.extends = d
        .section(f, "extends", |d, f| {
            Box::new(Extends {
                file: d.text(f, "file"),
                service: d.text(f, "service"),
            })
        })
        .filter(|extends| !extends.service.is_empty() || !extends.file.is_empty());
    service.image = d.text(f, "image");
    service.labels = d.mapping(f, "labels");
    service.label_file = d.texts(f, "label_file");
    service.models = d.optional_entries(f, "models", |d, f| ServiceModel {
        endpoint_var: d.text(f, "endpoint_var"),
        model_var: d.text(f, "model_var"),
        extensions: d.extensions(f),
    });
    service.platform = d.text(f, "platform");
    service.pull_policy = d.text(f, "pull_policy");
    service.pull_refresh_after = d.text(f, "pull_refresh_after");
    service.restart = d.text(f, "restart");
    service.scale = d.optional_integer(f, "scale");
}

fn process(d: &mut Decoder<'_>, f: &Fields<'_>, service: &mut Service) {
    service.command = d.command(f, "command");
    service.entrypoint = d.command(f, "entrypoint");
    service.environment = d.environment(f, "environment");
    service.env_file = d.list(f, "env_file", |d, f| EnvFile {
        path: d.text(f, "path"),
        required: d.boolean(f, "required"),
        format: d.text(f, "format"),
    });
    service.healthcheck = d.section(f, "healthcheck", healthcheck).map(Box::new);
    service.init = d.optional_boolean(f, "init");
    service.post_start = d.list(f, "post_start", build::hook);
    service.pre_start = d.list(f, "pre_start", build::hook);
    service.pre_stop = d.list(f, "pre_stop", build::hook);
    service.stdin_open = d.boolean(f, "stdin_open");
    service.stop_grace_period = d.duration(f, "stop_grace_period");
    service.stop_signal = d.text(f, "stop_signal");
    service.tty = d.boolean(f, "tty");
    service.user = d.text(f, "user");
    service.working_dir = d.text(f, "working_dir");
    service.logging = d
        .section(f, "logging", |d, f| Logging {
            driver: d.text(f, "driver"),
            options: d.mapping(f, "options"),
            extensions: d.extensions(f),
        })
        .map(Box::new);
}

fn limits(d: &mut Decoder<'_>, f: &Fields<'_>, service: &mut Service) {
    service.blkio_config = d.section(f, "blkio_config", blkio).map(Box::new);
    service.cap_add = d.texts(f, "cap_add");
    service.cap_drop = d.texts(f, "cap_drop");
    service.cgroup = d.text(f, "cgroup");
    service.cgroup_parent = d.text(f, "cgroup_parent");
    service.cpu_count = d.integer(f, "cpu_count");
    service.cpu_percent = d.float(f, "cpu_percent");
    service.cpu_period = d.integer(f, "cpu_period");
    service.cpu_quota = d.integer(f, "cpu_quota");
    service.cpu_rt_period = d.integer(f, "cpu_rt_period");
    service.cpu_rt_runtime = d.integer(f, "cpu_rt_runtime");
    service.cpus = d.float(f, "cpus");
    service.cpuset = d.text(f, "cpuset");
    service.cpu_shares = d.integer(f, "cpu_shares");
    service.credential_spec = d
        .section(f, "credential_spec", |d, f| CredentialSpec {
            config: d.text(f, "config"),
            file: d.text(f, "file"),
            registry: d.text(f, "registry"),
            extensions: d.extensions(f),
        })
        .map(Box::new);
    service.device_cgroup_rules = d.texts(f, "device_cgroup_rules");
    service.devices = d.list(f, "devices", |d, f| Device {
        source: d.text(f, "source"),
        target: d.text(f, "target"),
        permissions: d.text(f, "permissions"),
        extensions: d.extensions(f),
    });
    service.gpus = d.list(f, "gpus", deploy::device_request);
    service.group_add = d.texts(f, "group_add");
    service.ipc = d.text(f, "ipc");
    service.isolation = d.text(f, "isolation");
    service.mem_limit = d.bytes(f, "mem_limit");
    service.mem_reservation = d.bytes(f, "mem_reservation");
    service.memswap_limit = d.bytes(f, "memswap_limit");
    service.mem_swappiness = d.bytes(f, "mem_swappiness");
    service.oom_kill_disable = d.boolean(f, "oom_kill_disable");
    service.oom_score_adj = d.integer(f, "oom_score_adj");
    service.pid = d.text(f, "pid");
    service.pids_limit = d.integer(f, "pids_limit");
    service.privileged = d.boolean(f, "privileged");
    service.read_only = d.boolean(f, "read_only");
    service.runtime = d.text(f, "runtime");
    service.security_opt = d.texts(f, "security_opt");
    service.shm_size = d.bytes(f, "shm_size");
    service.sysctls = d.mapping(f, "sysctls");
    service.ulimits = ulimits(d, f, "ulimits");
    service.use_api_socket = d.boolean(f, "use_api_socket");
    service.userns_mode = d.text(f, "userns_mode");
    service.uts = d.text(f, "uts");
}

fn connections(d: &mut Decoder<'_>, f: &Fields<'_>, service: &mut Service) {
    service.dns = d.texts(f, "dns");
    service.dns_opt = d.texts(f, "dns_opt");
    service.dns_search = d.texts(f, "dns_search");
    service.domainname = d.text(f, "domainname");
    service.expose = d.printed_texts(f, "expose");
    service.external_links = d.texts(f, "external_links");
    service.extra_hosts = d.hosts(f, "extra_hosts");
    service.hostname = d.text(f, "hostname");
    service.links = d.texts(f, "links");
    service.mac_address = d.text(f, "mac_address");
    service.network_mode = d.text(f, "network_mode");
    service.networks = d.optional_entries(f, "networks", |d, f| {
        Box::new(ServiceNetwork {
            aliases: d.texts(f, "aliases"),
            driver_opts: d.mapping(f, "driver_opts"),
            gw_priority: d.integer(f, "gw_priority"),
            interface_name: d.text(f, "interface_name"),
            ipv4_address: d.text(f, "ipv4_address"),
            ipv6_address: d.text(f, "ipv6_address"),
            link_local_ips: d.texts(f, "link_local_ips"),
            mac_address: d.text(f, "mac_address"),
            priority: d.integer(f, "priority"),
            extensions: d.extensions(f),
        })
    });
    service.ports = d.list(f, "ports", |d, f| PortConfig {
        name: d.text(f, "name"),
        mode: d.text(f, "mode"),
        host_ip: d.text(f, "host_ip"),
        target: port_number(d, f),
        published: d.text(f, "published"),
        protocol: d.text(f, "protocol"),
        app_protocol: d.text(f, "app_protocol"),
        extensions: d.extensions(f),
    });
}

fn storage(d: &mut Decoder<'_>, f: &Fields<'_>, service: &mut Service) {
    service.configs = d.list(f, "configs", mounts::file_reference);
    service.secrets = d.list(f, "secrets", mounts::file_reference);
    service.storage_opt = d.strict_mapping(f, "storage_opt");
    service.tmpfs = d.texts(f, "tmpfs");
    service.volumes = d.list(f, "volumes", mounts::service_volume);
    service.volumes_from = d.texts(f, "volumes_from");
}

fn port_number(d: &mut Decoder<'_>, f: &Fields<'_>) -> u32 {
    let number = d.unsigned(f, "target").unwrap_or(0);
    u32::try_from(number).unwrap_or_else(|_| {
        if let Some(node) = f.get("target") {
            d.refuse(node, &f.path.key("target"), "no port number");
        }
        0
    })
}

fn healthcheck(d: &mut Decoder<'_>, f: &Fields<'_>) -> Healthcheck {
    let test = match f.get("test").map(|node| &node.value) {
        Some(Value::Str(text)) => vec!["CMD-SHELL".to_owned(), text.to_string()],
        _ => d.texts(f, "test"),
    };
    Healthcheck {
        test,
        timeout: d.duration(f, "timeout"),
        interval: d.duration(f, "interval"),
        retries: d.unsigned(f, "retries"),
        start_period: d.duration(f, "start_period"),
        start_interval: d.duration(f, "start_interval"),
        disable: d.boolean(f, "disable"),
        extensions: d.extensions(f),
    }
}

fn provider(d: &mut Decoder<'_>, f: &Fields<'_>) -> Provider {
    let mut provider = Provider {
        kind: d.text(f, "type"),
        extensions: d.extensions(f),
        ..Provider::default()
    };
    let Some(options) = f.get("options") else {
        return provider;
    };
    let Some(map) = options.as_map() else {
        d.unexpected(options, &f.path.key("options"), "mapping");
        return provider;
    };
    for (name, value) in map {
        let values = match &value.value {
            Value::Seq(items) => items.iter().map(go_text).collect(),
            _ => vec![go_text(value)],
        };
        provider.options.insert(name.to_string(), values);
    }
    provider
}

fn blkio(d: &mut Decoder<'_>, f: &Fields<'_>) -> BlkioConfig {
    let weight = |d: &mut Decoder<'_>, f: &Fields<'_>| -> u16 {
        let weight = d.unsigned(f, "weight").unwrap_or(0);
        u16::try_from(weight).unwrap_or_else(|_| {
            if let Some(node) = f.get("weight") {
                d.refuse(node, &f.path.key("weight"), "must be 65535 or less");
            }
            0
        })
    };
    let throttle = |d: &mut Decoder<'_>, f: &Fields<'_>| ThrottleDevice {
        path: d.text(f, "path"),
        rate: d.bytes(f, "rate"),
        extensions: d.extensions(f),
    };
    BlkioConfig {
        weight: weight(d, f),
        weight_device: d.list(f, "weight_device", |d, f| WeightDevice {
            path: d.text(f, "path"),
            weight: weight(d, f),
            extensions: d.extensions(f),
        }),
        device_read_bps: d.list(f, "device_read_bps", throttle),
        device_read_iops: d.list(f, "device_read_iops", throttle),
        device_write_bps: d.list(f, "device_write_bps", throttle),
        device_write_iops: d.list(f, "device_write_iops", throttle),
        extensions: d.extensions(f),
    }
}

/// Limits by name: a number for both, or soft and hard.
pub(super) fn ulimits(
    d: &mut Decoder<'_>,
    f: &Fields<'_>,
    key: &str,
) -> indexmap::IndexMap<String, Ulimit> {
    let mut limits = indexmap::IndexMap::new();
    let Some(node) = f.get(key) else {
        return limits;
    };
    let path = f.path.key(key);
    let Some(map) = node.as_map() else {
        d.unexpected(node, &path, "mapping");
        return limits;
    };
    for (name, value) in map {
        limits.extend(ulimit(d, value, &path.key(name)).map(|limit| (name.to_string(), limit)));
    }
    limits
}

fn ulimit(
    d: &mut Decoder<'_>,
    node: &crate::compose::node::Node,
    path: &Path<'_>,
) -> Option<Ulimit> {
    match &node.value {
        Value::Int(single) => Some(Ulimit {
            single: *single,
            ..Ulimit::default()
        }),
        Value::Map(map) => {
            let mut number = |key: &str| match map.get(key).map(|node| &node.value) {
                None | Some(Value::Null) => 0,
                Some(Value::Int(number)) => *number,
                Some(_) => {
                    d.unexpected(&map[key], &path.key(key), "whole number");
                    0
                }
            };
            Some(Ulimit {
                single: 0,
                soft: number("soft"),
                hard: number("hard"),
            })
        }
        _ => {
            d.unexpected(node, path, "number or mapping");
            None
        }
    }
}
