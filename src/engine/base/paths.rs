//! Every path under the data root and the run root. It creates nothing.

use std::path::{Path, PathBuf};

/// The two roots of one engine. Data survives a reboot; run does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    data_root: PathBuf,
    run_root: PathBuf,
}

impl Paths {
    pub(crate) fn new(data_root: impl Into<PathBuf>, run_root: impl Into<PathBuf>) -> Self {
        Paths {
            data_root: data_root.into(),
            run_root: run_root.into(),
        }
    }

    pub(crate) fn data_root(&self) -> &Path {
        &self.data_root
    }

    pub(crate) fn run_root(&self) -> &Path {
        &self.run_root
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run_root.join("engine.sock")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.run_root.join("engine.pid")
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.run_root.join("engine.lock")
    }

    pub(crate) fn data_lock_file(&self) -> PathBuf {
        self.data_root.join("engine.lock")
    }

    /// Records, logs and etc files of all containers: `containers/<id>/…`.
    pub(crate) fn containers(&self) -> PathBuf {
        self.data_root.join("containers")
    }

    pub(crate) fn container(&self, container_id: &str) -> PathBuf {
        self.containers().join(container_id)
    }

    /// What lives only while the container runs: shim socket, exit file.
    pub(crate) fn shim(&self, container_id: &str) -> PathBuf {
        self.run_root.join("shims").join(container_id)
    }

    pub(crate) fn shims(&self) -> PathBuf {
        self.run_root.join("shims")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.data_root.join("images")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.data_root.join("snapshots")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.data_root.join("volumes")
    }

    pub(crate) fn networks(&self) -> PathBuf {
        self.data_root.join("networks")
    }

    pub(crate) fn build(&self) -> PathBuf {
        self.data_root.join("build")
    }

    /// Pinned network namespaces: one file a sandbox.
    pub(crate) fn netns(&self) -> PathBuf {
        self.run_root.join("netns")
    }

    /// Half-written things; emptied when the engine starts.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.data_root.join("tmp")
    }
}
