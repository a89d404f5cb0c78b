//! The files under /etc that belong to the network: hosts, resolv.conf, hostname. Text is made here; the
//! container sees the files through bind mounts, so they are rewritten in place.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::engine::base::{Error, Result};
use crate::engine::networks::config::SandboxConfig;

/// Where every container finds its name server.
pub(crate) const RESOLVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// The word for "whatever address the host has for this container".
const HOST_GATEWAY: &str = "host-gateway";

/// What resolv.conf(5) can say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    pub(crate) name_servers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

impl ResolvConf {
    /// Reads what it knows and skips the rest, as resolvers do.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parsed = ResolvConf::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A zone (fe80::1%eth0) means nothing outside the host.
                    parsed
                        .name_servers
                        .extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("search") => parsed.search = words.map(str::to_owned).collect(),
                Some("domain") => {
                    parsed.search = words.take(1).map(str::to_owned).collect();
                }
                Some("options") => parsed.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        parsed
    }

    /// The host's file; empty when there is none.
    pub(crate) fn of_host() -> Self {
        fs::read_to_string("/etc/resolv.conf")
            .map(|text| Self::parse(&text))
            .unwrap_or_default()
    }

    pub(crate) fn servers(&self) -> Vec<SocketAddr> {
        self.name_servers
            .iter()
            .map(|address| SocketAddr::new(*address, 53))
            .collect()
    }
}

/// Checks the parts of a sandbox's configuration that end up in these files.
pub(crate) fn validate(config: &SandboxConfig) -> Result<()> {
    for entry in &config.extra_hosts {
        split_extra_host(entry)?;
    }
    for server in &config.dns {
        if server.parse::<IpAddr>().is_err() {
            return Err(Error::invalid(format!("invalid IP address: {server:?}")));
        }
    }
    let words = config.dns_search.iter().chain(&config.dns_options);
    for word in words.chain([&config.hostname, &config.domainname]) {
        if word.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Error::invalid(format!("{word:?} is not a host name")));
        }
    }
    Ok(())
}

/// `name:address` (the address may be IPv6, also in brackets) or `name=address`.
fn split_extra_host(entry: &str) -> Result<(&str, Option<IpAddr>)> {
    let wrong = || Error::invalid(format!("bad format for add-host: {entry:?}"));
    let (name, address) = entry
        .split_once('=')
        .or_else(|| entry.split_once(':'))
        .ok_or_else(wrong)?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong());
    }
    if address == HOST_GATEWAY {
        return Ok((name, None));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    let parsed = bare
        .parse()
        .map_err(|_| Error::invalid(format!("invalid IP address in add-host: {address:?}")))?;
    Ok((name, Some(parsed)))
}

/// The container's /etc/hosts: loopback, extra hosts, then its own addresses.
pub(crate) fn hosts(
    config: &SandboxConfig,
    addresses: &[IpAddr],
    gateway: Option<IpAddr>,
) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    text.push_str(&extra_hosts(config, gateway));
    for address in addresses {
        if !config.domainname.is_empty() {
            text.push_str(&format!(
                "{address}\t{host}.{} {host}\n",
                config.domainname,
                host = config.hostname
            ));
        } else {
            text.push_str(&format!("{address}\t{}\n", config.hostname));
        }
    }
    text
}

/// The extra hosts alone: a container in the host's namespace adds them to the host's own file.
pub(crate) fn extra_hosts(config: &SandboxConfig, gateway: Option<IpAddr>) -> String {
    let mut text = String::new();
    for entry in &config.extra_hosts {
        let Ok((name, address)) = split_extra_host(entry) else {
            continue;
        };
        // Without a network there is no gateway yet; the file is written again at every join.
        if let Some(address) = address.or(gateway) {
            text.push_str(&format!("{address}\t{name}\n"));
        }
    }
    text
}

/// The container's /etc/resolv.conf; `servers` are the addresses it asks.
pub(crate) fn resolv_conf(config: &SandboxConfig, host: &ResolvConf, servers: &[IpAddr]) -> String {
    let mut text =
        String::from("# Written by hoist; changes are lost when the container starts.\n");
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    let search = if config.dns_search.is_empty() {
        &host.search
    } else {
        &config.dns_search
    };
    // A single dot says: no search list.
    let search: Vec<&str> = search
        .iter()
        .map(String::as_str)
        .filter(|domain| *domain != ".")
        .collect();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    let mut options: Vec<&str> = if config.dns_options.is_empty() {
        let asks_resolver = servers.contains(&IpAddr::V4(RESOLVER_ADDRESS));
        host.options
            .iter()
            .map(String::as_str)
            .filter(|option| !(asks_resolver && option.starts_with("ndots:")))
            .collect()
    } else {
        config.dns_options.iter().map(String::as_str).collect()
    };
    // Service names have no dot: they must be asked for as they are.
    if servers.contains(&IpAddr::V4(RESOLVER_ADDRESS))
        && !options.iter().any(|option| option.starts_with("ndots:"))
    {
        options.push("ndots:0");
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

/// Writes into the file that is there: a bind mount would go on showing a replaced one.
pub(crate) fn write_in_place(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::networks::config::SandboxKind;

    fn config() -> SandboxConfig {
        SandboxConfig {
            kind: SandboxKind::Isolated,
            container_name: "web-1".to_owned(),
            project: None,
            hostname: "web".to_owned(),
            domainname: String::new(),
            extra_hosts: vec![
                "host.docker.internal:host-gateway".to_owned(),
                "six:[2001:db8::1]".to_owned(),
                "db=10.0.0.9".to_owned(),
            ],
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_names_the_container_and_its_extra_hosts() {
        let text = hosts(&config(), &[ip("172.18.0.2")], Some(ip("172.18.0.1")));
        assert!(text.ends_with(
            "172.18.0.1\thost.docker.internal\n2001:db8::1\tsix\n10.0.0.9\tdb\n172.18.0.2\tweb\n"
        ));
        let without = hosts(&config(), &[], None);
        assert!(!without.contains("host.docker.internal"));
        let mut config = config();
        config.domainname = "example.org".to_owned();
        let text = hosts(&config, &[ip("172.18.0.2")], None);
        assert!(text.ends_with("172.18.0.2\tweb.example.org web\n"));
    }

    #[test]
    fn wrong_entries_are_refused_by_their_text() {
        for wrong in ["db", "db:nine", ":10.0.0.1", "a b:10.0.0.1", "x\n:10.0.0.1"] {
            let mut config = config();
            config.extra_hosts = vec![wrong.to_owned()];
            assert!(validate(&config).is_err(), "{wrong:?}");
        }
        let mut config = config();
        config.dns = vec!["8.8.8".to_owned()];
        assert!(validate(&config).unwrap_err().message.contains("8.8.8"));
        config.dns.clear();
        config.dns_search = vec!["a\nnameserver 6.6.6.6".to_owned()];
        assert!(validate(&config).is_err());
    }

    #[test]
    fn resolv_conf_asks_the_resolver_and_keeps_the_hosts_search_list() {
        let host = ResolvConf::parse(
            "# c\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nsearch lan corp\noptions edns0 ndots:3\n",
        );
        assert_eq!(host.name_servers, [ip("127.0.0.53")]);
        let text = resolv_conf(&config(), &host, &[IpAddr::V4(RESOLVER_ADDRESS)]);
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "nameserver 127.0.0.11",
                "search lan corp",
                "options edns0 ndots:0"
            ]
        );
        let mut config = config();
        config.dns_search = vec![".".to_owned()];
        config.dns_options = vec!["ndots:2".to_owned(), "timeout:1".to_owned()];
        let text = resolv_conf(&config, &host, &[IpAddr::V4(RESOLVER_ADDRESS)]);
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            ["nameserver 127.0.0.11", "options ndots:2 timeout:1"]
        );
    }
}
