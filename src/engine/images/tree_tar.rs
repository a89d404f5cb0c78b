//! Writes a directory tree as a tar, always the same bytes for the same tree: sorted names, whole seconds, PAX
//! only where ustar has no room. Layers made here are kept as trees and get their archive (and diff id) from
//! this. Overlayfs marks become whiteouts when asked. It follows no link.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat, major, minor, openat, readlinkat};
use tokio_util::sync::CancellationToken;

use crate::engine::images::unpack::OPAQUE_XATTR;
use crate::sys::rooted::{self, Root, is_kept_xattr};

const BLOCK: usize = 512;
/// As many levels as unpacking accepts.
const DEPTH_MAX: usize = 256;
const USTAR_NUMBER_MAX: u64 = 0o7_777_777;
const USTAR_SIZE_MAX: u64 = 0o77_777_777_777;

/// How overlayfs marks in the tree are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// As whiteouts: the tree is a layer.
    Whiteouts,
    /// As what they are: the tree is a whole file system.
    Plain,
}

struct TreeWriter<'a> {
    out: &'a mut dyn Write,
    marks: Marks,
    cancel: &'a CancellationToken,
    /// First path of each file with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
    bytes: u64,
}

/// What a header says; times are whole seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Member<'a> {
    pub(crate) kind: u8,
    pub(crate) path: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) size: u64,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

/// Writes everything below `root` (not the root itself) and the end mark; the bytes in files.
pub(crate) fn write_tree(
    root: &Root,
    marks: Marks,
    out: &mut dyn Write,
    cancel: &CancellationToken,
) -> io::Result<u64> {
    let mut writer = TreeWriter {
        out,
        marks,
        cancel,
        links: HashMap::new(),
        bytes: 0,
    };
    let top = root.open_dir(b".")?;
    writer.directory(top.as_fd(), &mut Vec::new(), 0)?;
    write_end(writer.out)?;
    Ok(writer.bytes)
}

/// Writes what `name` in `dir` is, with everything below it, under the name `shown`, and the end mark.
pub(crate) fn write_member(
    dir: BorrowedFd<'_>,
    name: &[u8],
    shown: &[u8],
    out: &mut dyn Write,
    cancel: &CancellationToken,
) -> io::Result<()> {
    let mut writer = TreeWriter {
        out,
        marks: Marks::Plain,
        cancel,
        links: HashMap::new(),
        bytes: 0,
    };
    writer.member(dir, name, &mut shown.to_vec(), 0)?;
    write_end(writer.out)
}

impl TreeWriter<'_> {
    fn directory(
        &mut self,
        dir: BorrowedFd<'_>,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "directories are nested deeper than 256 levels",
            ));
        }
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        if self.marks == Marks::Whiteouts && depth > 0 && is_opaque(dir)? {
            self.whiteout(path, b".wh..wh..opq")?;
        }
        for name in rooted::names(dir)? {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            self.member(dir, name.to_bytes(), path, depth)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn whiteout(&mut self, folder: &[u8], name: &[u8]) -> io::Result<()> {
        let mut path = folder.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        write_header(
            self.out,
            &Member {
                kind: b'0',
                path: &path,
                mode: 0o600,
                ..Member::default()
            },
        )
    }

    fn member(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &mut Vec<u8>,
        depth: usize,
    ) -> io::Result<()> {
        let Some(stat) = rooted::stat_at(dir, name)? else {
            return Ok(());
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.marks == Marks::Whiteouts && kind == FileType::CharacterDevice && stat.st_rdev == 0
        {
            let (folder, _) = rooted::split_parent(path);
            return self.whiteout(folder, &[b".wh.", name].concat());
        }
        let mut member = member_of(&stat, path);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                let link = Member {
                    kind: b'1',
                    link: first,
                    size: 0,
                    ..member
                };
                return write_header(self.out, &link);
            }
            self.links.insert(key, path.clone());
        }
        match kind {
            FileType::RegularFile => self.file(dir, name, member),
            FileType::Directory => {
                let child = rooted::open_dir_at(dir, name)?;
                let with_slash = [path.as_slice(), b"/"].concat();
                member.kind = b'5';
                member.path = &with_slash;
                member.xattrs = kept_xattrs(child.as_fd())?;
                write_header(self.out, &member)?;
                self.directory(child.as_fd(), path, depth + 1)
            }
            FileType::Symlink => {
                let target = readlinkat(dir, name, Vec::new())?;
                member.kind = b'2';
                member.link = target.to_bytes();
                write_header(self.out, &member)
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                member.kind = if kind == FileType::CharacterDevice {
                    b'3'
                } else {
                    b'4'
                };
                member.device = (major(stat.st_rdev), minor(stat.st_rdev));
                write_header(self.out, &member)
            }
            FileType::Fifo => {
                member.kind = b'6';
                write_header(self.out, &member)
            }
            // A socket means nothing without the process that made it; no tar has them.
            _ => Ok(()),
        }
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &[u8], mut member: Member<'_>) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(dir, name, flags, Mode::empty())?);
        member.xattrs = kept_xattrs(file.as_fd())?;
        write_header(self.out, &member)?;
        let copied = io::copy(&mut (&file).take(member.size), self.out)?;
        // A file that shrank while it was read: the header is out, so fill up as tar does.
        if copied < member.size {
            io::copy(&mut io::repeat(0).take(member.size - copied), self.out)?;
        }
        self.bytes += member.size;
        write_padding(self.out, member.size)
    }
}

fn is_opaque(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let mut value = [0; 8];
    match rustix::fs::fgetxattr(dir, OPAQUE_XATTR, &mut value[..]) {
        Ok(count) => Ok(&value[..count] == b"y"),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP | rustix::io::Errno::PERM) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn kept_xattrs(fd: BorrowedFd<'_>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut xattrs = rooted::xattrs(fd)?;
    xattrs.retain(|(name, _)| is_kept_xattr(name));
    Ok(xattrs)
}

fn member_of<'a>(stat: &Stat, path: &'a [u8]) -> Member<'a> {
    Member {
        kind: b'0',
        path,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime,
        size: if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            stat.st_size.cast_unsigned()
        } else {
            0
        },
        ..Member::default()
    }
}

/// A header with its PAX extension where one is needed.
pub(crate) fn write_header(out: &mut dyn Write, member: &Member<'_>) -> io::Result<()> {
    let mut pax = Vec::new();
    if member.path.len() > 100 || !member.path.is_ascii() {
        pax_record(&mut pax, b"path", member.path);
    }
    if member.link.len() > 100 || !member.link.is_ascii() {
        pax_record(&mut pax, b"linkpath", member.link);
    }
    let mut numbers = [
        ("size", member.size, USTAR_SIZE_MAX),
        ("uid", u64::from(member.uid), USTAR_NUMBER_MAX),
        ("gid", u64::from(member.gid), USTAR_NUMBER_MAX),
    ];
    for (key, value, max) in &mut numbers {
        if value > max {
            pax_record(&mut pax, key.as_bytes(), value.to_string().as_bytes());
            *value = 0;
        }
    }
    let mtime = match u64::try_from(member.mtime) {
        Ok(mtime) if mtime <= USTAR_SIZE_MAX => mtime,
        _ => {
            pax_record(&mut pax, b"mtime", member.mtime.to_string().as_bytes());
            0
        }
    };
    for (name, value) in &member.xattrs {
        pax_record(&mut pax, format!("SCHILY.xattr.{name}").as_bytes(), value);
    }
    if !pax.is_empty() {
        let header = block(
            b'x',
            b"PaxHeaders/0",
            b"",
            [0o644, 0, 0, pax.len() as u64, 0],
            (0, 0),
        );
        out.write_all(&header)?;
        out.write_all(&pax)?;
        write_padding(out, pax.len() as u64)?;
    }
    let numbers = [
        u64::from(member.mode),
        numbers[1].1,
        numbers[2].1,
        numbers[0].1,
        mtime,
    ];
    out.write_all(&block(
        member.kind,
        member.path,
        member.link,
        numbers,
        member.device,
    ))
}

pub(crate) fn write_padding(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let rest = (size % BLOCK as u64) as usize;
    if rest == 0 {
        return Ok(());
    }
    out.write_all(&[0; BLOCK][rest..])
}

/// Two empty blocks.
pub(crate) fn write_end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// A file given as bytes.
pub(crate) fn write_file(
    out: &mut dyn Write,
    path: &str,
    mtime: i64,
    content: &[u8],
) -> io::Result<()> {
    let member = Member {
        kind: b'0',
        path: path.as_bytes(),
        mode: 0o644,
        mtime,
        size: content.len() as u64,
        ..Member::default()
    };
    write_header(out, &member)?;
    out.write_all(content)?;
    write_padding(out, member.size)
}

/// `numbers`: mode, uid, gid, size, mtime.
fn block(kind: u8, path: &[u8], link: &[u8], numbers: [u64; 5], device: (u32, u32)) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut text = |at: usize, length: usize, bytes: &[u8]| {
        let count = bytes.len().min(length);
        header[at..at + count].copy_from_slice(&bytes[..count]);
    };
    let [mode, uid, gid, size, mtime] = numbers;
    text(0, 100, path);
    text(100, 8, format!("{mode:07o}\0").as_bytes());
    text(108, 8, format!("{uid:07o}\0").as_bytes());
    text(116, 8, format!("{gid:07o}\0").as_bytes());
    text(124, 12, format!("{size:011o}\0").as_bytes());
    text(136, 12, format!("{mtime:011o}\0").as_bytes());
    text(148, 8, b"        ");
    text(156, 1, &[kind]);
    text(157, 100, link);
    text(257, 8, b"ustar\x0000");
    text(329, 8, format!("{:07o}\0", device.0).as_bytes());
    text(337, 8, format!("{:07o}\0", device.1).as_bytes());
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn pax_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = 1 + key.len() + 1 + value.len() + 1;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::images::tar_reader::TarReader;

    #[test]
    fn long_names_and_large_numbers_are_read_back() {
        let path = "d".repeat(98) + "/" + &"e".repeat(99);
        let mut bytes = Vec::new();
        let member = Member {
            kind: b'2',
            path: path.as_bytes(),
            link: path.as_bytes(),
            uid: 4_000_000_000,
            mtime: -5,
            xattrs: vec![("user.a".to_owned(), b"\x00\n=".to_vec())],
            ..Member::default()
        };
        write_header(&mut bytes, &member).unwrap();
        write_end(&mut bytes).unwrap();
        let entry = TarReader::new(&bytes[..]).next_entry().unwrap().unwrap();
        assert_eq!(entry.path, path.as_bytes());
        assert_eq!(entry.link, path.as_bytes());
        assert_eq!((entry.uid, entry.mtime_seconds), (4_000_000_000, -5));
        assert_eq!(entry.xattrs, member.xattrs);
    }

    #[test]
    fn the_length_of_a_pax_record_counts_itself() {
        for size in 80..100 {
            let mut record = Vec::new();
            pax_record(&mut record, b"path", &vec![b'x'; size]);
            let text = String::from_utf8(record.clone()).unwrap();
            let length: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(length, record.len());
        }
    }
}
