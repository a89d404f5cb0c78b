//! `commit` and `import`: images made of a container's changes, or of the tar of a whole file system.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::engine::base::{Error, Result};
use crate::engine::images::tree_tar::{self, Marks};
use crate::engine::images::{CommitOptions, Image, Images, Pin, compression, now};
use crate::oci::digest::HashingWriter;
use crate::oci::image_config::History;
use crate::oci::{Digest, ImageConfig, Platform, Reference, RunConfig};
use crate::sys::rooted::Root;

/// How a file system becomes an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImportOptions {
    pub(crate) config: RunConfig,
    pub(crate) reference: Option<Reference>,
    pub(crate) message: String,
    pub(crate) platform: Option<Platform>,
}

impl Images {
    /// Makes an image of a container's changes. The caller pauses the container. Blocking.
    pub(crate) fn commit(&self, container_id: &str, options: CommitOptions) -> Result<Image> {
        let reference = match &options.reference {
            Some(text) => Some(
                Reference::parse(text)
                    .map_err(|error| Error::invalid(error.to_string()))?
                    .or_latest(),
            ),
            None => None,
        };
        let mut config = match &options.parent {
            Some(parent) => self.get(parent)?.config,
            None => ImageConfig::scratch(&Platform::host()),
        };
        let cancel = CancellationToken::new();
        let scratch = self.layers.scratch("commit-")?;
        let archive = scratch.path().join("layer.tar");
        let upper = Root::open(&self.snapshots.upper(container_id)?)?;
        let mut out = HashingWriter::new(BufWriter::new(File::create_new(&archive)?));
        tree_tar::write_tree(&upper, Marks::Whiteouts, &mut out, &cancel)?;
        let (mut file, diff_id, _) = out.finish();
        file.flush()?;
        let parent = self.snapshots.top(container_id);
        let pin = self
            .layers
            .ingest(parent.as_ref(), &diff_id, &archive, &cancel)?;
        config.rootfs.diff_ids.push(diff_id);
        if let Some(run) = options.config {
            config.config = run;
        }
        let created = now();
        config.author.clone_from(&options.author);
        config.comment.clone_from(&options.comment);
        config.created = Some(created.clone());
        config.history.push(History {
            created: Some(created),
            created_by: options.created_by,
            author: options.author,
            comment: options.comment,
            empty_layer: false,
        });
        let names: Vec<Reference> = reference.into_iter().collect();
        let image = self.register(&config.to_json(), options.parent, &names)?;
        drop(pin);
        self.announce("commit", &image.id, image.id.as_str());
        for name in &names {
            self.announce("tag", &image.id, &name.familiar());
        }
        Ok(image)
    }

    /// Makes an image with one layer of a tar, compressed or not. Blocking.
    pub(crate) fn import(
        &self,
        archive: &mut dyn Read,
        options: ImportOptions,
        cancel: &CancellationToken,
    ) -> Result<Image> {
        let scratch = self.layers.scratch("import-")?;
        let path = scratch.path().join("layer");
        io::copy(archive, &mut File::create_new(&path)?)?;
        let diff_id = plain_digest(&path)?;
        let imported = self.import_layer(&path, &diff_id, options, cancel);
        if imported.is_err() {
            self.collect()?;
        }
        imported
    }

    fn import_layer(
        &self,
        path: &Path,
        diff_id: &Digest,
        options: ImportOptions,
        cancel: &CancellationToken,
    ) -> Result<Image> {
        let pin: Pin = self.layers.ingest(None, diff_id, path, cancel)?;
        let mut config = ImageConfig::scratch(&options.platform.unwrap_or_else(Platform::host));
        config.rootfs.diff_ids.push(diff_id.clone());
        config.config = options.config;
        config.comment.clone_from(&options.message);
        let created = now();
        config.created = Some(created.clone());
        config.history.push(History {
            created: Some(created),
            comment: options.message,
            ..History::default()
        });
        let names: Vec<Reference> = options.reference.into_iter().collect();
        let image = self.register(&config.to_json(), None, &names)?;
        drop(pin);
        let shown = names
            .first()
            .map_or_else(|| image.id.to_string(), Reference::familiar);
        self.announce("import", &image.id, &shown);
        Ok(image)
    }
}

fn plain_digest(path: &Path) -> Result<Digest> {
    let (_, mut plain) = compression::decompress(File::open(path)?)?;
    let mut out = HashingWriter::new(io::sink());
    io::copy(&mut plain, &mut out)
        .map_err(|error| Error::invalid(format!("read the archive: {error}")))?;
    Ok(out.finish().1)
}
