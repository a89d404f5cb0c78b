//! Mounts by descriptor: made detached, given their attributes, then attached to a place that is a descriptor as well.
//! No path of a container is ever handed to mount(2).
#![expect(unsafe_code, reason = "mount_setattr(2) has no safe wrapper")]

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

/// Flags of one mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Attributes {
    pub(crate) readonly: bool,
    pub(crate) nosuid: bool,
    pub(crate) nodev: bool,
    pub(crate) noexec: bool,
    pub(crate) atime: Atime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Atime {
    #[default]
    Relative,
    Strict,
    None,
}

impl Attributes {
    /// `nosuid,nodev,noexec`.
    pub(crate) const INERT: Attributes = Attributes {
        readonly: false,
        nosuid: true,
        nodev: true,
        noexec: true,
        atime: Atime::Relative,
    };

    fn flags(self) -> MountAttrFlags {
        let mut flags = MountAttrFlags::empty();
        flags.set(MountAttrFlags::MOUNT_ATTR_RDONLY, self.readonly);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOSUID, self.nosuid);
        flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, self.nodev);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, self.noexec);
        flags
            | match self.atime {
                Atime::Relative => MountAttrFlags::MOUNT_ATTR_RELATIME,
                Atime::Strict => MountAttrFlags::MOUNT_ATTR_STRICTATIME,
                Atime::None => MountAttrFlags::MOUNT_ATTR_NOATIME,
            }
    }
}

/// One option of a filesystem.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FsOption<'a> {
    Flag(&'a str),
    Value(&'a str, &'a OsStr),
}

impl<'a> FsOption<'a> {
    pub(crate) fn text(key: &'a str, value: &'a str) -> Self {
        FsOption::Value(key, OsStr::new(value))
    }
}

/// A new filesystem, mounted nowhere yet.
pub(crate) fn filesystem(
    kind: &str,
    options: &[FsOption<'_>],
    attributes: Attributes,
) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let configured = options
        .iter()
        .try_for_each(|option| match option {
            FsOption::Flag(key) => rustix::mount::fsconfig_set_flag(&context, *key),
            FsOption::Value(key, value) => {
                rustix::mount::fsconfig_set_string(&context, *key, value.as_bytes())
            }
        })
        .and_then(|()| rustix::mount::fsconfig_create(&context));
    if let Err(error) = configured {
        return Err(explained(&context, kind, error.into()));
    }
    Ok(rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes.flags(),
    )?)
}

/// What the kernel has to say about a refused filesystem, beyond the error number.
fn explained(context: &OwnedFd, kind: &str, error: io::Error) -> io::Error {
    let mut told = Vec::new();
    let mut buffer = [0u8; 512];
    while let Ok(read) = rustix::io::read(context, &mut buffer)
        && read > 0
    {
        let line = String::from_utf8_lossy(&buffer[..read]);
        told.push(
            line.trim_start_matches(['e', 'w', 'i', ' '])
                .trim()
                .to_owned(),
        );
    }
    let told = if told.is_empty() {
        String::new()
    } else {
        format!(" ({})", told.join("; "))
    };
    io::Error::new(error.kind(), format!("mount {kind}: {error}{told}"))
}

/// An overlay of `lowers` (topmost first) below a writable `upper`. `volatile` skips the sync when it is let go.
pub(crate) fn overlay(
    lowers: &[&Path],
    upper: &Path,
    work: &Path,
    volatile: bool,
) -> io::Result<OwnedFd> {
    let mut options: Vec<FsOption<'_>> = lowers
        .iter()
        .map(|lower| FsOption::Value("lowerdir+", lower.as_os_str()))
        .collect();
    options.push(FsOption::Value("upperdir", upper.as_os_str()));
    options.push(FsOption::Value("workdir", work.as_os_str()));
    if volatile {
        options.push(FsOption::Flag("volatile"));
    }
    filesystem("overlay", &options, Attributes::default())
}

/// Removes the mark that a volatile overlay leaves in its work directory, as a warning that the upper directory may
/// miss writes should the machine have crashed since. While it stands, no overlay mounts with that directory.
pub(crate) fn clear_volatile_mark(work: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(work.join("work/incompat")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A read-only overlay of `lowers`, topmost first.
pub(crate) fn overlay_view(lowers: &[&Path]) -> io::Result<OwnedFd> {
    if let [only] = lowers {
        let folder = rustix::fs::open(*only, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let tree = clone_tree(folder.as_fd(), Depth::Top)?;
        set_attributes(
            tree.as_fd(),
            Depth::Top,
            Attributes {
                readonly: true,
                ..Attributes::default()
            },
        )?;
        return Ok(tree);
    }
    let options: Vec<FsOption<'_>> = lowers
        .iter()
        .map(|lower| FsOption::Value("lowerdir+", lower.as_os_str()))
        .collect();
    let attributes = Attributes {
        readonly: true,
        ..Attributes::default()
    };
    filesystem("overlay", &options, attributes)
}

/// Whether a call is about one mount or about those below it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    Top,
    Recursive,
}

/// A detached copy of the mount at `place` (of a file, a directory or a whole tree), as bind mounts are.
pub(crate) fn clone_tree(place: BorrowedFd<'_>, depth: Depth) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, depth == Depth::Recursive);
    Ok(rustix::mount::open_tree(place, c"", flags)?)
}

/// As the kernel's `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn mount_setattr(mount: BorrowedFd<'_>, depth: Depth, attr: &MountAttr) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if depth == Depth::Recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is an empty string, the struct and its size belong together; both outlive the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            attr,
            size_of::<MountAttr>(),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Adds these flags to a mount; flags that it has stay. The time flag is set only when it is not the usual one.
pub(crate) fn set_attributes(
    mount: BorrowedFd<'_>,
    depth: Depth,
    attributes: Attributes,
) -> io::Result<()> {
    if attributes == Attributes::default() {
        return Ok(());
    }
    // MOUNT_ATTR__ATIME: the times are a field of their own that must be cleared to be set.
    const ATIME_FIELD: u64 = 0x70;
    let mut attr = MountAttr {
        attr_set: u64::from(attributes.flags().bits()),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    if attributes.atime == Atime::Relative {
        attr.attr_set &= !ATIME_FIELD;
    } else {
        attr.attr_clr = ATIME_FIELD;
    }
    mount_setattr(mount, depth, &attr)
}

/// How mounts below the source reach a copy, and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    Private,
    Slave,
    Shared,
}

pub(crate) fn set_propagation(
    mount: BorrowedFd<'_>,
    depth: Depth,
    spread: Spread,
) -> io::Result<()> {
    let propagation = match spread {
        Spread::Private => MountPropagationFlags::PRIVATE,
        Spread::Slave => MountPropagationFlags::DOWNSTREAM,
        Spread::Shared => MountPropagationFlags::SHARED,
    };
    let attr = MountAttr {
        attr_set: 0,
        attr_clr: 0,
        propagation: u64::from(propagation.bits()),
        userns_fd: 0,
    };
    mount_setattr(mount, depth, &attr)
}

/// The mount that a place is on: its mount point, and whether it is shared, a slave, or neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) mount_point: String,
    pub(crate) shared: bool,
    pub(crate) slave: bool,
}

/// Looks the mount of `place` up in this namespace.
pub(crate) fn origin(place: BorrowedFd<'_>) -> io::Result<Origin> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", place.as_raw_fd()))?;
    let id = info
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))
        .map(str::trim)
        .ok_or_else(|| io::Error::other("no mount id"))?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    find_origin(&mounts, id).ok_or_else(|| io::Error::other("the mount is not in this namespace"))
}

fn find_origin(mounts: &str, id: &str) -> Option<Origin> {
    let line = mounts
        .lines()
        .find(|line| line.split(' ').next() == Some(id))?;
    let (fields, _) = line.split_once(" - ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let tagged = |tag: &str| fields.iter().skip(6).any(|field| field.starts_with(tag));
    Some(Origin {
        mount_point: (*fields.get(4)?).to_owned(),
        shared: tagged("shared:"),
        slave: tagged("master:"),
    })
}

/// Makes every mount of the calling process's namespace private to it.
pub(crate) fn isolate_all() -> io::Result<()> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    set_propagation(root.as_fd(), Depth::Recursive, Spread::Private)
}

/// Puts a detached mount on a place.
pub(crate) fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::mount::move_mount(
        mount,
        c"",
        place,
        c"",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )?)
}

/// Makes a detached mount the root of the calling process's namespace, and lets go of all that was there before.
/// `staging` is any directory to stand on meanwhile.
pub(crate) fn enter_root(mount: BorrowedFd<'_>, staging: &Path) -> io::Result<()> {
    rustix::mount::move_mount(
        mount,
        c"",
        CWD,
        staging,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    rustix::process::fchdir(mount)?;
    // pivot_root(2), NOTES: with both arguments ".", the old root lies on top of the new one, to be unmounted.
    rustix::process::pivot_root(".", ".").map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(
            error.kind(),
            format!("pivot_root: {error} (the engine's own root must be a mount, not a chroot or an initramfs)"),
        )
    })?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// Unmounts what is on a path of our own, and does not mind when nothing is.
pub(crate) fn unmount_detached(path: &Path) -> io::Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether what `fd` shows is a proc filesystem.
pub(crate) fn is_procfs(fd: impl AsFd) -> bool {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    rustix::fs::fstatfs(fd).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_a_mount_is_read_from_its_line() {
        let mounts = "\
21 1 254:0 / / rw shared:1 - ext4 /dev/vda rw
22 21 0:5 / /mnt/a rw,nosuid shared:7 master:3 - tmpfs x rw
221 21 0:6 / /b rw - tmpfs x rw";
        let found = find_origin(mounts, "22").unwrap();
        assert_eq!(
            (found.mount_point.as_str(), found.shared, found.slave),
            ("/mnt/a", true, true)
        );
        let found = find_origin(mounts, "221").unwrap();
        assert!(!found.shared && !found.slave);
        assert_eq!(find_origin(mounts, "2"), None);
    }
}
