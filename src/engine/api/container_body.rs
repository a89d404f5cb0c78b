//! Bodies of container requests, from the wire to what the service takes.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Deserialize;

use crate::engine::base::{Error, Result};
use crate::engine::containers::config::{
    Config, EndpointSettings, HostConfig, Resources, RestartPolicy, nullable,
};
use crate::engine::containers::create::CreateRequest;
use crate::engine::containers::exec::ExecConfig;
use crate::engine::containers::update::Update;
use crate::oci::Healthcheck;
use crate::oci::runtime_spec::ConsoleSize;

/// `POST /containers/create`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct CreateBody {
    #[serde(flatten)]
    config: Config,
    #[serde(rename = "HostConfig", default, deserialize_with = "nullable")]
    host: HostConfig,
    #[serde(rename = "NetworkingConfig", default, deserialize_with = "nullable")]
    networking: NetworkingBody,
}

#[derive(Debug, Default, Deserialize)]
struct NetworkingBody {
    #[serde(rename = "EndpointsConfig", default, deserialize_with = "nullable")]
    endpoints: IndexMap<String, Option<EndpointSettings>>,
}

impl CreateBody {
    pub(crate) fn into_request(self, name: &str, platform: &str) -> CreateRequest {
        CreateRequest {
            name: name.to_owned(),
            platform: platform.to_owned(),
            config: self.config,
            host: self.host,
            networks: self
                .networking
                .endpoints
                .into_iter()
                .map(|(name, settings)| (name, settings.unwrap_or_default()))
                .collect(),
        }
    }
}

/// `POST /containers/{id}/update`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct UpdateBody {
    #[serde(flatten)]
    resources: Resources,
    #[serde(rename = "RestartPolicy", default)]
    restart_policy: Option<RestartPolicy>,
}

impl UpdateBody {
    pub(crate) fn into_update(self) -> Update {
        Update {
            resources: self.resources,
            restart_policy: self.restart_policy,
            labels: None,
            healthcheck: None,
        }
    }
}

/// `POST /hoist/containers/{id}/update`: what changes in place on this engine only.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct InPlaceBody {
    labels: Option<BTreeMap<String, String>>,
    healthcheck: Option<Healthcheck>,
}

impl InPlaceBody {
    pub(crate) fn into_update(self) -> Update {
        Update {
            labels: self.labels,
            healthcheck: self.healthcheck,
            ..Update::default()
        }
    }
}

/// `POST /containers/{id}/exec`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecBody {
    #[serde(deserialize_with = "nullable")]
    user: String,
    #[serde(deserialize_with = "nullable")]
    privileged: bool,
    #[serde(deserialize_with = "nullable")]
    tty: bool,
    #[serde(deserialize_with = "nullable")]
    attach_stdin: bool,
    #[serde(deserialize_with = "nullable")]
    attach_stdout: bool,
    #[serde(deserialize_with = "nullable")]
    attach_stderr: bool,
    #[serde(deserialize_with = "nullable")]
    detach_keys: String,
    #[serde(deserialize_with = "nullable")]
    env: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    working_dir: String,
    #[serde(deserialize_with = "nullable")]
    cmd: Vec<String>,
    console_size: Option<[u16; 2]>,
}

impl ExecBody {
    pub(crate) fn into_config(self) -> ExecConfig {
        ExecConfig {
            command: self.cmd,
            env: self.env,
            user: self.user,
            working_dir: self.working_dir,
            privileged: self.privileged,
            tty: self.tty,
            attach_stdin: self.attach_stdin,
            attach_stdout: self.attach_stdout,
            attach_stderr: self.attach_stderr,
            detach_keys: (!self.detach_keys.is_empty()).then_some(self.detach_keys),
            console_size: console_size(self.console_size),
        }
    }
}

/// `POST /exec/{id}/start`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecStartBody {
    #[serde(deserialize_with = "nullable")]
    pub(crate) detach: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) tty: bool,
    console_size: Option<[u16; 2]>,
}

impl ExecStartBody {
    pub(crate) fn console_size(&self) -> Option<ConsoleSize> {
        console_size(self.console_size)
    }
}

/// Rows and columns; zeros ask for nothing.
fn console_size(size: Option<[u16; 2]>) -> Option<ConsoleSize> {
    match size {
        Some([0, _] | [_, 0]) | None => None,
        Some([rows, columns]) => Some(ConsoleSize { rows, columns }),
    }
}

/// The `h` and `w` of a resize.
pub(crate) fn resize_of(height: &str, width: &str) -> Result<ConsoleSize> {
    let number = |name: &str, text: &str| {
        text.parse::<u16>()
            .map_err(|_| Error::invalid(format!("invalid resize {name} \"{text}\"")))
    };
    Ok(ConsoleSize {
        rows: number("height", height)?,
        columns: number("width", width)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_body_of_a_go_client() {
        let body: CreateBody = serde_json::from_str(
            r#"{"Hostname":"","Image":"busybox","Cmd":["true"],"Env":null,"ExposedPorts":{"80/tcp":{}},
                "HostConfig":{"NetworkMode":"front","AutoRemove":true},
                "NetworkingConfig":{"EndpointsConfig":{"front":{"Aliases":["web"]},"back":null}}}"#,
        )
        .unwrap();
        let request = body.into_request("/web", "");
        assert_eq!(request.name, "/web");
        assert!(request.host.auto_remove);
        assert_eq!(request.networks.len(), 2);
        assert_eq!(
            request.networks["front"].aliases,
            Some(vec!["web".to_owned()])
        );
        assert_eq!(request.config.image, "busybox");
    }

    #[test]
    fn an_update_keeps_what_is_absent() {
        let body: UpdateBody =
            serde_json::from_str(r#"{"Memory":1,"RestartPolicy":{"Name":"always"}}"#).unwrap();
        let update = body.into_update();
        assert_eq!(update.resources.memory, 1);
        assert_eq!(update.restart_policy.unwrap().name, "always");
        assert!(resize_of("x", "1").is_err());
    }
}
