//! One look at the engine: lists → `plan::Observed`. Few calls, all at once, and none that grows
//! with the number of containers. It interprets nothing.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerSummary, HostConfig, ImageInspect, ImageSummary, MountPoint};
use bollard::query_parameters::{
    ListContainersOptions, ListImagesOptions, ListNetworksOptions, ListVolumesOptions,
};
use futures_util::future::{join_all, try_join4};

use super::Client;
use super::error::ClientError;
use crate::labels;
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;
use crate::plan::Limits;
use crate::plan::observed::{
    ContainerState, Health, Observed, ObservedContainer, ObservedImage, ObservedMount,
    ObservedNetwork, ObservedPort, ObservedVolume,
};

/// What to look at.
#[derive(Debug, Clone, Default)]
pub(crate) struct ObserveScope {
    pub(crate) networks: bool,
    pub(crate) volumes: bool,
    /// References, each with the platform it must be for (empty: any).
    pub(crate) images: Vec<(String, String)>,
}

impl ObserveScope {
    /// Containers only.
    pub(crate) fn containers() -> Self {
        ObserveScope::default()
    }
}

impl Client {
    /// What there is of a project.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(crate) async fn observe(
        &self,
        project: &str,
        scope: &ObserveScope,
    ) -> Result<Observed, ClientError> {
        if self.is_blank() {
            return Ok(Observed::default());
        }
        let (containers, networks, volumes, images) = try_join4(
            self.project_containers(project),
            async {
                if scope.networks {
                    self.all_networks().await
                } else {
                    Ok(Vec::new())
                }
            },
            async {
                if scope.volumes {
                    self.all_volumes().await
                } else {
                    Ok(Vec::new())
                }
            },
            self.observe_images(&scope.images),
        )
        .await?;
        Ok(Observed {
            containers,
            networks,
            volumes,
            images,
            limits: BTreeMap::new(),
        })
    }

    /// The containers that carry a project's label, sorted by name. Containers of hooks are not
    /// among them.
    pub(crate) async fn project_containers(
        &self,
        project: &str,
    ) -> Result<Vec<ObservedContainer>, ClientError> {
        let filter = format!("{}={project}", labels::PROJECT);
        self.containers_with_label(filter).await
    }

    /// Every running container of the engine, of whatever project.
    pub(crate) async fn running_containers(&self) -> Result<Vec<ObservedContainer>, ClientError> {
        if self.is_blank() {
            return Ok(Vec::new());
        }
        let found = self
            .docker()
            .list_containers(Some(ListContainersOptions::default()))
            .await?;
        Ok(found.into_iter().map(container).collect())
    }

    async fn containers_with_label(
        &self,
        label: String,
    ) -> Result<Vec<ObservedContainer>, ClientError> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
            ..ListContainersOptions::default()
        };
        let found = self.docker().list_containers(Some(options)).await?;
        let mut containers: Vec<ObservedContainer> = found
            .into_iter()
            .map(container)
            .filter(|c| !c.config_hash().is_empty())
            .collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    pub(crate) async fn all_networks(&self) -> Result<Vec<ObservedNetwork>, ClientError> {
        let found = self
            .docker()
            .list_networks(None::<ListNetworksOptions>)
            .await?;
        let mut networks: Vec<ObservedNetwork> = found
            .into_iter()
            .map(|n| ObservedNetwork {
                id: n.id.unwrap_or_default(),
                name: n.name.unwrap_or_default(),
                driver: n.driver.unwrap_or_default(),
                labels: n.labels.unwrap_or_default().into_iter().collect(),
            })
            .collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    pub(crate) async fn all_volumes(&self) -> Result<Vec<ObservedVolume>, ClientError> {
        let found = self
            .docker()
            .list_volumes(None::<ListVolumesOptions>)
            .await?;
        let mut volumes: Vec<ObservedVolume> = found
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|v| ObservedVolume {
                name: v.name,
                driver: v.driver,
                labels: v.labels.into_iter().collect(),
            })
            .collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// The local images of these references. Those that are not there, or are there for another
    /// platform, are missing in the answer.
    pub(crate) async fn observe_images(
        &self,
        wanted: &[(String, String)],
    ) -> Result<BTreeMap<String, ObservedImage>, ClientError> {
        let mut found = BTreeMap::new();
        if wanted.is_empty() || self.is_blank() {
            return Ok(found);
        }
        let mut names: Vec<String> = wanted
            .iter()
            .filter(|(_, platform)| platform.is_empty())
            .filter_map(|(image, _)| Reference::parse(image).ok())
            .map(|r| r.or_latest().familiar())
            .collect();
        names.sort();
        names.dedup();
        let summaries = if names.is_empty() {
            Vec::new()
        } else {
            let options = ListImagesOptions {
                filters: Some(HashMap::from([("reference".to_owned(), names)])),
                manifests: true,
                ..ListImagesOptions::default()
            };
            self.docker().list_images(Some(options)).await?
        };
        let mut missing = Vec::new();
        for (image, platform) in wanted {
            match summaries
                .iter()
                .find(|s| platform.is_empty() && is_image(s, image))
            {
                Some(summary) => {
                    found.insert(image.clone(), from_summary(summary));
                }
                None => missing.push((image, platform)),
            }
        }
        let inspected = join_all(
            missing
                .iter()
                .map(|(image, _)| self.docker().inspect_image(image)),
        )
        .await;
        for ((image, platform), answer) in missing.into_iter().zip(inspected) {
            match answer.map_err(ClientError::from) {
                Ok(inspect) if is_for(&inspect, platform) => {
                    found.insert(image.clone(), from_inspect(&inspect));
                }
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The volumes an image declares.
    pub(crate) async fn image_volumes(&self, image: &str) -> Result<Vec<String>, ClientError> {
        let inspect = self.docker().inspect_image(image).await?;
        let mut volumes = inspect.config.and_then(|c| c.volumes).unwrap_or_default();
        volumes.sort();
        Ok(volumes)
    }

    /// The limits that are in force for a container.
    pub(crate) async fn limits(&self, container: &str) -> Result<Limits, ClientError> {
        let inspect = self.docker().inspect_container(container, None).await?;
        Ok(inspect.host_config.map(limits).unwrap_or_default())
    }
}

fn limits(config: HostConfig) -> Limits {
    let policy = config.restart_policy.unwrap_or_default();
    Limits {
        restart: policy.name.map(|n| n.to_string()).unwrap_or_default(),
        restart_attempts: policy.maximum_retry_count.unwrap_or(0),
        memory: config.memory.unwrap_or(0),
        memory_swap: config.memory_swap.unwrap_or(0),
        memory_reservation: config.memory_reservation.unwrap_or(0),
        nano_cpus: config.nano_cpus.unwrap_or(0),
        cpu_shares: config.cpu_shares.unwrap_or(0),
        cpu_period: config.cpu_period.unwrap_or(0),
        cpu_quota: config.cpu_quota.unwrap_or(0),
        cpuset: config.cpuset_cpus.unwrap_or_default(),
        pids: config.pids_limit.unwrap_or(0),
    }
}

fn container(summary: ContainerSummary) -> ObservedContainer {
    let labels: BTreeMap<String, String> = summary.labels.unwrap_or_default().into_iter().collect();
    let status = summary.status.unwrap_or_default();
    let networks = summary
        .network_settings
        .and_then(|n| n.networks)
        .unwrap_or_default();
    let mut networks: Vec<(String, String)> = networks
        .into_iter()
        .map(|(name, endpoint)| (name, endpoint.network_id.unwrap_or_default()))
        .collect();
    networks.sort();
    let ports = summary.ports.unwrap_or_default();
    ObservedContainer {
        id: summary.id.unwrap_or_default(),
        name: summary
            .names
            .unwrap_or_default()
            .iter()
            .map(|n| n.trim_start_matches('/'))
            // A link shows up as a second name with a slash inside.
            .find(|n| !n.contains('/'))
            .unwrap_or_default()
            .to_owned(),
        service: labels.get(labels::SERVICE).cloned().unwrap_or_default(),
        number: labels
            .get(labels::CONTAINER_NUMBER)
            .and_then(|n| n.parse().ok()),
        one_off: labels.get(labels::ONE_OFF).is_some_and(|v| v == "True"),
        state: ContainerState::parse(&summary.state.map(|s| s.to_string()).unwrap_or_default()),
        health: health(&status),
        status,
        command: summary.command.unwrap_or_default(),
        image: summary.image.unwrap_or_default(),
        image_id: summary.image_id.unwrap_or_default(),
        created: summary.created.unwrap_or(0),
        labels,
        networks,
        mounts: summary
            .mounts
            .unwrap_or_default()
            .into_iter()
            .map(mount)
            .collect(),
        ports: ports
            .into_iter()
            .map(|p| ObservedPort {
                host_ip: p.ip.unwrap_or_default(),
                published: p.public_port,
                target: p.private_port,
                protocol: p.typ.map_or_else(|| "tcp".to_owned(), |t| t.to_string()),
            })
            .collect(),
    }
}

fn mount(point: MountPoint) -> ObservedMount {
    ObservedMount {
        kind: point.typ.map(|t| t.to_string()).unwrap_or_default(),
        name: point.name.filter(|n| !n.is_empty()),
        source: point.source.unwrap_or_default(),
        destination: point.destination.unwrap_or_default(),
        read_write: point.rw.unwrap_or(true),
    }
}

/// Engines up to API 1.51 tell the health in the status text alone.
fn health(status: &str) -> Health {
    if status.ends_with("(healthy)") {
        Health::Healthy
    } else if status.ends_with("(unhealthy)") {
        Health::Unhealthy
    } else if status.ends_with("(health: starting)") {
        Health::Starting
    } else {
        Health::None
    }
}

fn is_image(summary: &ImageSummary, wanted: &str) -> bool {
    let Ok(reference) = Reference::parse(wanted) else {
        return false;
    };
    let reference = reference.or_latest();
    let name = reference.familiar_name();
    if let Some(digest) = &reference.digest {
        let pinned = format!("{name}@{digest}");
        return summary.repo_digests.contains(&pinned);
    }
    let familiar = reference.familiar();
    summary.repo_tags.contains(&familiar)
}

fn from_summary(summary: &ImageSummary) -> ObservedImage {
    let host = Platform::host();
    let manifest = summary.manifests.as_ref().and_then(|manifests| {
        manifests
            .iter()
            .filter(|m| m.available)
            .filter_map(|m| {
                let platform = &m.image_data.as_ref()?.platform;
                let platform = Platform::new(
                    platform.os.as_deref()?,
                    platform.architecture.as_deref()?,
                    platform.variant.as_deref(),
                );
                Some((platform.rank_for(&host)?, m.id.clone()))
            })
            .min()
            .map(|(_, id)| id)
    });
    ObservedImage {
        digest: manifest.unwrap_or_else(|| summary.id.clone()),
        id: summary.id.clone(),
        repo_digests: summary.repo_digests.clone(),
        created: summary.created,
        labels: summary.labels.clone().into_iter().collect(),
    }
}

fn from_inspect(inspect: &ImageInspect) -> ObservedImage {
    let labels = inspect
        .config
        .as_ref()
        .and_then(|c| c.labels.clone())
        .unwrap_or_default();
    ObservedImage {
        digest: inspect.id.clone().unwrap_or_default(),
        id: inspect.id.clone().unwrap_or_default(),
        repo_digests: inspect.repo_digests.clone().unwrap_or_default(),
        created: 0,
        labels: labels.into_iter().collect(),
    }
}

fn is_for(inspect: &ImageInspect, platform: &str) -> bool {
    if platform.is_empty() {
        return true;
    }
    let Ok(wanted) = Platform::parse(platform) else {
        return true;
    };
    let has = Platform::new(
        inspect.os.as_deref().unwrap_or("linux"),
        inspect.architecture.as_deref().unwrap_or_default(),
        inspect.variant.as_deref().filter(|v| !v.is_empty()),
    );
    has.rank_for(&wanted).is_some()
}
