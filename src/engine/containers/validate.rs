//! Whether a create body can be a container at all: ranges, conflicts, names of modes. Every option that
//! this engine does not carry out is refused here by name. Pure but for the number of processors.

use crate::engine::base::{Error, Result};
use crate::engine::containers::config::{Config, HostConfig, Resources, SharedWith, shared_with};
use crate::engine::containers::merge::check_healthcheck;
use crate::engine::containers::restart_policy::{self, RestartPolicy};
use crate::oci::capabilities::Capabilities;
use crate::oci::runtime_spec::Seccomp;
use crate::sys::process::parse_signal;

const MIN_MEMORY_BYTES: i64 = 6 << 20;
/// `/dev/shm` when nothing was asked.
pub(crate) const DEFAULT_SHM_BYTES: i64 = 64 << 20;

/// Checks the part that could be in an image.
pub(crate) fn check_config(config: &Config) -> Result<()> {
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(Error::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    for variable in &config.env {
        if variable.is_empty() || variable.starts_with('=') {
            return Err(Error::invalid(format!(
                "invalid environment variable: {variable}"
            )));
        }
    }
    if let Some(healthcheck) = &config.healthcheck {
        check_healthcheck(healthcheck)?;
    }
    if let Some(signal) = config
        .stop_signal
        .as_deref()
        .filter(|text| !text.is_empty())
    {
        parse_signal(signal).ok_or_else(|| Error::invalid(format!("invalid signal: {signal}")))?;
    }
    for port in config.exposed_ports.keys() {
        parse_port(port)?;
    }
    Ok(())
}

/// `80/tcp` as port and protocol; `80` is tcp.
pub(crate) fn parse_port(text: &str) -> Result<(u16, &str)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let bad = || Error::invalid(format!("invalid port specification: \"{text}\""));
    let number = port.parse().map_err(|_| bad())?;
    match protocol {
        "tcp" | "udp" => Ok((number, protocol)),
        "sctp" => Err(Error::invalid(format!(
            "invalid port specification: \"{text}\": SCTP ports are not supported by hoist's engine"
        ))),
        _ => Err(bad()),
    }
}

/// Checks what is asked of this host and fills in what Docker fills in.
pub(crate) fn check_host(config: &Config, host: &mut HostConfig) -> Result<()> {
    check_resources(&host.resources)?;
    let policy = restart_policy::parse(&host.restart_policy)?;
    if host.auto_remove && policy != RestartPolicy::No {
        return Err(Error::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    if host.shm_size < 0 {
        return Err(Error::invalid("SHM size can not be less than 0"));
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(Error::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    Capabilities::docker_default()
        .adjusted(
            host.cap_add.as_deref().unwrap_or_default(),
            host.cap_drop.as_deref().unwrap_or_default(),
        )
        .map_err(|error| Error::invalid(error.to_string()))?;
    check_modes(config, host)?;
    check_unsupported(host)?;
    security_options(host)?;
    check_log(host)?;
    for (port, bindings) in &host.port_bindings {
        parse_port(port)?;
        for binding in bindings.iter().flatten() {
            parse_host_ports(&binding.host_port)?;
            if !binding.host_ip.is_empty() && binding.host_ip.parse::<std::net::IpAddr>().is_err() {
                return Err(Error::invalid(format!(
                    "invalid IP address: {}",
                    binding.host_ip
                )));
            }
        }
    }
    fill_defaults(host);
    Ok(())
}

fn fill_defaults(host: &mut HostConfig) {
    if host.shm_size == 0 && !matches!(shared_with(&host.ipc_mode), SharedWith::Container(_)) {
        host.shm_size = DEFAULT_SHM_BYTES;
    }
    let set = |field: &mut String, value: &str| {
        if field.is_empty() {
            value.clone_into(field);
        }
    };
    set(&mut host.ipc_mode, "private");
    set(&mut host.cgroupns_mode, "private");
    set(&mut host.runtime, "runc");
    set(&mut host.log_config.kind, "json-file");
    set(&mut host.restart_policy.name, "no");
    if matches!(host.network_mode.as_str(), "" | "default") {
        "bridge".clone_into(&mut host.network_mode);
    }
    host.resources.memory_swappiness = host.resources.memory_swappiness.filter(|value| *value >= 0);
    host.resources.pids_limit = host.resources.pids_limit.filter(|value| *value != 0);
    let memory = host.resources.memory;
    if memory > 0 && host.resources.memory_swap == 0 {
        host.resources.memory_swap = memory.saturating_mul(2);
    }
    let default_paths = |paths: Vec<String>| if host.privileged { Vec::new() } else { paths };
    if host.masked_paths.is_none() {
        let paths = default_paths(crate::oci::runtime_spec::default_masked_paths());
        host.masked_paths = Some(paths);
    }
    if host.readonly_paths.is_none() {
        let paths = if host.privileged {
            Vec::new()
        } else {
            crate::oci::runtime_spec::default_readonly_paths()
        };
        host.readonly_paths = Some(paths);
    }
}

/// `8080`, `8000-8010`, or empty for any: first and last, (0, 0) for any.
pub(crate) fn parse_host_ports(text: &str) -> Result<(u16, u16)> {
    let bad = || Error::invalid(format!("invalid port specification: \"{text}\""));
    if text.is_empty() {
        return Ok((0, 0));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u16 = first.parse().map_err(|_| bad())?;
    let last: u16 = last.parse().map_err(|_| bad())?;
    if first > last {
        return Err(bad());
    }
    Ok((first, last))
}

/// The limits, also for `update`.
pub(crate) fn check_resources(limits: &Resources) -> Result<()> {
    if limits.memory != 0 && limits.memory < MIN_MEMORY_BYTES {
        return Err(Error::invalid("Minimum memory limit allowed is 6MB"));
    }
    if limits.memory > 0 && limits.memory_swap > 0 && limits.memory_swap < limits.memory {
        return Err(Error::invalid(
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ));
    }
    if limits.memory == 0 && limits.memory_swap > 0 {
        return Err(Error::invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ));
    }
    if limits.memory > 0 && limits.memory_reservation > limits.memory {
        return Err(Error::invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    if limits
        .memory_swappiness
        .is_some_and(|swappiness| swappiness != -1 && !(0..=100).contains(&swappiness))
    {
        return Err(Error::invalid(format!(
            "Invalid value: {}, valid memory swappiness range is 0-100",
            limits.memory_swappiness.unwrap_or_default()
        )));
    }
    check_cpu(limits)?;
    if limits.blkio_weight != 0 && !(10..=1000).contains(&limits.blkio_weight) {
        return Err(Error::invalid("Range of blkio weight is from 10 to 1000"));
    }
    for ulimit in limits.ulimits.iter().flatten() {
        let unlimited = ulimit.hard == -1;
        if !unlimited && (ulimit.soft > ulimit.hard || ulimit.soft == -1) {
            return Err(Error::invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                ulimit.soft, ulimit.hard
            )));
        }
    }
    for device in limits.devices.iter().flatten() {
        let letters = &device.cgroup_permissions;
        if !letters.chars().all(|letter| "rwm".contains(letter)) {
            return Err(Error::invalid(format!("invalid device mode: {letters}")));
        }
    }
    Ok(())
}

fn check_cpu(limits: &Resources) -> Result<()> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = i64::try_from(processors)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000_000);
    if limits.nano_cpus < 0 || limits.nano_cpus > most {
        return Err(Error::invalid(format!(
            "range of CPUs is from 0.01 to {processors}.00, as there are only {processors} CPUs available"
        )));
    }
    if limits.nano_cpus > 0 && (limits.cpu_period != 0 || limits.cpu_quota != 0) {
        let other = if limits.cpu_period != 0 {
            "CPU Period"
        } else {
            "CPU Quota"
        };
        return Err(Error::invalid(format!(
            "Conflicting options: Nano CPUs and {other} cannot both be set."
        )));
    }
    if limits.cpu_shares < 0 {
        return Err(Error::invalid(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            limits.cpu_shares
        )));
    }
    if limits.cpu_period != 0 && !(1000..=1_000_000).contains(&limits.cpu_period) {
        return Err(Error::invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if limits.cpu_quota > 0 && limits.cpu_quota < 1000 {
        return Err(Error::invalid(
            "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        ));
    }
    for (what, list) in [
        ("cpuset cpus", &limits.cpuset_cpus),
        ("cpuset mems", &limits.cpuset_mems),
    ] {
        if !list
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ',' | '-' | '\n'))
        {
            return Err(Error::invalid(format!("Invalid value {list} for {what}")));
        }
    }
    Ok(())
}

fn check_modes(config: &Config, host: &HostConfig) -> Result<()> {
    let one_of = |what: &str, value: &str, allowed: &[&str]| {
        let shared = value
            .strip_prefix("container:")
            .is_some_and(|target| !target.is_empty());
        let may_share = allowed.contains(&"container:");
        if value.is_empty()
            || allowed.contains(&value) && value != "container:"
            || shared && may_share
        {
            return Ok(());
        }
        Err(Error::invalid(format!("invalid {what} mode: {value}")))
    };
    one_of(
        "IPC",
        &host.ipc_mode,
        &["none", "private", "shareable", "host", "container:"],
    )?;
    one_of("PID", &host.pid_mode, &["host", "private", "container:"])?;
    one_of("UTS", &host.uts_mode, &["host", "private"])?;
    one_of(
        "cgroup namespace",
        &host.cgroupns_mode,
        &["host", "private"],
    )?;
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return Err(Error::invalid(format!(
            "invalid user namespace mode: {}",
            host.userns_mode
        )));
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return Err(Error::invalid(
            "conflicting options: hostname and the UTS mode",
        ));
    }
    if let SharedWith::Container(_) = shared_with(&host.network_mode) {
        let conflict = |what: &str| {
            Err(Error::invalid(format!(
                "conflicting options: {what} and the network mode"
            )))
        };
        if !config.hostname.is_empty() {
            return conflict("hostname");
        }
        if host.links.as_ref().is_some_and(|links| !links.is_empty()) {
            return Err(Error::invalid(
                "conflicting options: container type network can't be used with links. This would result in undefined behavior",
            ));
        }
        if !host.dns.is_empty() {
            return conflict("dns");
        }
        if host
            .extra_hosts
            .as_ref()
            .is_some_and(|hosts| !hosts.is_empty())
        {
            return Err(Error::invalid(
                "conflicting options: custom host-to-IP mapping and the network mode",
            ));
        }
        if !host.port_bindings.is_empty() || host.publish_all_ports {
            return Err(Error::invalid(
                "conflicting options: port publishing and the container type network mode",
            ));
        }
    }
    Ok(())
}

fn check_unsupported(host: &HostConfig) -> Result<()> {
    if !matches!(host.runtime.as_str(), "" | "runc" | "io.containerd.runc.v2") {
        return Err(Error::invalid(format!(
            "unknown or invalid runtime name: {}",
            host.runtime
        )));
    }
    if !matches!(host.isolation.as_str(), "" | "default") {
        return Err(Error::invalid(format!(
            "invalid isolation ({}) on linux",
            host.isolation
        )));
    }
    if let Some(option) = host.storage_opt.keys().next() {
        return Err(Error::invalid(format!(
            "--storage-opt {option} is not supported by hoist's engine: its overlay file systems have no quota"
        )));
    }
    if let Some(request) = host.resources.device_requests.iter().flatten().next() {
        return Err(Error::invalid(format!(
            "could not select device driver \"{}\" with capabilities: {:?}",
            request.driver,
            request.capabilities.clone().unwrap_or_default()
        )));
    }
    for (what, value) in [
        ("CpuCount", host.resources.cpu_count),
        ("CpuPercent", host.resources.cpu_percent),
        ("IOMaximumIOps", host.resources.io_maximum_iops),
        ("IOMaximumBandwidth", host.resources.io_maximum_bandwidth),
    ] {
        if value != 0 {
            return Err(Error::invalid(format!(
                "{what} is an option of Windows containers only"
            )));
        }
    }
    Ok(())
}

/// What the security options say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Security {
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: Seccomp,
}

/// Reads `SecurityOpt`. Labels of SELinux and AppArmor's `unconfined` mean nothing here and are taken.
pub(crate) fn security_options(host: &HostConfig) -> Result<Security> {
    let mut security = Security {
        no_new_privileges: false,
        seccomp: if host.privileged {
            Seccomp::Unconfined
        } else {
            Seccomp::Default
        },
    };
    for option in host.security_opt.iter().flatten() {
        let bad = || Error::invalid(format!("invalid --security-opt 2: \"{option}\""));
        if option == "no-new-privileges" {
            security.no_new_privileges = true;
            continue;
        }
        if option == "disable" {
            continue;
        }
        let (key, value) = option
            .split_once('=')
            .or_else(|| option.split_once(':'))
            .ok_or_else(bad)?;
        match key {
            "no-new-privileges" => security.no_new_privileges = value.parse().map_err(|_| bad())?,
            "label" => {}
            "writable-cgroups" => {
                return Err(Error::invalid(format!(
                    "security option \"{option}\" is not supported by hoist's engine"
                )));
            }
            "apparmor" if matches!(value, "unconfined" | "docker-default") => {}
            "apparmor" => {
                return Err(Error::invalid(format!(
                    "AppArmor profile {value} is not supported: AppArmor is not used by hoist's engine"
                )));
            }
            "seccomp" => {
                security.seccomp = match value {
                    "unconfined" => Seccomp::Unconfined,
                    "builtin" | "" => Seccomp::Default,
                    profile => {
                        serde_json::from_str::<serde_json::Value>(profile).map_err(|error| {
                            Error::invalid(format!("decoding seccomp profile failed: {error}"))
                        })?;
                        Seccomp::Profile(profile.to_owned())
                    }
                };
            }
            _ => return Err(bad()),
        }
    }
    Ok(security)
}

const LOG_OPTIONS: [&str; 11] = [
    "max-size",
    "max-file",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
    "cache-disabled",
];

fn check_log(host: &HostConfig) -> Result<()> {
    let kind = host.log_config.kind.as_str();
    if !matches!(kind, "" | "json-file" | "local" | "none") {
        return Err(Error::invalid(format!(
            "logger: no log driver named '{kind}' is registered"
        )));
    }
    for (option, value) in &host.log_config.config {
        if kind != "none" && !LOG_OPTIONS.contains(&option.as_str()) {
            let kind = if kind.is_empty() { "json-file" } else { kind };
            return Err(Error::invalid(format!(
                "unknown log opt '{option}' for {kind} log driver"
            )));
        }
        if option == "max-size" && crate::units::parse_bytes(value).is_err() {
            return Err(Error::invalid(format!(
                "invalid value for max-size: {value}"
            )));
        }
        if option == "max-file" && value.parse::<u32>().map_or(true, |count| count < 1) {
            return Err(Error::invalid(format!(
                "max-file cannot be less than 1: {value}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        type Change = fn(&mut HostConfig);
        let cases: [(Change, &str); 9] = [
            (|host| host.resources.memory = 1, "6MB"),
            (|host| host.runtime = "kata".into(), "kata"),
            (|host| host.cap_add = Some(vec!["FLY".into()]), "FLY"),
            (|host| host.ipc_mode = "what".into(), "what"),
            (|host| host.log_config.kind = "syslog".into(), "syslog"),
            (|host| host.security_opt = Some(vec!["x=y".into()]), "x=y"),
            (|host| host.resources.nano_cpus = i64::MAX, "range of CPUs"),
            (
                |host| host.storage_opt = [("size".into(), "1g".into())].into(),
                "size",
            ),
            (
                |host| host.port_bindings = [("80/ip".to_owned(), None)].into(),
                "80/ip",
            ),
        ];
        for (change, expected) in cases {
            let mut host = HostConfig::default();
            change(&mut host);
            let error = check_host(&Config::default(), &mut host).unwrap_err();
            assert!(error.message.contains(expected), "{error}");
        }
    }

    #[test]
    fn defaults_are_dockers() {
        let mut host = HostConfig::default();
        host.resources.memory = 8 << 20;
        check_host(&Config::default(), &mut host).unwrap();
        assert_eq!(host.shm_size, DEFAULT_SHM_BYTES);
        assert_eq!(host.resources.memory_swap, 16 << 20);
        assert_eq!(host.network_mode, "bridge");
        assert!(host.masked_paths.is_some_and(|paths| !paths.is_empty()));
    }

    #[test]
    fn host_ports() {
        assert_eq!(parse_host_ports("").unwrap(), (0, 0));
        assert_eq!(parse_host_ports("80-90").unwrap(), (80, 90));
        assert!(parse_host_ports("90-80").is_err() && parse_host_ports("x").is_err());
    }
}
