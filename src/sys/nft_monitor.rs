//! Changes of the nftables ruleset, whoever makes them, as they happen. It reads no rules.
#![expect(
    unsafe_code,
    reason = "a netlink socket is registered with the reactor by its descriptor"
)]

use std::io;

use netlink_sys::Socket;
use netlink_sys::constants::NETLINK_NETFILTER;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::netlink::messages;

const GROUP_NFTABLES: u32 = 7;
const NEW_CHAIN: u16 = 10 << 8 | 3;
/// Family numbers of `ip` and `ip6`.
const IP_FAMILIES: [u8; 2] = [2, 10];
const RECEIVE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct NftMonitor {
    socket: AsyncFd<Socket>,
}

impl NftMonitor {
    /// In the network namespace of the calling thread and the reactor it has entered.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.add_membership(GROUP_NFTABLES)?;
        // What does not fit is lost; the next message is as good a reason to look.
        socket.set_no_enobufs(true)?;
        socket.set_non_blocking(true)?;
        // SAFETY: the socket owns its descriptor, is owned by the AsyncFd, and always answers with the same one.
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(NftMonitor {
            socket: registered.map_err(io::Error::from)?,
        })
    }

    /// Waits until somebody makes a chain in an `ip` or `ip6` table.
    pub(crate) async fn new_chain(&self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            let received = ready.try_io(|socket| {
                let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
                socket.get_ref().recv(&mut buffer, 0)?;
                Ok(buffer)
            });
            let Ok(received) = received else {
                continue;
            };
            let is_chain = messages(&received?).into_iter().any(|(kind, _, payload)| {
                let family = payload.first();
                kind == NEW_CHAIN && family.is_some_and(|family| IP_FAMILIES.contains(family))
            });
            if is_chain {
                return Ok(());
            }
        }
    }
}
