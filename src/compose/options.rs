//! What a load is asked for, and what it gives back. No logic.

use std::path::{Path, PathBuf};

use crate::compose::error::Warning;
use crate::compose::model::{Mapping, Project};
use crate::compose::provenance::Provenance;

/// What to load, and how. All paths may be relative to `working_dir`.
#[derive(Clone)]
pub(crate) struct LoadOptions<'a> {
    /// `-f`, in merge order: paths, `-` for stdin, `oci://…` and git references. Empty: look them up.
    pub(crate) files: Vec<String>,
    /// `--project-directory`.
    pub(crate) project_directory: Option<PathBuf>,
    /// `-p`.
    pub(crate) project_name: Option<String>,
    /// `--env-file`, replacing `.env`.
    pub(crate) env_files: Vec<PathBuf>,
    /// `--profile`; empty: `COMPOSE_PROFILES`.
    pub(crate) profiles: Vec<String>,
    /// The folder the command was started in, absolute.
    pub(crate) working_dir: PathBuf,
    /// The environment of this process.
    pub(crate) environment: Mapping,
    /// Content of stdin, read by the caller when `files` holds `-`.
    pub(crate) stdin: Option<String>,
    /// Switched off by `config --no-interpolate`.
    pub(crate) interpolate: bool,
    /// Switched off by `config --no-normalize`.
    pub(crate) normalize: bool,
    /// Switched off by `config --no-path-resolution`.
    pub(crate) resolve_paths: bool,
    /// Switched off by `config --no-consistency`.
    pub(crate) check_consistency: bool,
    /// Switched off by `config --no-env-resolution`: `env_file` is then not read.
    pub(crate) resolve_environment: bool,
    /// Fetches `oci://…` files; `None` where no client is at hand.
    pub(crate) fetcher: Option<&'a dyn RemoteFetcher>,
}

impl LoadOptions<'_> {
    /// What a plain `hoist up` in `working_dir` asks for.
    pub(crate) fn new(working_dir: PathBuf, environment: Mapping) -> Self {
        Self {
            files: Vec::new(),
            project_directory: None,
            project_name: None,
            env_files: Vec::new(),
            profiles: Vec::new(),
            working_dir,
            environment,
            stdin: None,
            interpolate: true,
            normalize: true,
            resolve_paths: true,
            check_consistency: true,
            resolve_environment: true,
            fetcher: None,
        }
    }
}

/// A loaded project and what there is to say about it.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) project: Project,
    pub(crate) warnings: Vec<Warning>,
    /// Where the fields stand in the files.
    pub(crate) provenance: Provenance,
    /// The env files that were read for variables.
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    pub(crate) env_files: Vec<PathBuf>,
}

/// Brings a remote Compose file into a local folder; implemented above this layer for `oci://…`.
pub(crate) trait RemoteFetcher {
    /// Fetches `reference` into the cache and returns the local Compose file.
    fn fetch(&self, reference: &str, cache: &Path) -> Result<PathBuf, FetchError>;
}

/// Why a remote file could not be had.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FetchError(pub(crate) String);
