//! `COPY` and `ADD`: which files, what they hash to, and putting them into a file system. Both sides are roots that
//! cannot be left.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, linkat, mkdirat, mknodat, openat, readlinkat,
    symlinkat, utimensat,
};
use tokio_util::sync::CancellationToken;

use crate::engine::base::{Error, Result};
use crate::engine::build::chmod::Chmod;
use crate::engine::build::metadata::joined;
use crate::engine::images::compression;
use crate::engine::images::listing::glob_regex;
use crate::engine::images::tar_reader::TarReader;
use crate::engine::images::unpack::{self, Unpack, Whiteouts};
use crate::oci::Digest;
use crate::oci::digest::Hasher;
use crate::oci::dockerignore::PatternSet;
use crate::sys::rooted::{self, Root, is_kept_xattr, shown, split_parent};

const DEPTH_MAX: usize = 256;

/// A file or directory to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selected {
    /// Below the source root; empty is the root.
    pub(crate) path: Vec<u8>,
    pub(crate) is_dir: bool,
    /// Where it goes below the destination with `--parents`.
    pub(crate) parents: Vec<u8>,
}

/// How and where to copy.
pub(crate) struct Target<'a> {
    pub(crate) root: &'a Root,
    /// Absolute and clean.
    pub(crate) destination: String,
    /// It is a directory even where there is nothing yet.
    pub(crate) is_dir: bool,
    /// `None` keeps the source's.
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) chmod: Option<Chmod>,
    pub(crate) exclude: &'a PatternSet,
    pub(crate) parents: bool,
    /// Archives are unpacked (`ADD`).
    pub(crate) unpack: bool,
    pub(crate) cancel: &'a CancellationToken,
}

fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The files that `patterns` mean below `root`. A path without wildcards must exist.
pub(crate) fn select(root: &Root, patterns: &[String]) -> Result<Vec<Selected>> {
    let mut selected = Vec::new();
    for pattern in patterns {
        let before = selected.len();
        // With --parents, what is left of `/./` is not kept.
        let pivot = match pattern.find("/./") {
            Some(at) => joined("/", &pattern[..at]).len().saturating_sub(1),
            None => 0,
        };
        let clean = joined("/", pattern);
        let clean = &clean[1..];
        let paths = if has_wildcard(clean) {
            let mut found = Vec::new();
            let components: Vec<&str> = clean.split('/').collect();
            expand(root, &mut Vec::new(), &components, &mut found)?;
            found
        } else {
            vec![clean.as_bytes().to_vec()]
        };
        for path in paths {
            let Some(stat) = root.stat_target(&path)? else {
                continue;
            };
            let parents = path.get(pivot..).unwrap_or(&path);
            let start = parents
                .iter()
                .position(|b| *b != b'/')
                .unwrap_or(parents.len());
            selected.push(Selected {
                parents: parents[start..].to_vec(),
                is_dir: is_dir(&stat),
                path,
            });
        }
        if selected.len() == before && !has_wildcard(clean) {
            return Err(Error::invalid(format!(
                "COPY failed: file not found in build context or excluded by .dockerignore: stat {clean}: file does not exist"
            )));
        }
    }
    if selected.is_empty() && !patterns.is_empty() {
        return Err(Error::invalid(
            "COPY failed: no source files were specified",
        ));
    }
    Ok(selected)
}

fn expand(
    root: &Root,
    path: &mut Vec<u8>,
    components: &[&str],
    found: &mut Vec<Vec<u8>>,
) -> Result<()> {
    let Some((first, rest)) = components.split_first() else {
        found.push(path.clone());
        return Ok(());
    };
    let length = path.len();
    let mut descend = |path: &mut Vec<u8>, name: &[u8]| -> Result<()> {
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        if rest.is_empty() || root.stat_target(path)?.is_some_and(|stat| is_dir(&stat)) {
            expand(root, path, rest, found)?;
        }
        path.truncate(length);
        Ok(())
    };
    if !has_wildcard(first) {
        return descend(path, first.as_bytes());
    }
    let regex = glob_regex(first)
        .and_then(|text| regex::Regex::new(&text).ok())
        .ok_or_else(|| Error::invalid(format!("COPY failed: syntax error in pattern {first:?}")))?;
    let dir = match root.open_dir(path) {
        Ok(dir) => dir,
        Err(error) if rooted::is_absent(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in rooted::names(dir.as_fd())? {
        if regex.is_match(&name.to_string_lossy()) {
            descend(path, name.to_bytes())?;
        }
    }
    Ok(())
}

/// What the selected files are: names, modes, contents; times do not count. Owners count where they are kept.
pub(crate) fn digest(
    root: &Root,
    selected: &[Selected],
    exclude: &PatternSet,
    with_owner: bool,
) -> Result<Digest> {
    let mut hasher = Hasher::new();
    for source in selected {
        hasher.update(b"\0source\0");
        hasher.update(&source.path);
        if source.is_dir {
            let dir = root.open_dir(&source.path)?;
            digest_dir(
                &mut hasher,
                dir.as_fd(),
                &mut Vec::new(),
                exclude,
                with_owner,
                0,
            )?;
        } else {
            let place = root.open_target(&source.path)?;
            let stat = rustix::fs::fstat(&place).map_err(io::Error::from)?;
            digest_stat(&mut hasher, &stat, with_owner);
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                digest_content(&mut hasher, root.open_file(&source.path)?)?;
            }
        }
    }
    Ok(hasher.finish())
}

fn digest_stat(hasher: &mut Hasher, stat: &Stat, with_owner: bool) {
    hasher.update(&stat.st_mode.to_le_bytes());
    if with_owner {
        hasher.update(&stat.st_uid.to_le_bytes());
        hasher.update(&stat.st_gid.to_le_bytes());
    }
    if matches!(
        FileType::from_raw_mode(stat.st_mode),
        FileType::CharacterDevice | FileType::BlockDevice
    ) {
        hasher.update(&stat.st_rdev.to_le_bytes());
    }
}

fn digest_content(hasher: &mut Hasher, mut file: File) -> io::Result<()> {
    hasher.update(&file.metadata()?.len().to_le_bytes());
    let mut buffer = [0; 32 << 10];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        hasher.update(&buffer[..n]);
    }
}

fn digest_dir(
    hasher: &mut Hasher,
    dir: BorrowedFd<'_>,
    path: &mut Vec<u8>,
    exclude: &PatternSet,
    with_owner: bool,
    depth: usize,
) -> Result<()> {
    check_depth(depth)?;
    digest_stat(
        hasher,
        &rustix::fs::fstat(dir).map_err(io::Error::from)?,
        with_owner,
    );
    for name in rooted::names(dir)? {
        let name = name.to_bytes();
        let length = push(path, name);
        let Some(stat) = rooted::stat_at(dir, name)? else {
            path.truncate(length);
            continue;
        };
        if !is_excluded(exclude, path, is_dir(&stat)) {
            hasher.update(b"\0entry\0");
            hasher.update(path);
            hasher.update(b"\0");
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let child = rooted::open_dir_at(dir, name)?;
                    digest_dir(hasher, child.as_fd(), path, exclude, with_owner, depth + 1)?;
                }
                FileType::RegularFile => {
                    digest_stat(hasher, &stat, with_owner);
                    digest_content(hasher, open_file_at(dir, name)?)?;
                }
                FileType::Symlink => {
                    digest_stat(hasher, &stat, with_owner);
                    let target = readlinkat(dir, name, Vec::new()).map_err(io::Error::from)?;
                    hasher.update(target.to_bytes());
                }
                _ => digest_stat(hasher, &stat, with_owner),
            }
        }
        path.truncate(length);
    }
    Ok(())
}

fn check_depth(depth: usize) -> Result<()> {
    match depth > DEPTH_MAX {
        true => Err(Error::invalid(
            "directories are nested deeper than 256 levels",
        )),
        false => Ok(()),
    }
}

fn push(path: &mut Vec<u8>, name: &[u8]) -> usize {
    let length = path.len();
    if length > 0 {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    length
}

fn is_excluded(exclude: &PatternSet, path: &[u8], is_dir: bool) -> bool {
    if exclude.is_empty() {
        return false;
    }
    let text = String::from_utf8_lossy(path);
    exclude.matches(&text) && !(is_dir && exclude.may_match_below(&text))
}

fn open_file_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat(dir, name, flags, Mode::empty())?))
}

struct Copier<'a> {
    target: &'a Target<'a>,
    /// First copy of each file with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
}

/// Copies everything selected.
pub(crate) fn copy(from: &Root, selected: &[Selected], target: &Target<'_>) -> Result<()> {
    let mut copier = Copier {
        target,
        links: HashMap::new(),
    };
    let destination = target.destination.as_bytes().to_vec();
    let into_dir = target.is_dir
        || target.parents
        || target
            .root
            .stat_target(&destination)?
            .is_some_and(|stat| is_dir(&stat));
    for source in selected {
        if target.cancel.is_cancelled() {
            return Err(Error::system("cancelled"));
        }
        let mut to = destination.clone();
        if target.parents {
            push_path(&mut to, &source.parents);
        }
        if source.is_dir {
            let dir = from.open_dir(&source.path)?;
            let made = copier.ensure_dir(&to)?;
            if target.parents {
                rooted_attributes(&copier, dir.as_fd(), made.as_fd())?;
            }
            copier.dir(dir.as_fd(), &to, &mut Vec::new(), 0)?;
            continue;
        }
        if target.unpack && copier.archive(from, source, &destination)? {
            continue;
        }
        if into_dir && !target.parents {
            push_path(&mut to, split_parent(&source.path).1);
        }
        let (folder, _) = split_parent(&to);
        copier.ensure_dir(folder)?;
        copier.single(from, source, &to)?;
    }
    Ok(())
}

fn push_path(path: &mut Vec<u8>, more: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(more);
}

/// A directory copied with its parents keeps its mode.
fn rooted_attributes(copier: &Copier<'_>, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::fstat(from).map_err(io::Error::from)?;
    copier.attributes(to, &stat)
}

impl Copier<'_> {
    fn ensure_dir(&self, path: &[u8]) -> Result<OwnedFd> {
        let owner = self.target.owner.unwrap_or((0, 0));
        self.target
            .root
            .ensure_dir(path, &mut |_, fd| {
                rustix::fs::fchown(
                    fd,
                    Some(Uid::from_raw(owner.0)),
                    Some(Gid::from_raw(owner.1)),
                )?;
                Ok(())
            })
            .map_err(|error| {
                Error::invalid(format!("COPY failed: create {}: {error}", shown(path)))
            })
    }

    fn attributes(&self, to: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
        let (uid, gid) = self.target.owner.unwrap_or((stat.st_uid, stat.st_gid));
        rustix::fs::fchown(to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(io::Error::from)?;
        let mode = match &self.target.chmod {
            Some(chmod) => chmod.apply(stat.st_mode & 0o7777, is_dir(stat)),
            None => stat.st_mode & 0o7777,
        };
        rustix::fs::fchmod(to, Mode::from_raw_mode(mode)).map_err(io::Error::from)?;
        rustix::fs::futimens(to, &rooted::stat_times(stat)).map_err(io::Error::from)?;
        Ok(())
    }

    /// The contents of a directory into the one at `to`.
    fn dir(
        &mut self,
        from: BorrowedFd<'_>,
        to: &[u8],
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<()> {
        check_depth(depth)?;
        for name in rooted::names(from)? {
            let name = name.to_bytes();
            let length = push(path, name);
            let stat = rooted::stat_at(from, name)?;
            if let Some(stat) = stat
                && !is_excluded(self.target.exclude, path, is_dir(&stat))
            {
                let mut place = to.to_vec();
                push_path(&mut place, name);
                if is_dir(&stat) {
                    let child = rooted::open_dir_at(from, name)?;
                    self.child_dir(child.as_fd(), &stat, &place, path, depth)?;
                } else {
                    self.entry(from, name, &stat, &place)?;
                }
            }
            path.truncate(length);
        }
        Ok(())
    }

    fn child_dir(
        &mut self,
        from: BorrowedFd<'_>,
        stat: &Stat,
        place: &[u8],
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<()> {
        match self.target.root.stat_target(place)? {
            Some(existing) if is_dir(&existing) => self.dir(from, place, path, depth + 1),
            Some(_) => Err(Error::invalid(format!(
                "COPY failed: cannot copy a directory to the non-directory {}",
                shown(place)
            ))),
            None => {
                let (parent, name) = split_parent(place);
                let parent = self.target.root.open_dir(parent)?;
                mkdirat(&parent, name, Mode::from_raw_mode(0o700)).map_err(io::Error::from)?;
                self.dir(from, place, path, depth + 1)?;
                let made = rooted::open_dir_at(parent.as_fd(), name)?;
                self.attributes(made.as_fd(), stat)
            }
        }
    }

    /// One source that is no directory; a link is followed, as BuildKit does for what is named.
    fn single(&mut self, from: &Root, source: &Selected, to: &[u8]) -> Result<()> {
        let place = from.open_target(&source.path)?;
        let stat = rustix::fs::fstat(&place).map_err(io::Error::from)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            let file = from.open_file(&source.path)?;
            return self.file(file, &stat, to);
        }
        let (parent, name) = split_parent(&source.path);
        let parent = from.open_dir(parent)?;
        self.entry(parent.as_fd(), name, &stat, to)
    }

    fn entry(&mut self, from: BorrowedFd<'_>, name: &[u8], stat: &Stat, to: &[u8]) -> Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::RegularFile {
            return self.file(open_file_at(from, name)?, stat, to);
        }
        if kind == FileType::Socket {
            return Ok(());
        }
        let (parent, to_name) = self.clear(to)?;
        if kind == FileType::Symlink {
            let target = readlinkat(from, name, Vec::new()).map_err(io::Error::from)?;
            symlinkat(target, &parent, to_name).map_err(io::Error::from)?;
        } else {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            mknodat(&parent, to_name, kind, mode, stat.st_rdev).map_err(io::Error::from)?;
        }
        let (uid, gid) = self.target.owner.unwrap_or((stat.st_uid, stat.st_gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(
            &parent,
            to_name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            flags,
        )
        .map_err(io::Error::from)?;
        utimensat(&parent, to_name, &rooted::stat_times(stat), flags).map_err(io::Error::from)?;
        Ok(())
    }

    /// Makes room for a file at `to`.
    fn clear<'p>(&self, to: &'p [u8]) -> Result<(OwnedFd, &'p [u8])> {
        let (parent, name) = split_parent(to);
        let parent = self.target.root.open_dir(parent)?;
        if let Some(existing) = rooted::stat_at(parent.as_fd(), name)? {
            if is_dir(&existing) {
                return Err(Error::invalid(format!(
                    "COPY failed: cannot copy a file over the directory {}",
                    shown(to)
                )));
            }
            rooted::remove_at(parent.as_fd(), name)?;
        }
        Ok((parent, name))
    }

    fn file(&mut self, mut from: File, stat: &Stat, to: &[u8]) -> Result<()> {
        let (parent, name) = self.clear(to)?;
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.links.get(&key)
        {
            let (first_parent, first_name) = split_parent(first);
            let folder = self.target.root.open_dir(first_parent)?;
            linkat(&folder, first_name, &parent, name, AtFlags::empty())
                .map_err(io::Error::from)?;
            return Ok(());
        }
        unpack::check_space(parent.as_fd(), stat.st_size.cast_unsigned())?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made =
            openat(&parent, name, flags, Mode::from_raw_mode(0o600)).map_err(io::Error::from)?;
        let mut made = File::from(made);
        io::copy(&mut from, &mut made)?;
        let kept = rooted::xattrs(from.as_fd())?;
        for (key, value) in kept.iter().filter(|(key, _)| is_kept_xattr(key)) {
            rustix::fs::fsetxattr(&made, key.as_str(), value, rustix::fs::XattrFlags::empty())
                .map_err(io::Error::from)?;
        }
        self.attributes(made.as_fd(), stat)?;
        if stat.st_nlink > 1 {
            self.links.insert(key, to.to_vec());
        }
        Ok(())
    }

    /// Unpacks a source that is an archive; false when it is none.
    fn archive(&self, from: &Root, source: &Selected, to: &[u8]) -> Result<bool> {
        let Ok(file) = from.open_file(&source.path) else {
            return Ok(false);
        };
        if !compression::is_tar(&file) {
            return Ok(false);
        }
        let folder = self.ensure_dir(to)?;
        let root = Root::from_fd(folder);
        let (_, plain) = compression::decompress(from.open_file(&source.path)?)?;
        let options = Unpack {
            root: &root,
            whiteouts: Whiteouts::Literal,
            lowers: &[],
            keep_directories: false,
            owner: self.target.owner.filter(|_| self.target.chmod.is_none()),
            cancel: self.target.cancel,
        };
        unpack::unpack(&mut TarReader::new(plain), &options).map_err(|error| {
            Error::invalid(format!(
                "ADD failed: unpack {}: {error}",
                shown(&source.path)
            ))
        })?;
        Ok(true)
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
