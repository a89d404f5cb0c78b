//! Building one stage: its base, then step by step, each from the cache or anew.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::base::{Error, ErrorKind, Result};
use crate::engine::build::event::{BuildEvent, BuildResult};
use crate::engine::build::expand::{Lexer, Variables};
use crate::engine::build::instruction::{Instruction, Step};
use crate::engine::build::lexer;
use crate::engine::build::metadata;
use crate::engine::build::run;
use crate::engine::build::session::BuildSession;
use crate::engine::build::stages::{PlannedStage, Source, platform_arguments};
use crate::oci::image_config::History;
use crate::oci::{Digest, ImageConfig, RunConfig};
use crate::sys::mount;
use crate::sys::rooted::Root;

/// A stage that is done.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// History entries without a time are given one when the image is made.
    pub(crate) config: ImageConfig,
    pub(crate) top: Option<Digest>,
    /// Everything the stage depends on.
    pub(crate) key: Digest,
}

/// A stage under way.
pub(crate) struct StageRun {
    pub(crate) session: Arc<BuildSession>,
    pub(crate) stage: PlannedStage,
    /// Results of the stages it needs.
    done: BTreeMap<usize, Arc<Built>>,
    pub(crate) built: Built,
    /// `ARG`s so far with their values.
    pub(crate) args: BTreeMap<String, String>,
    has_cmd: bool,
    pub(crate) step: usize,
}

/// The environment of the image wins over `ARG`s.
pub(crate) struct StageVariables<'a> {
    pub(crate) config: &'a RunConfig,
    pub(crate) args: &'a BTreeMap<String, String>,
}

impl Variables for StageVariables<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let of_env = |entry: &'_ String| -> Option<usize> {
            let (have, _) = entry.split_once('=')?;
            (have == name).then_some(have.len() + 1)
        };
        self.config
            .env
            .iter()
            .find_map(|entry| of_env(entry).map(|at| &entry[at..]))
            .or_else(|| self.args.get(name).map(String::as_str))
    }
}

/// The next link of a chain of keys.
pub(crate) fn chained(key: &Digest, parts: &[&str]) -> Digest {
    let mut text = key.to_string();
    for part in parts {
        text.push('\0');
        text.push_str(part);
    }
    Digest::of(text.as_bytes())
}

/// Builds a stage whose needs are done. `first_step` is the number of its `FROM`.
pub(crate) async fn build_stage(
    session: Arc<BuildSession>,
    stage: PlannedStage,
    done: BTreeMap<usize, Arc<Built>>,
    first_step: usize,
) -> BuildResult<Built> {
    let mut run = StageRun {
        built: Built {
            config: ImageConfig::scratch(&session.platform),
            top: None,
            key: Digest::of(b"scratch"),
        },
        session,
        stage,
        done,
        args: BTreeMap::new(),
        has_cmd: false,
        step: first_step,
    };
    let from = run.stage.from.original.clone();
    run.report_start(from).await;
    let result = run.base().await;
    run.report_end(&result).await;
    result?;
    let triggers = run.triggers()?;
    let steps = std::mem::take(&mut run.stage.steps);
    for step in triggers {
        run.one(&step, false).await?;
    }
    for step in &steps {
        run.one(step, true).await?;
    }
    Ok(run.built)
}

impl StageRun {
    async fn report_start(&self, name: String) {
        self.session
            .report(BuildEvent::Started {
                step: self.step,
                total: self.session.total_steps,
                stage: self.stage.label.clone(),
                name,
            })
            .await;
    }

    async fn report_end<T>(&self, result: &BuildResult<T>) {
        let step = self.step;
        let event = match result {
            Ok(_) => BuildEvent::Done { step },
            Err(error) => BuildEvent::Failed {
                step,
                message: error.to_string(),
            },
        };
        self.session.report(event).await;
    }

    async fn base(&mut self) -> BuildResult<()> {
        let wanted = self
            .stage
            .platform
            .clone()
            .unwrap_or_else(|| self.session.platform.clone());
        match self.stage.base.clone() {
            Source::Scratch => {}
            Source::Stage(index) => {
                let base = self.done_stage(index)?;
                self.built = Built::clone(&base);
            }
            Source::Image(name) => {
                let image = self.session.image(&name, &wanted, self.step).await?;
                self.built = Built {
                    key: Digest::of(image.id.as_str().as_bytes()),
                    top: image.chain.last().cloned(),
                    config: image.config,
                };
            }
        }
        Ok(())
    }

    pub(crate) fn done_stage(&self, index: usize) -> Result<Arc<Built>> {
        self.done
            .get(&index)
            .cloned()
            .ok_or_else(|| Error::system(format!("stage {index} is not built")))
    }

    /// `ONBUILD` instructions of the base; they run once.
    fn triggers(&mut self) -> Result<Vec<Step>> {
        let texts = std::mem::take(&mut self.built.config.config.on_build);
        let mut steps = Vec::new();
        for text in texts {
            let invalid = |error: lexer::DockerfileError| {
                Error::invalid(format!(
                    "ONBUILD trigger {text:?} of the base image: {}",
                    error.message
                ))
            };
            let lexed = lexer::lex(&text).map_err(invalid)?;
            for line in lexed.lines {
                steps.push(
                    crate::engine::build::instruction::parse_step(line, lexed.escape)
                        .map_err(invalid)?,
                );
            }
        }
        Ok(steps)
    }

    async fn one(&mut self, step: &Step, counted: bool) -> BuildResult<()> {
        if counted {
            self.step += 1;
        }
        self.session.check_cancelled()?;
        self.report_start(step.original.clone()).await;
        let result = self.apply(step).await.map_err(|mut error| {
            if error.code.is_none() && error.error.kind == ErrorKind::Invalid && counted {
                error.error = error
                    .error
                    .context(format!("dockerfile line {}", step.span.start));
            }
            error
        });
        self.report_end(&result).await;
        result
    }

    fn lexer(&self) -> Lexer {
        Lexer::dockerfile(self.session.escape)
    }

    pub(crate) fn expand(&self, text: &str) -> Result<String> {
        let variables = StageVariables {
            config: &self.built.config.config,
            args: &self.args,
        };
        self.lexer()
            .word(text, &variables)
            .map_err(|error| Error::invalid(format!("failed to process {text:?}: {error}")))
    }

    async fn apply(&mut self, step: &Step) -> BuildResult<()> {
        match &step.instruction {
            Instruction::Arg(arguments) => self.declare(arguments, &step.original),
            Instruction::Run(run) => self.run(run).await,
            Instruction::Copy(copy) | Instruction::Add(copy) => self.copy(copy).await,
            Instruction::Workdir(_) => {
                self.metadata(step)?;
                self.make_workdir().await
            }
            Instruction::Maintainer(name) => {
                self.built.config.author = self.expand(name)?;
                self.metadata(step)
            }
            _ => self.metadata(step),
        }
    }

    fn history(&mut self, created_by: String, created: Option<String>, empty_layer: bool) {
        self.built.config.history.push(History {
            created,
            created_by,
            empty_layer,
            ..History::default()
        });
    }

    fn metadata(&mut self, step: &Step) -> BuildResult<()> {
        let lexer = self.lexer();
        let mut config = self.built.config.config.clone();
        let variables = StageVariables {
            config: &self.built.config.config,
            args: &self.args,
        };
        metadata::apply(
            &step.instruction,
            &mut config,
            &mut self.has_cmd,
            &lexer,
            &variables,
        )
        .map_err(|error| Error::invalid(error.to_string()))?;
        self.built.config.config = config;
        let text = serde_json::to_string(&self.built.config.config).unwrap_or_default();
        self.built.key = chained(
            &self.built.key,
            &["config", &text, &self.built.config.author],
        );
        if !matches!(step.instruction, Instruction::Workdir(_)) {
            self.history(step.original.clone(), None, true);
        }
        Ok(())
    }

    fn declare(
        &mut self,
        arguments: &[(String, Option<String>)],
        original: &str,
    ) -> BuildResult<()> {
        let platform = platform_arguments(&self.session.platform);
        for (name, default) in arguments {
            let name = self.expand(name)?;
            let given = self
                .session
                .request
                .build_args
                .get(&name)
                .cloned()
                .flatten();
            let value = match (given, default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(self.expand(default)?),
                (None, None) => self
                    .session
                    .arguments
                    .get(&name)
                    .or_else(|| platform.get(&name))
                    .cloned(),
            };
            match value {
                Some(value) => self.args.insert(name, value),
                None => self.args.remove(&name),
            };
        }
        self.history(original.to_owned(), None, true);
        Ok(())
    }

    /// `NAME=value` of all arguments that have a value.
    pub(crate) fn argument_env(&self) -> Vec<String> {
        self.args
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// Takes a layer from the cache; what to do when there is none is the caller's.
    pub(crate) async fn take_cached(&mut self, key: &Digest, created_by: &str) -> bool {
        if self.session.request.no_cache {
            return false;
        }
        let Some(entry) = self.session.builder.cache().find(key) else {
            return false;
        };
        let mut diff_id = None;
        if entry.has_layer {
            let Some(pin) = entry
                .layer
                .as_ref()
                .and_then(|layer| self.session.layers().pin(layer))
            else {
                return false;
            };
            diff_id = self
                .session
                .layers()
                .get(pin.chain_id())
                .map(|layer| layer.diff_id);
            self.session.keep(pin);
        }
        self.session
            .report(BuildEvent::Cached { step: self.step })
            .await;
        self.built.config.rootfs.diff_ids.extend(diff_id);
        self.built.top = entry.layer;
        self.built.key = key.clone();
        self.history(created_by.to_owned(), Some(entry.created), !entry.has_layer);
        true
    }

    /// Takes the directory `upper` of snapshot `id` as the step's layer.
    pub(crate) async fn commit(
        &mut self,
        id: &str,
        upper: PathBuf,
        key: Digest,
        created_by: String,
    ) -> BuildResult<()> {
        let session = Arc::clone(&self.session);
        let parent = self.built.top.clone();
        let snapshot = id.to_owned();
        let pin = blocking(move || {
            let pin = session
                .layers()
                .adopt(parent.as_ref(), &upper, &session.cancel)?;
            session.builder.images().snapshots().remove(&snapshot)?;
            Ok(pin)
        })
        .await?;
        let layer = self.session.layers().get(pin.chain_id());
        self.built.top = Some(pin.chain_id().clone());
        self.built
            .config
            .rootfs
            .diff_ids
            .extend(layer.map(|layer| layer.diff_id));
        self.session.keep(pin);
        let entry =
            self.session
                .builder
                .cache()
                .add(&key, self.built.top.as_ref(), true, &created_by)?;
        self.built.key = key;
        self.history(created_by, Some(entry.created), false);
        Ok(())
    }

    async fn make_workdir(&mut self) -> BuildResult<()> {
        let path = self.built.config.config.working_dir.clone();
        let created_by = format!("WORKDIR {path}");
        let key = chained(&self.built.key, &["workdir", &path]);
        if self.take_cached(&key, &created_by).await {
            return Ok(());
        }
        let (session, top) = (Arc::clone(&self.session), self.built.top.clone());
        let wanted = path.clone();
        let exists = blocking(move || {
            let view = session.view(top.as_ref())?;
            Ok(view
                .stat_target(wanted.as_bytes())?
                .is_some_and(|stat| stat.st_mode & 0o170_000 == 0o040_000))
        })
        .await?;
        if exists {
            self.built.key = key;
            self.history(created_by, None, true);
            return Ok(());
        }
        let id = run::random_id()?;
        let (session, top, snapshot) = (
            Arc::clone(&self.session),
            self.built.top.clone(),
            id.clone(),
        );
        let made = blocking(move || {
            let root = session.writable(&snapshot, top.as_ref())?;
            root.ensure_dir(path.as_bytes(), &mut |_, _| Ok(()))
                .map_err(|error| Error::invalid(format!("WORKDIR {path}: {error}")))?;
            drop(root);
            session.builder.images().snapshots().upper(&snapshot)
        })
        .await;
        self.finish_step(&id, made, key, created_by).await
    }

    /// Commits what a step made, or removes it.
    pub(crate) async fn finish_step(
        &mut self,
        id: &str,
        made: BuildResult<PathBuf>,
        key: Digest,
        created_by: String,
    ) -> BuildResult<()> {
        let result = match made {
            Ok(upper) => self.commit(id, upper, key, created_by).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            let (session, id) = (Arc::clone(&self.session), id.to_owned());
            blocking(move || session.builder.images().snapshots().remove(&id)).await?;
        }
        result
    }

    /// The directories of what `--from` names, topmost first.
    pub(crate) async fn tree(&self, from: &str) -> BuildResult<Vec<PathBuf>> {
        let top = match self.session.source_of(from, self.stage.index) {
            Source::Scratch => None,
            Source::Stage(index) => self.done_stage(index)?.top.clone(),
            Source::Image(name) => {
                if let Some(folder) = self.session.request.contexts.get(&name) {
                    return Ok(vec![folder.clone()]);
                }
                let image = self
                    .session
                    .image(&name, &self.session.platform.clone(), self.step)
                    .await?;
                image.chain.last().cloned()
            }
        };
        Ok(self.session.lowers(top.as_ref())?)
    }
}

/// One root over directories, topmost first.
pub(crate) fn view_of(lowers: &[PathBuf]) -> Result<Root> {
    match lowers {
        [only] => Ok(Root::open(only)?),
        many => {
            let paths: Vec<&std::path::Path> = many.iter().map(PathBuf::as_path).collect();
            Ok(Root::from_fd(mount::overlay_view(&paths)?))
        }
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> BuildResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Error::system(format!("a build step was interrupted: {error}")).into()),
    }
}
