//! Kernel parameters of one container: only those that belong to a namespace of its own may be set.

use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::oci::runtime_spec::{ContainerSpec, Namespace};
use crate::runtime::start_error::StartError;

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Refuses what would change the host, in runc's words.
pub(crate) fn check(spec: &ContainerSpec) -> Result<(), StartError> {
    for name in spec.sysctls.keys() {
        let dotted = dotted(name);
        let own_ipc = spec.namespaces.ipc != Namespace::Host;
        let allowed = if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
            own_ipc
        } else if dotted.starts_with("net.") {
            spec.namespaces.net != Namespace::Host
        } else {
            dotted == "kernel.domainname" && spec.namespaces.uts != Namespace::Host
        };
        if !allowed {
            return Err(StartError::other(format!(
                "sysctl \"{name}\" is not in a separate kernel namespace"
            )));
        }
    }
    Ok(())
}

/// Writes one, by way of a proc filesystem that nothing can have been put over.
pub(crate) fn write(proc: BorrowedFd<'_>, name: &str, value: &str) -> io::Result<()> {
    let path = format!("sys/{}", slashed(name));
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_XDEV
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(proc, path, flags, Mode::empty(), resolve)?;
    std::fs::File::from(file).write_all(value.as_bytes())
}

/// The separator is the first of `.` and `/`; the other one is then part of names (`net/ipv4/conf/eth0.1/…`).
fn slashed(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('.') => name
            .chars()
            .map(|letter| match letter {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

fn dotted(name: &str) -> String {
    slashed(name).replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_the_first_that_comes() {
        assert_eq!(slashed("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(
            slashed("net/ipv4/conf/eth0.1/mtu"),
            "net/ipv4/conf/eth0.1/mtu"
        );
        assert_eq!(
            slashed("net.ipv4.conf.eth0/1.mtu"),
            "net/ipv4/conf/eth0.1/mtu"
        );
        assert_eq!(dotted("net/core/somaxconn"), "net.core.somaxconn");
    }
}
