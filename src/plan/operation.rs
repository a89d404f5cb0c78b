//! What can be done: one variant is one call of the engine (or one wait). An operation carries
//! all that its execution needs, so that the executor decides nothing.

use std::fmt;
use std::time::Duration;

/// How a container is addressed: its id when it is there already, else the name it will have.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ContainerRef {
    /// The name people know it by.
    pub(crate) name: String,
    pub(crate) id: Option<String>,
}

impl ContainerRef {
    pub(crate) fn existing(name: &str, id: &str) -> Self {
        ContainerRef {
            name: name.to_owned(),
            id: Some(id.to_owned()),
        }
    }

    pub(crate) fn planned(name: &str) -> Self {
        ContainerRef {
            name: name.to_owned(),
            id: None,
        }
    }

    /// What goes in the request path.
    pub(crate) fn address(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.name)
    }
}

/// A volume of the replaced container that the new one takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InheritedMount {
    pub(crate) volume: String,
    pub(crate) destination: String,
    pub(crate) read_only: bool,
}

/// What a wait waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    Started,
    Healthy,
    Completed,
    /// Healthy, or running where no healthcheck is; a one-shot that ended with 0 counts.
    RunningOrHealthy,
}

impl Condition {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Condition::Started => "started",
            Condition::Healthy => "healthy",
            Condition::Completed => "completed",
            Condition::RunningOrHealthy => "running or healthy",
        }
    }
}

/// One engine call, or one wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    PullImage {
        image: String,
        service: String,
    },
    BuildImage {
        image: String,
        service: String,
    },

    CreateNetwork {
        key: String,
        name: String,
    },
    RemoveNetwork {
        name: String,
        id: String,
        best_effort: bool,
    },
    ConnectNetwork {
        key: String,
        network: String,
        service: String,
        number: u32,
        container: ContainerRef,
    },
    DisconnectNetwork {
        network: String,
        container: ContainerRef,
    },

    CreateVolume {
        key: String,
        name: String,
    },
    RemoveVolume {
        name: String,
        best_effort: bool,
    },

    CreateContainer(CreateContainer),
    /// Puts the contents of inline configs and secrets into a container.
    UploadFiles {
        service: String,
        container: ContainerRef,
    },
    StartContainer {
        service: String,
        container: ContainerRef,
    },
    StopContainer {
        service: String,
        container: ContainerRef,
        timeout: Option<Duration>,
    },
    KillContainer {
        container: ContainerRef,
        signal: String,
    },
    RestartContainer {
        service: String,
        container: ContainerRef,
        timeout: Option<Duration>,
    },
    PauseContainer {
        container: ContainerRef,
    },
    UnpauseContainer {
        container: ContainerRef,
    },
    RenameContainer {
        container: ContainerRef,
        name: String,
    },
    /// Changes restart policy and limits of a container in place; on hoist's own engine its
    /// healthcheck and labels too.
    UpdateContainer {
        service: String,
        number: u32,
        container: ContainerRef,
    },
    RemoveContainer {
        container: ContainerRef,
        volumes: bool,
        force: bool,
    },

    /// Runs the n-th `pre_start` hook of a service, before its first start.
    RunPreStart {
        service: String,
        index: usize,
        number: u32,
        /// A replica whose volumes the hook sees.
        container: ContainerRef,
    },
    /// Runs a `post_start` or `pre_stop` hook inside a container.
    RunHook {
        service: String,
        container: ContainerRef,
        hook: HookKind,
        index: usize,
    },

    /// Holds back what comes after until the service fulfils the condition.
    Wait {
        service: String,
        containers: Vec<ContainerRef>,
        condition: Condition,
        required: bool,
    },
    RunProvider {
        service: String,
        action: ProviderAction,
    },
    RemoveImage {
        image: String,
        force: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookKind {
    PostStart,
    PreStop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProviderAction {
    Up,
    Stop,
    Down,
}

/// A container to make. Name and number are settled; the body comes from the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CreateContainer {
    pub(crate) service: String,
    pub(crate) number: u32,
    /// The name it is created with; another than the final one while it replaces a container.
    pub(crate) name: String,
    pub(crate) final_name: String,
    /// Volumes of the old container that go over.
    pub(crate) inherited: Vec<InheritedMount>,
    /// Name of the container it replaces.
    pub(crate) replaces: Option<String>,
}

impl Operation {
    /// `container p-web-1`, `network p_default`: what the operation is about.
    pub(crate) fn subject(&self) -> (&'static str, &str) {
        match self {
            Operation::PullImage { image, .. }
            | Operation::BuildImage { image, .. }
            | Operation::RemoveImage { image, .. } => ("image", image),
            Operation::CreateNetwork { name, .. } | Operation::RemoveNetwork { name, .. } => {
                ("network", name)
            }
            Operation::CreateVolume { name, .. } | Operation::RemoveVolume { name, .. } => {
                ("volume", name)
            }
            Operation::CreateContainer(create) => ("container", &create.name),
            Operation::ConnectNetwork { container, .. }
            | Operation::DisconnectNetwork { container, .. }
            | Operation::UploadFiles { container, .. }
            | Operation::StartContainer { container, .. }
            | Operation::StopContainer { container, .. }
            | Operation::KillContainer { container, .. }
            | Operation::RestartContainer { container, .. }
            | Operation::PauseContainer { container }
            | Operation::UnpauseContainer { container }
            | Operation::RenameContainer { container, .. }
            | Operation::UpdateContainer { container, .. }
            | Operation::RemoveContainer { container, .. }
            | Operation::RunHook { container, .. } => ("container", &container.name),
            Operation::RunPreStart { service, .. } | Operation::Wait { service, .. } => {
                ("service", service)
            }
            Operation::RunProvider { service, .. } => ("provider", service),
        }
    }

    /// `create`, `stop`…: the verb alone.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Operation::PullImage { .. } => "pull",
            Operation::BuildImage { .. } => "build",
            Operation::CreateNetwork { .. }
            | Operation::CreateVolume { .. }
            | Operation::CreateContainer(_) => "create",
            Operation::RemoveNetwork { .. }
            | Operation::RemoveVolume { .. }
            | Operation::RemoveContainer { .. }
            | Operation::RemoveImage { .. } => "remove",
            Operation::ConnectNetwork { .. } => "connect",
            Operation::DisconnectNetwork { .. } => "disconnect",
            Operation::UploadFiles { .. } => "upload",
            Operation::StartContainer { .. } => "start",
            Operation::StopContainer { .. } => "stop",
            Operation::KillContainer { .. } => "kill",
            Operation::RestartContainer { .. } => "restart",
            Operation::PauseContainer { .. } => "pause",
            Operation::UnpauseContainer { .. } => "unpause",
            Operation::RenameContainer { .. } => "rename",
            Operation::UpdateContainer { .. } => "update",
            Operation::RunPreStart { .. }
            | Operation::RunHook { .. }
            | Operation::RunProvider { .. } => "run",
            Operation::Wait { .. } => "wait",
        }
    }

    /// It changes nothing on the engine.
    pub(crate) fn is_wait(&self) -> bool {
        matches!(self, Operation::Wait { .. })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.subject();
        write!(f, "{} {kind} {name}", self.verb())?;
        match self {
            Operation::ConnectNetwork { network, .. } => write!(f, " to {network}"),
            Operation::DisconnectNetwork { network, .. } => write!(f, " from {network}"),
            Operation::RenameContainer { name, .. } => write!(f, " to {name}"),
            Operation::KillContainer { signal, .. } => write!(f, " with {signal}"),
            Operation::CreateContainer(create) => {
                if let Some(old) = &create.replaces {
                    write!(f, " replacing {old}")?;
                }
                if !create.inherited.is_empty() {
                    write!(f, " with the volumes of")?;
                    for (index, mount) in create.inherited.iter().enumerate() {
                        write!(
                            f,
                            "{} {}",
                            if index > 0 { "," } else { "" },
                            mount.destination
                        )?;
                    }
                }
                Ok(())
            }
            Operation::RemoveContainer { volumes: true, .. } => {
                f.write_str(" and its anonymous volumes")
            }
            Operation::StopContainer {
                timeout: Some(timeout),
                ..
            }
            | Operation::RestartContainer {
                timeout: Some(timeout),
                ..
            } => {
                write!(f, " within {}s", timeout.as_secs())
            }
            Operation::RunPreStart { index, .. } => write!(f, " pre_start[{index}]"),
            Operation::RunHook { hook, index, .. } => match hook {
                HookKind::PostStart => write!(f, " post_start[{index}]"),
                HookKind::PreStop => write!(f, " pre_stop[{index}]"),
            },
            Operation::Wait {
                condition,
                required,
                ..
            } => {
                write!(f, " until {}", condition.as_str())?;
                if *required {
                    Ok(())
                } else {
                    f.write_str(" (optional)")
                }
            }
            Operation::RunProvider { action, .. } => f.write_str(match action {
                ProviderAction::Up => " up",
                ProviderAction::Stop => " stop",
                ProviderAction::Down => " down",
            }),
            _ => Ok(()),
        }
    }
}

/// The name a replacement bears until the old container is gone.
pub(crate) fn temporary_name(old_id: &str, name: &str) -> String {
    let short: String = old_id.chars().take(12).collect();
    format!("{short}_{name}")
}
