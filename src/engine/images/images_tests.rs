//! Tests of the image service on archives made here: load, names, removal, snapshots, and hostile archives.

use std::io::Read;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::oci::manifest;
use crate::oci::runtime_spec::RootfsSource;

pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) images: Arc<Images>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = open(folder.path());
        Fixture { folder, images }
    }

    fn load(&self, archive: &[u8]) -> Result<Vec<Image>> {
        let (progress, mut received) = mpsc::channel(64);
        let mut reader: Box<dyn Read> = Box::new(archive);
        let loaded = self
            .images
            .load(&mut reader, &progress, &CancellationToken::new());
        received.close();
        loaded
    }

    /// Nothing of a failed call stays.
    fn assert_clean(&self) {
        let count = |path: &str| fs::read_dir(self.folder.path().join(path)).unwrap().count();
        assert_eq!(count("data/tmp"), 0);
        assert_eq!(count("data/images/records"), 0);
        assert_eq!(self.images.list(&ImageFilters::default()).unwrap().len(), 0);
        assert_eq!(count("data/images/layers"), 0);
    }
}

fn open(folder: &Path) -> Arc<Images> {
    let paths = Paths::new(folder.join("data"), folder.join("run"));
    Images::open(&paths, Arc::new(EventBus::new())).unwrap()
}

pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        tree_tar::write_file(&mut bytes, name, 0, content).unwrap();
    }
    tree_tar::write_end(&mut bytes).unwrap();
    bytes
}

fn config_of(layers: &[Vec<u8>]) -> Vec<u8> {
    let mut config = ImageConfig::scratch(&crate::oci::Platform::host());
    config.created = Some("2024-01-01T00:00:00Z".to_owned());
    config.rootfs.diff_ids = layers.iter().map(|layer| Digest::of(layer)).collect();
    config.to_json()
}

pub(crate) fn docker_archive(tag: &str, layers: &[Vec<u8>], config: &[u8]) -> Vec<u8> {
    let names: Vec<String> = (0..layers.len())
        .map(|n| format!("{n}/layer.tar"))
        .collect();
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [tag], "Layers": names}]);
    let manifest = manifest.to_string();
    let mut files: Vec<(&str, &[u8])> = vec![("config.json", config)];
    for (name, layer) in names.iter().zip(layers) {
        files.push((name, layer));
    }
    files.push(("manifest.json", manifest.as_bytes()));
    tar_of(&files)
}

fn two_layers() -> Vec<Vec<u8>> {
    vec![
        tar_of(&[("etc/a", b"one"), ("etc/b", b"two")]),
        tar_of(&[("etc/.wh.b", b""), ("etc/c", b"three")]),
    ]
}

#[test]
fn a_loaded_image_is_found_by_every_name_and_outlives_the_service() {
    let fixture = Fixture::new();
    let layers = two_layers();
    let config = config_of(&layers);
    let loaded = fixture
        .load(&docker_archive("app:1", &layers, &config))
        .unwrap();
    let id = Digest::of(&config);
    assert_eq!(loaded[0].id, id);
    let again = open(fixture.folder.path());
    for name in [
        "app:1",
        "docker.io/library/app:1",
        id.as_str(),
        id.hex(),
        id.short(),
        &format!("sha256:{}", id.short()),
    ] {
        assert_eq!(again.resolve(name).unwrap().id, id, "{name}");
    }
    let error = again.resolve("app").unwrap_err();
    assert_eq!(error, Error::not_found("No such image: app:latest"));
    assert_eq!(again.resolve("app:1").unwrap().size, 11);
}

#[test]
fn an_oci_layout_is_loaded_and_checked() {
    let layers = two_layers();
    let config = config_of(&layers);
    let descriptor = |media_type: &str, bytes: &[u8]| serde_json::json!({"mediaType": media_type, "digest": Digest::of(bytes).as_str(), "size": bytes.len()});
    let image = serde_json::json!({"schemaVersion": 2, "config": descriptor(manifest::CONFIG, &config),
        "layers": layers.iter().map(|layer| descriptor(manifest::LAYER, layer)).collect::<Vec<_>>()})
    .to_string();
    let mut entry = descriptor(manifest::MANIFEST, image.as_bytes());
    entry["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "app:2"});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let names: Vec<String> = layers.iter().map(|layer| blob(layer)).collect();
    let archive = |first: &[u8]| {
        tar_of(&[
            ("oci-layout", b"{}"),
            ("index.json", index.as_bytes()),
            (&blob(image.as_bytes()), image.as_bytes()),
            (&blob(&config), &config),
            (&names[0], first),
            (&names[1], &layers[1]),
        ])
    };
    let fixture = Fixture::new();
    let wrong = fixture
        .load(&archive(&tar_of(&[("evil", b"x")])))
        .unwrap_err();
    assert!(wrong.message.contains("has the digest"), "{wrong}");
    fixture.assert_clean();
    assert_eq!(
        fixture.load(&archive(&layers[0])).unwrap()[0].repo_tags,
        ["app:2"]
    );
}

#[test]
fn hostile_archives_leave_nothing() {
    let layers = two_layers();
    let good = config_of(&layers);
    let escape = vec![tar_of(&[("../../canary", b"x")])];
    let mut truncated = docker_archive("x:1", &layers, &good);
    truncated.truncate(truncated.len() / 2);
    let archives: Vec<Vec<u8>> = vec![
        // The layer is not the one the config names.
        docker_archive("x:1", &[layers[1].clone(), layers[0].clone()], &good),
        // Fewer layers than diff ids.
        docker_archive("x:1", &layers[..1], &good),
        docker_archive("x:1", &escape, &config_of(&escape)),
        docker_archive("../x", &layers, &good),
        docker_archive("x:1", &layers, b"{\"rootfs\":"),
        docker_archive(
            "x:1",
            &layers,
            b"{\"rootfs\":{\"diff_ids\":[\"sha256:../../x\"]}}",
        ),
        tar_of(&[(
            "manifest.json",
            b"[{\"Config\":\"../../etc/passwd\",\"Layers\":[]}]",
        )]),
        tar_of(&[("unrelated", b"")]),
        truncated,
        b"not a tar at all".to_vec(),
        Vec::new(),
    ];
    for archive in archives {
        let fixture = Fixture::new();
        assert!(fixture.load(&archive).is_err());
        fixture.assert_clean();
        assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn layers_are_shared_and_collected_with_their_last_image() {
    let fixture = Fixture::new();
    let layers = two_layers();
    fixture
        .load(&docker_archive("two:1", &layers, &config_of(&layers)))
        .unwrap();
    let one = &layers[..1];
    fixture
        .load(&docker_archive("one:1", one, &config_of(one)))
        .unwrap();
    let folder = fixture.folder.path().join("data/images/layers");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    fixture
        .images
        .hold("c1", &fixture.images.resolve("one:1").unwrap().id);
    let removed = fixture.images.remove("two:1", false, false).unwrap();
    assert!(matches!(&removed[0], Deleted::Untagged(name) if name == "two:1"));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let used = fixture.images.remove("one:1", false, false).unwrap_err();
    assert_eq!(used.kind, crate::engine::base::ErrorKind::Conflict);
    fixture.images.release("c1");
    fixture.images.remove("one", false, false).unwrap_err();
    fixture.images.remove("one:1", false, false).unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_snapshot_has_the_layers_below_and_keeps_them() {
    let fixture = Fixture::new();
    let layers = two_layers();
    fixture
        .load(&docker_archive("app:1", &layers, &config_of(&layers)))
        .unwrap();
    let image = fixture.images.resolve("app:1").unwrap();
    let snapshots = fixture.images.snapshots();
    let spec = snapshots.prepare("c1", &image).unwrap();
    assert_eq!(spec, snapshots.prepare("c1", &image).unwrap());
    let RootfsSource::Overlay { lowers, upper, .. } = spec.source else {
        panic!("an image's root is an overlay");
    };
    assert_eq!(fs::read_to_string(lowers[1].join("etc/a")).unwrap(), "one");
    fs::create_dir(upper.join("etc")).unwrap();
    fs::write(upper.join("etc/a"), "changed").unwrap();
    fs::write(upper.join("new"), "").unwrap();
    let changes: Vec<String> = snapshots
        .diff("c1")
        .unwrap()
        .iter()
        .map(|change| format!("{:?} {}", change.kind, change.path))
        .collect();
    assert_eq!(changes, ["Modified /etc", "Modified /etc/a", "Added /new"]);
    assert_eq!(
        snapshots.usage("c1").unwrap(),
        Usage {
            writable: 7,
            rootfs: 18
        }
    );
    fixture.images.remove("app:1", true, false).unwrap();
    assert!(lowers[1].join("etc/a").exists());
    snapshots.remove("c1").unwrap();
    assert_eq!(fixture.images.collect().unwrap().len(), 2);
    assert!(snapshots.prepare("../x", &image).is_err());
}

#[test]
fn an_unfinished_layer_is_swept_at_the_next_start() {
    let fixture = Fixture::new();
    let layer = fixture
        .folder
        .path()
        .join("data/images/layers")
        .join("ab".repeat(32));
    fs::create_dir_all(layer.join("diff")).unwrap();
    fs::write(fixture.folder.path().join("data/tmp/half"), "").unwrap();
    drop(fixture.images);
    open(fixture.folder.path());
    assert!(!layer.exists());
    assert!(!fixture.folder.path().join("data/tmp/half").exists());
}

#[test]
fn the_archive_of_a_layer_is_made_again() {
    let fixture = Fixture::new();
    // The second entry of a name replaces the first: kept as the archive itself.
    let layers = vec![
        tar_of(&[("a", b"one")]),
        tar_of(&[("b", b"one"), ("b", b"two")]),
    ];
    fixture
        .load(&docker_archive("app:1", &layers, &config_of(&layers)))
        .unwrap();
    let image = fixture.images.resolve("app:1").unwrap();
    for (chain_id, layer) in image.chain.iter().zip(&layers) {
        let mut again = Vec::new();
        let cancel = CancellationToken::new();
        fixture
            .images
            .layers()
            .write_archive(chain_id, &mut again, &cancel)
            .unwrap();
        assert!(again == *layer);
    }
    let top = fixture.images.layers().tree(&image.chain[1]);
    fs::write(top.join("b"), "damaged").unwrap();
    assert_eq!(fs::read_to_string(top.join("b")).unwrap(), "damaged");
}
