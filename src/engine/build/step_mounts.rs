//! The mounts of a `RUN` step: caches, secrets, tmpfs, and directories of the context or of other stages. Each is a
//! directory of the engine's own, so that nothing of a build can choose a path of the host.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};

use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Result};
use crate::engine::build::metadata::joined;
use crate::engine::build::run_mounts::{MountOptions, Sharing};
use crate::oci::Digest;
use crate::oci::runtime_spec::{
    BindMount, MountFlags, MountKind, MountSpec, ReadonlyBind, TmpfsMount,
};
use crate::sys::mount;

/// Caches of `--mount=type=cache`, by the hash of their id.
#[derive(Default)]
pub(crate) struct CacheLocks {
    locks: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl CacheLocks {
    fn of(&self, id: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        lock(&self.locks).entry(id.clone()).or_default().clone()
    }
}

/// Mounts of one step, and what has to be undone after it.
#[derive(Default)]
pub(crate) struct StepMounts {
    pub(crate) mounts: Vec<MountSpec>,
    /// Secrets for the environment.
    pub(crate) env: Vec<String>,
    pub(crate) targets: Vec<String>,
    /// Held while the step runs.
    guards: Vec<tokio::sync::OwnedMutexGuard<()>>,
    attached: Vec<PathBuf>,
    folder: Option<PathBuf>,
}

impl Drop for StepMounts {
    fn drop(&mut self) {
        for path in &self.attached {
            if let Err(error) = mount::unmount_detached(path) {
                tracing::warn!(path = %path.display(), %error, "unmount a view of a build step");
            }
        }
        if let Some(folder) = &self.folder
            && let Err(error) = fs::remove_dir_all(folder)
        {
            tracing::warn!(path = %folder.display(), %error, "remove the folder of a build step");
        }
        self.guards.clear();
    }
}

/// Directories under a bind mount, topmost first.
pub(crate) struct View {
    pub(crate) lowers: Vec<PathBuf>,
}

impl StepMounts {
    /// `folder` is the step's own below the run root: it is made, and removed at the end.
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        let mut mounts = StepMounts::default();
        mounts.folder = Some(folder);
        Ok(mounts)
    }

    fn place(&mut self, name: &str) -> PathBuf {
        let count = self.mounts.len() + self.attached.len();
        let folder = self.folder.clone().unwrap_or_default();
        folder.join(format!("{name}-{count}"))
    }

    fn push(&mut self, destination: String, kind: MountKind) {
        self.targets.push(destination.clone());
        self.mounts.push(MountSpec { destination, kind });
    }

    /// A file with this text at `destination`.
    pub(crate) fn file(
        &mut self,
        destination: &str,
        content: &[u8],
        mode: u32,
        owner: (u32, u32),
    ) -> Result<()> {
        let path = self.place("file");
        fs::write(&path, content)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        chown(&path, Some(owner.0), Some(owner.1))?;
        let bind = BindMount::new(path, ReadonlyBind::Recursive);
        self.push(destination.to_owned(), MountKind::Bind(bind));
        Ok(())
    }

    pub(crate) fn secret(&mut self, options: &MountOptions, value: Option<&[u8]>) -> Result<()> {
        let id = options.secret_id().unwrap_or_default();
        let Some(value) = value else {
            return match options.required {
                true => Err(Error::invalid(format!("secret {id}: not found"))),
                false => Ok(()),
            };
        };
        if let Some(name) = &options.env {
            let text = String::from_utf8_lossy(value);
            self.env.push(format!("{name}={text}"));
            if options.target.is_none() {
                return Ok(());
            }
        }
        let target = match &options.target {
            Some(target) => joined("/run/secrets", target),
            None => format!("/run/secrets/{id}"),
        };
        let owner = (options.uid.unwrap_or(0), options.gid.unwrap_or(0));
        self.file(&target, value, options.mode.unwrap_or(0o400), owner)
    }

    pub(crate) fn tmpfs(&mut self, options: &MountOptions, cwd: &str) {
        let target = joined(cwd, options.target.as_deref().unwrap_or_default());
        let tmpfs = TmpfsMount {
            size_bytes: options.size_bytes,
            mode: options.mode,
            uid: None,
            gid: None,
            flags: MountFlags::default(),
            extra: Vec::new(),
        };
        self.push(target, MountKind::Tmpfs(tmpfs));
    }

    /// A directory that later builds find again. `caches` is the root of all.
    pub(crate) async fn cache(
        &mut self,
        options: &MountOptions,
        cwd: &str,
        caches: &Path,
        locks: &CacheLocks,
    ) -> Result<()> {
        let target = joined(cwd, options.target.as_deref().unwrap_or_default());
        // Hashed, so that an id cannot be a path.
        let id = Digest::of(options.id.as_deref().unwrap_or(&target).as_bytes());
        if options.sharing == Sharing::Locked {
            self.guards.push(locks.of(&id).lock_owned().await);
        }
        let path = caches.join(id.hex());
        if !path.exists() {
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, Permissions::from_mode(options.mode.unwrap_or(0o755)))?;
            chown(&path, options.uid.or(Some(0)), options.gid.or(Some(0)))?;
        }
        let readonly = match options.readonly {
            Some(true) => ReadonlyBind::Recursive,
            _ => ReadonlyBind::No,
        };
        let bind = BindMount {
            subpath: options.source.clone().filter(|_| options.from.is_none()),
            ..BindMount::new(path, readonly)
        };
        self.push(target, MountKind::Bind(bind));
        Ok(())
    }

    /// A part of the context or of another stage; what the step writes there is thrown away.
    pub(crate) fn bind(&mut self, options: &MountOptions, cwd: &str, view: &View) -> Result<()> {
        let target = joined(cwd, options.target.as_deref().unwrap_or_default());
        let writable = options.readonly == Some(false);
        let lowers: Vec<&Path> = view.lowers.iter().map(PathBuf::as_path).collect();
        let mounted: OwnedFd = if writable {
            let (upper, work) = (self.place("upper"), self.place("work"));
            fs::create_dir(&upper)?;
            fs::create_dir(&work)?;
            mount::overlay(&lowers, &upper, &work, true)?
        } else {
            mount::overlay_view(&lowers)?
        };
        let path = self.place("view");
        fs::create_dir(&path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::open(&path, flags, Mode::empty()).map_err(std::io::Error::from)?;
        mount::attach(mounted.as_fd(), place.as_fd())?;
        self.attached.push(path.clone());
        let source = joined("/", options.source.as_deref().unwrap_or("/"));
        let readonly = match writable {
            true => ReadonlyBind::No,
            false => ReadonlyBind::Recursive,
        };
        let bind = BindMount {
            subpath: (source != "/").then(|| source.trim_start_matches('/').to_owned()),
            ..BindMount::new(path, readonly)
        };
        self.push(target, MountKind::Bind(bind));
        Ok(())
    }
}

/// Unmounts and removes what a crash left of steps.
pub(crate) fn sweep(folder: &Path) -> Result<()> {
    let Ok(steps) = fs::read_dir(folder) else {
        return Ok(());
    };
    for step in steps {
        let step = step?.path();
        for entry in fs::read_dir(&step)? {
            let path = entry?.path();
            let is_view = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("view-"));
            if is_view {
                match mount::unmount_detached(&path) {
                    Ok(()) => {}
                    // It was not mounted any more.
                    Err(error) if error.raw_os_error() == Some(22) => {}
                    Err(error) => return Err(Error::from(error).context(path.display())),
                }
            }
        }
        fs::remove_dir_all(&step)?;
    }
    Ok(())
}
