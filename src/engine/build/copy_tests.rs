//! Tests of `COPY`: what patterns select, where files end up, what the digest depends on, and sources that try to
//! leave the context.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use super::*;

struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let context = folder.path().join("context");
        for dir in ["context/dir/sub", "root/existing"] {
            fs::create_dir_all(folder.path().join(dir)).unwrap();
        }
        for (name, text) in [
            ("a.txt", "a"),
            ("b.txt", "b"),
            ("dir/c.txt", "c"),
            ("dir/sub/d.md", "d"),
        ] {
            fs::write(context.join(name), text).unwrap();
        }
        Case { folder }
    }

    fn context(&self) -> Root {
        Root::open(&self.folder.path().join("context")).unwrap()
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("root").join(path)
    }

    fn copy(
        &self,
        sources: &[&str],
        destination: &str,
        change: impl FnOnce(&mut Target<'_>),
    ) -> Result<()> {
        let root = Root::open(&self.folder.path().join("root")).unwrap();
        let cancel = CancellationToken::new();
        let exclude = PatternSet::new(&["**/*.md".to_owned()]).unwrap();
        let none = PatternSet::default();
        let mut target = Target {
            root: &root,
            destination: joined("/", destination),
            is_dir: destination.ends_with('/'),
            owner: Some((0, 0)),
            chmod: None,
            exclude: &none,
            parents: false,
            unpack: false,
            cancel: &cancel,
        };
        change(&mut target);
        if target.chmod == Chmod::parse("700").ok() {
            target.exclude = &exclude;
        }
        let sources: Vec<String> = sources.iter().map(|source| (*source).to_owned()).collect();
        let selected = select(&self.context(), &sources)?;
        copy(&self.context(), &selected, &target)
    }
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn files_and_directories_end_up_where_docker_puts_them() {
    let case = Case::new();
    case.copy(&["a.txt"], "/new", |_| {}).unwrap();
    assert_eq!(text(case.at("new")), "a");
    case.copy(&["a.txt"], "/made/by/copy/", |_| {}).unwrap();
    assert_eq!(text(case.at("made/by/copy/a.txt")), "a");
    case.copy(&["a.txt"], "/existing", |_| {}).unwrap();
    assert_eq!(text(case.at("existing/a.txt")), "a");
    case.copy(&["dir"], "/target", |_| {}).unwrap();
    assert_eq!(text(case.at("target/sub/d.md")), "d");
    case.copy(&["*.txt", "/dir/../b.txt"], "/glob/", |_| {})
        .unwrap();
    assert_eq!(fs::read_dir(case.at("glob")).unwrap().count(), 2);
    case.copy(&["d*/c.txt"], "/parents/", |target| target.parents = true)
        .unwrap();
    assert_eq!(text(case.at("parents/dir/c.txt")), "c");
    case.copy(&["."], "/all", |target| {
        target.chmod = Chmod::parse("700").ok()
    })
    .unwrap();
    assert!(!case.at("all/dir/sub/d.md").exists());
    assert_eq!(
        case.at("all/a.txt").metadata().unwrap().mode() & 0o777,
        0o700
    );
}

#[test]
fn a_link_in_the_image_is_followed_inside_of_it() {
    let case = Case::new();
    symlink("/existing", case.at("link")).unwrap();
    symlink(case.folder.path(), case.at("out")).unwrap();
    case.copy(&["a.txt"], "/link/", |_| {}).unwrap();
    assert_eq!(text(case.at("existing/a.txt")), "a");
    // The link names a path of the host, which does not exist inside.
    let _ = case.copy(&["a.txt"], "/out/", |_| {});
    assert!(!case.folder.path().join("a.txt").exists());
}

#[test]
fn sources_cannot_leave_the_context() {
    let case = Case::new();
    fs::write(case.folder.path().join("secret"), "secret").unwrap();
    let context = case.folder.path().join("context");
    symlink("../secret", context.join("up")).unwrap();
    symlink(case.folder.path().join("secret"), context.join("absolute")).unwrap();
    for source in ["../secret", "/../../secret", "up", "absolute"] {
        let error = case.copy(&[source], "/x", |_| {}).unwrap_err();
        assert!(
            error.message.contains("file not found in build context"),
            "{error}"
        );
    }
    // Inside a directory a link is copied as a link.
    case.copy(&["."], "/all", |_| {}).unwrap();
    assert!(case.at("all/up").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn the_digest_is_of_names_modes_and_contents_not_of_times() {
    let case = Case::new();
    let digest = || {
        let root = case.context();
        let selected = select(&root, &["dir".to_owned()]).unwrap();
        digest(&root, &selected, &PatternSet::default(), false).unwrap()
    };
    let before = digest();
    let path = case.folder.path().join("context/dir/c.txt");
    fs::write(&path, "c").unwrap();
    assert_eq!(digest(), before);
    fs::write(&path, "C").unwrap();
    assert_ne!(digest(), before);
    fs::write(&path, "c").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(digest(), before);
}

#[test]
fn an_archive_is_unpacked_by_add_only() {
    let case = Case::new();
    let tar = crate::engine::images::tests::tar_of(&[("in/x", b"x")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut gzip, &tar).unwrap();
    fs::write(
        case.folder.path().join("context/t.tgz"),
        gzip.finish().unwrap(),
    )
    .unwrap();
    case.copy(&["t.tgz"], "/copied/", |_| {}).unwrap();
    assert!(case.at("copied/t.tgz").is_file());
    case.copy(&["t.tgz", "a.txt"], "/added/", |target| {
        target.unpack = true
    })
    .unwrap();
    assert_eq!(text(case.at("added/in/x")), "x");
    assert_eq!(text(case.at("added/a.txt")), "a");
}
