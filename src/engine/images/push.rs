//! `push`: an image's layers, config and manifest to a registry. What the registry has is not sent again. Layers are
//! compressed into a scratch directory first: a blob's digest has to be known before it is sent.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Result};
use crate::engine::images::layers::RemoteLayer;
use crate::engine::images::registry::{Access, Registry};
use crate::engine::images::{Image, Images, ProgressMessage, ProgressSender, RegistryAuth};
use crate::oci::digest::HashingWriter;
use crate::oci::manifest::{DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST};
use crate::oci::{Digest, Reference};

/// A layer as the manifest names it.
struct Blob {
    digest: Digest,
    size: u64,
}

/// One push under way.
struct Push<'a> {
    images: &'a Arc<Images>,
    registry: Registry,
    reference: &'a Reference,
    progress: &'a ProgressSender,
    scratch: tempfile::TempDir,
    cancel: CancellationToken,
}

impl Images {
    /// The image a tag names; all tags of a repository when `all`.
    pub(crate) fn pushed_references(
        &self,
        reference: &Reference,
        all: bool,
    ) -> Result<Vec<Reference>> {
        let state = lock(&self.state);
        let found: Vec<Reference> = match all {
            true => state
                .names
                .tags_of(&reference.name())
                .into_iter()
                .map(|(name, _)| name)
                .collect(),
            false => state
                .names
                .get(reference)
                .map(|_| reference.clone())
                .into_iter()
                .collect(),
        };
        match found.is_empty() {
            false => Ok(found),
            true => Err(Error::not_found(format!(
                "An image does not exist locally with the tag: {}",
                reference.familiar_name()
            ))),
        }
    }

    /// Sends one tag to its registry.
    pub(crate) async fn push(
        self: &Arc<Self>,
        reference: &Reference,
        auth: &RegistryAuth,
        progress: &ProgressSender,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let image = self.resolve(&reference.to_string())?;
        say(
            progress,
            ProgressMessage::status(format!(
                "The push refers to repository [{}]",
                reference.name()
            )),
        )
        .await;
        let push = Push {
            images: self,
            registry: Registry::connect(reference, auth, Access::Push).await?,
            reference,
            progress,
            scratch: self.layers.scratch("push-")?,
            cancel: cancel.clone(),
        };
        let (digest, size) = push.run(&image).await?;
        let tag = reference.tag.clone().unwrap_or_default();
        say(
            progress,
            ProgressMessage::status(format!("{tag}: digest: {digest} size: {size}")),
        )
        .await;
        let aux = json!({"Tag": tag, "Digest": digest.as_str(), "Size": size});
        say(progress, ProgressMessage::aux(aux)).await;
        let by_digest = reference.with_digest(digest);
        lock(&self.state)
            .names
            .change(&[(by_digest, image.id.clone())], &[])?;
        self.announce("push", &image.id, &reference.familiar());
        Ok(())
    }
}

async fn say(progress: &ProgressSender, message: ProgressMessage) {
    // Nobody listening cancels through the token.
    let _ = progress.send(message).await;
}

impl Push<'_> {
    async fn run(&self, image: &Image) -> Result<(Digest, u64)> {
        for chain_id in &image.chain {
            self.say(chain_id, "Preparing").await;
        }
        let mut layers = Vec::new();
        for chain_id in &image.chain {
            if self.cancel.is_cancelled() {
                return Err(Error::system("the push was cancelled"));
            }
            layers.push(self.layer(chain_id).await?);
        }
        let config = self.images.config_bytes(&image.id)?;
        if self.registry.blob_size(&image.id).await?.is_none() {
            let body = || Ok(reqwest::Body::from(config.clone()));
            self.registry
                .upload_blob(&image.id, config.len() as u64, &body)
                .await?;
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "size": config.len(), "digest": image.id.as_str()},
            "layers": layers
                .iter()
                .map(|blob| json!({"mediaType": DOCKER_LAYER_GZIP, "size": blob.size, "digest": blob.digest.as_str()}))
                .collect::<Vec<_>>(),
        })
        .to_string();
        let tag = self.reference.tag.as_deref().unwrap_or("latest");
        self.registry
            .put_manifest(tag, DOCKER_MANIFEST, manifest.as_bytes())
            .await?;
        Ok((Digest::of(manifest.as_bytes()), manifest.len() as u64))
    }

    async fn say(&self, chain_id: &Digest, status: &str) {
        let id = match self.images.layers().get(chain_id) {
            Some(layer) => layer.diff_id.short().to_owned(),
            None => chain_id.short().to_owned(),
        };
        say(self.progress, ProgressMessage::of(id, status)).await;
    }

    async fn layer(&self, chain_id: &Digest) -> Result<Blob> {
        if let Some(blob) = self.known(chain_id).await? {
            return Ok(blob);
        }
        let (images, id) = (Arc::clone(self.images), chain_id.clone());
        let path: PathBuf = self.scratch.path().join(chain_id.hex());
        let (file, cancel) = (path.clone(), self.cancel.clone());
        let (digest, size) = tokio::task::spawn_blocking(move || -> Result<(Digest, u64)> {
            let out = HashingWriter::new(BufWriter::new(File::create(&file)?));
            let mut gzip = GzEncoder::new(out, Compression::new(4));
            images.layers().write_archive(&id, &mut gzip, &cancel)?;
            let (mut file, digest, size) = gzip.finish()?.finish();
            std::io::Write::flush(&mut file)?;
            Ok((digest, size))
        })
        .await
        .map_err(|error| Error::system(error.to_string()))??;
        if self.registry.blob_size(&digest).await?.is_some() {
            self.say(chain_id, "Layer already exists").await;
        } else {
            self.say(chain_id, "Pushing").await;
            let body = || -> Result<reqwest::Body> {
                let file = tokio::fs::File::from_std(File::open(&path)?);
                Ok(reqwest::Body::wrap_stream(ReaderStream::new(file)))
            };
            self.registry.upload_blob(&digest, size, &body).await?;
            self.say(chain_id, "Pushed").await;
        }
        self.remember(chain_id, &digest, size, DOCKER_LAYER_GZIP)?;
        Ok(Blob { digest, size })
    }

    fn remember(
        &self,
        chain_id: &Digest,
        digest: &Digest,
        size: u64,
        media_type: &str,
    ) -> Result<()> {
        let remote = RemoteLayer {
            digest: digest.clone(),
            size,
            media_type: media_type.to_owned(),
            repositories: vec![self.reference.name()],
        };
        self.images.layers().add_remote(chain_id, &remote)
    }

    /// The layer as a blob the registry has already, here or in another of its repositories.
    async fn known(&self, chain_id: &Digest) -> Result<Option<Blob>> {
        let Some(layer) = self.images.layers().get(chain_id) else {
            return Err(Error::system(format!("layer {chain_id} is missing")));
        };
        let here = self.reference.name();
        let same_registry = format!("{}/", self.reference.domain);
        for remote in &layer.remote {
            let blob = Blob {
                digest: remote.digest.clone(),
                size: remote.size,
            };
            // What another registry has may be there by its digest, too: asking costs one round trip.
            if self.registry.blob_size(&remote.digest).await? == Some(remote.size) {
                self.say(chain_id, "Layer already exists").await;
                return Ok(Some(blob));
            }
            for repository in remote.repositories.iter().filter(|name| **name != here) {
                if let Some(path) = repository.strip_prefix(&same_registry)
                    && self.registry.mount_blob(&remote.digest, path).await?
                {
                    self.say(chain_id, &format!("Mounted from {path}")).await;
                    self.remember(chain_id, &remote.digest, remote.size, &remote.media_type)?;
                    return Ok(Some(blob));
                }
            }
        }
        Ok(None)
    }
}
