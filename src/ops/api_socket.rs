//! `use_api_socket`: lets a service talk to the engine it runs on, with the user's registry
//! credentials. Changes the project before it is planned.

use crate::client::{EngineChoice, context};
use crate::compose::model::{BindOptions, FileObject, FileReference, Project, ServiceVolume};
use crate::ops::Context;

const SOCKET: &str = "/var/run/docker.sock";
const CONFIG: &str = "#apisocket";
const CONFIG_DIR: &str = "/run/secrets/docker";

/// Gives the services that ask for it the socket, and the credentials as a config.
pub(crate) fn add(ctx: &Context, project: &mut Project) {
    if !project.services.values().any(|s| s.use_api_socket) {
        return;
    }
    let source = match ctx.client.choice() {
        EngineChoice::Bundled(roots) => roots.socket().to_string_lossy().into_owned(),
        EngineChoice::Docker { .. } => SOCKET.to_owned(),
    };
    for service in project.services.values_mut().filter(|s| s.use_api_socket) {
        service.volumes.push(ServiceVolume {
            kind: "bind".to_owned(),
            source: source.clone(),
            target: SOCKET.to_owned(),
            bind: Some(Box::new(BindOptions {
                create_host_path: true,
                ..BindOptions::default()
            })),
            ..ServiceVolume::default()
        });
        service.configs.push(FileReference {
            source: CONFIG.to_owned(),
            target: format!("{CONFIG_DIR}/config.json"),
            ..FileReference::default()
        });
        service
            .environment
            .entry("DOCKER_CONFIG".to_owned())
            .or_insert_with(|| Some(CONFIG_DIR.to_owned()));
    }
    let credentials = FileObject {
        name: CONFIG.to_owned(),
        content: credentials(project),
        ..FileObject::default()
    };
    project.configs.insert(CONFIG.to_owned(), credentials);
}

/// The `auths` of the user's configuration, and nothing else of it.
fn credentials(project: &Project) -> String {
    let config = context::project_config_dir(&project.environment)
        .and_then(|dir| std::fs::read_to_string(dir.join("config.json")).ok())
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let auths = config
        .as_ref()
        .and_then(|c| c.get("auths"))
        .cloned()
        .unwrap_or_else(|| serde_json::json!({}));
    serde_json::json!({ "auths": auths }).to_string()
}
