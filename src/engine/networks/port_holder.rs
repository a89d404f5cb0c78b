//! Who holds a port of the host: the process whose socket it is, found through /proc. Used for messages only.

use std::fs;
use std::net::IpAddr;

use crate::engine::networks::config::Protocol;

/// `nginx (pid 123)`, or None when it cannot be told.
pub(crate) fn holder(protocol: Protocol, host_ip: IpAddr, port: u16) -> Option<String> {
    let inodes: Vec<String> = tables(protocol, host_ip)
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/net/{table}")).ok())
        .flat_map(|text| inodes_of_port(&text, protocol, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    process_with_socket(&inodes)
}

/// A wildcard socket of one family can be in the way of the other's.
fn tables(protocol: Protocol, host_ip: IpAddr) -> [&'static str; 2] {
    match (protocol, host_ip) {
        (Protocol::Tcp, IpAddr::V4(_)) => ["tcp", "tcp6"],
        (Protocol::Tcp, IpAddr::V6(_)) => ["tcp6", "tcp"],
        (Protocol::Udp, IpAddr::V4(_)) => ["udp", "udp6"],
        (Protocol::Udp, IpAddr::V6(_)) => ["udp6", "udp"],
    }
}

/// Inodes of the sockets that are bound to `port` (for TCP: that listen), as proc_pid_net(5) has them.
fn inodes_of_port(text: &str, protocol: Protocol, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
            let is_there = u16::from_str_radix(local_port, 16).ok()? == port
                && (protocol == Protocol::Udp || *fields.get(3)? == LISTEN);
            let inode = *fields.get(9)?;
            is_there.then(|| inode.to_owned())
        })
        .collect()
}

fn process_with_socket(inodes: &[String]) -> Option<String> {
    let wanted: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let file_name = entry.file_name();
        let Some(pid) = file_name
            .to_str()
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        // A process may end while it is looked at.
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else {
            continue;
        };
        let holds = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|target| {
                wanted
                    .iter()
                    .any(|socket| target.as_os_str() == socket.as_str())
            })
        });
        if holds {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_socket_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = holder(Protocol::Tcp, IpAddr::from([127, 0, 0, 1]), port).unwrap();
        assert!(
            found.contains(&format!("pid {}", std::process::id())),
            "{found}"
        );
        drop(socket);
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let text = "  sl  local_address rem_address   st tx rx tr tm uid timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 4711 1\n\
             1: 0100007F:1F90 0100007F:A000 01 0:0 0:0 0 0 0 4712 1\n\
             2: 0100007F:1F91 00000000:0000 0A 0:0 0:0 0 0 0 4713 1\n\
             broken\n";
        assert_eq!(inodes_of_port(text, Protocol::Tcp, 8080), ["4711"]);
        assert_eq!(inodes_of_port(text, Protocol::Udp, 8080), ["4711", "4712"]);
    }
}
