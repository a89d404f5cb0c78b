//! Carries the actions of a batch out, through the same operations that the commands use. A failure is told
//! and the watch goes on.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;

use crate::client::reads::ContainerRow;
use crate::client::streams::ExecOptions;
use crate::compose::model::Hook;
use crate::labels;
use crate::ops::build::{self, BuildOptions};
use crate::ops::ensure_images::ImageChoices;
use crate::ops::restart::{self, RestartOptions};
use crate::ops::up::{self, UpOptions};
use crate::ops::{Context, OpError, replicas};
use crate::watch::decide::Actions;
use crate::watch::{Note, WatchOptions, sync};

pub(super) async fn act(ctx: &Context, options: &WatchOptions, actions: Actions, note: &Note) {
    if !actions.rebuild.is_empty() {
        let services: Vec<String> = actions.rebuild.iter().cloned().collect();
        note(&format!(
            "Rebuilding service(s) {services:?} after changes were detected..."
        ));
        match rebuild(ctx, options, &services).await {
            Ok(()) => note(&format!("service(s) {services:?} successfully built")),
            Err(error) => note(&format!("Failed to rebuild: {}", error.message)),
        }
    }
    if actions.sync.is_empty() && actions.restart.is_empty() && actions.exec.is_empty() {
        return;
    }
    let running = match running(ctx).await {
        Ok(running) => running,
        Err(error) => return note(&format!("Cannot list containers: {}", error.message)),
    };
    let none = Vec::new();
    for (service, paths) in &actions.sync {
        let replicas = running.get(service).unwrap_or(&none);
        if replicas.is_empty() {
            note(&format!(
                "service \"{service}\" is not running: nothing to sync"
            ));
            continue;
        }
        match sync::sync(ctx, replicas, paths).await {
            Ok(_) => note(&format!(
                "Syncing service \"{service}\" after {} changes were detected",
                paths.len()
            )),
            Err(error) => note(&format!(
                "Failed to sync service \"{service}\": {}",
                error.message
            )),
        }
    }
    if !actions.restart.is_empty() {
        let services: Vec<String> = actions.restart.iter().cloned().collect();
        let restart = RestartOptions {
            services: services.clone(),
            no_deps: false,
            timeout: None,
        };
        match restart::run(ctx, &restart).await {
            Ok(()) => note(&format!("service(s) {services:?} restarted")),
            Err(error) => note(&format!("Failed to restart: {}", error.message)),
        }
    }
    for (service, hooks) in &actions.exec {
        for replica in running.get(service).unwrap_or(&none) {
            for hook in hooks {
                if let Err(error) = exec(ctx, replica, hook, note).await {
                    note(&format!("{}: {}", replica.short_name(), error.message));
                }
            }
        }
    }
}

/// Running replicas by service.
async fn running(ctx: &Context) -> Result<BTreeMap<String, Vec<ContainerRow>>, OpError> {
    let mut by_service: BTreeMap<String, Vec<ContainerRow>> = BTreeMap::new();
    for row in replicas::of_services(ctx, &[], false, false).await? {
        by_service
            .entry(row.service().to_owned())
            .or_default()
            .push(row);
    }
    Ok(by_service)
}

async fn rebuild(
    ctx: &Context,
    options: &WatchOptions,
    services: &[String],
) -> Result<(), OpError> {
    let build = BuildOptions {
        quiet: options.quiet,
        ..BuildOptions::default()
    };
    let project = ctx.project()?;
    let images = build::services(ctx, project, services, &build).await?;
    let up = UpOptions {
        no_deps: true,
        ..UpOptions::plain(services.to_vec(), ImageChoices::default())
    };
    up::run(ctx, &up).await?;
    if options.prune {
        let label = format!("{}={}", labels::PROJECT, ctx.project_name);
        for image in ctx.client.image_rows(Some(&label), true).await? {
            let is_new = images.values().any(|id| *id == image.id);
            if !is_new && let Err(error) = ctx.client.untag_image(&image.id, false).await {
                // In use by somebody else: it stays.
                if !error.is_conflict() && !error.is_not_found() {
                    return Err(error.into());
                }
            }
        }
    }
    Ok(())
}

async fn exec(
    ctx: &Context,
    replica: &ContainerRow,
    hook: &Hook,
    note: &Note,
) -> Result<(), OpError> {
    let options = ExecOptions {
        command: hook.command.clone().unwrap_or_default(),
        environment: hook
            .environment
            .iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={value}")))
            .collect(),
        user: (!hook.user.is_empty()).then(|| hook.user.clone()),
        working_dir: (!hook.working_dir.is_empty()).then(|| hook.working_dir.clone()),
        privileged: hook.privileged,
        ..ExecOptions::default()
    };
    let id = ctx.client.create_exec(&replica.id, &options).await?;
    let mut attached = ctx.client.start_exec(&id, false).await?;
    let mut said = Vec::new();
    while let Some(chunk) = attached.output.next().await {
        said.extend_from_slice(&chunk?.bytes);
    }
    for line in String::from_utf8_lossy(&said).lines() {
        note(&format!("{}: {line}", replica.short_name()));
    }
    match ctx.client.exec_exit_code(&id).await? {
        0 => Ok(()),
        code => Err(OpError::failed(format!(
            "command {:?} failed with exit code {code}",
            options.command.join(" ")
        ))),
    }
}
