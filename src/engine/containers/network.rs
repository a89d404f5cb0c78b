//! A container's wishes about networks in the terms of the network service: sandbox, endpoints, ports.

use std::net::IpAddr;

use crate::engine::base::{Error, Result};
use crate::engine::containers::Deps;
use crate::engine::containers::config::{EndpointSettings, SharedWith, shared_with};
use crate::engine::containers::record::Record;
use crate::engine::containers::validate::{parse_host_ports, parse_port};
use crate::engine::networks::{EndpointConfig, PortRequest, Protocol, SandboxConfig, SandboxKind};

/// The label by which Compose names the project of a container.
const PROJECT_LABEL: &str = "com.docker.compose.project";

/// What kind of sandbox a network mode asks for; `None` for another container's.
pub(crate) fn sandbox_kind(record: &Record) -> Option<SandboxKind> {
    if record.config.network_disabled == Some(true) {
        return Some(SandboxKind::None);
    }
    match shared_with(&record.host.network_mode) {
        SharedWith::Container(_) => None,
        SharedWith::Host => Some(SandboxKind::Host),
        SharedWith::Own if record.host.network_mode == "none" => Some(SandboxKind::None),
        SharedWith::Own => Some(SandboxKind::Isolated),
    }
}

/// The hostname inside, which is also in `/etc/hostname` and the container's zone.
pub(crate) fn hostname(record: &Record) -> String {
    if !record.config.hostname.is_empty() {
        return record.config.hostname.clone();
    }
    let host_uts = record.host.uts_mode == "host" || record.host.network_mode == "host";
    if host_uts && let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        return name.trim().to_owned();
    }
    record.short_id().to_owned()
}

pub(crate) fn sandbox_config(record: &Record, kind: SandboxKind) -> SandboxConfig {
    let host = &record.host;
    SandboxConfig {
        kind,
        container_name: record.name.clone(),
        project: record.label(PROJECT_LABEL).map(str::to_owned),
        hostname: hostname(record),
        domainname: record.config.domainname.clone(),
        extra_hosts: host.extra_hosts.clone().unwrap_or_default(),
        dns: host.dns.clone(),
        dns_search: host.dns_search.clone(),
        dns_options: host.dns_options.clone(),
    }
}

/// One endpoint's wishes, checked.
pub(crate) fn endpoint_config(
    record: &Record,
    network: &str,
    asked: &EndpointSettings,
) -> Result<EndpointConfig> {
    let ipam = asked.ipam_config.clone().unwrap_or_default();
    let is_main = network == record.host.network_mode;
    let mut links = asked.links.clone().unwrap_or_default();
    if is_main {
        links.extend(record.host.links.iter().flatten().cloned());
    }
    let mac = match asked.mac_address.as_str() {
        "" if is_main => record.config.mac_address.clone(),
        own => own.to_owned(),
    };
    let driver_opts = asked.driver_opts.clone().unwrap_or_default();
    let ifname = driver_opts
        .get("com.docker.network.endpoint.ifname")
        .cloned();
    Ok(EndpointConfig {
        ipv4: address(&ipam.ipv4_address)?,
        ipv6: address(&ipam.ipv6_address)?,
        mac: (!mac.is_empty()).then_some(mac),
        aliases: asked.aliases.clone().unwrap_or_default(),
        dns_names: Vec::new(),
        ifname,
        gw_priority: asked.gw_priority,
        links,
        link_local_ips: ipam
            .link_local_ips
            .iter()
            .map(|text| parse_ip(text))
            .collect::<Result<Vec<IpAddr>>>()?,
        driver_opts,
    })
}

fn parse_ip(text: &str) -> Result<IpAddr> {
    text.parse()
        .map_err(|_| Error::invalid(format!("invalid IP address: {text}")))
}

fn address<T: std::str::FromStr>(text: &str) -> Result<Option<T>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Error::invalid(format!(
            "invalid endpoint settings: invalid IP address: {text}"
        ))
    })
}

/// The ports to publish: those asked for, and with `PublishAllPorts` every exposed one.
pub(crate) fn port_requests(record: &Record) -> Result<Vec<PortRequest>> {
    let mut requests = Vec::new();
    for (port, bindings) in &record.host.port_bindings {
        let (container_port, protocol) = parse_port(port)?;
        let protocol = parse_protocol(protocol);
        for binding in bindings.iter().flatten() {
            let host_ip = match binding.host_ip.as_str() {
                "" => None,
                text => Some(parse_ip(text)?),
            };
            requests.push(PortRequest {
                container_port,
                protocol,
                host_ip,
                host_ports: parse_host_ports(&binding.host_port)?,
            });
        }
    }
    if record.host.publish_all_ports {
        for port in record.config.exposed_ports.keys() {
            let (container_port, protocol) = parse_port(port)?;
            let protocol = parse_protocol(protocol);
            let asked = requests
                .iter()
                .any(|one| one.container_port == container_port && one.protocol == protocol);
            if !asked {
                requests.push(PortRequest {
                    container_port,
                    protocol,
                    host_ip: None,
                    host_ports: (0, 0),
                });
            }
        }
    }
    Ok(requests)
}

/// The variables by which a container on the default bridge finds those it is linked to, as Docker sets them.
pub(crate) fn link_environment(deps: &Deps, record: &Record) -> Vec<String> {
    let mut env = Vec::new();
    if record.host.network_mode != "bridge" {
        return env;
    }
    for link in record.host.links.iter().flatten() {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        let Ok(other) = deps.get(name) else { continue };
        let other = other.view();
        let address = other
            .network
            .endpoints
            .iter()
            .find(|endpoint| endpoint.network_name == "bridge")
            .and_then(|endpoint| endpoint.ipv4);
        let Some((address, _)) = address else {
            continue;
        };
        let prefix = alias.replace('-', "_").to_uppercase();
        env.push(format!("{prefix}_NAME=/{}/{alias}", record.name));
        let mut ports: Vec<(u16, &str)> = other
            .record
            .config
            .exposed_ports
            .keys()
            .filter_map(|port| parse_port(port).ok())
            .collect();
        ports.sort_unstable();
        if let Some((port, protocol)) = ports.first() {
            env.push(format!("{prefix}_PORT={protocol}://{address}:{port}"));
        }
        for (port, protocol) in ports {
            let key = format!("{prefix}_PORT_{port}_{}", protocol.to_uppercase());
            env.push(format!("{key}={protocol}://{address}:{port}"));
            env.push(format!("{key}_ADDR={address}"));
            env.push(format!("{key}_PORT={port}"));
            env.push(format!("{key}_PROTO={protocol}"));
        }
        for variable in &other.record.config.env {
            let is_path = variable.starts_with("PATH=") || variable.starts_with("HOME=");
            if !is_path && variable.contains('=') {
                env.push(format!("{prefix}_ENV_{variable}"));
            }
        }
    }
    env
}

fn parse_protocol(text: &str) -> Protocol {
    if text == "udp" {
        Protocol::Udp
    } else {
        Protocol::Tcp
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::containers::config::{Config, HostConfig, HostPort};
    use crate::engine::containers::spec::tests::record;

    use super::*;

    #[test]
    fn exposed_ports_are_published_once() {
        let mut config = Config::default();
        for port in ["80/tcp", "53/udp"] {
            config
                .exposed_ports
                .insert(port.to_owned(), Default::default());
        }
        let host = HostConfig {
            publish_all_ports: true,
            port_bindings: [(
                "80/tcp".to_owned(),
                Some(vec![HostPort {
                    host_ip: "127.0.0.1".to_owned(),
                    host_port: "8080".to_owned(),
                }]),
            )]
            .into(),
            ..HostConfig::default()
        };
        let requests = port_requests(&record(config, host)).unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].host_ports, (8080, 8080));
        assert_eq!(
            (requests[1].protocol, requests[1].host_ports),
            (Protocol::Udp, (0, 0))
        );
    }
}
