//! Building one stage: its base, then step by step, each from the cache or anew.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::base::{Error, ErrorKind, Result};
use crate::engine::build::account;
use crate::engine::build::chmod::Chmod;
use crate::engine::build::copy::{self, Target};
use crate::engine::build::event::{BuildEvent, BuildResult};
use crate::engine::build::expand::{Lexer, Variables};
use crate::engine::build::instruction::{Command, Copy, Instruction, Run, Step};
use crate::engine::build::lexer;
use crate::engine::build::metadata::{self, arguments_of, joined};
use crate::engine::build::run::{self, RunRequest};
use crate::engine::build::run_mounts::{MountOptions, MountType};
use crate::engine::build::session::BuildSession;
use crate::engine::build::stages::{PROXY_ARGUMENTS, PlannedStage, Source, platform_arguments};
use crate::engine::build::step_mounts::{StepMounts, View};
use crate::oci::dockerignore::PatternSet;
use crate::oci::image_config::History;
use crate::oci::{Digest, ImageConfig, RunConfig};
use crate::sys::mount;
use crate::sys::rooted::Root;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
    session: Arc<BuildSession>,
    stage: PlannedStage,
    /// Results of the stages it needs.
    done: BTreeMap<usize, Arc<Built>>,
    built: Built,
    /// `ARG`s so far with their values.
    args: BTreeMap<String, String>,
    has_cmd: bool,
    step: usize,
}

/// The environment of the image wins over `ARG`s.
struct StageVariables<'a> {
    config: &'a RunConfig,
    args: &'a BTreeMap<String, String>,
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
fn chained(key: &Digest, parts: &[&str]) -> Digest {
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

    fn done_stage(&self, index: usize) -> Result<Arc<Built>> {
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

    fn expand(&self, text: &str) -> Result<String> {
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
    fn argument_env(&self) -> Vec<String> {
        self.args
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// Takes a layer from the cache; what to do when there is none is the caller's.
    async fn take_cached(&mut self, key: &Digest, created_by: &str) -> bool {
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
    async fn commit(
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
    async fn finish_step(
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

    async fn copy(&mut self, copy: &Copy) -> BuildResult<()> {
        let sources = copy
            .sources
            .iter()
            .map(|source| self.expand(source))
            .collect::<Result<Vec<_>>>()?;
        let destination = self.expand(&copy.destination)?;
        let chown = copy
            .chown
            .as_deref()
            .map(|text| self.expand(text))
            .transpose()?;
        let chmod = copy
            .chmod
            .as_deref()
            .map(|text| self.expand(text))
            .transpose()?;
        let keyword = if copy.is_add { "ADD" } else { "COPY" };
        let count = sources.len() + copy.inline.len();
        let is_dir = destination.ends_with('/')
            || matches!(destination.as_str(), "." | "..")
            || destination.ends_with("/.");
        if count > 1 && !is_dir {
            return Err(Error::invalid(format!(
                "When using {keyword} with more than one source file, the destination must be a directory and end with a /"
            ))
            .into());
        }
        let parsed_chmod = chmod
            .as_deref()
            .map(Chmod::parse)
            .transpose()
            .map_err(Error::invalid)?;
        let mut exclude = Vec::new();
        for pattern in &copy.exclude {
            exclude.push(self.expand(pattern)?);
        }
        let exclude =
            PatternSet::new(&exclude).map_err(|error| Error::invalid(error.to_string()))?;
        let source = self.copy_source(copy, sources, &destination).await?;
        let job = CopyJob {
            session: Arc::clone(&self.session),
            top: self.built.top.clone(),
            source,
            destination: joined(&self.built.config.config.working_dir, &destination),
            is_dir: is_dir || count > 1,
            chown: chown.clone(),
            chmod: parsed_chmod,
            exclude,
            parents: copy.parents,
            unpack: copy.is_add && copy.unpack.unwrap_or(true),
            keep_owner: copy.from.is_some(),
        };
        let (job, content) = blocking(move || {
            let content = job.digest()?;
            Ok((job, content))
        })
        .await?;
        let created_by = format!("{keyword} {} in {}", copy.sources.join(" "), destination);
        let key = chained(
            &self.built.key,
            &[
                keyword,
                content.as_str(),
                &job.destination,
                if job.is_dir { "dir" } else { "" },
                chown.as_deref().unwrap_or(""),
                chmod.as_deref().unwrap_or(""),
                &format!("{} {}", job.parents, job.unpack),
            ],
        );
        if self.take_cached(&key, &created_by).await {
            return Ok(());
        }
        let id = run::random_id()?;
        let snapshot = id.clone();
        let made = blocking(move || job.copy(&snapshot)).await;
        self.finish_step(&id, made, key, created_by).await
    }

    /// Where the files of a `COPY` or `ADD` are.
    async fn copy_source(
        &self,
        copy: &Copy,
        sources: Vec<String>,
        destination: &str,
    ) -> BuildResult<CopySource> {
        let mut lowers = match &copy.from {
            None => Vec::from([self.session.context.clone()]),
            Some(from) => self.tree(from).await?,
        };
        let is_url = |text: &String| {
            copy.is_add && (text.starts_with("http://") || text.starts_with("https://"))
        };
        let is_git = |text: &String| {
            copy.is_add
                && (text.starts_with("git@") || text.ends_with(".git") && text.contains("://"))
        };
        if let Some(git) = sources.iter().find(|text| is_git(text)) {
            return Err(Error::not_implemented(format!(
                "ADD of the git repository {git} is not supported yet"
            ))
            .into());
        }
        let mut folder = None;
        let mut names = Vec::new();
        let has_extra = !copy.inline.is_empty() || sources.iter().any(is_url);
        if has_extra {
            let scratch = self.session.layers().scratch("add-")?;
            for heredoc in &copy.inline {
                let content = match heredoc.expand {
                    true => self.expand_heredoc(&heredoc.content)?,
                    false => heredoc.content.clone(),
                };
                let name = heredoc.name.rsplit('/').next().unwrap_or("file");
                std::fs::write(scratch.path().join(name), content)?;
                names.push(name.to_owned());
            }
            for url in sources.iter().filter(|text| is_url(text)) {
                let checksum = copy
                    .checksum
                    .as_deref()
                    .map(|text| self.expand(text))
                    .transpose()?;
                let name = self
                    .session
                    .download(url, checksum.as_deref(), destination, scratch.path())
                    .await?;
                names.push(name);
            }
            lowers.insert(0, scratch.path().to_owned());
            folder = Some(scratch);
        } else if copy.checksum.is_some() {
            return Err(Error::invalid("checksum requires HTTP(S) sources").into());
        }
        names.extend(sources.into_iter().filter(|text| !is_url(text)));
        Ok(CopySource {
            lowers,
            names,
            _folder: folder,
        })
    }

    fn expand_heredoc(&self, content: &str) -> Result<String> {
        let lexer = Lexer {
            escape: self.session.escape,
            quotes: crate::engine::build::expand::Quotes::Ignore,
            keep_unset: false,
        };
        let variables = StageVariables {
            config: &self.built.config.config,
            args: &self.args,
        };
        lexer
            .word(content, &variables)
            .map_err(|error| Error::invalid(error.to_string()))
    }

    /// The directories of what `--from` names, topmost first.
    async fn tree(&self, from: &str) -> BuildResult<Vec<PathBuf>> {
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

    async fn run(&mut self, run: &Run) -> BuildResult<()> {
        if let Some(security) = run.security.as_deref().filter(|text| *text != "sandbox") {
            return Err(
                Error::forbidden(format!("RUN --security={security} is not allowed")).into(),
            );
        }
        let network = match run.network.as_deref() {
            None | Some("default") => self.session.request.network_mode.clone(),
            Some(name @ ("none" | "host")) => name.to_owned(),
            Some(other) => {
                return Err(Error::invalid(format!("invalid network mode: {other}")).into());
            }
        };
        let (args, script) = self.command_of(run);
        let arguments = self.argument_env();
        let mut created_by = String::from("RUN ");
        if !arguments.is_empty() {
            created_by.push_str(&format!("|{} {} ", arguments.len(), arguments.join(" ")));
        }
        created_by.push_str(&args.join(" "));
        let mounts = run
            .mounts
            .iter()
            .map(|text| MountOptions::parse(&self.expand(text)?).map_err(Error::invalid))
            .collect::<Result<Vec<_>>>()?;
        let mut inputs = String::new();
        for mount in mounts.iter().filter(|mount| mount.kind == MountType::Bind) {
            inputs.push_str(self.mount_input(mount).await?.as_str());
        }
        let key = chained(
            &self.built.key,
            &[
                "run",
                &args.join("\0"),
                &arguments.join("\0"),
                &run.mounts.join("\0"),
                script.as_deref().unwrap_or(""),
                &inputs,
                &network,
            ],
        );
        if self.take_cached(&key, &created_by).await {
            return Ok(());
        }
        let id = run::random_id()?;
        let made = self.run_container(&id, args, script, mounts, network).await;
        self.finish_step(&id, made, key, created_by).await
    }

    /// The arguments, and the script they run when the whole command is a here-document with an interpreter line.
    fn command_of(&self, run: &Run) -> (Vec<String>, Option<String>) {
        let config = &self.built.config.config;
        let (Some(first), Command::Shell(text)) = (run.heredocs.first(), &run.command) else {
            return (arguments_of(&run.command, config), None);
        };
        let is_whole = run.heredocs.len() == 1 && lexer::heredoc_of(text.trim()).is_some();
        if is_whole && first.content.starts_with("#!") {
            return (
                vec![format!("/dev/pipes/{}", first.name)],
                Some(first.content.clone()),
            );
        }
        let script = match is_whole {
            true => first.content.clone(),
            false => run.heredocs.iter().fold(text.clone(), |text, heredoc| {
                format!("{text}\n{}{}", heredoc.content, heredoc.name)
            }),
        };
        (arguments_of(&Command::Shell(script), config), None)
    }

    /// What a bind mount shows, for the cache key.
    async fn mount_input(&self, mount: &MountOptions) -> BuildResult<Digest> {
        let lowers = match &mount.from {
            None => vec![self.session.context.clone()],
            Some(from) => self.tree(from).await?,
        };
        let source = mount.source.clone().unwrap_or_else(|| "/".to_owned());
        blocking(move || {
            let root = view_of(&lowers)?;
            let selected = copy::select(&root, &[source])?;
            copy::digest(&root, &selected, &PatternSet::default(), true)
        })
        .await
    }

    async fn run_container(
        &self,
        id: &str,
        args: Vec<String>,
        script: Option<String>,
        options: Vec<MountOptions>,
        network: String,
    ) -> BuildResult<PathBuf> {
        let config = &self.built.config.config;
        let cwd = match config.working_dir.as_str() {
            "" => "/".to_owned(),
            path => path.to_owned(),
        };
        let mut mounts = StepMounts::new(self.session.builder.run_folder().join(id))?;
        for mount in &options {
            self.add_mount(&mut mounts, mount, &cwd).await?;
        }
        if let Some(script) = script {
            mounts.file(&args[0], script.as_bytes(), 0o755, (0, 0))?;
        }
        let mut targets: Vec<String> = run::ALWAYS_MOUNTED
            .iter()
            .map(|path| (*path).to_owned())
            .collect();
        targets.extend(mounts.targets.iter().cloned());
        let (session, top, user) = (
            Arc::clone(&self.session),
            self.built.top.clone(),
            config.user.clone(),
        );
        let (account, stubs) = blocking(move || {
            let view = session.view(top.as_ref())?;
            Ok((
                account::resolve(&view, &user)?,
                run::stubs(&view, &targets)?,
            ))
        })
        .await?;
        let request = RunRequest {
            step: self.step,
            top: self.built.top.clone(),
            env: self.environment(&mounts.env, &account.home),
            args,
            cwd,
            account,
            mounts: std::mem::take(&mut mounts.mounts),
            network,
            extra_hosts: self.session.request.extra_hosts.clone(),
            shm_size: self.session.request.shm_size,
            stubs,
        };
        let services = self.session.builder.run_services();
        let result = run::run(
            services,
            id,
            request,
            &self.session.events,
            &self.session.cancel,
        )
        .await;
        // Views are unmounted only now that nothing uses them.
        blocking(move || {
            drop(mounts);
            Ok(())
        })
        .await?;
        result
    }

    async fn add_mount(
        &self,
        mounts: &mut StepMounts,
        mount: &MountOptions,
        cwd: &str,
    ) -> BuildResult<()> {
        match mount.kind {
            MountType::Tmpfs => mounts.tmpfs(mount, cwd),
            MountType::Cache => {
                let builder = &self.session.builder;
                mounts
                    .cache(mount, cwd, &builder.cache_mounts(), builder.cache_locks())
                    .await?;
            }
            MountType::Secret => {
                let id = mount
                    .id
                    .clone()
                    .or_else(|| mount.source.clone())
                    .unwrap_or_default();
                let value = self.session.request.secrets.get(&id);
                mounts.secret(mount, value.map(Vec::as_slice))?;
            }
            MountType::Ssh if mount.required => {
                return Err(
                    Error::not_implemented("RUN --mount=type=ssh is not supported yet").into(),
                );
            }
            // Not required: the command sees no agent.
            MountType::Ssh => {}
            MountType::Bind => {
                let lowers = match &mount.from {
                    None => vec![self.session.context.clone()],
                    Some(from) => self.tree(from).await?,
                };
                mounts.bind(mount, cwd, &View { lowers })?;
            }
        }
        Ok(())
    }

    fn environment(&self, secrets: &[String], home: &str) -> Vec<String> {
        let mut env = self.built.config.config.env.clone();
        let has = |env: &[String], name: &str| {
            env.iter()
                .any(|entry| entry.split('=').next() == Some(name))
        };
        let args = &self.session.request.build_args;
        let proxies = PROXY_ARGUMENTS
            .iter()
            .filter_map(|name| Some(format!("{name}={}", args.get(*name)?.as_deref()?)));
        let further: Vec<String> = self
            .argument_env()
            .into_iter()
            .chain(proxies)
            .chain(secrets.iter().cloned())
            .chain([DEFAULT_PATH.to_owned(), format!("HOME={home}")])
            .collect();
        for entry in further {
            let name = entry.split('=').next().unwrap_or("").to_owned();
            if !has(&env, &name) {
                env.push(entry);
            }
        }
        env
    }
}

/// Files to copy, from directories laid over each other.
struct CopySource {
    lowers: Vec<PathBuf>,
    names: Vec<String>,
    /// Holds what was made for this step only.
    _folder: Option<tempfile::TempDir>,
}

struct CopyJob {
    session: Arc<BuildSession>,
    top: Option<Digest>,
    source: CopySource,
    destination: String,
    is_dir: bool,
    chown: Option<String>,
    chmod: Option<Chmod>,
    exclude: PatternSet,
    parents: bool,
    unpack: bool,
    keep_owner: bool,
}

impl CopyJob {
    fn digest(&self) -> Result<Digest> {
        let root = view_of(&self.source.lowers)?;
        let selected = copy::select(&root, &self.source.names)?;
        copy::digest(&root, &selected, &self.exclude, self.keep_owner)
    }

    fn copy(self, snapshot: &str) -> Result<PathBuf> {
        let from = view_of(&self.source.lowers)?;
        let selected = copy::select(&from, &self.source.names)?;
        let root = self.session.writable(snapshot, self.top.as_ref())?;
        let owner = match &self.chown {
            Some(text) => Some(account::resolve_owner(&root, text)?),
            None if self.keep_owner || self.unpack => None,
            None => Some((0, 0)),
        };
        copy::copy(
            &from,
            &selected,
            &Target {
                root: &root,
                destination: self.destination,
                is_dir: self.is_dir,
                owner,
                chmod: self.chmod,
                exclude: &self.exclude,
                parents: self.parents,
                unpack: self.unpack,
                cancel: &self.session.cancel,
            },
        )?;
        drop(root);
        self.session.builder.images().snapshots().upper(snapshot)
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> BuildResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Error::system(format!("a build step was interrupted: {error}")).into()),
    }
}
