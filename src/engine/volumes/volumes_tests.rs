//! Tests of the volume service: names, use, copy-up, driver options.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

fn open(folder: &std::path::Path) -> Arc<Volumes> {
    let paths = Paths::new(folder.join("data"), folder.join("run"));
    Volumes::open(&paths, Arc::new(EventBus::new())).unwrap()
}

fn named(name: &str) -> VolumeConfig {
    VolumeConfig {
        name: Some(name.to_owned()),
        ..VolumeConfig::default()
    }
}

#[test]
fn a_volume_is_made_once_and_outlives_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(folder.path());
    let volume = volumes.create(named("data")).unwrap();
    fs::write(volume.mountpoint.join("f"), "x").unwrap();
    let again = open(folder.path());
    assert_eq!(again.create(named("data")).unwrap(), volume);
    assert_eq!(
        again.get("other").unwrap_err().message,
        "get other: no such volume"
    );
    again.remove("data", false).unwrap();
    assert!(!volume.mountpoint.exists());
    assert!(again.remove("data", false).is_err());
    again.remove("data", true).unwrap();
}

#[test]
fn names_that_are_paths_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(folder.path());
    for name in ["../x", "a/b", ".x", "a", "x\0", "x\n", &"a".repeat(256)] {
        assert!(volumes.create(named(name)).is_err(), "{name:?}");
    }
    assert_eq!(
        fs::read_dir(folder.path().join("data/volumes"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_volume_in_use_stays() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(folder.path());
    volumes.create(named("data")).unwrap();
    let anonymous = volumes.create(VolumeConfig::default()).unwrap();
    volumes.hold("data", "c1").unwrap();
    let error = volumes.remove("data", true).unwrap_err();
    assert_eq!(error.message, "remove data: volume is in use - [c1]");
    assert_eq!(
        volumes.prune(&VolumeFilters::default(), false).unwrap().0,
        [anonymous.name]
    );
    assert!(
        volumes
            .prune(&VolumeFilters::default(), true)
            .unwrap()
            .0
            .is_empty()
    );
    volumes.release("c1").unwrap();
    assert_eq!(
        volumes.prune(&VolumeFilters::default(), true).unwrap().0,
        ["data"]
    );
}

#[test]
fn an_empty_volume_gets_what_the_image_has() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir_all(source.join("d")).unwrap();
    fs::write(source.join("d/f"), "x").unwrap();
    fs::hard_link(source.join("d/f"), source.join("h")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", source.join("l")).unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o750)).unwrap();
    let volumes = open(folder.path());
    let volume = volumes.create(named("data")).unwrap();
    let root = Root::open(&source).unwrap();
    volumes.copy_up(&volume, root.as_fd()).unwrap();
    let at = |name: &str| volume.mountpoint.join(name).symlink_metadata().unwrap();
    assert_eq!(at("d/f").ino(), at("h").ino());
    assert!(at("l").is_symlink());
    assert_eq!(volume.mountpoint.metadata().unwrap().mode() & 0o777, 0o750);
    fs::write(source.join("later"), "").unwrap();
    volumes.copy_up(&volume, root.as_fd()).unwrap();
    assert!(!volume.mountpoint.join("later").exists());
}

#[test]
fn driver_options_are_checked_and_mounted() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(folder.path());
    let with = |name: &str, options: &[(&str, &str)]| VolumeConfig {
        driver_opts: options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..named(name)
    };
    for (options, message) in [
        (
            &[("color", "red")][..],
            "create bad: invalid option: \"color\"",
        ),
        (
            &[("type", "tmpfs")],
            "create bad: missing required option: \"device\"",
        ),
        (
            &[("size", "1g")],
            "create bad: quota size requested but no quota support",
        ),
    ] {
        assert_eq!(
            volumes.create(with("bad", options)).unwrap_err().message,
            message
        );
    }
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("f"), "bound").unwrap();
    let device = source.to_string_lossy().into_owned();
    let bind = with(
        "bind",
        &[("type", "none"), ("o", "bind,ro"), ("device", &device)],
    );
    let volume = volumes.create(bind).unwrap();
    assert_eq!(fs::read_dir(&volume.mountpoint).unwrap().count(), 0);
    volumes.acquire("bind", "c1").unwrap();
    volumes.acquire("bind", "c2").unwrap();
    assert_eq!(
        fs::read_to_string(volume.mountpoint.join("f")).unwrap(),
        "bound"
    );
    assert!(fs::write(volume.mountpoint.join("f"), "").is_err());
    volumes.release("c1").unwrap();
    assert!(volume.mountpoint.join("f").exists());
    volumes.release("c2").unwrap();
    assert!(!volume.mountpoint.join("f").exists());
    volumes.remove("bind", false).unwrap();
    assert!(source.join("f").exists());
    let missing = with(
        "gone",
        &[
            ("type", "none"),
            ("o", "bind"),
            ("device", "/does/not/exist"),
        ],
    );
    volumes.create(missing).unwrap();
    let error = volumes.acquire("gone", "c1").unwrap_err();
    assert!(
        error.message.contains("failed to mount local volume"),
        "{error}"
    );
    let other = VolumeConfig {
        driver: "nfs-plugin".to_owned(),
        ..named("other")
    };
    assert_eq!(volumes.create(other).unwrap_err().kind, ErrorKind::NotFound);
}
