//! The name server of a sandbox: sockets that were made inside its namespace, served by the engine. It answers out of
//! the zones and forwards the rest.
//!
//! Programs ask 127.0.0.11 port 53, but the sockets have other ports and the namespace translates: a name server that
//! somebody runs in a container must find port 53 free.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

use crate::engine::networks::dns_forward::{Upstream, forward_tcp, forward_udp};
use crate::engine::networks::dns_message::{Reply, Transport, answer, failure};
use crate::engine::networks::dns_zone::Zones;
use crate::engine::networks::etc_files::RESOLVER_ADDRESS;
use crate::sys::nftables::{
    Base, ChainKind, Change, Family, Hook, Match, NftSocket, Rule, Table, Verdict,
};

/// Queries of one sandbox that wait for upstream servers, and its open TCP connections.
const MAX_IN_FLIGHT: usize = 1024;
const MAX_CONNECTIONS: usize = 64;
const TCP_IDLE: Duration = Duration::from_secs(10);
const UDP_BYTES: usize = 4096;
const DNS_PORT: u16 = 53;
const DNAT_PRIORITY: i32 = -100;

/// Bound, but not served yet.
#[derive(Debug)]
pub(crate) struct ResolverSockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

/// A running name server; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Resolver {
    tasks: [AbortHandle; 2],
}

impl Drop for Resolver {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What the server of one sandbox knows.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) container_id: String,
    pub(crate) zones: Arc<Zones>,
    pub(crate) upstream: Arc<Upstream>,
}

/// Binds in the namespace of the calling thread, whose loopback device must be up, and translates port 53.
pub(crate) fn bind() -> io::Result<ResolverSockets> {
    let any_port = SocketAddrV4::new(RESOLVER_ADDRESS, 0);
    let udp = UdpSocket::bind(any_port)?;
    let tcp = TcpListener::bind(any_port)?;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    translate(udp.local_addr()?.port(), tcp.local_addr()?.port())?;
    Ok(ResolverSockets { udp, tcp })
}

fn translate(udp_port: u16, tcp_port: u16) -> io::Result<()> {
    let table = Table {
        family: Family::Ipv4,
        name: "hoist-dns".to_owned(),
    };
    let chain = "output".to_owned();
    let mut changes = vec![
        Change::AddTable(table.clone()),
        Change::DeleteTable(table.clone()),
        Change::AddTable(table.clone()),
        Change::AddChain(
            table.clone(),
            chain.clone(),
            Some(Base {
                kind: ChainKind::Nat,
                hook: Hook::Output,
                priority: DNAT_PRIORITY,
            }),
        ),
    ];
    for (protocol, port) in [(17, udp_port), (6, tcp_port)] {
        let rule = Rule::new(
            vec![
                Match::Destination(RESOLVER_ADDRESS.into(), 32),
                Match::DestinationPort(protocol, DNS_PORT),
            ],
            Verdict::DestinationNat(RESOLVER_ADDRESS.into(), port),
        );
        changes.push(Change::AppendRule(table.clone(), chain.clone(), rule));
    }
    NftSocket::open()?.commit(&changes)
}

/// Serves until the handle is dropped.
pub(crate) fn spawn(
    runtime: &Handle,
    sockets: ResolverSockets,
    asker: Arc<Asker>,
) -> io::Result<Resolver> {
    let _entered = runtime.enter();
    let udp = tokio::net::UdpSocket::from_std(sockets.udp)?;
    let tcp = tokio::net::TcpListener::from_std(sockets.tcp)?;
    let over_udp = runtime.spawn(serve_udp(Arc::new(udp), Arc::clone(&asker)));
    let over_tcp = runtime.spawn(serve_tcp(tcp, asker));
    Ok(Resolver {
        tasks: [over_udp.abort_handle(), over_tcp.abort_handle()],
    })
}

async fn serve_udp(socket: Arc<tokio::net::UdpSocket>, asker: Arc<Asker>) {
    // Dropped with this task, and all that still waits with it.
    let mut in_flight = JoinSet::new();
    let mut buffer = vec![0; UDP_BYTES];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            Some(_) = in_flight.join_next() => continue,
        };
        let (length, from) = match received {
            Ok(received) => received,
            Err(error) => {
                // An earlier answer could not be delivered; the socket itself is sound.
                tracing::debug!(%error, "name server");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let packet = &buffer[..length];
        match answer(&asker.zones, &asker.container_id, packet, Transport::Udp) {
            Reply::Answer(bytes) => send(&socket, &bytes, from).await,
            Reply::Ignore => {}
            Reply::Forward if in_flight.len() < MAX_IN_FLIGHT => {
                let (socket, asker) = (Arc::clone(&socket), Arc::clone(&asker));
                let packet = packet.to_vec();
                in_flight.spawn(async move {
                    let forwarded = forward_udp(&asker.upstream, &packet).await;
                    if let Some(bytes) = forwarded.or_else(|| failure(&packet)) {
                        send(&socket, &bytes, from).await;
                    }
                });
            }
            Reply::Forward => {
                if let Some(bytes) = failure(packet) {
                    send(&socket, &bytes, from).await;
                }
            }
        }
    }
}

async fn send(socket: &tokio::net::UdpSocket, bytes: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(bytes, to).await {
        tracing::debug!(%error, "name server");
    }
}

async fn serve_tcp(listener: tokio::net::TcpListener, asker: Arc<Asker>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let asker = Arc::clone(&asker);
                connections.spawn(async move {
                    if let Err(error) = serve_connection(stream, &asker).await {
                        tracing::debug!(%error, "name server");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "name server");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn serve_connection(mut stream: tokio::net::TcpStream, asker: &Asker) -> io::Result<()> {
    loop {
        let read = async {
            let length = stream.read_u16().await?;
            let mut packet = vec![0; usize::from(length)];
            stream.read_exact(&mut packet).await?;
            io::Result::Ok(packet)
        };
        let packet = match tokio::time::timeout(TCP_IDLE, read).await {
            Ok(Ok(packet)) => packet,
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(()),
        };
        let bytes = match answer(&asker.zones, &asker.container_id, &packet, Transport::Tcp) {
            Reply::Answer(bytes) => bytes,
            Reply::Ignore => return Ok(()),
            Reply::Forward => match forward_tcp(&asker.upstream, &packet).await {
                Some(bytes) => bytes,
                None => match failure(&packet) {
                    Some(bytes) => bytes,
                    None => return Ok(()),
                },
            },
        };
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&bytes);
        stream.write_all(&framed).await?;
    }
}
