//! Network namespaces made ahead of need: a new one costs the kernel half a millisecond that no start of a container
//! should wait for. Each comes with loopback up, settings made and the name server's sockets bound.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::base::sync::lock;
use crate::engine::networks::dns_server::{self, ResolverSockets};
use crate::sys::netlink::{Request, RouteSocket};
use crate::sys::netns;

/// As many as a middling project has services.
const READY: usize = 12;
/// The pool is filled when nothing was taken for this long: not while containers start.
const QUIET: Duration = Duration::from_millis(60);

/// Settings of every namespace. What a container asks for in `sysctls` is written later and wins.
const SETTINGS: &[(&str, &str)] = &[
    // A container that is in no IPv6 network takes no advertisement for one (CVE-2020-13401); loopback keeps ::1.
    ("net/ipv6/conf/default/disable_ipv6", "1"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    // Neighbours hear at once that an address has a new owner.
    ("net/ipv4/conf/default/arp_notify", "1"),
    // Docker's defaults: any user may bind low ports and send pings.
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/ipv4/ping_group_range", "0 2147483647"),
];

/// A namespace ready for a container.
#[derive(Debug)]
pub(crate) struct Netns {
    pub(crate) handle: Arc<OwnedFd>,
    /// Works inside.
    pub(crate) route: RouteSocket,
    pub(crate) resolver: Option<ResolverSockets>,
}

impl Netns {
    pub(crate) fn create() -> io::Result<Self> {
        let (handle, (route, resolver)) = netns::create(|| {
            let mut route = RouteSocket::open()?;
            // Loopback is the first device of a namespace.
            route.batch(&[Request::link_up(1)])?;
            for (key, value) in SETTINGS {
                write_setting(key, value)?;
            }
            Ok((route, dns_server::bind()?))
        })?;
        Ok(Netns {
            handle: Arc::new(handle),
            route,
            resolver: Some(resolver),
        })
    }
}

/// Writes below /proc/sys of the calling thread's namespace; a kernel without that setting needs it not.
pub(crate) fn write_setting(key: &str, value: &str) -> io::Result<()> {
    match fs::write(format!("/proc/sys/{key}"), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("set {key} to {value}: {error}"),
        )),
        Ok(()) => Ok(()),
    }
}

/// The namespaces, and the thread that makes them.
#[derive(Debug)]
pub(crate) struct NetnsPool {
    ready: Arc<Mutex<VecDeque<Netns>>>,
    taken_tx: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl NetnsPool {
    pub(crate) fn start() -> io::Result<Self> {
        let ready = Arc::new(Mutex::new(VecDeque::new()));
        let (taken_tx, taken_rx) = mpsc::channel();
        let filled = Arc::clone(&ready);
        let thread = std::thread::Builder::new()
            .name("netns-pool".to_owned())
            .spawn(move || {
                fill(&filled, &taken_rx);
                while taken_rx.recv().is_ok() {
                    while taken_rx.recv_timeout(QUIET).is_ok() {}
                    if taken_rx.recv_timeout(Duration::ZERO) == Err(RecvTimeoutError::Disconnected)
                    {
                        return;
                    }
                    fill(&filled, &taken_rx);
                }
            })?;
        Ok(NetnsPool {
            ready,
            taken_tx: Some(taken_tx),
            thread: Some(thread),
        })
    }

    /// A ready one, or a new one when there is none.
    pub(crate) fn take(&self) -> io::Result<Netns> {
        let ready = lock(&self.ready).pop_front();
        if let Some(taken_tx) = &self.taken_tx {
            // The thread ends with the pool only.
            let _ = taken_tx.send(());
        }
        match ready {
            Some(netns) => Ok(netns),
            None => Netns::create(),
        }
    }
}

fn fill(ready: &Mutex<VecDeque<Netns>>, taken_rx: &mpsc::Receiver<()>) {
    while lock(ready).len() < READY {
        match Netns::create() {
            Ok(netns) => lock(ready).push_back(netns),
            Err(error) => {
                tracing::warn!(%error, "no network namespace can be made ahead");
                return;
            }
        }
        if let Err(mpsc::TryRecvError::Disconnected) = taken_rx.try_recv() {
            return;
        }
    }
}

impl Drop for NetnsPool {
    fn drop(&mut self) {
        self.taken_tx = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported; the namespaces go with the pool.
            let _ = thread.join();
        }
    }
}
