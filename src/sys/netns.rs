//! Network namespaces: making, entering and pinning them. It configures nothing inside.
//!
//! Work inside a namespace is done by a thread of its own that ends afterwards, so no thread of the
//! engine can be left in the wrong one.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// Makes a namespace and runs `inside` in it; answers with a handle on it and the result.
pub(crate) fn create<T: Send>(
    inside: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<(OwnedFd, T)> {
    on_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let netns = File::open("/proc/thread-self/ns/net")?;
        let result = inside()?;
        Ok((OwnedFd::from(netns), result))
    })
}

/// Runs `inside` in the namespace `netns`.
pub(crate) fn enter<T: Send>(
    netns: BorrowedFd<'_>,
    inside: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    on_a_thread(|| {
        setns(netns, CloneFlags::CLONE_NEWNET)?;
        inside()
    })
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the namespace thread panicked")))
    })
}

/// Gives a namespace a path that keeps it alive when every process of it is gone.
pub(crate) fn pin(netns: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    File::create(path)?;
    let source = format!("/proc/self/fd/{}", netns.as_raw_fd());
    mount(
        Some(source.as_str()),
        path,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?;
    Ok(())
}

/// Takes the path away; what still runs in the namespace stays. A missing path is fine.
pub(crate) fn unpin(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH) {
        // EINVAL: the pin was made but never mounted.
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens a pinned namespace. Something else under that path is an error.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    let file = File::open(path)?;
    let kind = nix::sys::statfs::fstatfs(file.as_fd())?.filesystem_type();
    if kind.0 as i64 != libc::NSFS_MAGIC {
        return Err(io::Error::other(format!(
            "{} is not a namespace",
            path.display()
        )));
    }
    Ok(OwnedFd::from(file))
}
