//! Queries that no zone answers, carried to the upstream servers as they are. Every query has a socket, a port and
//! an id of its own, and only an answer to just that question comes back.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::engine::base::sync::lock;
use crate::engine::networks::etc_files::ResolvConf;
use crate::sys::netns;

/// A server that is silent this long gets a competitor; it may still win.
const PATIENCE: Duration = Duration::from_millis(800);
/// Resolvers give up after five seconds: the failure must be there before.
const GIVE_UP: Duration = Duration::from_millis(4500);
const UDP_BYTES: usize = 65535;
const HEADER_BYTES: usize = 12;

/// Whom to ask.
#[derive(Debug)]
pub(crate) enum Upstream {
    /// The host's servers, asked from the host: its 127.0.0.53 works too.
    Host(Arc<HostServers>),
    /// Servers the user named, asked from inside: 127.0.0.1 is the container's own.
    Named {
        servers: Vec<SocketAddr>,
        netns: Arc<OwnedFd>,
    },
}

/// The servers of /etc/resolv.conf, read again when it changes (a laptop changes networks).
#[derive(Debug, Default)]
pub(crate) struct HostServers {
    cached: Mutex<Option<(SystemTime, Vec<SocketAddr>)>>,
}

impl HostServers {
    fn current(&self) -> Vec<SocketAddr> {
        let modified = std::fs::metadata("/etc/resolv.conf").and_then(|data| data.modified());
        let Ok(modified) = modified else {
            return Vec::new();
        };
        let mut cached = lock(&self.cached);
        match cached.as_ref() {
            Some((time, servers)) if *time == modified => servers.clone(),
            _ => {
                let servers = ResolvConf::of_host().servers();
                *cached = Some((modified, servers.clone()));
                servers
            }
        }
    }
}

impl Upstream {
    fn servers(&self) -> Vec<SocketAddr> {
        match self {
            Upstream::Host(host) => host.current(),
            Upstream::Named { servers, .. } => servers.clone(),
        }
    }

    fn udp_socket(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        let bind = move || std::net::UdpSocket::bind((unspecified(server), 0));
        let socket = match self {
            Upstream::Host(_) => bind()?,
            Upstream::Named { netns, .. } => netns::enter(netns.as_fd(), bind)?,
        };
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }

    async fn tcp_stream(&self, server: SocketAddr) -> io::Result<TcpStream> {
        let open = move || match server {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
        };
        let socket = match self {
            Upstream::Host(_) => open()?,
            Upstream::Named { netns, .. } => {
                // The reactor's handle belongs to this thread.
                let runtime = tokio::runtime::Handle::current();
                netns::enter(netns.as_fd(), move || {
                    let _entered = runtime.enter();
                    open()
                })?
            }
        };
        socket.connect(server).await
    }
}

fn unspecified(server: SocketAddr) -> IpAddr {
    match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Asks the servers one after another, each next one when the one before failed or is slow. None: nobody answered
/// in time.
pub(crate) async fn forward_udp(upstream: &Arc<Upstream>, query: &[u8]) -> Option<Vec<u8>> {
    let query: Arc<[u8]> = query.into();
    race(upstream, move |upstream, server| {
        let query = Arc::clone(&query);
        async move { ask_udp(&upstream, server, &query).await }
    })
    .await
}

/// The same over TCP.
pub(crate) async fn forward_tcp(upstream: &Arc<Upstream>, query: &[u8]) -> Option<Vec<u8>> {
    let query: Arc<[u8]> = query.into();
    race(upstream, move |upstream, server| {
        let query = Arc::clone(&query);
        async move { ask_tcp(&upstream, server, &query).await }
    })
    .await
}

async fn race<F>(
    upstream: &Arc<Upstream>,
    ask: impl Fn(Arc<Upstream>, SocketAddr) -> F,
) -> Option<Vec<u8>>
where
    F: Future<Output = io::Result<Vec<u8>>> + Send + 'static,
{
    let mut servers = upstream.servers().into_iter();
    let mut asked = JoinSet::new();
    // A refusal is better than silence, should nobody do better.
    let mut refusal = None;
    let deadline = tokio::time::Instant::now() + GIVE_UP;
    loop {
        let patience = match servers.next() {
            Some(server) => {
                asked.spawn(ask(Arc::clone(upstream), server));
                tokio::time::Instant::now() + PATIENCE
            }
            None if asked.is_empty() => return refusal,
            None => deadline,
        };
        tokio::select! {
            biased;
            Some(joined) = asked.join_next() => match joined {
                Ok(Ok(answer)) if is_useful(&answer) => return Some(answer),
                Ok(Ok(answer)) => refusal = Some(answer),
                Ok(Err(error)) => tracing::debug!(%error, "name server"),
                Err(error) => tracing::warn!(%error, "name server"),
            },
            () = tokio::time::sleep_until(patience.min(deadline)) => {
                if tokio::time::Instant::now() >= deadline {
                    return refusal;
                }
            }
        }
    }
}

/// Server failure, not implemented and refused say more about the server than about the name.
fn is_useful(answer: &[u8]) -> bool {
    !matches!(
        answer.get(3).map(|byte| byte & 0x0f),
        Some(2 | 4 | 5) | None
    )
}

async fn ask_udp(upstream: &Upstream, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let socket = upstream.udp_socket(server)?;
    socket.connect(server).await?;
    let (sent, id) = with_random_id(query)?;
    socket.send(&sent).await?;
    let mut buffer = vec![0; UDP_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = accepted(&buffer[..length], &sent, query, id) {
            return Ok(answer);
        }
    }
}

async fn ask_tcp(upstream: &Upstream, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = upstream.tcp_stream(server).await?;
    let (sent, id) = with_random_id(query)?;
    let length = u16::try_from(sent.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(&sent);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    accepted(&answer, &sent, query, id)
        .ok_or_else(|| io::Error::other(format!("{server} answered another question")))
}

/// The query under an id that nobody can guess: the hasher's keys come from the system's randomness.
fn with_random_id(query: &[u8]) -> io::Result<(Vec<u8>, [u8; 2])> {
    if query.len() < HEADER_BYTES {
        return Err(io::Error::other("not a DNS message"));
    }
    let random = RandomState::new().build_hasher().finish().to_ne_bytes();
    let id = [random[0], random[1]];
    let mut sent = query.to_vec();
    sent[..2].copy_from_slice(&id);
    Ok((sent, id))
}

/// The answer under the client's id, when it is a response to just this question.
fn accepted(answer: &[u8], sent: &[u8], query: &[u8], id: [u8; 2]) -> Option<Vec<u8>> {
    let is_response = answer.len() >= HEADER_BYTES && answer[2] & 0x80 != 0;
    if !is_response || answer[..2] != id {
        return None;
    }
    let question = question_bytes(sent)?;
    // Some servers leave the question out of a refusal.
    let has_question = answer[4..6] != [0, 0];
    if has_question {
        let end = HEADER_BYTES + question.len();
        let repeated = answer.get(HEADER_BYTES..end)?;
        if !repeated.eq_ignore_ascii_case(question) {
            return None;
        }
    }
    let mut answer = answer.to_vec();
    answer[..2].copy_from_slice(&query[..2]);
    Some(answer)
}

/// The first question: labels up to the root, type, class.
fn question_bytes(message: &[u8]) -> Option<&[u8]> {
    let mut position = HEADER_BYTES;
    loop {
        let length = usize::from(*message.get(position)?);
        // A query's own name cannot be compressed.
        if length > 63 {
            return None;
        }
        position += 1 + length;
        if length == 0 {
            return message.get(HEADER_BYTES..position + 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = &[
        0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'w', b'w', b'w', 0, 0, 1, 0, 1,
    ];

    fn response(sent: &[u8], code: u8) -> Vec<u8> {
        let mut answer = sent.to_vec();
        answer[2] |= 0x80;
        answer[3] = 0x80 | code;
        answer
    }

    #[test]
    fn only_an_answer_to_this_question_is_taken() {
        let (sent, id) = with_random_id(QUERY).unwrap();
        let right = response(&sent, 0);
        let taken = accepted(&right, &sent, QUERY, id).unwrap();
        assert_eq!(taken[..2], QUERY[..2]);
        let mut other_id = right.clone();
        other_id[0] ^= 1;
        assert_eq!(accepted(&other_id, &sent, QUERY, id), None);
        let mut other_name = right.clone();
        other_name[13] = b'x';
        assert_eq!(accepted(&other_name, &sent, QUERY, id), None);
        assert_eq!(accepted(&sent, &sent, QUERY, id), None);
        assert_eq!(accepted(&right[..14], &sent, QUERY, id), None);
        assert!(with_random_id(&QUERY[..5]).is_err());
    }

    async fn server(code: u8) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let answer = response(&buffer[..length], code);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        (address, task)
    }

    fn named(servers: Vec<SocketAddr>) -> Arc<Upstream> {
        let netns = std::fs::File::open("/proc/self/ns/net").unwrap();
        Arc::new(Upstream::Named {
            servers,
            netns: Arc::new(netns.into()),
        })
    }

    #[tokio::test]
    async fn a_server_that_fails_is_passed_over() {
        let (refusing, first) = server(5).await;
        let (working, second) = server(0).await;
        // Nobody listens on the first one: the kernel says so at once.
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let nobody = closed.local_addr().unwrap();
        drop(closed);
        let answer = forward_udp(&named(vec![nobody, refusing, working]), QUERY).await;
        assert_eq!(answer.unwrap()[3], 0x80);
        let answer = forward_udp(&named(vec![nobody, refusing]), QUERY).await;
        assert_eq!(answer.unwrap()[3], 0x85);
        assert_eq!(forward_udp(&named(vec![nobody]), QUERY).await, None);
        assert_eq!(forward_udp(&named(Vec::new()), QUERY).await, None);
        first.abort();
        second.abort();
    }
}
