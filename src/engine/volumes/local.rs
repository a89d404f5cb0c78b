//! The options of the `local` driver: which are known, and mounting what they name, as mount(8) would be asked to.
//! It keeps no state: whether something is mounted is read from the kernel.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::net::ToSocketAddrs as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::engine::base::{Error, Result};
use crate::engine::volumes::Volume;

/// Options that only make sense together.
const REQUIRED: [(&str, &[&str]); 3] = [
    ("device", &["type"]),
    ("type", &["device"]),
    ("o", &["device", "type"]),
];

/// Refuses options that are unknown or incomplete.
pub(crate) fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    for key in options.keys() {
        if !matches!(key.as_str(), "type" | "o" | "device" | "size") {
            return Err(Error::invalid(format!("invalid option: {key:?}")));
        }
    }
    if options.contains_key("size") {
        return Err(Error::invalid("quota size requested but no quota support"));
    }
    for (key, needed) in REQUIRED {
        if options.contains_key(key) {
            for other in needed {
                if !options.contains_key(*other) {
                    return Err(Error::invalid(format!(
                        "missing required option: {other:?}"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Flags and what is left for the file system.
struct Options {
    flags: MountFlags,
    recursive: bool,
    propagation: Option<MountPropagationFlags>,
    data: Vec<String>,
}

fn parse(text: &str) -> Options {
    let mut options = Options {
        flags: MountFlags::empty(),
        recursive: false,
        propagation: None,
        data: Vec::new(),
    };
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let (flag, set) = match option {
            "bind" => (MountFlags::BIND, true),
            "rbind" => {
                options.recursive = true;
                (MountFlags::BIND, true)
            }
            "ro" => (MountFlags::RDONLY, true),
            "rw" => (MountFlags::RDONLY, false),
            "nosuid" => (MountFlags::NOSUID, true),
            "suid" => (MountFlags::NOSUID, false),
            "nodev" => (MountFlags::NODEV, true),
            "dev" => (MountFlags::NODEV, false),
            "noexec" => (MountFlags::NOEXEC, true),
            "exec" => (MountFlags::NOEXEC, false),
            "sync" => (MountFlags::SYNCHRONOUS, true),
            "async" => (MountFlags::SYNCHRONOUS, false),
            "dirsync" => (MountFlags::DIRSYNC, true),
            "noatime" => (MountFlags::NOATIME, true),
            "atime" => (MountFlags::NOATIME, false),
            "nodiratime" => (MountFlags::NODIRATIME, true),
            "relatime" => (MountFlags::RELATIME, true),
            "strictatime" => (MountFlags::STRICTATIME, true),
            "defaults" => (MountFlags::empty(), true),
            "private" | "rprivate" => {
                options.propagation = Some(MountPropagationFlags::PRIVATE);
                continue;
            }
            "shared" | "rshared" => {
                options.propagation = Some(MountPropagationFlags::SHARED);
                continue;
            }
            "slave" | "rslave" => {
                options.propagation = Some(MountPropagationFlags::DOWNSTREAM);
                continue;
            }
            other => {
                options.data.push(other.to_owned());
                continue;
            }
        };
        options.flags.set(flag, set);
    }
    options
}

/// Network file systems take an address in the kernel's option, not a name.
fn resolve_address(kind: &str, data: &mut [String]) -> Result<()> {
    if !matches!(kind, "nfs" | "nfs4" | "cifs") {
        return Ok(());
    }
    for option in data {
        let Some(host) = option.strip_prefix("addr=") else {
            continue;
        };
        let address = (host, 0)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| {
                Error::system(format!(
                    "error resolving passed in network volume address: {host}"
                ))
            })?;
        *option = format!("addr={}", address.ip());
    }
    Ok(())
}

/// Mounts what the volume's options name, if anything and not yet mounted.
pub(crate) fn mount(volume: &Volume) -> Result<()> {
    let option = |key: &str| volume.driver_opts.get(key).map_or("", String::as_str);
    let device = option("device");
    if device.is_empty() || is_mounted(&volume.mountpoint)? {
        return Ok(());
    }
    let kind = option("type");
    let mut options = parse(option("o"));
    resolve_address(kind, &mut options.data)?;
    let target = volume.mountpoint.as_path();
    let flags = options.flags;
    mount_at(device, target, kind, &options).map_err(|error| {
        let shown = target.display();
        Error::system(format!(
            "error while mounting volume '{shown}': failed to mount local volume: mount {device}:{shown}, flags: {:#x}: {}",
            flags.bits(),
            io::Error::from(error)
        ))
    })
}

fn mount_at(
    device: &str,
    target: &Path,
    kind: &str,
    options: &Options,
) -> std::result::Result<(), Errno> {
    if options.flags.contains(MountFlags::BIND) || kind == "bind" {
        if options.recursive {
            rustix::mount::mount_bind_recursive(device, target)?;
        } else {
            rustix::mount::mount_bind(device, target)?;
        }
        let rest = options.flags.difference(MountFlags::BIND);
        if !rest.is_empty() {
            let undo = rustix::mount::mount_remount(target, rest.union(MountFlags::BIND), "");
            if let Err(error) = undo {
                rustix::mount::unmount(target, UnmountFlags::DETACH)?;
                return Err(error);
            }
        }
    } else {
        let data = CString::new(options.data.join(",")).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount(device, target, kind, options.flags, data.as_c_str())?;
    }
    if let Some(propagation) = options.propagation {
        rustix::mount::mount_change(target, propagation)?;
    }
    Ok(())
}

/// Whether something is mounted on `path`: binds of the same file system show in mountinfo only.
fn is_mounted(path: &Path) -> Result<bool> {
    let (Some(parent), Ok(here)) = (path.parent(), path.metadata()) else {
        return Ok(false);
    };
    if parent
        .metadata()
        .is_ok_and(|parent| parent.dev() != here.dev())
    {
        return Ok(true);
    }
    let wanted = path.canonicalize()?;
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().any(|line| {
        line.split(' ')
            .nth(4)
            .is_some_and(|target| unescape(target) == wanted.to_string_lossy())
    }))
}

/// mountinfo writes blanks as `\040`.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

/// Unmounts what is on `path`; nothing there is fine.
pub(crate) fn unmount(path: &Path) -> Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // EINVAL: not a mount point.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(error) => {
            Err(Error::from(io::Error::from(error)).context(format!("unmount {}", path.display())))
        }
    }
}
