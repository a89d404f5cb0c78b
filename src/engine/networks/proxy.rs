//! Published ports over loopback and from containers: the engine accepts on the host's socket and connects to the
//! container. Traffic from outside does not come here; the firewall translates it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{AbortHandle, JoinSet};

use crate::engine::base::sync::lock;
use crate::engine::networks::ports::HostSocket;

const BUFFER_BYTES: usize = 64 * 1024;
const UDP_BYTES: usize = 65535;
/// A UDP client that is silent this long is forgotten, as conntrack does with a stream.
const UDP_IDLE: Duration = Duration::from_secs(120);
const MAX_UDP_CLIENTS: usize = 4096;
/// When descriptors have run out, nothing but time brings them back.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

/// The address of the container, which changes when it changes networks.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    address: Arc<Mutex<IpAddr>>,
}

impl Target {
    pub(crate) fn new(address: IpAddr) -> Self {
        Target {
            address: Arc::new(Mutex::new(address)),
        }
    }

    pub(crate) fn set(&self, address: IpAddr) {
        *lock(&self.address) = address;
    }

    pub(crate) fn address(&self) -> IpAddr {
        *lock(&self.address)
    }
}

/// A running proxy; it and all its connections end when this is dropped, soon.
#[derive(Debug)]
pub(crate) struct Proxy {
    task: AbortHandle,
    closed_rx: Mutex<mpsc::Receiver<()>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A host socket; the other end of the channel hears when it is closed. Fields are dropped in this order.
struct Held<S> {
    socket: S,
    _closed_tx: mpsc::Sender<()>,
}

/// Ends proxies and returns when their ports are free again, so that the next one can bind them.
pub(crate) fn close(proxies: Vec<Proxy>) {
    if proxies.is_empty() {
        return;
    }
    for proxy in &proxies {
        proxy.task.abort();
    }
    let wait = || {
        for proxy in &proxies {
            // The channel carries nothing: it is closed with the socket.
            let _ = lock(&proxy.closed_rx).recv();
        }
    };
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        // Waiting here would stop the task that is waited for.
        Ok(RuntimeFlavor::CurrentThread) => {}
        Ok(_) => tokio::task::block_in_place(wait),
        Err(_) => wait(),
    }
}

/// Serves a reserved port.
pub(crate) fn spawn(
    runtime: &Handle,
    socket: HostSocket,
    target: Target,
    container_port: u16,
) -> io::Result<Proxy> {
    let _entered = runtime.enter();
    let (_closed_tx, closed_rx) = mpsc::channel();
    let task = match socket {
        HostSocket::Tcp(listener) => {
            let socket = TcpListener::from_std(listener)?;
            let held = Held { socket, _closed_tx };
            runtime.spawn(serve_tcp(held, target, container_port))
        }
        HostSocket::Udp(socket) => {
            let socket = Arc::new(UdpSocket::from_std(socket)?);
            let held = Held { socket, _closed_tx };
            runtime.spawn(serve_udp(held, target, container_port))
        }
    };
    Ok(Proxy {
        task: task.abort_handle(),
        closed_rx: Mutex::new(closed_rx),
    })
}

async fn serve_tcp(held: Held<TcpListener>, target: Target, container_port: u16) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = held.socket.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((client, _)) => {
                let server = SocketAddr::new(target.address(), container_port);
                connections.spawn(carry(client, server));
            }
            Err(error) => {
                tracing::debug!(%error, "accept on a published port");
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr) {
    let connected = match connect(server).await {
        Ok(mut upstream) => {
            // Errors are of the two ends' making; each sees its own side closed.
            let _ = copy_bidirectional_with_sizes(
                &mut client,
                &mut upstream,
                BUFFER_BYTES,
                BUFFER_BYTES,
            )
            .await;
            return;
        }
        Err(error) => error,
    };
    tracing::debug!(error = %connected, %server, "published port");
    // The client must not take an orderly end for an empty answer: reset instead.
    let reset = rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO));
    if let Err(error) = reset {
        tracing::debug!(%error, "published port");
    }
}

async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let socket = match server {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

type Clients = Arc<Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>>;

async fn serve_udp(held: Held<Arc<UdpSocket>>, target: Target, container_port: u16) {
    let socket = &held.socket;
    let clients: Clients = Arc::default();
    let mut answering = JoinSet::new();
    let mut buffer = vec![0; UDP_BYTES];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            Some(_) = answering.join_next() => continue,
        };
        let (length, client) = match received {
            Ok(received) => received,
            Err(error) => {
                // An earlier answer found its client gone.
                tracing::debug!(%error, "published port");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let known = lock(&clients).get(&client).cloned();
        let upstream = match known {
            Some(upstream) => upstream,
            None if lock(&clients).len() >= MAX_UDP_CLIENTS => continue,
            None => {
                let server = SocketAddr::new(target.address(), container_port);
                match open_upstream(server).await {
                    Ok(upstream) => {
                        let upstream = Arc::new(upstream);
                        lock(&clients).insert(client, Arc::clone(&upstream));
                        answering.spawn(answer_client(
                            Arc::downgrade(socket),
                            Arc::clone(&upstream),
                            client,
                            Arc::clone(&clients),
                        ));
                        upstream
                    }
                    Err(error) => {
                        tracing::debug!(%error, %server, "published port");
                        continue;
                    }
                }
            }
        };
        if let Err(error) = upstream.send(&buffer[..length]).await {
            tracing::debug!(%error, "published port");
        }
    }
}

async fn open_upstream(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = if server.is_ipv6() {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    Ok(socket)
}

async fn answer_client(
    socket: Weak<UdpSocket>,
    upstream: Arc<UdpSocket>,
    client: SocketAddr,
    clients: Clients,
) {
    let mut buffer = vec![0; UDP_BYTES];
    // Ends when the container says nothing for long, or nothing listens there.
    while let Ok(Ok(length)) = tokio::time::timeout(UDP_IDLE, upstream.recv(&mut buffer)).await {
        // Never held while waiting: the port is free as soon as its proxy is closed.
        let Some(socket) = socket.upgrade() else {
            return;
        };
        if socket.send_to(&buffer[..length], client).await.is_err() {
            break;
        }
    }
    lock(&clients).remove(&client);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn listening() -> (HostSocket, SocketAddr) {
        let listener = std::net::TcpListener::bind((LOOPBACK, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        (HostSocket::Tcp(listener), address)
    }

    #[tokio::test]
    async fn a_half_closed_connection_still_gets_its_answer() {
        let server = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let port = server.local_addr().unwrap().port();
        let (socket, address) = listening();
        let proxy = spawn(&Handle::current(), socket, Target::new(LOOPBACK), port).unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut request = String::new();
            stream.read_to_string(&mut request).await.unwrap();
            stream
                .write_all(request.to_uppercase().as_bytes())
                .await
                .unwrap();
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "HELLO");
        serving.await.unwrap();
        drop(proxy);
    }

    #[tokio::test]
    async fn a_container_that_does_not_listen_resets() {
        let closed = std::net::TcpListener::bind((LOOPBACK, 0)).unwrap();
        let port = closed.local_addr().unwrap().port();
        drop(closed);
        let (socket, address) = listening();
        let _proxy = spawn(&Handle::current(), socket, Target::new(LOOPBACK), port).unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let error = client.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn datagrams_come_back_to_the_client_they_belong_to() {
        let server = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        let port = server.local_addr().unwrap().port();
        let host = std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap();
        host.set_nonblocking(true).unwrap();
        let address = host.local_addr().unwrap();
        let socket = HostSocket::Udp(host);
        let _proxy = spawn(&Handle::current(), socket, Target::new(LOOPBACK), port).unwrap();
        let serving = tokio::spawn(async move {
            let mut buffer = [0; 16];
            for _ in 0..2 {
                let (length, from) = server.recv_from(&mut buffer).await.unwrap();
                server.send_to(&buffer[..length], from).await.unwrap();
            }
        });
        for word in ["one", "two"] {
            let client = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
            client.send_to(word.as_bytes(), address).await.unwrap();
            let mut buffer = [0; 16];
            let (length, from) = client.recv_from(&mut buffer).await.unwrap();
            assert_eq!((&buffer[..length], from), (word.as_bytes(), address));
        }
        serving.await.unwrap();
    }
}
