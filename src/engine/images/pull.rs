//! `pull`: manifest, config and layers of an image from a registry. Blobs go to a scratch directory, several at a
//! time, with resume; layers are unpacked in order as they arrive. The image appears when all of it is verified.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine::base::{Error, Event, Result};
use crate::engine::images::archive_load::{choose, parse_config};
use crate::engine::images::image::ProgressDetail;
use crate::engine::images::layers::{RemoteLayer, chain_ids};
use crate::engine::images::registry::{Access, Fetched, Registry, next_chunk};
use crate::engine::images::{
    Image, Images, NewImage, Pin, ProgressMessage, ProgressSender, RegistryAuth,
};
use crate::oci::digest::Hasher;
use crate::oci::manifest::{DOCUMENT_MAX_BYTES, Descriptor, Document, Manifest};
use crate::oci::{Digest, ImageConfig, Platform, Reference};

const DOWNLOADS_AT_ONCE: usize = 3;
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// One pull under way.
struct Pull {
    registry: Registry,
    progress: ProgressSender,
    slots: Semaphore,
}

impl Images {
    /// Gets an image from its registry. A receiver that is closed cancels.
    pub(crate) async fn pull(
        self: &Arc<Self>,
        reference: &Reference,
        platform: Option<&Platform>,
        auth: &RegistryAuth,
        progress: ProgressSender,
    ) -> Result<Image> {
        let cancel = CancellationToken::new();
        let guard = cancel.clone().drop_guard();
        let closed = progress.clone();
        let result = tokio::select! {
            result = self.pull_from(reference, platform, auth, progress, &cancel) => result,
            () = closed.closed() => Err(Error::system("the pull was cancelled")),
        };
        drop(guard);
        if result.is_err() {
            // Layers of an image that came to nothing.
            let images = Arc::clone(self);
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || images.collect()).await {
                tracing::warn!(%error, "collect the layers of a failed pull");
            }
        }
        result
    }

    async fn pull_from(
        self: &Arc<Self>,
        reference: &Reference,
        platform: Option<&Platform>,
        auth: &RegistryAuth,
        progress: ProgressSender,
        cancel: &CancellationToken,
    ) -> Result<Image> {
        let pull = Arc::new(Pull {
            registry: Registry::connect(reference, auth, Access::Pull).await?,
            progress,
            slots: Semaphore::new(DOWNLOADS_AT_ONCE),
        });
        let wanted = tag_or_digest(reference);
        let fetched = pull.registry.manifest(&wanted).await?;
        pull.say(ProgressMessage {
            id: Some(wanted.clone()),
            ..ProgressMessage::status(format!("Pulling from {}", reference.path))
        })
        .await;
        let name_digest = fetched.digest.clone();
        let manifest = pull.choose(fetched, platform).await?;
        let config = pull.config(&manifest.config).await?;
        let parsed = parse_config(&config, manifest.layers.len())?;
        check_platform(&parsed, platform, reference)?;
        let pins = self
            .pull_layers(&pull, reference, &manifest, &parsed, cancel)
            .await?;
        let (images, name) = (Arc::clone(self), reference.clone());
        let before = self
            .resolve(&reference.to_string())
            .ok()
            .map(|image| image.id);
        let digest = name_digest.clone();
        let image = tokio::task::spawn_blocking(move || -> Result<Image> {
            let by_digest = name.with_digest(digest);
            let names = match name.digest {
                Some(_) => vec![by_digest],
                None => vec![name, by_digest],
            };
            let new = NewImage {
                config,
                parent: None,
                names,
            };
            let ids = images.register_all(vec![new])?;
            drop(pins);
            images.get(&ids[0])
        })
        .await
        .map_err(|error| Error::system(error.to_string()))??;
        pull.say(ProgressMessage::status(format!("Digest: {name_digest}")))
            .await;
        let status = match before == Some(image.id.clone()) {
            true => "Image is up to date for",
            false => "Downloaded newer image for",
        };
        pull.say(ProgressMessage::status(format!(
            "Status: {status} {}",
            reference.familiar()
        )))
        .await;
        let mut attributes = image.config.config.labels.clone();
        attributes.insert("name".to_owned(), reference.familiar_name());
        self.events.publish(Event::now(
            "image",
            "pull",
            reference.familiar(),
            attributes,
        ));
        Ok(image)
    }

    async fn pull_layers(
        self: &Arc<Self>,
        pull: &Arc<Pull>,
        reference: &Reference,
        manifest: &Manifest,
        config: &ImageConfig,
        cancel: &CancellationToken,
    ) -> Result<Vec<Pin>> {
        let chain = chain_ids(&config.rootfs.diff_ids);
        let scratch = Arc::new(self.layers.scratch("pull-")?);
        let mut pins: Vec<Pin> = Vec::new();
        let mut downloads: JoinSet<Result<()>> = JoinSet::new();
        let mut arrivals = Vec::new();
        for (layer, id) in manifest.layers.iter().zip(&chain) {
            let short = layer.digest.short().to_owned();
            // Layers below are there when this one is; pinning each keeps it so.
            if arrivals.is_empty()
                && let Some(pin) = self.layers.pin(id)
            {
                pins.push(pin);
                pull.say(ProgressMessage::of(short, "Already exists")).await;
                continue;
            }
            check_layer(layer)?;
            pull.say(ProgressMessage::of(short, "Pulling fs layer"))
                .await;
            let path = scratch.path().join(layer.digest.hex());
            let (sender, receiver) = tokio::sync::oneshot::channel();
            arrivals.push((layer.clone(), path.clone(), receiver));
            let (pull, layer, scratch) = (Arc::clone(pull), layer.clone(), Arc::clone(&scratch));
            downloads.spawn(async move {
                let result = pull.download(&layer, &path).await;
                drop(scratch);
                // The unpacking side may have failed already.
                let _ = sender.send(result.clone());
                result
            });
        }
        let first = chain.len() - arrivals.len();
        for ((layer, path, arrival), diff_id) in
            arrivals.into_iter().zip(&config.rootfs.diff_ids[first..])
        {
            arrival
                .await
                .map_err(|_| Error::system("a download was interrupted"))??;
            pull.say(ProgressMessage::of(layer.digest.short(), "Extracting"))
                .await;
            let (layers, parent) = (
                Arc::clone(&self.layers),
                pins.last().map(|pin| pin.chain_id().clone()),
            );
            let (diff_id, token, file) = (diff_id.clone(), cancel.clone(), path.clone());
            let remote = RemoteLayer {
                digest: layer.digest.clone(),
                size: layer.size,
                media_type: layer.media_type.clone(),
                repositories: vec![reference.name()],
            };
            let pin = tokio::task::spawn_blocking(move || -> Result<Pin> {
                let pin = layers.ingest(parent.as_ref(), &diff_id, &file, &token)?;
                layers.add_remote(pin.chain_id(), &remote)?;
                Ok(std::fs::remove_file(&file).map(|()| pin)?)
            })
            .await
            .map_err(|error| Error::system(error.to_string()))??;
            pins.push(pin);
            pull.say(ProgressMessage::of(layer.digest.short(), "Pull complete"))
                .await;
        }
        Ok(pins)
    }
}

/// What the registry is asked for.
pub(crate) fn tag_or_digest(reference: &Reference) -> String {
    match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(tag)) => tag.clone(),
        (None, None) => crate::oci::reference::DEFAULT_TAG.to_owned(),
    }
}

fn check_layer(layer: &Descriptor) -> Result<()> {
    let known = layer.media_type.is_empty()
        || (layer.media_type.contains("layer") || layer.media_type.contains("rootfs.diff"))
            && !layer.media_type.contains("encrypted");
    match known {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "the layer {} has the media type {:?}, which is no image layer",
            layer.digest, layer.media_type
        ))),
    }
}

/// One that was asked for must be got; without a wish it must run here.
fn check_platform(
    config: &ImageConfig,
    wanted: Option<&Platform>,
    reference: &Reference,
) -> Result<()> {
    let have = config.platform();
    let host = Platform::host();
    let wanted = wanted.unwrap_or(&host);
    if have.rank_for(wanted).is_some() {
        return Ok(());
    }
    Err(Error::not_found(format!(
        "image with reference {} was found but its platform ({have}) does not match the specified platform ({wanted})",
        reference.familiar()
    )))
}

impl Pull {
    async fn say(&self, message: ProgressMessage) {
        // Nobody listening cancels the pull elsewhere.
        let _ = self.progress.send(message).await;
    }

    async fn choose(&self, fetched: Fetched, platform: Option<&Platform>) -> Result<Manifest> {
        let index = match fetched.document {
            Document::Manifest(manifest) => return Ok(manifest),
            Document::Index(index) => index,
        };
        let host = Platform::host();
        let chosen = choose(&index.manifests, platform.unwrap_or(&host))?;
        let fetched = self.registry.manifest(chosen.digest.as_str()).await?;
        if fetched.bytes.len() as u64 != chosen.size {
            return Err(Error::system(format!(
                "the manifest {} has {} bytes, {} were announced",
                chosen.digest,
                fetched.bytes.len(),
                chosen.size
            )));
        }
        match fetched.document {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(Error::system("an index in an index is not supported")),
        }
    }

    async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if descriptor.size > DOCUMENT_MAX_BYTES {
            return Err(Error::invalid("the image config is larger than 4 MiB"));
        }
        let mut response = self.registry.blob(&descriptor.digest, 0).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = next_chunk(&mut response).await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > descriptor.size {
                break;
            }
        }
        if bytes.len() as u64 != descriptor.size || Digest::of(&bytes) != descriptor.digest {
            return Err(Error::system(format!(
                "the image config does not have the digest {} and size {} that were announced",
                descriptor.digest, descriptor.size
            )));
        }
        Ok(bytes)
    }

    /// A layer into a file: resumed after an interruption, refused when it is not what was announced.
    async fn download(&self, layer: &Descriptor, path: &Path) -> Result<()> {
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|_| Error::system("the pull was cancelled"))?;
        let mut target = Partial {
            path: path.to_owned(),
            hasher: Hasher::new(),
            received: 0,
        };
        let mut pause = FIRST_PAUSE;
        let mut tries = TRIES;
        loop {
            let before = target.received;
            let result = self.download_on(layer, &mut target).await;
            match result {
                Ok(()) => break,
                Err(Interrupted::Wrong(error)) => return Err(error),
                Err(Interrupted::Broken(error)) => {
                    // Progress earns new tries: a slow line is not a dead one.
                    tries = if target.received > before {
                        TRIES
                    } else {
                        tries - 1
                    };
                    if tries == 0 {
                        return Err(error);
                    }
                    tracing::debug!(%error, digest = %layer.digest, "resume a download");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(4));
                }
            }
        }
        let digest = target.hasher.finish();
        if target.received != layer.size || digest != layer.digest {
            return Err(Error::system(format!(
                "filesystem layer verification failed for digest {}: {} bytes with the digest {digest} came, {} bytes were announced",
                layer.digest, target.received, layer.size
            )));
        }
        self.say(ProgressMessage::of(
            layer.digest.short(),
            "Download complete",
        ))
        .await;
        Ok(())
    }

    async fn download_on(
        &self,
        layer: &Descriptor,
        target: &mut Partial,
    ) -> std::result::Result<(), Interrupted> {
        let mut response = self
            .registry
            .blob(&layer.digest, target.received)
            .await
            .map_err(Interrupted::Broken)?;
        if target.received > 0 && response.status() != http::StatusCode::PARTIAL_CONTENT {
            target.hasher = Hasher::new();
            target.received = 0;
        }
        let mut file = target
            .open()
            .await
            .map_err(|error| Interrupted::Wrong(error.into()))?;
        let mut reported = Instant::now();
        while let Some(chunk) = next_chunk(&mut response)
            .await
            .map_err(Interrupted::Broken)?
        {
            target.received += chunk.len() as u64;
            if target.received > layer.size {
                return Err(Interrupted::Wrong(Error::system(format!(
                    "the layer {} is larger than the {} bytes that were announced",
                    layer.digest, layer.size
                ))));
            }
            target.hasher.update(&chunk);
            file.write_all(&chunk)
                .await
                .map_err(|error| Interrupted::Wrong(error.into()))?;
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                self.say(downloading(layer, target.received)).await;
            }
        }
        file.flush()
            .await
            .map_err(|error| Interrupted::Wrong(error.into()))?;
        match target.received < layer.size {
            true => Err(Interrupted::Broken(Error::system(format!(
                "the download of layer {} ended after {} of {} bytes",
                layer.digest, target.received, layer.size
            )))),
            false => Ok(()),
        }
    }
}

/// A file that grows.
struct Partial {
    path: PathBuf,
    hasher: Hasher,
    received: u64,
}

impl Partial {
    async fn open(&self) -> std::io::Result<tokio::fs::File> {
        tokio::fs::File::options()
            .create(true)
            .write(true)
            .append(self.received > 0)
            .truncate(self.received == 0)
            .open(&self.path)
            .await
    }
}

/// Why a download stopped: worth another try, or not.
enum Interrupted {
    Broken(Error),
    Wrong(Error),
}

fn downloading(layer: &Descriptor, received: u64) -> ProgressMessage {
    let shown = |bytes: u64| crate::units::human_size(bytes as f64, 4);
    ProgressMessage {
        detail: Some(ProgressDetail {
            current: Some(received),
            total: Some(layer.size),
        }),
        progress: Some(format!("{}/{}", shown(received), shown(layer.size))),
        ..ProgressMessage::of(layer.digest.short(), "Downloading")
    }
}
