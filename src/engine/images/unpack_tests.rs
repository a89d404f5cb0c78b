//! Tests of unpacking: ordinary layers, and archives made to hurt.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt};
use std::path::Path;

use super::*;

struct TarFile {
    builder: tar::Builder<Vec<u8>>,
}

impl TarFile {
    fn new() -> Self {
        TarFile {
            builder: tar::Builder::new(Vec::new()),
        }
    }

    /// Any name and link, unchecked.
    fn add(mut self, kind: tar::EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind == tar::EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1000);
        header.set_size(content.len() as u64);
        if matches!(kind, tar::EntryType::Char | tar::EntryType::Block) {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.builder.append(&header, content).unwrap();
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.add(tar::EntryType::Regular, name, "", content.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        self.add(tar::EntryType::Directory, name, "", b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.add(tar::EntryType::Symlink, name, target, b"")
    }

    fn unpack(self, folder: &Path) -> io::Result<Unpacked> {
        self.unpack_over(folder, &[])
    }

    fn unpack_over(self, folder: &Path, lowers: &[Root]) -> io::Result<Unpacked> {
        let bytes = self.builder.into_inner().unwrap();
        let root = Root::open(folder).unwrap();
        unpack(
            &mut TarReader::new(&bytes[..]),
            &Unpack {
                root: &root,
                whiteouts: Whiteouts::Overlay,
                lowers,
                keep_directories: false,
                owner: None,
                cancel: &CancellationToken::new(),
            },
        )
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn ordinary_entries_come_out_as_they_went_in() {
    let folder = folder();
    TarFile::new()
        .dir("a/")
        .file("a/f", "hello")
        .add(tar::EntryType::Link, "a/h", "a/f", b"")
        .link("a/l", "/etc/passwd")
        .add(tar::EntryType::Fifo, "a/p", "", b"")
        .add(tar::EntryType::Char, "a/c", "", b"")
        .unpack(folder.path())
        .unwrap();
    let at = |name: &str| {
        folder
            .path()
            .join("a")
            .join(name)
            .symlink_metadata()
            .unwrap()
    };
    assert_eq!(
        std::fs::read_to_string(folder.path().join("a/h")).unwrap(),
        "hello"
    );
    assert_eq!(at("f").ino(), at("h").ino());
    assert_eq!(at("f").mtime(), 1000);
    assert!(at("l").is_symlink() && at("p").file_type().is_fifo());
    assert_eq!(at("c").rdev(), makedev(1, 3));
    assert_eq!(folder.path().join("a").metadata().unwrap().mtime(), 1000);
}

#[test]
fn nothing_outside_is_touched() {
    let outside = folder();
    let canary = outside.path().join("canary");
    std::fs::write(&canary, "secret").unwrap();
    let out = outside.path().to_str().unwrap();
    let attacks = [
        TarFile::new().file("../canary", "x"),
        TarFile::new().file("a/../../canary", "x"),
        TarFile::new().link("l", out).file("l/canary", "x"),
        TarFile::new().link("l", out).dir("l/new"),
        TarFile::new()
            .link("l", &canary.to_string_lossy())
            .file("l", "x"),
        TarFile::new().link("l", &canary.to_string_lossy()).dir("l"),
        TarFile::new().add(tar::EntryType::Link, "h", &canary.to_string_lossy(), b""),
        TarFile::new()
            .link("l", &canary.to_string_lossy())
            .add(tar::EntryType::Link, "h", "l", b"")
            .file("h", "x"),
        TarFile::new().link("l", out).file("l/.wh.canary", ""),
        TarFile::new().link("l", out).file("l/.wh..wh..opq", ""),
        TarFile::new().file(".wh...", ""),
        TarFile::new().file("d/.wh...", ""),
    ];
    for attack in attacks {
        let folder = folder();
        let _ = attack.unpack(folder.path());
        assert_eq!(std::fs::read_to_string(&canary).unwrap(), "secret");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(canary.metadata().unwrap().nlink(), 1);
    }
}

#[test]
fn names_that_cannot_be_are_refused() {
    for attack in [
        TarFile::new().file("../x", ""),
        TarFile::new().file(".wh.", ""),
        TarFile::new().file(".wh...", ""),
        TarFile::new().file(".wh..", ""),
        TarFile::new().add(tar::EntryType::Link, "h", "missing", b""),
        TarFile::new().add(tar::EntryType::Link, "h", "../../etc/passwd", b""),
        TarFile::new().file("", "x"),
        TarFile::new()
            .add(tar::EntryType::Regular, &"d/".repeat(45), "", b"")
            .file("a", "")
            .file("a/b", ""),
    ] {
        assert!(attack.unpack(folder().path()).is_err());
    }
}

#[test]
fn whiteouts_become_marks_of_overlayfs() {
    let folder = folder();
    TarFile::new()
        .dir("d")
        .file("d/.wh.gone", "")
        .file("e/.wh..wh..opq", "")
        .file(".wh..wh.plnk", "")
        .unpack(folder.path())
        .unwrap();
    let gone = folder.path().join("d/gone").symlink_metadata().unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let root = Root::open(folder.path()).unwrap();
    let opaque = rooted::xattrs(root.open_dir(b"e").unwrap().as_fd()).unwrap();
    assert!(opaque.contains(&(OPAQUE_XATTR.to_owned(), b"y".to_vec())));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_directory_that_is_left_out_looks_as_below() {
    let lower = folder();
    std::fs::create_dir(lower.path().join("tmp")).unwrap();
    std::fs::set_permissions(lower.path().join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
    std::fs::write(lower.path().join("tmp/below"), "b").unwrap();
    let folder = folder();
    let lowers = [Root::open(lower.path()).unwrap()];
    TarFile::new()
        .file("tmp/f", "x")
        .add(tar::EntryType::Link, "tmp/copy", "tmp/below", b"")
        .unpack_over(folder.path(), &lowers)
        .unwrap();
    let mode = folder.path().join("tmp").metadata().unwrap().mode() & 0o7777;
    assert_eq!(mode, 0o1777);
    assert_eq!(
        std::fs::read_to_string(folder.path().join("tmp/copy")).unwrap(),
        "b"
    );
}

#[test]
fn attributes_that_steer_overlayfs_are_dropped() {
    let folder = folder();
    let mut builder = tar::Builder::new(Vec::new());
    builder
        .append_pax_extensions([
            ("SCHILY.xattr.trusted.overlay.opaque", &b"y"[..]),
            ("SCHILY.xattr.trusted.overlay.redirect", &b"/etc"[..]),
            ("SCHILY.xattr.user.overlay.redirect", &b"/etc"[..]),
            ("SCHILY.xattr.user.kept", &b"1"[..]),
        ])
        .unwrap();
    let tar = TarFile { builder }.dir("d");
    tar.unpack(folder.path()).unwrap();
    let root = Root::open(folder.path()).unwrap();
    let names: Vec<String> = rooted::xattrs(root.open_dir(b"d").unwrap().as_fd())
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert!(
        !names.iter().any(|name| name.contains("overlay")),
        "{names:?}"
    );
}

#[test]
fn a_size_no_disk_has_is_refused_before_writing() {
    let folder = folder();
    let mut header = tar::Header::new_gnu();
    header.set_size(1 << 50);
    header.set_mode(0o644);
    header.as_old_mut().name[..1].copy_from_slice(b"f");
    header.set_cksum();
    let root = Root::open(folder.path()).unwrap();
    let error = unpack(
        &mut TarReader::new(header.as_bytes().chain(io::repeat(0))),
        &Unpack {
            root: &root,
            whiteouts: Whiteouts::Overlay,
            lowers: &[],
            keep_directories: false,
            owner: None,
            cancel: &CancellationToken::new(),
        },
    )
    .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn the_archive_is_made_again_from_skeleton_and_tree() {
    let folder = folder();
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let mut bytes = TarFile::new()
        .dir("a")
        .file("a/f", "hello")
        .file("./a/empty", "")
        .add(tar::EntryType::Link, "a/h", "a/f", b"")
        .file("a/.wh.gone", "odd content")
        .builder
        .into_inner()
        .unwrap();
    bytes.extend_from_slice(b"trailing");
    let skeleton = folder.path().join("skeleton.gz");
    let root = Root::open(&tree).unwrap();
    let mut reader = TarReader::new(&bytes[..])
        .with_skeleton(crate::engine::images::skeleton::SkeletonWriter::create(&skeleton).unwrap());
    let cancel = CancellationToken::new();
    let options = Unpack {
        root: &root,
        whiteouts: Whiteouts::Overlay,
        lowers: &[],
        keep_directories: false,
        owner: None,
        cancel: &cancel,
    };
    assert!(!unpack(&mut reader, &options).unwrap().replaced);
    reader.finish().unwrap().1.unwrap().finish().unwrap();
    let mut again = Vec::new();
    crate::engine::images::skeleton::assemble(&skeleton, &root, &mut again).unwrap();
    assert!(again == bytes);
}
