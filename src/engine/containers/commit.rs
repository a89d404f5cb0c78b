//! A container as an image: its run config in the image's terms, and the pause around the reading of its
//! files.

use std::sync::Arc;

use crate::engine::base::Result;
use crate::engine::containers::actor::Message;
use crate::engine::containers::config::Config;
use crate::engine::containers::state::State;
use crate::engine::containers::{Container, Containers};
use crate::engine::images::{CommitOptions, Image};
use crate::oci::RunConfig;

/// What of a container's config goes into an image.
pub(crate) fn run_config(config: &Config) -> RunConfig {
    RunConfig {
        user: config.user.clone(),
        exposed_ports: config.exposed_ports.clone(),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: config.volumes.clone(),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        healthcheck: config.healthcheck.clone(),
        args_escaped: config.args_escaped,
        on_build: config.on_build.clone().unwrap_or_default(),
        shell: config.shell.clone(),
    }
}

impl Containers {
    /// Makes an image of a container; a running one is frozen meanwhile when `pause` says so.
    pub(crate) async fn commit(
        &self,
        container: &Container,
        options: CommitOptions,
        pause: bool,
    ) -> Result<Image> {
        let view = container.view();
        let paused = pause && view.run.state == State::Running;
        if paused {
            container.ask(Message::Pause).await?;
        }
        let (deps, id) = (Arc::clone(&self.deps), container.id.clone());
        let committed =
            crate::engine::containers::run_blocking(move || deps.images.commit(&id, options)).await;
        if paused && let Err(error) = container.ask(Message::Unpause).await {
            tracing::warn!(container.id = %container.id, %error, "unpause after commit");
        }
        let image = committed?;
        self.deps.publish(
            &view.record,
            "commit",
            &[
                ("imageID", image.id.to_string()),
                (
                    "imageRef",
                    image.repo_tags.first().cloned().unwrap_or_default(),
                ),
            ],
        );
        Ok(image)
    }
}
