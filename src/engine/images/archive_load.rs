//! `load`: images from an archive of `docker save`, of an OCI layout, or one that is both. The archive is a tar,
//! compressed or not, whose members may come in any order; it is read once into a scratch directory that goes
//! with the call. Nothing of it is believed: sizes, digests and diff ids are checked before an image is visible.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::engine::base::{Error, Result};
use crate::engine::images::tar_reader::{Kind, TarReader};
use crate::engine::images::{
    Image, Images, NewImage, Pin, ProgressMessage, ProgressSender, compression, unpack,
};
use crate::oci::digest::HashingWriter;
use crate::oci::manifest::{DOCUMENT_MAX_BYTES, Descriptor, Document, LAYERS_MAX};
use crate::oci::{Digest, ImageConfig, Platform, Reference};
use crate::sys::rooted::Root;

const MEMBERS_MAX: usize = 100_000;
/// Links among members (old `docker save` has them) are followed so often.
const LINKS_MAX: usize = 8;
const COPY_BUFFER_BYTES: usize = 256 << 10;
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A member of the archive, in a file of ours.
struct Member {
    path: PathBuf,
    digest: Digest,
    size: u64,
}

struct Members {
    scratch: tempfile::TempDir,
    files: HashMap<String, Member>,
    links: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerItem {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Images {
    /// Reads an archive; the images in it. Blocking.
    pub(crate) fn load(
        &self,
        archive: &mut dyn Read,
        progress: &ProgressSender,
        cancel: &CancellationToken,
    ) -> Result<Vec<Image>> {
        let loaded = self.load_all(archive, progress, cancel);
        if loaded.is_err() {
            // Layers of an image that came to nothing.
            self.collect()?;
        }
        loaded
    }

    fn load_all(
        &self,
        archive: &mut dyn Read,
        progress: &ProgressSender,
        cancel: &CancellationToken,
    ) -> Result<Vec<Image>> {
        let members = self.spool(archive, cancel)?;
        // Layers stay pinned until the images that need them are there.
        let prepared = if members.has("manifest.json") {
            self.load_docker(&members, cancel)?
        } else if members.has("index.json") {
            self.load_oci(&members, cancel)?
        } else if members.has("repositories") {
            return Err(Error::invalid(
                "archives of docker before 1.10 (without manifest.json) are not supported",
            ));
        } else {
            return Err(Error::invalid(
                "the archive is no image: it has neither manifest.json (docker save) nor index.json (OCI layout)",
            ));
        };
        let (new, _pins): (Vec<NewImage>, Vec<Vec<Pin>>) = prepared.into_iter().unzip();
        let names: Vec<Vec<Reference>> = new.iter().map(|image| image.names.clone()).collect();
        let ids = self.register_all(new)?;
        let mut loaded = Vec::new();
        for (id, names) in ids.iter().zip(names) {
            self.publish("load", id, id.as_str());
            say_loaded(progress, id, &names);
            loaded.push(self.get(id)?);
        }
        Ok(loaded)
    }

    fn spool(&self, archive: &mut dyn Read, cancel: &CancellationToken) -> Result<Members> {
        let scratch = self.layers.scratch("load-")?;
        let folder = Root::open(scratch.path())?;
        let mut members = Members {
            scratch,
            files: HashMap::new(),
            links: HashMap::new(),
        };
        members
            .read(archive, &folder, cancel)
            .map_err(|error| Error::invalid(format!("read the archive: {error}")))?;
        Ok(members)
    }

    fn load_docker(
        &self,
        members: &Members,
        cancel: &CancellationToken,
    ) -> Result<Vec<(NewImage, Vec<Pin>)>> {
        let items: Vec<DockerItem> = members.json("manifest.json")?;
        let mut loaded = Vec::new();
        for item in &items {
            let mut names = Vec::new();
            for tag in item.repo_tags.iter().flatten() {
                let name = Reference::parse(tag)
                    .map_err(|error| Error::invalid(format!("invalid tag {tag:?}: {error}")))?;
                if name.digest.is_none() {
                    names.push(name.or_latest());
                }
            }
            let config = members.document(&item.config)?;
            let layers = item
                .layers
                .iter()
                .map(|name| members.file(name))
                .collect::<Result<Vec<_>>>()?;
            loaded.push(self.load_image(config, &layers, names, cancel)?);
        }
        Ok(loaded)
    }

    fn load_oci(
        &self,
        members: &Members,
        cancel: &CancellationToken,
    ) -> Result<Vec<(NewImage, Vec<Pin>)>> {
        let index = members.document("index.json")?;
        let Document::Index(index) = parse_document(&index, "")? else {
            return Err(Error::invalid("index.json is no index"));
        };
        // One image can have several names: one descriptor each.
        let mut images: Vec<(Digest, Descriptor, Vec<Reference>)> = Vec::new();
        for descriptor in index.manifests {
            let names = names_of(&descriptor)?;
            match images
                .iter_mut()
                .find(|(digest, _, _)| *digest == descriptor.digest)
            {
                Some((_, _, known)) => known.extend(names),
                None => images.push((descriptor.digest.clone(), descriptor, names)),
            }
        }
        let mut loaded = Vec::new();
        for (_, descriptor, names) in images {
            let manifest = members.manifest(&descriptor, 0)?;
            let config = members.blob(&manifest.config)?;
            let config = read_document(&config.path)?;
            let layers = manifest
                .layers
                .iter()
                .map(|layer| members.blob(layer))
                .collect::<Result<Vec<_>>>()?;
            loaded.push(self.load_image(config, &layers, names, cancel)?);
        }
        Ok(loaded)
    }

    fn load_image(
        &self,
        config: Vec<u8>,
        layers: &[&Member],
        names: Vec<Reference>,
        cancel: &CancellationToken,
    ) -> Result<(NewImage, Vec<Pin>)> {
        let parsed = parse_config(&config, layers.len())?;
        let mut pins: Vec<Pin> = Vec::new();
        for (member, diff_id) in layers.iter().zip(&parsed.rootfs.diff_ids) {
            let parent = pins.last().map(Pin::chain_id);
            pins.push(self.layers.ingest(parent, diff_id, &member.path, cancel)?);
        }
        let image = NewImage {
            config,
            parent: None,
            names,
        };
        Ok((image, pins))
    }
}

fn say_loaded(progress: &ProgressSender, id: &Digest, names: &[Reference]) {
    let say = |text: String| {
        // Nobody may be listening (quiet); the load is done.
        let _ = progress.blocking_send(ProgressMessage::stream(text));
    };
    for name in names {
        say(format!("Loaded image: {}\n", name.familiar()));
    }
    if names.is_empty() {
        say(format!("Loaded image ID: {id}\n"));
    }
}

/// Checks a config's shape against the number of layers that come with it.
pub(crate) fn parse_config(config: &[u8], layers: usize) -> Result<ImageConfig> {
    if config.len() as u64 > DOCUMENT_MAX_BYTES {
        return Err(Error::invalid("the image config is larger than 4 MiB"));
    }
    let parsed: ImageConfig = serde_json::from_slice(config)
        .map_err(|error| Error::invalid(format!("the image config is not valid: {error}")))?;
    let diff_ids = parsed.rootfs.diff_ids.len();
    if diff_ids != layers {
        return Err(Error::invalid(format!(
            "invalid manifest, layers length mismatch: expected {diff_ids}, got {layers}"
        )));
    }
    if layers > LAYERS_MAX {
        return Err(Error::invalid(format!(
            "the image has {layers} layers, at most {LAYERS_MAX} are supported"
        )));
    }
    Ok(parsed)
}

fn parse_document(bytes: &[u8], media_type: &str) -> Result<Document> {
    Document::parse(bytes, media_type).map_err(|error| Error::invalid(error.to_string()))
}

fn read_document(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(DOCUMENT_MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > DOCUMENT_MAX_BYTES {
        return Err(Error::invalid("a manifest or config is larger than 4 MiB"));
    }
    Ok(bytes)
}

/// Names that annotations of a descriptor give; a bare tag is no name.
fn names_of(descriptor: &Descriptor) -> Result<Vec<Reference>> {
    let annotations: &BTreeMap<String, String> = &descriptor.annotations;
    let text = match (annotations.get(CONTAINERD_NAME), annotations.get(REF_NAME)) {
        (Some(name), _) => name,
        // `podman save` and skopeo write the whole name, buildx only the tag beside the name above.
        (None, Some(name)) if name.contains([':', '/']) => name,
        _ => return Ok(Vec::new()),
    };
    let name = Reference::parse(text)
        .map_err(|error| Error::invalid(format!("invalid image name {text:?}: {error}")))?;
    Ok(vec![name.or_latest()])
}

impl Members {
    fn read(
        &mut self,
        archive: &mut dyn Read,
        folder: &Root,
        cancel: &CancellationToken,
    ) -> io::Result<()> {
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
        let (_, plain) = compression::decompress(archive)?;
        let mut reader = TarReader::new(plain);
        let mut buffer = vec![0; COPY_BUFFER_BYTES];
        while let Some(entry) = reader.next_entry()? {
            if cancel.is_cancelled() {
                return Err(io::Error::other("cancelled"));
            }
            if self.files.len() + self.links.len() > MEMBERS_MAX {
                return Err(invalid("the archive has more than 100 000 members"));
            }
            let name = member_name(&entry.path);
            match entry.kind {
                Kind::File => {
                    unpack::check_space(folder.as_fd(), entry.size)?;
                    let path = self.scratch.path().join(self.files.len().to_string());
                    let mut writer = HashingWriter::new(File::create_new(&path)?);
                    loop {
                        let n = reader.read(&mut buffer)?;
                        if n == 0 {
                            break;
                        }
                        if cancel.is_cancelled() {
                            return Err(io::Error::other("cancelled"));
                        }
                        io::Write::write_all(&mut writer, &buffer[..n])?;
                    }
                    let (_, digest, size) = writer.finish();
                    self.files.insert(name, Member { path, digest, size });
                }
                Kind::Symlink | Kind::HardLink => {
                    let target = if entry.kind == Kind::Symlink {
                        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                        format!("{folder}/{}", String::from_utf8_lossy(&entry.link))
                    } else {
                        String::from_utf8_lossy(&entry.link).into_owned()
                    };
                    self.links.insert(name, member_name(target.as_bytes()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.file(name).is_ok()
    }

    fn file(&self, name: &str) -> Result<&Member> {
        let mut name = member_name(name.as_bytes());
        for _ in 0..LINKS_MAX {
            if let Some(member) = self.files.get(&name) {
                return Ok(member);
            }
            match self.links.get(&name) {
                Some(target) => name = target.clone(),
                None => break,
            }
        }
        Err(Error::invalid(format!("the archive has no {name}")))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        read_document(&self.file(name)?.path)
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<T> {
        serde_json::from_slice(&self.document(name)?)
            .map_err(|error| Error::invalid(format!("{name} is not valid: {error}")))
    }

    /// The blob a descriptor names, which must have its digest and size.
    fn blob(&self, descriptor: &Descriptor) -> Result<&Member> {
        let member = self.file(&format!("blobs/sha256/{}", descriptor.digest.hex()))?;
        if member.digest != descriptor.digest || member.size != descriptor.size {
            return Err(Error::invalid(format!(
                "blob {} has the digest {} and {} bytes, {} bytes were announced",
                descriptor.digest, member.digest, member.size, descriptor.size
            )));
        }
        Ok(member)
    }

    /// The manifest behind a descriptor, through indexes, for this machine.
    fn manifest(
        &self,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<crate::oci::manifest::Manifest> {
        let bytes = read_document(&self.blob(descriptor)?.path)?;
        match parse_document(&bytes, &descriptor.media_type)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(index) if depth < LINKS_MAX => {
                let chosen = choose(&index.manifests, &Platform::host())?;
                self.manifest(chosen, depth + 1)
            }
            Document::Index(_) => Err(Error::invalid("indexes are nested too deeply")),
        }
    }
}

/// The manifest of an index that serves `wanted` best.
pub(crate) fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor> {
    let platform = |descriptor: &Descriptor| {
        descriptor
            .platform
            .as_ref()
            .map(|p| Platform::new(&p.os, &p.architecture, p.variant.as_deref()))
    };
    manifests
        .iter()
        .filter_map(|descriptor| {
            let rank = match platform(descriptor) {
                Some(platform) => platform.rank_for(wanted)?,
                // Without a platform: what an index of one image looks like.
                None => u32::MAX,
            };
            Some((rank, descriptor))
        })
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, descriptor)| descriptor)
        .ok_or_else(|| {
            let offered: HashSet<String> = manifests
                .iter()
                .filter_map(platform)
                .filter(|platform| platform.os != "unknown")
                .map(|platform| platform.to_string())
                .collect();
            let mut offered: Vec<String> = offered.into_iter().collect();
            offered.sort();
            Error::not_found(format!(
                "no matching manifest for {wanted} in the manifest list entries: it offers {}",
                offered.join(", ")
            ))
        })
}

/// `./a/../b` → `b`: names compare after cleaning.
fn member_name(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}
