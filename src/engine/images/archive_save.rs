//! `save`: images as one tar that is a docker archive and an OCI layout at once. It streams: layers are made
//! again from what is unpacked, nothing is written to the disk.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Result};
use crate::engine::images::listing::unix_seconds;
use crate::engine::images::{Image, Images, no_such_image, tree_tar};
use crate::oci::manifest::{CONFIG, INDEX, LAYER, MANIFEST};
use crate::oci::{Digest, Reference};

/// An image and the names it is saved under.
pub(crate) struct Saved {
    image: Image,
    names: Vec<Reference>,
}

impl Images {
    /// What `names` mean: a repository without a tag is all its tags, an id is the image without a name.
    pub(crate) fn select(&self, names: &[String]) -> Result<Vec<Saved>> {
        let mut selected: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        for name in names {
            let image = self.resolve(name)?;
            let mut wanted = Vec::new();
            if let Ok(reference) = Reference::parse(name) {
                let state = lock(&self.state);
                if reference.tag.is_none() && reference.digest.is_none() {
                    let tags = state.names.tags_of(&reference.name());
                    for (reference, id) in tags {
                        selected.entry(id).or_default().push(reference);
                    }
                } else if reference.tag.is_some() && state.names.get(&reference) == Some(&image.id)
                {
                    wanted.push(reference);
                }
            }
            selected.entry(image.id).or_default().extend(wanted);
        }
        selected
            .into_iter()
            .map(|(id, mut names)| {
                names.sort();
                names.dedup();
                Ok(Saved {
                    image: self.get(&id).map_err(|_| no_such_image(id.as_str()))?,
                    names,
                })
            })
            .collect()
    }

    /// Writes the archive. Blocking.
    pub(crate) fn save(
        &self,
        images: &[Saved],
        out: &mut dyn Write,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let mut written = HashSet::new();
        let mut index = Vec::new();
        let mut docker = Vec::new();
        for saved in images {
            let config = self.config_bytes(&saved.image.id)?;
            let mut layers = Vec::new();
            for chain_id in &saved.image.chain {
                layers.push(self.save_layer(chain_id, &mut written, out, cancel)?);
            }
            let mtime = unix_seconds(&saved.image.created);
            write_blob(out, &mut written, mtime, &config)?;
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(CONFIG, &saved.image.id, config.len() as u64),
                "layers": layers.iter().map(|(id, size)| descriptor(LAYER, id, *size)).collect::<Vec<_>>(),
            })
            .to_string();
            let manifest_digest = write_blob(out, &mut written, mtime, manifest.as_bytes())?;
            let entry = descriptor(MANIFEST, &manifest_digest, manifest.len() as u64);
            for name in &saved.names {
                let mut named = entry.clone();
                named["annotations"] = json!({
                    "io.containerd.image.name": name.to_string(),
                    "org.opencontainers.image.ref.name": name.tag,
                });
                index.push(named);
            }
            if saved.names.is_empty() {
                index.push(entry);
            }
            let tags: Vec<String> = saved.names.iter().map(Reference::familiar).collect();
            docker.push(json!({
                "Config": blob_path(&saved.image.id),
                "RepoTags": if tags.is_empty() { None } else { Some(tags) },
                "Layers": layers.iter().map(|(id, _)| blob_path(id)).collect::<Vec<_>>(),
            }));
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": index}).to_string();
        let docker = serde_json::Value::Array(docker).to_string();
        tree_tar::write_file(out, "index.json", 0, index.as_bytes())?;
        tree_tar::write_file(out, "manifest.json", 0, docker.as_bytes())?;
        tree_tar::write_file(out, "oci-layout", 0, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        tree_tar::write_end(out)?;
        Ok(out.flush()?)
    }

    fn save_layer(
        &self,
        chain_id: &Digest,
        written: &mut HashSet<Digest>,
        out: &mut dyn Write,
        cancel: &CancellationToken,
    ) -> Result<(Digest, u64)> {
        let layer = self
            .layers
            .get(chain_id)
            .ok_or_else(|| Error::system(format!("layer {chain_id} is missing")))?;
        if written.insert(layer.diff_id.clone()) {
            let path = blob_path(&layer.diff_id);
            let member = tree_tar::Member {
                kind: b'0',
                path: path.as_bytes(),
                mode: 0o644,
                size: layer.archive_size,
                ..tree_tar::Member::default()
            };
            tree_tar::write_header(out, &member)?;
            self.layers.write_archive(chain_id, out, cancel)?;
            tree_tar::write_padding(out, layer.archive_size)?;
        }
        Ok((layer.diff_id, layer.archive_size))
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn descriptor(media_type: &str, digest: &Digest, size: u64) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": digest.as_str(), "size": size})
}

fn write_blob(
    out: &mut dyn Write,
    written: &mut HashSet<Digest>,
    mtime: i64,
    bytes: &[u8],
) -> Result<Digest> {
    let digest = Digest::of(bytes);
    if written.insert(digest.clone()) {
        tree_tar::write_file(out, &blob_path(&digest), mtime, bytes)?;
    }
    Ok(digest)
}
