//! `generate`: a Compose model of containers that exist already, from what the engine tells of them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::client::Client;
use crate::compose::model::{Network, PortConfig, Project, Service, ServiceVolume, Volume};
use crate::ops::OpError;

/// Networks that every engine has; a project cannot declare them.
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// A project with one service a container.
///
/// # Errors
/// The engine, or no such container.
pub(crate) async fn run(
    client: &Client,
    containers: &[String],
    name: &str,
) -> Result<Project, OpError> {
    let mut project = Project {
        name: name.to_owned(),
        ..Project::default()
    };
    for container in containers {
        let detail = client.container_detail(container).await?;
        let image = client.image_detail(&detail.image).await?;
        let image_environment: BTreeSet<String> = match &image {
            Some(_) => client.image_environment(&detail.image).await?,
            None => BTreeSet::new(),
        };
        let mut service = service(&detail.name, &detail.image, &detail.raw, &image_environment);
        networks(&mut project, &mut service, &detail.raw);
        volumes(&mut project, &mut service, &detail.raw);
        project.services.insert(detail.name.clone(), service);
    }
    Ok(project)
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn service(name: &str, image: &str, raw: &Value, image_environment: &BTreeSet<String>) -> Service {
    let config = &raw["Config"];
    let host = &raw["HostConfig"];
    let mut service = Service {
        name: name.to_owned(),
        container_name: name.to_owned(),
        image: image.to_owned(),
        user: config["User"].as_str().unwrap_or_default().to_owned(),
        working_dir: config["WorkingDir"].as_str().unwrap_or_default().to_owned(),
        tty: config["Tty"].as_bool().unwrap_or(false),
        stdin_open: config["OpenStdin"].as_bool().unwrap_or(false),
        privileged: host["Privileged"].as_bool().unwrap_or(false),
        read_only: host["ReadonlyRootfs"].as_bool().unwrap_or(false),
        cap_add: texts(&host["CapAdd"]),
        cap_drop: texts(&host["CapDrop"]),
        mem_limit: host["Memory"].as_i64().unwrap_or(0),
        ..Service::default()
    };
    if let Some(command) = config["Cmd"].as_array().filter(|words| !words.is_empty()) {
        service.command = Some(texts(&Value::Array(command.clone())));
    }
    if let Some(entrypoint) = config["Entrypoint"].as_array() {
        service.entrypoint = Some(texts(&Value::Array(entrypoint.clone())));
    }
    for variable in texts(&config["Env"]) {
        if image_environment.contains(&variable) {
            continue;
        }
        let (key, value) = variable.split_once('=').unwrap_or((&variable, ""));
        service
            .environment
            .insert(key.to_owned(), Some(value.to_owned()));
    }
    for (key, value) in config["Labels"].as_object().into_iter().flatten() {
        if !key.starts_with("com.docker.compose.") && !key.starts_with("dev.hoist.") {
            let value = value.as_str().unwrap_or_default().to_owned();
            service.labels.insert(key.clone(), value);
        }
    }
    let policy = &host["RestartPolicy"];
    match policy["Name"].as_str() {
        None | Some("" | "no") => {}
        Some("on-failure") if policy["MaximumRetryCount"].as_i64().unwrap_or(0) > 0 => {
            service.restart = format!("on-failure:{}", policy["MaximumRetryCount"]);
        }
        Some(name) => name.clone_into(&mut service.restart),
    }
    for (port, bindings) in host["PortBindings"].as_object().into_iter().flatten() {
        let (target, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        for binding in bindings.as_array().into_iter().flatten() {
            service.ports.push(PortConfig {
                mode: "ingress".to_owned(),
                host_ip: binding["HostIp"].as_str().unwrap_or_default().to_owned(),
                target: target.parse().unwrap_or(0),
                published: binding["HostPort"].as_str().unwrap_or_default().to_owned(),
                protocol: protocol.to_owned(),
                ..PortConfig::default()
            });
        }
    }
    service
}

fn networks(project: &mut Project, service: &mut Service, raw: &Value) {
    let mode = raw["HostConfig"]["NetworkMode"]
        .as_str()
        .unwrap_or_default();
    if mode == "host" || mode == "none" {
        mode.clone_into(&mut service.network_mode);
        return;
    }
    let joined = raw["NetworkSettings"]["Networks"].as_object();
    for name in joined.into_iter().flatten().map(|(name, _)| name) {
        if PREDEFINED.contains(&name.as_str()) {
            name.clone_into(&mut service.network_mode);
            continue;
        }
        service.networks.insert(name.clone(), None);
        project.networks.insert(
            name.clone(),
            Network {
                name: name.clone(),
                external: true,
                ..Network::default()
            },
        );
    }
}

fn volumes(project: &mut Project, service: &mut Service, raw: &Value) {
    for mount in raw["Mounts"].as_array().into_iter().flatten() {
        let text = |name: &str| mount[name].as_str().unwrap_or_default().to_owned();
        let kind = text("Type");
        let named = text("Name");
        let source = if kind == "volume" {
            project.volumes.insert(
                named.clone(),
                Volume {
                    name: named.clone(),
                    external: true,
                    ..Volume::default()
                },
            );
            named
        } else {
            text("Source")
        };
        service.volumes.push(ServiceVolume {
            kind,
            source,
            target: text("Destination"),
            read_only: mount["RW"].as_bool() == Some(false),
            ..ServiceVolume::default()
        });
    }
}
