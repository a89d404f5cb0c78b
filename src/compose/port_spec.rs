//! The short form of a published port, `[[ip:]published:]target[/protocol]`, with ranges.

use std::net::IpAddr;

use crate::compose::model::PortConfig;

/// Parses a short port; a range of targets gives a port each, ordered as texts.
///
/// # Errors
/// What is wrong with it, as docker compose says it.
pub(crate) fn parse_ports(spec: &str) -> Result<Vec<PortConfig>, String> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (raw_ip, host, container) = match parts.as_slice() {
        [container] => (String::new(), "", *container),
        [host, container] => (String::new(), *host, *container),
        [ip, host, container] => ((*ip).to_owned(), *host, *container),
        [ip @ .., host, container] => (ip.join(":"), *host, *container),
        [] => (String::new(), "", ""),
    };
    let (protocol, container) = split_protocol(container);
    let ip = split_host(&raw_ip).ok_or_else(|| format!("Invalid ip address {raw_ip}"))?;
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        return Err(format!("Invalid ip address: {ip}"));
    }
    if container.is_empty() {
        return Err(format!("No port specified: {spec}<empty>"));
    }
    let (start, end) =
        parse_range(container).ok_or_else(|| format!("Invalid containerPort: {container}"))?;
    let (host_start, host_end) = if host.is_empty() {
        (0, 0)
    } else {
        parse_range(host).ok_or_else(|| format!("Invalid hostPort: {host}"))?
    };
    if !host.is_empty() && end - start != host_end - host_start && end != start {
        return Err(format!(
            "Invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("Invalid proto: {protocol}"));
    }
    let mut ports: Vec<PortConfig> = (0..=end - start)
        .map(|n| {
            let published = if host.is_empty() {
                String::new()
            } else if start == end && host_start != host_end {
                format!("{host_start}-{host_end}")
            } else {
                (host_start + n).to_string()
            };
            PortConfig {
                mode: "ingress".to_owned(),
                host_ip: ip.to_owned(),
                target: start + n,
                published,
                protocol: protocol.clone(),
                ..PortConfig::default()
            }
        })
        .collect();
    if ports.len() > 1 {
        ports.sort_by_key(|port| port.target.to_string());
    }
    Ok(ports)
}

fn split_protocol(port: &str) -> (&str, &str) {
    let mut parts = port.split('/');
    let number = parts.next().unwrap_or_default();
    if number.is_empty() {
        return ("", "");
    }
    match parts.next() {
        Some(protocol) if !protocol.is_empty() => (protocol, number),
        _ => ("tcp", number),
    }
}

/// The address without its brackets; `None` when they or the colons are out of place.
fn split_host(raw: &str) -> Option<&str> {
    let host = match raw.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if raw.contains(':') => return None,
        None => raw,
    };
    (!host.contains(['[', ']'])).then_some(host)
}

/// `a` or `a-b`, both up to 65535 and in order.
fn parse_range(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        plain
            .then(|| text.parse::<u16>().ok())
            .flatten()
            .map(u32::from)
    };
    let mut parts = text.split('-');
    let start = number(parts.next()?)?;
    match parts.next() {
        None => Some((start, start)),
        Some(end) => number(end)
            .filter(|end| *end >= start)
            .map(|end| (start, end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_short_ports() {
        let show = |spec| match parse_ports(spec) {
            Err(error) => error,
            Ok(ports) => ports
                .iter()
                .map(|p| format!("{}|{}|{}/{}", p.host_ip, p.published, p.target, p.protocol))
                .collect::<Vec<_>>()
                .join(" "),
        };
        for (spec, ports) in [
            ("80", "||80/tcp"),
            ("8080:80/udp", "|8080|80/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1|8080|80/tcp"),
            ("[::1]:8080:80", "::1|8080|80/tcp"),
            ("8000-8010:80", "|8000-8010|80/tcp"),
            ("9-10:9-10", "|10|10/tcp |9|9/tcp"),
            ("127.0.0.1::80", "127.0.0.1||80/tcp"),
            ("::1:8080:80", "Invalid ip address ::1"),
            ("8080:", "No port specified: 8080:<empty>"),
            ("70000", "Invalid containerPort: 70000"),
            (
                "1-3:80-81",
                "Invalid ranges specified for container and host Ports: 80-81 and 1-3",
            ),
            ("80/x", "Invalid proto: x"),
        ] {
            assert_eq!(show(spec), ports, "{spec}");
        }
    }
}
