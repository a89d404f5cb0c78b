//! The Docker Engine API as the compose half sees it: one method an operation the crate needs.
//! The only place that knows bollard. It decides nothing.

pub(crate) mod build;
pub(crate) mod connect;
pub(crate) mod container_body;
pub(crate) mod context;
pub(crate) mod context_tar;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod images;
mod live;
mod mounts;
pub(crate) mod observe;
pub(crate) mod operations;
pub(crate) mod reads;
mod resource_body;
pub(crate) mod streams;

use bollard::Docker;

pub(crate) use connect::{EngineChoice, Roots};
pub(crate) use error::ClientError;

/// A connection to one engine. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    docker: Docker,
    choice: EngineChoice,
    /// The bundled engine has never run here and is not started for a look: there is nothing.
    is_blank: bool,
}

impl Client {
    /// Connects; starts the bundled engine when that is the choice and it does not run.
    pub(crate) async fn connect(choice: EngineChoice) -> Result<Client, ClientError> {
        error::note_address(choice.address());
        let docker = connect::open(&choice).await?;
        Ok(Client {
            docker,
            choice,
            is_blank: false,
        })
    }

    /// Connects for a look that must leave no trace: where the bundled engine has never run it is
    /// not started, and everything that is observed is empty.
    pub(crate) async fn connect_for_a_look(choice: EngineChoice) -> Result<Client, ClientError> {
        match &choice {
            EngineChoice::Bundled(roots) if !roots.data.exists() => Ok(Client {
                docker: connect::nowhere()?,
                choice,
                is_blank: true,
            }),
            _ => Client::connect(choice).await,
        }
    }

    /// Nothing can have been made on this engine yet.
    pub(in crate::client) fn is_blank(&self) -> bool {
        self.is_blank
    }

    /// Connects only when the engine runs already: a bundled engine that does not run has no
    /// containers worth starting it for.
    pub(crate) fn connect_running(choice: EngineChoice) -> Result<Option<Client>, ClientError> {
        Ok(connect::open_running(&choice)?.map(|docker| Client {
            docker,
            choice,
            is_blank: false,
        }))
    }

    pub(crate) fn choice(&self) -> &EngineChoice {
        &self.choice
    }

    /// Whether hoist's own engine is behind it.
    pub(crate) fn is_bundled(&self) -> bool {
        self.choice.is_bundled()
    }

    /// For the other files of this folder only.
    pub(in crate::client) fn docker(&self) -> &Docker {
        &self.docker
    }
}
