//! Rows for the commands that only look: containers, images, volumes, the engine's version. What is
//! planned from is `client::observe`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{ContainerSummary, PortSummary};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptions, ListImagesOptions, ListVolumesOptions,
};

use crate::client::{Client, ClientError};
use crate::labels;
use crate::plan::observed::{ContainerState, Health};

/// A container as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerRow {
    pub(crate) id: String,
    /// Without the leading slash.
    pub(crate) name: String,
    /// All names, those that links gave included.
    pub(crate) names: Vec<String>,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) command: String,
    /// Seconds since 1970.
    pub(crate) created: i64,
    pub(crate) ports: Vec<PortRow>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) state: ContainerState,
    /// The engine's words: `Up 3 seconds (healthy)`.
    pub(crate) status: String,
    pub(crate) health: Health,
    pub(crate) networks: Vec<String>,
    pub(crate) mounts: Vec<String>,
    pub(crate) local_volumes: usize,
    pub(crate) size: i64,
}

/// A port of a container, and where it is published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortRow {
    pub(crate) host_ip: String,
    pub(crate) target: u16,
    pub(crate) published: Option<u16>,
    pub(crate) protocol: String,
}

impl ContainerRow {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    pub(crate) fn project(&self) -> &str {
        self.label(labels::PROJECT)
    }

    pub(crate) fn service(&self) -> &str {
        self.label(labels::SERVICE)
    }

    pub(crate) fn number(&self) -> u32 {
        self.label(labels::CONTAINER_NUMBER).parse().unwrap_or(0)
    }

    pub(crate) fn is_one_off(&self) -> bool {
        self.label(labels::ONE_OFF).eq_ignore_ascii_case("true")
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == ContainerState::Running
    }

    /// The name without the project: `web-1`.
    pub(crate) fn short_name(&self) -> String {
        let project = self.project();
        match self.name.strip_prefix(project) {
            Some(rest) if !project.is_empty() && rest.starts_with(['-', '_']) => {
                rest[1..].to_owned()
            }
            _ => self.name.clone(),
        }
    }

    /// The exit code in the engine's status text; 0 where it tells none.
    pub(crate) fn exit_code(&self) -> i64 {
        self.status
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .and_then(|(code, _)| code.parse().ok())
            .unwrap_or(0)
    }
}

/// What a look into one container tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ContainerDetail {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) tty: bool,
    pub(crate) open_stdin: bool,
    pub(crate) running: bool,
    pub(crate) exit_code: i64,
    pub(crate) log_driver: String,
    /// The whole answer, for `generate`.
    pub(crate) raw: serde_json::Value,
}

/// An image on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageRow {
    pub(crate) id: String,
    pub(crate) tags: Vec<String>,
    pub(crate) digests: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub(crate) created: i64,
    pub(crate) size: i64,
}

/// What a look into one image tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ImageDetail {
    pub(crate) id: String,
    pub(crate) tags: Vec<String>,
    pub(crate) digests: Vec<String>,
    pub(crate) platform: String,
    pub(crate) size: i64,
    /// RFC 3339; empty when the image was never tagged here.
    pub(crate) last_tagged: String,
    pub(crate) created: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A volume as `docker volume ls` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeRow {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) scope: String,
    pub(crate) mountpoint: String,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Client {
    /// Containers with one of a project's labels (every project's without `project`), by name.
    pub(crate) async fn container_rows(
        &self,
        project: Option<&str>,
        all: bool,
    ) -> Result<Vec<ContainerRow>, ClientError> {
        let label = match project {
            Some(name) => format!("{}={name}", labels::PROJECT),
            None => labels::PROJECT.to_owned(),
        };
        self.rows_with_label(&label, all).await
    }

    /// Every container of the engine, whoever made it.
    pub(crate) async fn all_containers(&self) -> Result<Vec<ContainerRow>, ClientError> {
        self.list(HashMap::new(), true).await
    }

    async fn rows_with_label(
        &self,
        label: &str,
        all: bool,
    ) -> Result<Vec<ContainerRow>, ClientError> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        self.list(filters, all).await
    }

    async fn list(
        &self,
        filters: HashMap<String, Vec<String>>,
        all: bool,
    ) -> Result<Vec<ContainerRow>, ClientError> {
        let options = ListContainersOptions {
            all,
            filters: Some(filters),
            ..ListContainersOptions::default()
        };
        let mut rows: Vec<ContainerRow> = self
            .docker()
            .list_containers(Some(options))
            .await?
            .into_iter()
            .map(row)
            .collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    /// One container, whole.
    pub(crate) async fn container_detail(&self, id: &str) -> Result<ContainerDetail, ClientError> {
        let answer = self
            .docker()
            .inspect_container(id, None::<InspectContainerOptions>)
            .await?;
        let raw = serde_json::to_value(&answer)
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        let config = answer.config.unwrap_or_default();
        let state = answer.state.unwrap_or_default();
        Ok(ContainerDetail {
            id: answer.id.unwrap_or_default(),
            name: answer
                .name
                .unwrap_or_default()
                .trim_start_matches('/')
                .to_owned(),
            image: config.image.unwrap_or_default(),
            tty: config.tty.unwrap_or(false),
            open_stdin: config.open_stdin.unwrap_or(false),
            running: state.running.unwrap_or(false),
            exit_code: state.exit_code.unwrap_or(0),
            log_driver: answer
                .host_config
                .and_then(|host| host.log_config)
                .and_then(|log| log.typ)
                .unwrap_or_default(),
            raw,
        })
    }

    /// Images that carry `label` (`key` or `key=value`), or all.
    pub(crate) async fn image_rows(
        &self,
        label: Option<&str>,
        dangling_only: bool,
    ) -> Result<Vec<ImageRow>, ClientError> {
        let mut filters = HashMap::new();
        if let Some(label) = label {
            filters.insert("label".to_owned(), vec![label.to_owned()]);
        }
        if dangling_only {
            filters.insert("dangling".to_owned(), vec!["true".to_owned()]);
        }
        let options = ListImagesOptions {
            filters: Some(filters),
            ..ListImagesOptions::default()
        };
        let images = self.docker().list_images(Some(options)).await?;
        Ok(images
            .into_iter()
            .map(|image| ImageRow {
                id: image.id,
                tags: image.repo_tags,
                digests: image.repo_digests,
                labels: image.labels.into_iter().collect(),
                created: image.created,
                size: image.size,
            })
            .collect())
    }

    /// One image, or `None` when the engine does not have it.
    pub(crate) async fn image_detail(
        &self,
        name: &str,
    ) -> Result<Option<ImageDetail>, ClientError> {
        let answer = match self.docker().inspect_image(name).await {
            Ok(answer) => answer,
            Err(error) => {
                let error = ClientError::from(error);
                return if error.is_not_found() {
                    Ok(None)
                } else {
                    Err(error)
                };
            }
        };
        let mut platform = format!(
            "{}/{}",
            answer.os.unwrap_or_default(),
            answer.architecture.unwrap_or_default()
        );
        if let Some(variant) = answer.variant.filter(|variant| !variant.is_empty()) {
            platform = format!("{platform}/{variant}");
        }
        Ok(Some(ImageDetail {
            id: answer.id.unwrap_or_default(),
            tags: answer.repo_tags.unwrap_or_default(),
            digests: answer.repo_digests.unwrap_or_default(),
            platform,
            size: answer.size.unwrap_or(0),
            last_tagged: answer
                .metadata
                .and_then(|metadata| metadata.last_tag_time)
                .map(|time| time.to_string())
                .unwrap_or_default(),
            created: answer
                .created
                .map(|time| time.to_string())
                .unwrap_or_default(),
            labels: answer
                .config
                .and_then(|config| config.labels)
                .unwrap_or_default()
                .into_iter()
                .collect(),
        }))
    }

    /// The variables (`KEY=VALUE`) that an image sets itself.
    pub(crate) async fn image_environment(
        &self,
        name: &str,
    ) -> Result<BTreeSet<String>, ClientError> {
        let image = self.docker().inspect_image(name).await?;
        Ok(image
            .config
            .and_then(|config| config.env)
            .unwrap_or_default()
            .into_iter()
            .collect())
    }

    /// Volumes with a project's label, by name.
    pub(crate) async fn volume_rows(&self, project: &str) -> Result<Vec<VolumeRow>, ClientError> {
        let options = ListVolumesOptions {
            filters: Some(HashMap::from([(
                "label".to_owned(),
                vec![format!("{}={project}", labels::PROJECT)],
            )])),
        };
        let answer = self.docker().list_volumes(Some(options)).await?;
        let mut rows: Vec<VolumeRow> = answer
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| VolumeRow {
                name: volume.name,
                driver: volume.driver,
                scope: volume
                    .scope
                    .map_or_else(|| "local".to_owned(), |scope| scope.to_string()),
                mountpoint: volume.mountpoint,
                labels: volume.labels.into_iter().collect(),
            })
            .collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    /// The engine's version and API version.
    pub(crate) async fn engine_version(&self) -> Result<(String, String), ClientError> {
        let version = self.docker().version().await?;
        Ok((
            version.version.unwrap_or_default(),
            version.api_version.unwrap_or_default(),
        ))
    }
}

fn row(summary: ContainerSummary) -> ContainerRow {
    let names: Vec<String> = summary
        .names
        .unwrap_or_default()
        .into_iter()
        .map(|name| name.trim_start_matches('/').to_owned())
        .collect();
    let status = summary.status.unwrap_or_default();
    let mounts = summary.mounts.unwrap_or_default();
    let mut networks: Vec<String> = summary
        .network_settings
        .and_then(|settings| settings.networks)
        .unwrap_or_default()
        .into_keys()
        .collect();
    networks.sort();
    ContainerRow {
        id: summary.id.unwrap_or_default(),
        // A link's name has a slash; the container's own has none.
        name: names
            .iter()
            .find(|name| !name.contains('/'))
            .cloned()
            .unwrap_or_default(),
        names,
        image: summary.image.unwrap_or_default(),
        image_id: summary.image_id.unwrap_or_default(),
        command: summary.command.unwrap_or_default(),
        created: summary.created.unwrap_or(0),
        ports: ports(summary.ports.unwrap_or_default()),
        labels: summary.labels.unwrap_or_default().into_iter().collect(),
        state: ContainerState::parse(
            &summary
                .state
                .map(|state| state.to_string())
                .unwrap_or_default(),
        ),
        health: health(&status),
        status,
        networks,
        local_volumes: mounts
            .iter()
            .filter(|mount| mount.driver.as_deref() == Some("local"))
            .count(),
        mounts: mounts
            .into_iter()
            .map(|mount| match mount.name {
                Some(name) if !name.is_empty() => name,
                _ => mount.source.unwrap_or_default(),
            })
            .collect(),
        size: summary.size_rw.unwrap_or(0),
    }
}

fn health(status: &str) -> Health {
    if status.contains("(healthy)") {
        Health::Healthy
    } else if status.contains("(unhealthy)") {
        Health::Unhealthy
    } else if status.contains("(health: starting)") {
        Health::Starting
    } else {
        Health::None
    }
}

fn ports(ports: Vec<PortSummary>) -> Vec<PortRow> {
    let mut rows: Vec<PortRow> = ports
        .into_iter()
        .map(|port| PortRow {
            host_ip: port.ip.unwrap_or_default(),
            target: port.private_port,
            published: port.public_port,
            protocol: port
                .typ
                .map_or_else(|| "tcp".to_owned(), |kind| kind.to_string()),
        })
        .collect();
    rows.sort();
    rows
}
