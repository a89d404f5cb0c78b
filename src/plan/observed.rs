//! What was found on the engine, in terms of the project. Filled by `client::observe`, or by a
//! test; it holds no handle to anything.

use std::collections::BTreeMap;

use super::limits::Limits;

/// Everything of one project that lives on the engine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// All containers that carry the project's label, one-offs included.
    pub(crate) containers: Vec<ObservedContainer>,
    /// All networks of the engine: external ones are looked up here too.
    pub(crate) networks: Vec<ObservedNetwork>,
    /// The volumes that matter: the project's, and those with a declared name.
    pub(crate) volumes: Vec<ObservedVolume>,
    /// Local images by the reference that was asked for.
    pub(crate) images: BTreeMap<String, ObservedImage>,
    /// Live limits by container id, of those that were asked for (see `reconcile::needs_limits`).
    pub(crate) limits: BTreeMap<String, Limits>,
}

/// The state of a container as the engine's list gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerState {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

impl ContainerState {
    pub(crate) fn parse(text: &str) -> ContainerState {
        match text {
            "created" => ContainerState::Created,
            "running" => ContainerState::Running,
            "paused" => ContainerState::Paused,
            "restarting" => ContainerState::Restarting,
            "removing" => ContainerState::Removing,
            "dead" => ContainerState::Dead,
            _ => ContainerState::Exited,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ContainerState::Created => "created",
            ContainerState::Running => "running",
            ContainerState::Paused => "paused",
            ContainerState::Restarting => "restarting",
            ContainerState::Removing => "removing",
            ContainerState::Exited => "exited",
            ContainerState::Dead => "dead",
        }
    }

    /// A process of it is alive, or will be without anybody's help.
    pub(crate) fn is_alive(self) -> bool {
        matches!(
            self,
            ContainerState::Running | ContainerState::Paused | ContainerState::Restarting
        )
    }
}

/// What the healthcheck of a container last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    None,
    Starting,
    Healthy,
    Unhealthy,
}

#[derive(Debug, Clone)]
pub(crate) struct ObservedContainer {
    pub(crate) id: String,
    /// Without the leading slash.
    pub(crate) name: String,
    pub(crate) service: String,
    /// None for a one-off.
    pub(crate) number: Option<u32>,
    pub(crate) one_off: bool,
    pub(crate) state: ContainerState,
    /// The engine's words: `Up 3 seconds (healthy)`, `Exited (1) 2 minutes ago`.
    pub(crate) status: String,
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    pub(crate) command: String,
    pub(crate) health: Health,
    /// The reference it was made from, and the image id.
    pub(crate) image: String,
    pub(crate) image_id: String,
    /// Seconds since 1970.
    pub(crate) created: i64,
    pub(crate) labels: BTreeMap<String, String>,
    /// Network name and network id.
    pub(crate) networks: Vec<(String, String)>,
    pub(crate) mounts: Vec<ObservedMount>,
    pub(crate) ports: Vec<ObservedPort>,
}

impl ObservedContainer {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    pub(crate) fn config_hash(&self) -> &str {
        self.label(crate::labels::CONFIG_HASH).unwrap_or_default()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == ContainerState::Running
    }

    /// The exit code in the engine's status text, where it tells one.
    pub(crate) fn exit_code(&self) -> Option<i64> {
        let rest = self.status.split_once('(')?.1;
        rest.split_once(')')?.0.parse().ok()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObservedMount {
    /// `bind`, `volume`, `tmpfs`, `image`…
    pub(crate) kind: String,
    /// Name of the volume, where it is one.
    pub(crate) name: Option<String>,
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) read_write: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObservedPort {
    pub(crate) host_ip: String,
    pub(crate) published: Option<u16>,
    pub(crate) target: u16,
    pub(crate) protocol: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct ObservedNetwork {
    pub(crate) id: String,
    pub(crate) name: String,
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    pub(crate) driver: String,
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct ObservedVolume {
    pub(crate) name: String,
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    pub(crate) driver: String,
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct ObservedImage {
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    pub(crate) id: String,
    /// The id, or the digest of the platform's manifest where the engine tells it.
    pub(crate) digest: String,
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    pub(crate) repo_digests: Vec<String>,
    /// Seconds since 1970; when it was last tagged where known.
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    pub(crate) created: i64,
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    pub(crate) labels: BTreeMap<String, String>,
}
