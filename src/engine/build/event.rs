//! What a build reports while it runs. The classic API and BuildKit's each turn this into their own messages.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::engine::images::ProgressMessage;

/// Something happened in a build. Steps are counted over all stages, from 0.
#[derive(Debug, Clone)]
pub(crate) enum BuildEvent {
    /// A step begins. `name` is the instruction as written, `total` the number of steps of the build.
    Started {
        step: usize,
        total: usize,
        stage: String,
        name: String,
    },
    /// The step's result was there already.
    Cached {
        step: usize,
    },
    /// What a command of the step wrote.
    Output {
        step: usize,
        stderr: bool,
        bytes: Bytes,
    },
    /// Progress of a pull that the step needs.
    Pull {
        step: usize,
        message: ProgressMessage,
    },
    Done {
        step: usize,
    },
    Failed {
        step: usize,
        message: String,
    },
    Warning(String),
}

pub(crate) type EventSender = mpsc::Sender<BuildEvent>;

/// Why a build failed, and the exit code of the command that did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildError {
    pub(crate) error: crate::engine::base::Error,
    pub(crate) code: Option<i32>,
}

pub(crate) type BuildResult<T> = std::result::Result<T, BuildError>;

impl<E: Into<crate::engine::base::Error>> From<E> for BuildError {
    fn from(error: E) -> Self {
        BuildError {
            error: error.into(),
            code: None,
        }
    }
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}
