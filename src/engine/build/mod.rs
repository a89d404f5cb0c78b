//! The Dockerfile builder: a context and a Dockerfile become an image. It runs steps through the shim and
//! keeps what they made; it knows no HTTP.
//!
//! ```text
//! text ─lexer→ Line ─instruction→ Dockerfile ─stages→ Plan ─session→ stage by stage ─stage_run→ layers → image
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::engine::base::{Error, Paths, Result};
use crate::engine::images::{Image, Images, RegistryAuth};
use crate::engine::networks::Networks;
use crate::oci::Platform;

mod account;
pub(crate) mod cache;
mod chmod;
pub(crate) mod context;
pub(crate) mod context_writer;
mod copy;
mod download;
pub(crate) mod event;
mod expand;
mod instruction;
mod lexer;
mod metadata;
mod run;
mod run_mounts;
mod session;
mod stage_copy;
mod stage_exec;
mod stage_run;
mod stages;
mod step_mounts;

pub(crate) use cache::Cache;
pub(crate) use event::{BuildEvent, BuildResult, EventSender};

use run::RunServices;
use step_mounts::CacheLocks;

/// What a client asks for. `Default` is an ordinary build of `Dockerfile`.
#[derive(Debug, Clone, Default)]
pub(crate) struct BuildRequest {
    /// The unpacked context, the caller's to remove.
    pub(crate) context: PathBuf,
    /// The Dockerfile's text, when it is not in the context.
    pub(crate) dockerfile_text: Option<String>,
    /// Below the context; empty is `Dockerfile`.
    pub(crate) dockerfile: String,
    pub(crate) build_args: BTreeMap<String, Option<String>>,
    pub(crate) target: String,
    pub(crate) tags: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) no_cache: bool,
    pub(crate) pull: bool,
    pub(crate) platform: Option<Platform>,
    /// Empty or `default` is the default bridge.
    pub(crate) network_mode: String,
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
    pub(crate) shm_size: Option<u64>,
    /// Named contexts: directories for `--from`.
    pub(crate) contexts: BTreeMap<String, PathBuf>,
    /// Named contexts: image names instead of those in the Dockerfile.
    pub(crate) image_contexts: BTreeMap<String, String>,
    /// By registry host.
    pub(crate) auth: BTreeMap<String, RegistryAuth>,
}

impl BuildRequest {
    /// Credentials for a registry, under any of the names clients use for it.
    pub(crate) fn auth_for(&self, domain: &str) -> Option<&RegistryAuth> {
        let hub = (domain == "docker.io").then_some("https://index.docker.io/v1/");
        self.auth
            .get(domain)
            .or_else(|| self.auth.get(&format!("https://{domain}")))
            .or_else(|| self.auth.get(hub?))
    }
}

/// The build service.
pub(crate) struct Builder {
    services: RunServices,
    cache: Cache,
    locks: CacheLocks,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn open(
        images: Arc<Images>,
        networks: Arc<Networks>,
        paths: &Paths,
    ) -> Result<Arc<Self>> {
        let cache = Cache::open(paths.build().join("cache"), Arc::clone(&images))?;
        step_mounts::sweep(&paths.run_root().join("build"))?;
        Ok(Arc::new(Builder {
            services: RunServices {
                images,
                networks,
                paths: paths.clone(),
            },
            cache,
            locks: CacheLocks::default(),
        }))
    }

    pub(crate) fn images(&self) -> &Arc<Images> {
        &self.services.images
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    fn run_services(&self) -> &RunServices {
        &self.services
    }

    fn cache_locks(&self) -> &CacheLocks {
        &self.locks
    }

    /// Directories of `--mount=type=cache`.
    fn cache_mounts(&self) -> PathBuf {
        self.services.paths.build().join("mounts")
    }

    /// What steps need while they run.
    fn run_folder(&self) -> PathBuf {
        self.services.paths.run_root().join("build")
    }

    fn empty_folder(&self) -> PathBuf {
        self.services.paths.images().join("empty")
    }

    /// Builds and tags. What goes wrong in the Dockerfile's text is an error before the first event.
    pub(crate) async fn build(
        self: &Arc<Self>,
        request: BuildRequest,
        events: EventSender,
        cancel: CancellationToken,
    ) -> BuildResult<Image> {
        let platform = request.platform.clone().unwrap_or_else(Platform::host);
        let plan = prepare(&request, &platform)?;
        for warning in &plan.warnings {
            // Nobody listening is found out at the first step.
            let _ = events.send(BuildEvent::Warning(warning.clone())).await;
        }
        let session = Arc::new(session::BuildSession::new(
            Arc::clone(self),
            request,
            &plan,
            platform,
            events,
            cancel,
        ));
        session.build(plan).await
    }

    /// Checks a request as far as it can be without building.
    pub(crate) fn check(&self, request: &BuildRequest) -> Result<()> {
        let platform = request.platform.clone().unwrap_or_else(Platform::host);
        prepare(request, &platform).map(drop)
    }
}

fn prepare(request: &BuildRequest, platform: &Platform) -> Result<stages::Plan> {
    let text = match &request.dockerfile_text {
        Some(text) => text.clone(),
        None => context::read_dockerfile(&request.context, &request.dockerfile)?,
    };
    let invalid = |error: lexer::DockerfileError| Error::invalid(error.to_string());
    let lexed = lexer::lex(&text).map_err(invalid)?;
    let dockerfile = instruction::parse(lexed).map_err(invalid)?;
    let options = stages::PlanOptions {
        target: &request.target,
        build_args: &request.build_args,
        platform,
    };
    stages::plan(dockerfile, &options).map_err(invalid)
}

/// Ids of the secrets a Dockerfile mentions; none when it cannot be read, which the build will say.
pub(crate) fn secret_ids(text: &str) -> Vec<String> {
    let parsed = lexer::lex(text).and_then(instruction::parse);
    let mut ids = Vec::new();
    for step in parsed
        .into_iter()
        .flat_map(|file| file.stages)
        .flat_map(|stage| stage.steps)
    {
        if let instruction::Instruction::Run(run) = step.instruction {
            let mounts = run
                .mounts
                .iter()
                .filter_map(|text| run_mounts::MountOptions::parse(text).ok());
            ids.extend(mounts.filter_map(|mount| mount.secret_id()));
        }
    }
    ids.sort();
    ids.dedup();
    ids
}

/// Applies the instructions of `commit --change` and `import --change` to a config.
pub(crate) fn apply_changes(config: &mut crate::oci::RunConfig, changes: &[String]) -> Result<()> {
    let invalid = |message: String| Error::invalid(message);
    for change in changes.iter().filter(|change| !change.trim().is_empty()) {
        let lexed = lexer::lex(change).map_err(|error| invalid(error.message))?;
        for line in lexed.lines {
            let step = instruction::parse_step(line, lexed.escape)
                .map_err(|error| invalid(error.message))?;
            let mut has_cmd = true;
            let known = metadata::apply(
                &step.instruction,
                config,
                &mut has_cmd,
                &expand::Lexer::dockerfile(lexed.escape),
                &expand::NoVariables,
            )
            .map_err(|error| invalid(error.to_string()))?;
            if !known {
                let keyword = step
                    .original
                    .split_whitespace()
                    .next()
                    .unwrap_or("")
                    .to_ascii_uppercase();
                return Err(invalid(format!("{keyword} is not a valid change command")));
            }
        }
    }
    Ok(())
}

/// Makes the folder a build's context is unpacked to. It goes with the value.
pub(crate) fn context_folder(images: &Images) -> Result<tempfile::TempDir> {
    images.layers().scratch("context-")
}

#[cfg(test)]
mod golden_tests;
