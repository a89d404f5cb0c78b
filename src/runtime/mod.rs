//! Makes a process a container. Sync and for a process of one thread: the shim calls it, nothing else does.
//!
//! ```text
//! parent::start          cgroup, rootfs and bind sources as detached mounts, clone3 into new namespaces
//!   └ init::run          (child) cgroup, hostname, mounts, pivot_root, then rootfs::set_up from the inside
//!       └ process::become_it   limits, user, seccomp, capabilities, exec
//! join::start            a further process: setns, then the same process::become_it
//! ```
//!
//! **Invariant:** after pivot_root nothing of the host can be reached by a path, only by descriptors that were opened
//! before; and all of these are closed by exec.

mod channel;
mod init;
pub(crate) mod join;
pub(crate) mod limits;
pub(crate) mod parent;
mod process;
mod reaper;
mod rootfs;
pub(crate) mod seccomp;
mod special;
pub(crate) mod start_error;
pub(crate) mod stdio;
mod sysctl;
