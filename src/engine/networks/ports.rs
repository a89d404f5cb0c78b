//! Host ports: taken by really binding them, so that a conflict shows before anything starts. The bound sockets are
//! what the proxies listen on. Nothing is forwarded here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

use crate::engine::base::{Error, Result};
use crate::engine::networks::config::{PortBinding, PortRequest, Protocol};
use crate::engine::networks::port_holder;

const BACKLOG: i32 = 1024;
/// How often a port that the kernel chose for one address may be taken on another one.
const EPHEMERAL_TRIES: u32 = 64;

/// A host port that is ours: as long as the socket is open.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) binding: PortBinding,
    pub(crate) socket: HostSocket,
}

#[derive(Debug)]
pub(crate) enum HostSocket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Says who of this engine's containers holds a port, in words.
pub(crate) type Holders<'a> = &'a dyn Fn(Protocol, IpAddr, u16) -> Option<String>;

/// Takes every port or none. `default_ip` stands in for requests without an address.
pub(crate) fn reserve(
    requests: &[PortRequest],
    default_ip: Option<IpAddr>,
    holders: Holders<'_>,
) -> Result<Vec<Reserved>> {
    let mut reserved = Vec::new();
    for request in requests {
        let addresses = match request.host_ip.or(default_ip) {
            Some(address) => vec![address],
            None => vec![
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ],
        };
        reserved.extend(reserve_one(request, &addresses, holders)?);
    }
    Ok(reserved)
}

fn reserve_one(
    request: &PortRequest,
    addresses: &[IpAddr],
    holders: Holders<'_>,
) -> Result<Vec<Reserved>> {
    let (first, last) = request.host_ports;
    if first == 0 {
        return reserve_any(request, addresses, holders);
    }
    if last < first {
        return Err(Error::invalid(format!(
            "invalid range of host ports: {first}-{last}"
        )));
    }
    let mut conflict = None;
    for port in first..=last {
        match bind_all(request, addresses, port) {
            Ok(reserved) => return Ok(reserved),
            Err((address, error)) if error == Errno::ADDRINUSE => {
                conflict = Some((address, port));
            }
            Err((address, error)) => return Err(failure(request, address, port, error)),
        }
    }
    let (address, port) = conflict.unwrap_or((Ipv4Addr::UNSPECIFIED.into(), first));
    Err(in_use(request, address, port, holders))
}

/// A port of the kernel's choice that is free on all addresses.
fn reserve_any(
    request: &PortRequest,
    addresses: &[IpAddr],
    holders: Holders<'_>,
) -> Result<Vec<Reserved>> {
    let mut last = None;
    for _ in 0..EPHEMERAL_TRIES {
        match bind_all(request, addresses, 0) {
            Ok(reserved) => return Ok(reserved),
            Err((address, error)) if error == Errno::ADDRINUSE => last = Some(address),
            Err((address, error)) => return Err(failure(request, address, 0, error)),
        }
    }
    let address = last.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    Err(in_use(request, address, 0, holders))
}

fn bind_all(
    request: &PortRequest,
    addresses: &[IpAddr],
    port: u16,
) -> Result<Vec<Reserved>, (IpAddr, Errno)> {
    let mut reserved: Vec<Reserved> = Vec::new();
    for address in addresses {
        let wanted = reserved
            .first()
            .map_or(port, |first| first.binding.host_port);
        match bind_socket(request.protocol, *address, wanted) {
            Ok((socket, host_port)) => reserved.push(Reserved {
                binding: PortBinding {
                    container_port: request.container_port,
                    protocol: request.protocol,
                    host_ip: *address,
                    host_port,
                },
                socket,
            }),
            // A host without IPv6 publishes on IPv4 alone.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
                if addresses.len() > 1 && address.is_ipv6() => {}
            Err(error) => return Err((*address, error)),
        }
    }
    Ok(reserved)
}

fn bind_socket(
    protocol: Protocol,
    address: IpAddr,
    port: u16,
) -> std::result::Result<(HostSocket, u16), Errno> {
    let family = match address {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, kind, flags, None)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections of an earlier holder may linger; a listening one is still a conflict.
        set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(address, port))?;
    if protocol == Protocol::Tcp {
        listen(&socket, BACKLOG)?;
    }
    let socket = match protocol {
        Protocol::Tcp => HostSocket::Tcp(TcpListener::from(socket)),
        Protocol::Udp => HostSocket::Udp(UdpSocket::from(socket)),
    };
    let bound = socket.local_port().map_err(|_| Errno::INVAL)?;
    Ok((socket, bound))
}

impl HostSocket {
    fn local_port(&self) -> io::Result<u16> {
        let address = match self {
            HostSocket::Tcp(listener) => listener.local_addr()?,
            HostSocket::Udp(socket) => socket.local_addr()?,
        };
        Ok(address.port())
    }
}

fn in_use(request: &PortRequest, address: IpAddr, port: u16, holders: Holders<'_>) -> Error {
    let host = SocketAddr::new(address, port);
    let protocol = request.protocol.name();
    if let Some(container) = holders(request.protocol, address, port) {
        return Error::system(format!(
            "Bind for {host} failed: port is already allocated: {port}/{protocol} is published by {container}"
        ));
    }
    let by = port_holder::holder(request.protocol, address, port)
        .map(|process| format!(" by {process}"))
        .unwrap_or_default();
    Error::system(format!(
        "failed to bind host port {host}/{protocol}: address already in use{by}"
    ))
}

fn failure(request: &PortRequest, address: IpAddr, port: u16, error: Errno) -> Error {
    let host = SocketAddr::new(address, port);
    let protocol = request.protocol.name();
    let reason = match error {
        Errno::ADDRNOTAVAIL => {
            "cannot assign requested address: it is no address of this host".to_owned()
        }
        Errno::ACCESS => "permission denied".to_owned(),
        error => io::Error::from(error).to_string(),
    };
    Error::system(format!(
        "failed to bind host port {host}/{protocol}: {reason}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host_ip: &str, host_ports: (u16, u16), protocol: Protocol) -> PortRequest {
        PortRequest {
            container_port: 80,
            protocol,
            host_ip: (!host_ip.is_empty()).then(|| host_ip.parse().unwrap()),
            host_ports,
        }
    }

    fn nobody(_: Protocol, _: IpAddr, _: u16) -> Option<String> {
        None
    }

    #[test]
    fn any_port_is_the_same_one_on_both_families() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let reserved = reserve(&[request("", (0, 0), protocol)], None, &nobody).unwrap();
            let ports: Vec<u16> = reserved.iter().map(|r| r.binding.host_port).collect();
            assert!(ports[0] > 0 && ports.iter().all(|port| *port == ports[0]));
        }
    }

    #[test]
    fn a_conflict_names_the_process_or_the_container() {
        let held = reserve(
            &[request("127.0.0.1", (0, 0), Protocol::Tcp)],
            None,
            &nobody,
        )
        .unwrap();
        let port = held[0].binding.host_port;
        let again = [request("127.0.0.1", (port, port), Protocol::Tcp)];
        let message = reserve(&again, None, &nobody).unwrap_err().message;
        let pid = format!("(pid {})", std::process::id());
        assert!(message.contains("address already in use by"), "{message}");
        assert!(message.contains(&pid), "{message}");
        let known =
            |_: Protocol, _: IpAddr, _: u16| Some("container web (project shop)".to_owned());
        let message = reserve(&again, None, &known).unwrap_err().message;
        assert!(message.contains("port is already allocated"), "{message}");
        assert!(
            message.contains("container web (project shop)"),
            "{message}"
        );
        drop(held);
        reserve(&again, None, &nobody).unwrap();
    }

    #[test]
    fn the_first_free_port_of_a_range_is_taken() {
        // Two neighbouring ports that are free now.
        let (held, first) = loop {
            let held = reserve(
                &[request("127.0.0.1", (0, 0), Protocol::Udp)],
                None,
                &nobody,
            )
            .unwrap();
            let first = held[0].binding.host_port;
            if first < u16::MAX {
                break (held, first);
            }
        };
        let range = [request(
            "127.0.0.1",
            (first, first.saturating_add(20)),
            Protocol::Udp,
        )];
        let other = reserve(&range, None, &nobody).unwrap();
        assert!(other[0].binding.host_port > first);
        drop(held);
        let wrong = [request("127.0.0.1", (9, 8), Protocol::Udp)];
        assert!(reserve(&wrong, None, &nobody).is_err());
    }

    #[test]
    fn an_address_of_somebody_else_is_refused() {
        let request = [request("192.0.2.77", (0, 0), Protocol::Tcp)];
        let message = reserve(&request, None, &nobody).unwrap_err().message;
        assert!(message.contains("192.0.2.77"), "{message}");
        assert!(
            message.contains("cannot assign requested address"),
            "{message}"
        );
    }
}
