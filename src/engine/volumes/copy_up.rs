//! Fills an empty volume with what the image has at its target: files, links, owners, modes, times. It works on
//! descriptors only and follows no link.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, linkat, mkdirat, mknodat, openat, readlinkat,
    symlinkat, utimensat,
};

use crate::sys::rooted;

/// As deep as unpacking goes.
const DEPTH_MAX: usize = 256;

/// Nothing happens when there is something in `target` already.
pub(crate) fn copy_if_empty(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    if !rooted::names(target)?.is_empty() {
        return Ok(());
    }
    let mut links = HashMap::new();
    copy_dir(source, target, &mut links, 0)?;
    rooted::copy_attributes(source, target)
}

/// First copy of each file with several names, by device and inode.
type Links = HashMap<(u64, u64), (OwnedFd, Vec<u8>)>;

fn copy_dir(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    links: &mut Links,
    depth: usize,
) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "directories are nested deeper than 256 levels",
        ));
    }
    for name in rooted::names(source)? {
        let name = name.to_bytes();
        let Some(stat) = rooted::stat_at(source, name)? else {
            continue;
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let from = rooted::open_dir_at(source, name)?;
                mkdirat(target, name, Mode::from_raw_mode(0o700))?;
                let to = rooted::open_dir_at(target, name)?;
                copy_dir(from.as_fd(), to.as_fd(), links, depth + 1)?;
                rooted::copy_attributes(from.as_fd(), to.as_fd())?;
            }
            FileType::RegularFile => copy_file(source, target, name, &stat, links)?,
            FileType::Symlink => {
                symlinkat(readlinkat(source, name, Vec::new())?, target, name)?;
                place_attributes(target, name, &stat)?;
            }
            // A socket means nothing without its process.
            FileType::Socket => {}
            kind => {
                let mode = Mode::from_raw_mode(stat.st_mode);
                mknodat(target, name, kind, mode, stat.st_rdev)?;
                rustix::fs::chmodat(target, name, mode, AtFlags::empty())?;
                place_attributes(target, name, &stat)?;
            }
        }
    }
    Ok(())
}

fn copy_file(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    name: &[u8],
    stat: &Stat,
    links: &mut Links,
) -> io::Result<()> {
    let key = (stat.st_dev, stat.st_ino);
    if stat.st_nlink > 1
        && let Some((folder, first)) = links.get(&key)
    {
        return Ok(linkat(
            folder,
            first.as_slice(),
            target,
            name,
            AtFlags::empty(),
        )?);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut from = File::from(openat(source, name, flags, Mode::empty())?);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut to = File::from(openat(target, name, flags, Mode::from_raw_mode(0o600))?);
    io::copy(&mut from, &mut to)?;
    rooted::copy_attributes(from.as_fd(), to.as_fd())?;
    if stat.st_nlink > 1 {
        let folder = target.try_clone_to_owned()?;
        links.insert(key, (folder, name.to_vec()));
    }
    Ok(())
}

fn place_attributes(folder: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> io::Result<()> {
    rustix::fs::chownat(
        folder,
        name,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    let times = rooted::stat_times(stat);
    Ok(utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
