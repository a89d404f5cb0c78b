//! `RUN` in a stage: its arguments, mounts and environment, whether the cache has the result, and running it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::base::{Error, Result};
use crate::engine::build::account;
use crate::engine::build::copy;
use crate::engine::build::event::BuildResult;
use crate::engine::build::instruction::{Command, Run};
use crate::engine::build::lexer;
use crate::engine::build::metadata::arguments_of;
use crate::engine::build::run::{self, RunRequest};
use crate::engine::build::run_mounts::{MountOptions, MountType};
use crate::engine::build::stage_run::{StageRun, blocking, chained, view_of};
use crate::engine::build::stages::PROXY_ARGUMENTS;
use crate::engine::build::step_mounts::{StepMounts, View};
use crate::oci::Digest;
use crate::oci::dockerignore::PatternSet;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl StageRun {
    pub(crate) async fn run(&mut self, run: &Run) -> BuildResult<()> {
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
                let id = mount.secret_id().unwrap_or_default();
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
