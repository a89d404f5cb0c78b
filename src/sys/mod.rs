//! The kernel: safe wrappers over the system calls that the engine half needs. The only place with `unsafe`.
//! It knows no container, no engine, no protocol; from the rest of the crate it takes plain data only.

pub(crate) mod cgroup;
pub(crate) mod clone;
pub(crate) mod fds;
pub(crate) mod mount;
pub(crate) mod mountpoint;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod netns;
pub(crate) mod nft_monitor;
pub(crate) mod nftables;
mod nftables_encode;
pub(crate) mod privileges;
pub(crate) mod process;
pub(crate) mod pty;
pub(crate) mod rooted;
pub(crate) mod seccomp;
pub(crate) mod terminal;
