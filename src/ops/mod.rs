//! One file a use case: load → observe → plan → apply. This file holds what they share: the
//! context of a command and its error. Nothing here parses arguments or draws.

pub(crate) mod api_socket;
pub(crate) mod attach;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod checks;
pub(crate) mod commit;
pub(crate) mod config;
pub(crate) mod converge;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod down;
pub(crate) mod engine;
pub(crate) mod ensure_images;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod generate;
#[cfg(test)]
mod golden;
pub(crate) mod graph;
pub(crate) mod images;
pub(crate) mod kill;
pub(crate) mod lock;
pub(crate) mod logs;
pub(crate) mod ls;
pub(crate) mod models;
pub(crate) mod monitor;
pub(crate) mod no_effect;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod port;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod replicas;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod selection;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod target;
pub(crate) mod timestamps;
pub(crate) mod top;
pub(crate) mod up;
pub(crate) mod viz;
pub(crate) mod volumes;
pub(crate) mod wait;

use std::fmt;
use std::sync::Arc;

use crate::client::{Client, ClientError};
use crate::compose::model::Project;
use crate::compose::{LoadErrors, Loaded};
use crate::progress::Sink;

/// A yes-or-no question to the user: the text, and the answer when there is nobody to ask.
pub(crate) type Ask = Arc<dyn Fn(&str, bool) -> bool + Send + Sync>;

/// What a command works with. Clones are cheap and mean the same command.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) project_name: String,
    /// None when only the name of the project is known.
    pub(crate) loaded: Option<Arc<Loaded>>,
    pub(crate) progress: Sink,
    pub(crate) ask: Ask,
    /// Plan and print, write nothing.
    pub(crate) dry_run: bool,
    /// `_` with `--compatibility`, else `-`.
    pub(crate) separator: &'static str,
    /// How many engine calls may run at once; None: as many as there are.
    pub(crate) parallel: Option<usize>,
    /// The files given with `--env-file`; they go in a label.
    pub(crate) env_files: Vec<String>,
    /// `COMPOSE_IGNORE_ORPHANS`.
    pub(crate) ignore_orphans: bool,
}

impl Context {
    /// The loaded project, or the error that there is none.
    ///
    /// # Errors
    /// When only a project name was given.
    pub(crate) fn project(&self) -> Result<&Project, OpError> {
        match &self.loaded {
            Some(loaded) => Ok(&loaded.project),
            None => Err(OpError::new(1, "no configuration file provided: not found")),
        }
    }
}

impl Context {
    /// Where a field of the project is written.
    pub(crate) fn locate(&self, field: &str) -> Option<crate::plan::Location> {
        let place = self.loaded.as_ref()?.provenance.locate(field)?;
        Some(crate::plan::Location {
            file: place.file,
            line: place.line,
        })
    }
}

/// Why a command failed, and the exit code of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpError {
    pub(crate) exit_code: u8,
    /// Empty when everything has been said already.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl OpError {
    pub(crate) fn new(exit_code: u8, message: impl Into<String>) -> Self {
        OpError {
            exit_code,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        OpError::new(1, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OpError {}

impl From<ClientError> for OpError {
    fn from(error: ClientError) -> Self {
        OpError::failed(error.to_string())
    }
}

impl From<LoadErrors> for OpError {
    fn from(error: LoadErrors) -> Self {
        OpError::failed(error.to_string())
    }
}
