//! A service → the body of a container create request, as docker compose makes it. One request
//! carries all networks. Mounts have their own file; nothing is sent from here.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, DeviceMapping, DeviceRequest, EndpointIpamConfig,
    EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, NetworkingConfig, PortBinding,
    PortMap, ResourcesBlkioWeightDevice, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
    ThrottleDevice,
};

use super::error::ClientError;
use super::mounts;
use crate::compose::model::{self, Network, Service, ServiceNetwork};
use crate::labels;
use crate::plan::{Desired, InheritedMount, Limits};

/// What a body needs besides the service.
#[derive(Debug, Clone, Default)]
pub(crate) struct BodyOptions {
    pub(crate) number: u32,
    /// The name it is known by on its networks.
    pub(crate) name: String,
    pub(crate) inherited: Vec<InheritedMount>,
    pub(crate) replaces: Option<String>,
    /// The linked containers of each service that `links` names.
    pub(crate) linked: BTreeMap<String, Vec<(String, u32)>>,
    /// Variables of providers and proxies; those of the service are stronger.
    pub(crate) environment: Vec<(String, String)>,
    /// Set for the container of `run`.
    pub(crate) one_off: Option<OneOff>,
    /// Set for the container of a hook: it carries few labels.
    pub(crate) hook: bool,
}

/// What is different for the container of `run`.
#[derive(Debug, Clone, Default)]
pub(crate) struct OneOff {
    pub(crate) slug: String,
    pub(crate) auto_remove: bool,
    pub(crate) attach_stdin: bool,
    /// Join the networks under the service's names too.
    pub(crate) use_aliases: bool,
}

/// The body. `service` has its `service:` references resolved already.
pub(crate) fn container_body(
    desired: &Desired,
    service: &Service,
    options: &BodyOptions,
) -> Result<ContainerCreateBody, ClientError> {
    let attach_stdin = options.one_off.as_ref().is_some_and(|o| o.attach_stdin);
    let (networking_config, network_mode) = networking(desired, service, options);
    let (exposed, bindings) = ports(service)?;
    let mut host_config = host_config(desired, service, options)?;
    host_config.network_mode = Some(network_mode);
    host_config.port_bindings = Some(bindings);
    Ok(ContainerCreateBody {
        hostname: text(&service.hostname),
        domainname: text(&service.domainname),
        user: text(&service.user),
        attach_stdin: Some(attach_stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        exposed_ports: (!exposed.is_empty()).then_some(exposed),
        tty: Some(service.tty),
        open_stdin: Some(service.stdin_open),
        stdin_once: Some(attach_stdin && service.stdin_open),
        env: Some(environment(service, &options.environment)),
        cmd: service.command.clone(),
        entrypoint: service.entrypoint.clone(),
        healthcheck: healthcheck(service)?,
        image: Some(desired.image_name(service)),
        working_dir: text(&service.working_dir),
        labels: Some(labels(desired, service, options)),
        stop_signal: text(&service.stop_signal),
        stop_timeout: service.stop_grace_period.map(|d| d.as_secs()),
        host_config: Some(host_config),
        networking_config,
        ..ContainerCreateBody::default()
    })
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn list(values: &[String]) -> Option<Vec<String>> {
    (!values.is_empty()).then(|| values.to_vec())
}

fn map(values: &model::Mapping) -> Option<HashMap<String, String>> {
    (!values.is_empty()).then(|| values.clone().into_iter().collect())
}

fn environment(service: &Service, below: &[(String, String)]) -> Vec<String> {
    let mut variables: Vec<String> = below
        .iter()
        .filter(|(key, _)| !service.environment.contains_key(key))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    variables.extend(service.environment.iter().map(|(key, value)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    }));
    variables
}

pub(super) fn labels(
    desired: &Desired,
    service: &Service,
    options: &BodyOptions,
) -> HashMap<String, String> {
    let project = &desired.project;
    let mut all: HashMap<String, String> = service.labels.clone().into_iter().collect();
    let mut set = |name: &str, value: String| {
        all.insert(name.to_owned(), value);
    };
    set(labels::PROJECT, project.name.clone());
    set(labels::SERVICE, service.name.clone());
    set(labels::VERSION, labels::COMPOSE_VERSION.to_owned());
    if options.hook {
        set(labels::HOOK, "pre_start".to_owned());
        return all;
    }
    let files: Vec<String> = project
        .compose_files
        .iter()
        .map(|f| f.to_string_lossy().into_owned())
        .collect();
    set(
        labels::WORKING_DIR,
        project.working_dir.to_string_lossy().into_owned(),
    );
    set(labels::CONFIG_FILES, files.join(","));
    if !desired.env_files.is_empty() {
        set(labels::ENVIRONMENT_FILE, desired.env_files.join(","));
    }
    let config = crate::plan::config_hash::service_config(service);
    set(labels::CONFIG_HASH, crate::plan::config_hash::hash(&config));
    let needs: Vec<String> = service
        .depends_on
        .iter()
        .map(|(name, how)| format!("{name}:{}:{}", how.condition, how.restart))
        .collect();
    set(labels::DEPENDS_ON, needs.join(","));
    if let Some(digest) = desired.image_digests.get(&service.name) {
        set(labels::IMAGE, digest.clone());
    }
    if let Some(digests) = desired
        .image_mounts
        .get(&service.name)
        .filter(|d| !d.is_empty())
    {
        set(labels::IMAGE_VOLUME_DIGEST, digests.clone());
    }
    match &options.one_off {
        Some(one_off) => {
            set(labels::ONE_OFF, "True".to_owned());
            set(labels::SLUG, one_off.slug.clone());
        }
        None => {
            set(labels::ONE_OFF, "False".to_owned());
            set(labels::CONTAINER_NUMBER, options.number.to_string());
            set(labels::HOIST_CONFIG, config);
            if let Some(contents) = desired
                .contents
                .get(&service.name)
                .filter(|c| !c.is_empty())
            {
                set(labels::HOIST_CONTENTS, contents.clone());
            }
        }
    }
    if let Some(old) = &options.replaces {
        set(labels::REPLACE, old.clone());
    }
    all
}

pub(super) fn healthcheck(service: &Service) -> Result<Option<HealthConfig>, ClientError> {
    let Some(check) = &service.healthcheck else {
        return Ok(None);
    };
    if check.start_interval.is_some_and(|d| d.as_nanos() != 0)
        && check.start_period.is_none_or(|d| d.as_nanos() == 0)
    {
        return Err(ClientError::Invalid(format!(
            "service \"{}\": healthcheck.start_interval requires healthcheck.start_period to be set",
            service.name
        )));
    }
    let test = if check.disable {
        Some(vec!["NONE".to_owned()])
    } else {
        list(&check.test)
    };
    Ok(Some(HealthConfig {
        test,
        interval: check.interval.map(|d| d.as_nanos()),
        timeout: check.timeout.map(|d| d.as_nanos()),
        retries: check.retries.and_then(|r| i64::try_from(r).ok()),
        start_period: check.start_period.map(|d| d.as_nanos()),
        start_interval: check.start_interval.map(|d| d.as_nanos()),
    }))
}

fn ports(service: &Service) -> Result<(Vec<String>, PortMap), ClientError> {
    let mut exposed: Vec<String> = service
        .expose
        .iter()
        .map(|port| {
            if port.contains('/') {
                port.clone()
            } else {
                format!("{port}/tcp")
            }
        })
        .collect();
    let mut bindings: PortMap = HashMap::new();
    for port in &service.ports {
        let protocol = if port.protocol.is_empty() {
            "tcp"
        } else {
            &port.protocol
        };
        let key = format!("{}/{protocol}", port.target);
        exposed.push(key.clone());
        if port.target == 0 || port.target > 65535 {
            return Err(ClientError::Invalid(format!(
                "service \"{}\": invalid container port {}",
                service.name, port.target
            )));
        }
        bindings
            .entry(key)
            .or_default()
            .get_or_insert_default()
            .push(PortBinding {
                host_ip: Some(port.host_ip.clone()),
                host_port: Some(port.published.clone()),
            });
    }
    exposed.sort();
    exposed.dedup();
    Ok((exposed, bindings))
}

fn networking(
    desired: &Desired,
    service: &Service,
    options: &BodyOptions,
) -> (Option<NetworkingConfig>, String) {
    if !service.network_mode.is_empty() {
        return (None, service.network_mode.clone());
    }
    let networks = &desired.project.networks;
    let keys = service.networks_by_priority();
    let Some(first) = keys.first() else {
        return (None, "none".to_owned());
    };
    let name = |key: &str| {
        networks
            .get(key)
            .map_or_else(|| key.to_owned(), |n: &Network| n.name.clone())
    };
    let endpoints = keys
        .iter()
        .map(|key| (name(key), endpoint(service, key, options, key == first)))
        .collect();
    let config = NetworkingConfig {
        endpoints_config: Some(endpoints),
    };
    (Some(config), name(first))
}

/// How a container of the service joins one network.
pub(crate) fn endpoint(
    service: &Service,
    key: &str,
    options: &BodyOptions,
    is_main: bool,
) -> EndpointSettings {
    let config: Option<&ServiceNetwork> = service.networks.get(key).and_then(|c| c.as_deref());
    let mut aliases = vec![options.name.clone()];
    if options.one_off.as_ref().is_none_or(|o| o.use_aliases) {
        aliases.push(service.name.clone());
        aliases.extend(config.iter().flat_map(|c| c.aliases.iter().cloned()));
    }
    let mut settings = EndpointSettings {
        aliases: Some(aliases),
        links: Some(links(service, options)).filter(|l| !l.is_empty()),
        ..EndpointSettings::default()
    };
    if let Some(config) = config {
        settings.ipam_config = Some(EndpointIpamConfig {
            ipv4_address: text(&config.ipv4_address),
            ipv6_address: text(&config.ipv6_address),
            link_local_ips: list(&config.link_local_ips),
        });
        settings.mac_address = text(&config.mac_address);
        let mut driver_opts: HashMap<String, String> =
            config.driver_opts.clone().into_iter().collect();
        if !config.interface_name.is_empty() {
            driver_opts.insert(
                "com.docker.network.endpoint.ifname".to_owned(),
                config.interface_name.clone(),
            );
        }
        settings.driver_opts = Some(driver_opts).filter(|o| !o.is_empty());
        settings.gw_priority = Some(config.gw_priority).filter(|p| *p != 0);
    }
    if is_main && settings.mac_address.is_none() {
        settings.mac_address = text(&service.mac_address);
    }
    settings
}

fn links(service: &Service, options: &BodyOptions) -> Vec<String> {
    let mut all = Vec::new();
    for link in &service.links {
        let (target, alias) = link.split_once(':').unwrap_or((link, link));
        for (container, number) in options.linked.get(target).into_iter().flatten() {
            let project = container.strip_suffix(&format!("-{target}-{number}"));
            all.push(format!("{container}:{alias}"));
            all.push(format!("{container}:{target}-{number}"));
            if let Some(project) = project {
                all.push(format!("{container}:{project}-{target}-{number}"));
            }
        }
    }
    for link in &service.external_links {
        let (target, alias) = link.split_once(':').unwrap_or((link, link));
        all.push(format!("{target}:{alias}"));
    }
    all
}

fn host_config(
    desired: &Desired,
    service: &Service,
    options: &BodyOptions,
) -> Result<HostConfig, ClientError> {
    let mounts = mounts::mounts(desired, service, &options.inherited)?;
    let (security_opt, unconfined) = security_options(desired, service)?;
    let mut config = resources(service)?;
    config.auto_remove =
        Some(options.one_off.as_ref().is_some_and(|o| o.auto_remove) || options.hook);
    config.annotations = map(&service.annotations);
    config.binds = list(&mounts.binds);
    config.mounts = (!mounts.mounts.is_empty()).then_some(mounts.mounts);
    config.cap_add = list(&service.cap_add);
    config.cap_drop = list(&service.cap_drop);
    config.init = service.init;
    config.ipc_mode = text(&service.ipc);
    config.cgroupns_mode = parsed(&service.cgroup, "cgroup", service)?;
    config.readonly_rootfs = Some(service.read_only);
    config.shm_size = Some(service.shm_size).filter(|s| *s != 0);
    config.sysctls = map(&service.sysctls);
    config.volumes_from = list(&service.volumes_from);
    config.dns = list(&service.dns);
    config.dns_search = list(&service.dns_search);
    config.dns_options = list(&service.dns_opt);
    config.extra_hosts = list(&extra_hosts(service));
    config.security_opt = list(&security_opt);
    config.storage_opt = map(&service.storage_opt);
    config.userns_mode = text(&service.userns_mode);
    config.uts_mode = text(&service.uts);
    config.privileged = Some(service.privileged);
    config.pid_mode = text(&service.pid);
    config.tmpfs = tmpfs(service);
    config.isolation = parsed(&service.isolation, "isolation", service)?;
    config.runtime = text(&service.runtime);
    config.log_config = service.logging.as_ref().map(|logging| HostConfigLogConfig {
        typ: text(&logging.driver),
        config: map(&logging.options),
    });
    config.group_add = list(&service.group_add);
    config.links = Some(links(service, options)).filter(|l| !l.is_empty());
    config.oom_score_adj = Some(service.oom_score_adj).filter(|s| *s != 0);
    if unconfined {
        config.masked_paths = Some(Vec::new());
        config.readonly_paths = Some(Vec::new());
    }
    for address in &service.dns {
        if address.parse::<std::net::IpAddr>().is_err() {
            return Err(ClientError::Invalid(format!(
                "service \"{}\": invalid DNS address \"{address}\"",
                service.name
            )));
        }
    }
    Ok(config)
}

fn parsed<T: std::str::FromStr>(
    value: &str,
    key: &str,
    service: &Service,
) -> Result<Option<T>, ClientError> {
    if value.is_empty() {
        return Ok(None);
    }
    match value.parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(ClientError::Invalid(format!(
            "service \"{}\": invalid {key} \"{value}\"",
            service.name
        ))),
    }
}

fn extra_hosts(service: &Service) -> Vec<String> {
    service
        .extra_hosts
        .iter()
        .flat_map(|(host, addresses)| addresses.iter().map(move |a| format!("{host}:{a}")))
        .collect()
}

fn tmpfs(service: &Service) -> Option<HashMap<String, String>> {
    let mounts: HashMap<String, String> = service
        .tmpfs
        .iter()
        .map(|entry| {
            let (path, options) = entry.split_once(':').unwrap_or((entry, ""));
            (path.to_owned(), options.to_owned())
        })
        .collect();
    (!mounts.is_empty()).then_some(mounts)
}

/// Security options; a seccomp profile is sent as its text. True when `systempaths=unconfined`.
fn security_options(
    desired: &Desired,
    service: &Service,
) -> Result<(Vec<String>, bool), ClientError> {
    let mut options = Vec::new();
    let mut unconfined = false;
    for option in &service.security_opt {
        if option == "systempaths=unconfined" {
            unconfined = true;
            continue;
        }
        let parts = option.split_once('=').or_else(|| option.split_once(':'));
        let Some((key, value)) = parts else {
            if option != "no-new-privileges" {
                return Err(ClientError::Invalid(format!(
                    "service \"{}\": invalid security-opt: \"{option}\"",
                    service.name
                )));
            }
            options.push(option.clone());
            continue;
        };
        if key == "seccomp" && value != "unconfined" && value != "builtin" {
            let path = desired.project.working_dir.join(value);
            let profile = std::fs::read_to_string(&path).map_err(|e| {
                ClientError::io(
                    format!("opening seccomp profile ({}) failed", path.display()),
                    e,
                )
            })?;
            let profile: serde_json::Value = serde_json::from_str(&profile).map_err(|e| {
                ClientError::Invalid(format!(
                    "compacting json for seccomp profile ({}) failed: {e}",
                    path.display()
                ))
            })?;
            options.push(format!("seccomp={profile}"));
        } else {
            options.push(option.clone());
        }
    }
    Ok((options, unconfined))
}

fn restart_policy(limits: &Limits, service: &str) -> Result<RestartPolicy, ClientError> {
    let name: RestartPolicyNameEnum = limits.restart.parse().map_err(|_| {
        ClientError::Invalid(format!(
            "service \"{service}\": invalid restart policy \"{}\"",
            limits.restart
        ))
    })?;
    Ok(RestartPolicy {
        name: Some(name),
        maximum_retry_count: Some(limits.restart_attempts),
    })
}

fn set(value: i64) -> Option<i64> {
    (value != 0).then_some(value)
}

fn resources(service: &Service) -> Result<HostConfig, ClientError> {
    let limits = Limits::of(service);
    let mut config = HostConfig {
        cgroup_parent: text(&service.cgroup_parent),
        memory: set(limits.memory),
        memory_swap: set(limits.memory_swap),
        memory_swappiness: set(service.mem_swappiness),
        memory_reservation: set(limits.memory_reservation),
        oom_kill_disable: Some(service.oom_kill_disable),
        cpu_count: set(service.cpu_count),
        cpu_period: set(limits.cpu_period),
        cpu_quota: set(limits.cpu_quota),
        cpu_realtime_period: set(service.cpu_rt_period),
        cpu_realtime_runtime: set(service.cpu_rt_runtime),
        cpu_shares: set(limits.cpu_shares),
        nano_cpus: set(limits.nano_cpus),
        cpu_percent: set(cpu_percent(service)),
        cpuset_cpus: text(&limits.cpuset),
        pids_limit: set(limits.pids),
        device_cgroup_rules: list(&service.device_cgroup_rules),
        restart_policy: Some(restart_policy(&limits, &service.name)?),
        ..HostConfig::default()
    };
    blkio(service, &mut config);
    devices(service, &mut config);
    let ulimits: Vec<ResourcesUlimits> = service
        .ulimits
        .iter()
        .map(|(name, limit)| {
            let (soft, hard) = if limit.single != 0 {
                (limit.single, limit.single)
            } else {
                (limit.soft, limit.hard)
            };
            ResourcesUlimits {
                name: Some(name.clone()),
                soft: Some(soft),
                hard: Some(hard),
            }
        })
        .collect();
    config.ulimits = (!ulimits.is_empty()).then_some(ulimits);
    Ok(config)
}

#[expect(clippy::cast_possible_truncation, reason = "a percentage is small")]
fn cpu_percent(service: &Service) -> i64 {
    (service.cpu_percent * 100.0) as i64
}

fn blkio(service: &Service, config: &mut HostConfig) {
    let Some(blkio) = &service.blkio_config else {
        return;
    };
    let throttle = |devices: &[model::ThrottleDevice]| {
        let devices: Vec<ThrottleDevice> = devices
            .iter()
            .map(|d| ThrottleDevice {
                path: Some(d.path.clone()),
                rate: Some(d.rate),
            })
            .collect();
        (!devices.is_empty()).then_some(devices)
    };
    config.blkio_weight = (blkio.weight != 0).then_some(blkio.weight);
    let weights: Vec<ResourcesBlkioWeightDevice> = blkio
        .weight_device
        .iter()
        .map(|d| ResourcesBlkioWeightDevice {
            path: Some(d.path.clone()),
            weight: Some(usize::from(d.weight)),
        })
        .collect();
    config.blkio_weight_device = (!weights.is_empty()).then_some(weights);
    config.blkio_device_read_bps = throttle(&blkio.device_read_bps);
    config.blkio_device_read_iops = throttle(&blkio.device_read_iops);
    config.blkio_device_write_bps = throttle(&blkio.device_write_bps);
    config.blkio_device_write_iops = throttle(&blkio.device_write_iops);
}

fn devices(service: &Service, config: &mut HostConfig) {
    let is_cdi = |d: &model::Device| d.source == d.target && is_cdi_name(&d.source);
    let plain: Vec<DeviceMapping> = service
        .devices
        .iter()
        .filter(|d| !is_cdi(d))
        .map(|d| DeviceMapping {
            path_on_host: Some(d.source.clone()),
            path_in_container: Some(d.target.clone()),
            cgroup_permissions: Some(d.permissions.clone()),
        })
        .collect();
    config.devices = (!plain.is_empty()).then_some(plain);
    let mut requests: Vec<DeviceRequest> = Vec::new();
    let request = |r: &model::DeviceRequest, more: Option<&str>| {
        let mut capabilities = r.capabilities.clone();
        capabilities.extend(more.map(str::to_owned));
        DeviceRequest {
            driver: text(&r.driver),
            count: set(r.count),
            device_ids: list(&r.device_ids),
            capabilities: Some(vec![capabilities]),
            options: map(&r.options),
        }
    };
    if let Some(reserved) = service
        .deploy
        .as_ref()
        .and_then(|d| d.resources.reservations.as_ref())
    {
        requests.extend(reserved.devices.iter().map(|d| request(d, None)));
    }
    let cdi: Vec<String> = service
        .devices
        .iter()
        .filter(|d| is_cdi(d))
        .map(|d| d.source.clone())
        .collect();
    if !cdi.is_empty() {
        requests.push(DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(cdi),
            ..DeviceRequest::default()
        });
    }
    requests.extend(service.gpus.iter().map(|g| request(g, Some("gpu"))));
    config.device_requests = (!requests.is_empty()).then_some(requests);
}

/// `vendor.com/class=name`
fn is_cdi_name(name: &str) -> bool {
    name.split_once('=').is_some_and(|(kind, device)| {
        !device.is_empty()
            && !kind.starts_with('/')
            && kind
                .split_once('/')
                .is_some_and(|(v, c)| !v.is_empty() && !c.is_empty())
    })
}

/// The body that changes restart policy and limits of a live container.
pub(super) fn update_body(service: &Service) -> Result<ContainerUpdateBody, ClientError> {
    let limits = Limits::of(service);
    let mut policy = restart_policy(&limits, &service.name)?;
    if limits.restart.is_empty() {
        policy.name = Some(RestartPolicyNameEnum::NO);
    }
    // An engine keeps the old swap limit otherwise, which may be below the new memory limit.
    let swap = if limits.memory_swap == 0 {
        limits.memory * 2
    } else {
        limits.memory_swap
    };
    Ok(ContainerUpdateBody {
        memory: set(limits.memory),
        memory_swap: set(swap),
        memory_reservation: set(limits.memory_reservation),
        nano_cpus: set(limits.nano_cpus),
        cpu_shares: set(limits.cpu_shares),
        cpu_period: set(limits.cpu_period),
        cpu_quota: set(limits.cpu_quota),
        cpuset_cpus: text(&limits.cpuset),
        pids_limit: Some(if limits.pids == 0 { -1 } else { limits.pids }),
        restart_policy: Some(policy),
        ..ContainerUpdateBody::default()
    })
}
