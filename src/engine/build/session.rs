//! One build while it runs: what was asked, what is shared by its stages, and the image at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::base::sync::lock;
use crate::engine::base::{Error, ErrorKind, Result};
use crate::engine::build::event::{BuildError, BuildEvent, BuildResult, EventSender};
use crate::engine::build::stage_run::{Built, build_stage, view_of};
use crate::engine::build::stages::{Plan, PlannedStage, Source, source_of};
use crate::engine::build::{BuildRequest, Builder};
use crate::engine::images::{Image, Layers, Pin, RegistryAuth};
use crate::oci::runtime_spec::RootfsSource;
use crate::oci::{Digest, Platform, Reference};
use crate::sys::mount;
use crate::sys::rooted::Root;

/// What the stages of one build share.
pub(crate) struct BuildSession {
    pub(crate) builder: Arc<Builder>,
    pub(crate) request: BuildRequest,
    pub(crate) context: PathBuf,
    pub(crate) escape: char,
    pub(crate) platform: Platform,
    /// Global `ARG`s.
    pub(crate) arguments: BTreeMap<String, String>,
    pub(crate) total_steps: usize,
    pub(crate) events: EventSender,
    pub(crate) cancel: CancellationToken,
    stage_names: BTreeMap<usize, Option<String>>,
    /// Layers of the build, until an image or the cache holds them.
    pins: Mutex<Vec<Pin>>,
}

type StageFuture = Shared<BoxFuture<'static, BuildResult<Arc<Built>>>>;

impl BuildSession {
    pub(crate) fn new(
        builder: Arc<Builder>,
        request: BuildRequest,
        plan: &Plan,
        platform: Platform,
        events: EventSender,
        cancel: CancellationToken,
    ) -> Self {
        BuildSession {
            builder,
            context: request.context.clone(),
            request,
            escape: plan.escape,
            platform,
            arguments: plan.arguments.clone(),
            total_steps: plan
                .stages
                .values()
                .map(|stage| 1 + stage.steps.len())
                .sum(),
            events,
            cancel,
            stage_names: plan
                .stages
                .iter()
                .map(|(index, stage)| (*index, stage.from.name.clone()))
                .collect(),
            pins: Mutex::new(Vec::new()),
        }
    }

    pub(crate) async fn report(&self, event: BuildEvent) {
        // A client that went away cancels through the token.
        let _ = self.events.send(event).await;
    }

    pub(crate) fn check_cancelled(&self) -> Result<()> {
        match self.cancel.is_cancelled() || self.events.is_closed() {
            true => Err(Error::system("the build was cancelled")),
            false => Ok(()),
        }
    }

    pub(crate) fn layers(&self) -> &Arc<Layers> {
        self.builder.images().layers()
    }

    pub(crate) fn keep(&self, pin: Pin) {
        lock(&self.pins).push(pin);
    }

    /// What `--from` means in the stage `index`.
    pub(crate) fn source_of(&self, text: &str, index: usize) -> Source {
        // Stages that are not part of the build have no name here, and nothing needs them.
        let earlier: Vec<Option<String>> = (0..index)
            .map(|at| self.stage_names.get(&at).cloned().flatten())
            .collect();
        source_of(text, &earlier, true)
    }

    pub(crate) fn lowers(&self, top: Option<&Digest>) -> Result<Vec<PathBuf>> {
        let lowers = self.layers().lowers(top)?;
        match lowers.is_empty() {
            false => Ok(lowers),
            true => Ok(vec![self.builder.empty_folder()]),
        }
    }

    /// The file system below a layer, for reading.
    pub(crate) fn view(&self, top: Option<&Digest>) -> Result<Root> {
        view_of(&self.lowers(top)?)
    }

    /// A new snapshot's file system, for writing.
    pub(crate) fn writable(&self, snapshot: &str, top: Option<&Digest>) -> Result<Root> {
        let spec = self
            .builder
            .images()
            .snapshots()
            .prepare_scratch(snapshot, top)?;
        match spec.source {
            RootfsSource::Overlay {
                lowers,
                upper,
                work,
                ..
            } => {
                let paths: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
                Ok(Root::from_fd(mount::overlay(&paths, &upper, &work, true)?))
            }
            RootfsSource::Directory(path) => Ok(Root::open(&path)?),
        }
    }

    /// The image of a `FROM` or `--from`, pulled when it is not there.
    pub(crate) async fn image(
        &self,
        name: &str,
        wanted: &Platform,
        step: usize,
    ) -> BuildResult<Image> {
        let images = self.builder.images();
        let name = self
            .request
            .image_contexts
            .get(name)
            .map_or(name, String::as_str);
        let found = images.resolve(name);
        let is_wanted = |image: &Image| image.platform.rank_for(wanted).is_some();
        match found {
            Ok(image) if !self.request.pull && is_wanted(&image) => return Ok(image),
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Error::invalid(format!(
                    "failed to parse stage name {name:?}: {error}"
                ))
                .into());
            }
        }
        let reference = Reference::parse(name)
            .map_err(|error| {
                Error::invalid(format!("failed to parse stage name {name:?}: {error}"))
            })?
            .or_latest();
        let (sender, mut messages) = mpsc::channel(16);
        let none = RegistryAuth::default();
        let auth = self.request.auth_for(&reference.domain).unwrap_or(&none);
        let pull = images.pull(&reference, Some(wanted), auth, sender);
        let forward = async {
            while let Some(message) = messages.recv().await {
                self.report(BuildEvent::Pull { step, message }).await;
            }
        };
        let (pulled, ()) = tokio::join!(pull, forward);
        Ok(pulled.map_err(|error| error.context(reference.familiar()))?)
    }

    pub(crate) async fn download(
        &self,
        url: &str,
        checksum: Option<&str>,
        destination: &str,
        folder: &Path,
    ) -> BuildResult<String> {
        Ok(crate::engine::build::download::download(
            url,
            checksum,
            destination,
            folder,
            &self.cancel,
        )
        .await?)
    }

    /// Builds all stages, independent ones at the same time, and makes the image.
    pub(crate) async fn build(self: Arc<Self>, plan: Plan) -> BuildResult<Image> {
        let target = plan.target;
        let order: Vec<usize> = plan.stages.keys().copied().collect();
        let mut running: BTreeMap<usize, StageFuture> = BTreeMap::new();
        let mut step = 0;
        for (index, stage) in plan.stages {
            let needs: Vec<(usize, StageFuture)> = stage
                .needs
                .iter()
                .filter_map(|need| Some((*need, running.get(need)?.clone())))
                .collect();
            let first_step = step;
            step += 1 + stage.steps.len();
            let future = Arc::clone(&self).stage(stage, needs, first_step);
            let task = tokio::spawn(future);
            let joined = async move {
                match task.await {
                    Ok(result) => result,
                    Err(error) => {
                        Err(Error::system(format!("a stage was interrupted: {error}")).into())
                    }
                }
            };
            running.insert(index, joined.boxed().shared());
        }
        let mut failure = None;
        let mut result = None;
        for index in order {
            let Some(future) = running.remove(&index) else {
                continue;
            };
            match future.await {
                Ok(built) if index == target => result = Some(built),
                Ok(_) => {}
                Err(error) => {
                    // One failure ends the build; the others are told, not left running.
                    self.cancel.cancel();
                    failure.get_or_insert(error);
                }
            }
        }
        let session = Arc::clone(&self);
        let finished = tokio::task::spawn_blocking(move || match (failure, result) {
            (Some(error), _) => {
                session.keep_results()?;
                Err(error)
            }
            (None, Some(built)) => Ok(session.finish(&built)?),
            (None, None) => Err(Error::system("the target stage was not built").into()),
        });
        match finished.await {
            Ok(result) => result,
            Err(error) => Err(Error::system(format!("the build was interrupted: {error}")).into()),
        }
    }

    async fn stage(
        self: Arc<Self>,
        stage: PlannedStage,
        needs: Vec<(usize, StageFuture)>,
        first_step: usize,
    ) -> BuildResult<Arc<Built>> {
        let mut done = BTreeMap::new();
        for (index, future) in needs {
            done.insert(index, future.await?);
        }
        build_stage(self, stage, done, first_step)
            .await
            .map(Arc::new)
    }

    /// All layers made so far become durable, so that a repeated build finds them.
    fn keep_results(&self) -> BuildResult<()> {
        let made: BTreeSet<Digest> = lock(&self.pins)
            .iter()
            .map(|pin| pin.chain_id().clone())
            .collect();
        let made: Vec<Digest> = made.into_iter().collect();
        self.layers().commit(&made).map_err(BuildError::from)
    }

    fn finish(&self, built: &Built) -> Result<Image> {
        let mut config = built.config.clone();
        config.config.labels.extend(self.request.labels.clone());
        let text = config.to_json();
        let key = Digest::of(&[b"image\0", built.key.as_str().as_bytes(), &text].concat());
        let cache = self.builder.cache();
        // A build of what is known gives the image it gave before, to the last bit.
        let known = if self.request.no_cache {
            None
        } else {
            cache.find(&key)
        };
        let created = match known {
            Some(entry) => entry.created,
            None => cache.add(&key, built.top.as_ref(), false, "image")?.created,
        };
        for entry in &mut config.history {
            entry.created.get_or_insert_with(|| created.clone());
        }
        config.created = Some(created);
        let names = self
            .request
            .tags
            .iter()
            .map(|tag| {
                Reference::parse(tag)
                    .map(Reference::or_latest)
                    .map_err(|error| Error::invalid(format!("invalid tag {tag:?}: {error}")))
            })
            .collect::<Result<Vec<_>>>()?;
        let made: Vec<Digest> = lock(&self.pins)
            .iter()
            .map(|pin| pin.chain_id().clone())
            .collect();
        self.layers().commit(&made)?;
        let image = self
            .builder
            .images()
            .register(&config.to_json(), None, &names)?;
        for name in &names {
            self.builder
                .images()
                .announce("tag", &image.id, &name.familiar());
        }
        cache.trim()?;
        Ok(image)
    }
}
