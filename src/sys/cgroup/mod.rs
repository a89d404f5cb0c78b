//! The control groups of a container: made, limited, joined, frozen, read, killed, removed; on the v1 hierarchies (with
//! the v2 one beside them, when the machine is "hybrid") or on v2 alone. It knows no spec and starts no process.
//!
//! With v1 the limits live in the v1 hierarchies, and whatever is about processes (kill, freeze, wait for emptiness) in
//! the unified one where there is one.

mod device_program;
mod hierarchy;
mod stats;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};

use crate::sys::process::{PidFd, pause_ms};

pub(crate) use device_program::DeviceAccess;
pub(crate) use hierarchy::{Hierarchies, hierarchies};
pub(crate) use stats::{BlkioEntry, Stats};

/// v1 controllers that every container joins. The others are joined when a limit asks for them: each one costs.
const ALWAYS: [&str; 5] = ["memory", "pids", "devices", "freezer", "cpuacct"];
/// Rounds of two milliseconds in which the kernel may let go of a cgroup whose last process has ended.
const REMOVE_ROUNDS: u32 = 500;

/// One container's cgroup, by its path below the root of every hierarchy. It need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cgroup {
    path: String,
}

impl Cgroup {
    /// Nothing is touched yet.
    pub(crate) fn at(path: &str) -> Self {
        Cgroup {
            path: path.trim_matches('/').to_owned(),
        }
    }

    /// Below the root of each hierarchy.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Makes the directories, before any process is inside. `controllers`: v1 ones besides those always joined.
    pub(crate) fn create(&self, controllers: &[&str]) -> io::Result<()> {
        match hierarchies() {
            Hierarchies::V1 { unified, .. } => {
                for controller in ALWAYS.iter().chain(controllers) {
                    self.ensure_v1(controller)?;
                }
                if let Some(root) = unified {
                    fs::create_dir_all(root.join(&self.path))?;
                }
                Ok(())
            }
            Hierarchies::V2 { root } => hierarchy::make_v2(root, &self.path),
        }
    }

    /// Joins further v1 controllers, with the processes that are inside already.
    pub(crate) fn extend(&self, controllers: &[&str]) -> io::Result<()> {
        for controller in controllers {
            if self.ensure_v1(controller)? {
                let folder = self.v1_dir(controller).unwrap_or_default();
                for pid in self.pids()? {
                    // A process that has ended meanwhile needs no limit.
                    let _ = write(&folder.join("cgroup.procs"), &pid.to_string());
                }
            }
        }
        Ok(())
    }

    /// Says which devices the processes inside may use.
    pub(crate) fn set_devices(&self, rules: &[DeviceAccess]) -> io::Result<()> {
        let folder = match hierarchies() {
            Hierarchies::V1 { .. } => self
                .v1_dir("devices")
                .ok_or_else(|| io::Error::other("no devices cgroup is mounted"))?,
            Hierarchies::V2 { root } => {
                return device_program::attach(&root.join(&self.path), rules);
            }
        };
        let open = |name: &str| fs::OpenOptions::new().write(true).open(folder.join(name));
        let (mut allow, mut deny) = (open("devices.allow")?, open("devices.deny")?);
        for rule in rules {
            let file = if rule.allow { &mut allow } else { &mut deny };
            let line = device_program::v1_line(rule);
            file.write_all(line.as_bytes()).map_err(|error| {
                io::Error::new(error.kind(), format!("device rule \"{line}\": {error}"))
            })?;
        }
        Ok(())
    }

    /// The directory for `CLONE_INTO_CGROUP`: the one of the unified hierarchy, where there is one.
    pub(crate) fn open_unified(&self) -> io::Result<Option<OwnedFd>> {
        match self.unified_dir() {
            Some(folder) => Ok(Some(File::open(folder)?.into())),
            None => Ok(None),
        }
    }

    /// The `tasks` files of the v1 hierarchies, opened for [`join`]. None on v2.
    pub(crate) fn open_tasks(&self) -> io::Result<Vec<File>> {
        let mut files = Vec::new();
        for folder in self.v1_dirs() {
            match fs::OpenOptions::new()
                .write(true)
                .open(folder.join("tasks"))
            {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    /// Every process inside, nested cgroups included.
    pub(crate) fn pids(&self) -> io::Result<Vec<i32>> {
        let Some(folder) = self.process_dir() else {
            return Ok(Vec::new());
        };
        let mut pids = Vec::new();
        collect_pids(&folder, &mut pids)?;
        Ok(pids)
    }

    pub(crate) fn freeze(&self) -> io::Result<()> {
        self.set_frozen(true)
    }

    pub(crate) fn thaw(&self) -> io::Result<()> {
        self.set_frozen(false)
    }

    /// How often the kernel killed a process in here for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = match hierarchies() {
            Hierarchies::V1 { .. } => self
                .v1_dir("memory")
                .map(|folder| folder.join("memory.oom_control")),
            Hierarchies::V2 { root } => Some(root.join(&self.path).join("memory.events")),
        };
        file.and_then(|file| fs::read_to_string(file).ok())
            .and_then(|text| stats::keyed(&text, "oom_kill"))
            .unwrap_or(0)
    }

    pub(crate) fn stats(&self) -> io::Result<Stats> {
        match hierarchies() {
            Hierarchies::V1 { .. } => Ok(stats::read_v1(&|controller| self.v1_dir(controller))),
            Hierarchies::V2 { root } => Ok(stats::read_v2(&root.join(&self.path))),
        }
    }

    /// Kills every process inside and returns when none is left. A missing cgroup is empty.
    pub(crate) fn kill_and_wait(&self) -> io::Result<()> {
        if let Some(folder) = self.unified_dir()
            && write(&folder.join("cgroup.kill"), "1").is_ok()
        {
            return wait_for_event(&folder, "populated", 0);
        }
        // No cgroup.kill: forks may get away from one round, so frozen first, then until nothing is left.
        let _ = self.freeze();
        let mut pids = self.pids()?;
        for pid in &pids {
            if let Ok(process) = PidFd::open(*pid) {
                let _ = process.signal(libc::SIGKILL);
            }
        }
        let _ = self.thaw();
        while !pids.is_empty() {
            for pid in &pids {
                if let Ok(process) = PidFd::open(*pid) {
                    let _ = process.signal(libc::SIGKILL);
                    process.wait_readable()?;
                }
            }
            pids = self.pids()?;
        }
        Ok(())
    }

    /// Sends `signal` to every process inside.
    pub(crate) fn signal_all(&self, signal: i32) -> io::Result<()> {
        for pid in self.pids()? {
            if let Ok(process) = PidFd::open(pid) {
                let _ = process.signal(signal);
            }
        }
        Ok(())
    }

    /// Removes the directories, with what the container nested inside. The processes must have been reaped.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let mut folders = self.v1_dirs();
        folders.extend(self.unified_dir());
        for folder in folders {
            remove_tree(&folder)?;
        }
        Ok(())
    }

    /// Whether any hierarchy has it.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look at it"))]
    pub(crate) fn exists(&self) -> bool {
        self.v1_dirs()
            .into_iter()
            .chain(self.unified_dir())
            .any(|folder| folder.exists())
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        if let Some(folder) = self.unified_dir() {
            write(
                &folder.join("cgroup.freeze"),
                if frozen { "1" } else { "0" },
            )?;
            return wait_for_event(&folder, "frozen", u64::from(frozen));
        }
        let folder = self
            .v1_dir("freezer")
            .ok_or_else(|| io::Error::other("no freezer cgroup is mounted"))?;
        let state = folder.join("freezer.state");
        let wanted = if frozen { "FROZEN" } else { "THAWED" };
        write(&state, wanted)?;
        for _ in 0..REMOVE_ROUNDS {
            // While it reads FREEZING, each read makes the kernel look again.
            if fs::read_to_string(&state)?.trim() == wanted {
                return Ok(());
            }
            pause_ms(1);
        }
        write(&state, "THAWED")?;
        Err(io::Error::other("the processes could not be frozen"))
    }

    /// `true` when it had to be made.
    fn ensure_v1(&self, controller: &str) -> io::Result<bool> {
        let Some(folder) = self.v1_dir(controller) else {
            return Ok(false);
        };
        if folder.is_dir() {
            return Ok(false);
        }
        fs::create_dir_all(&folder)?;
        if controller == "cpuset" {
            hierarchy::inherit_cpuset(&folder, &self.path)?;
        }
        Ok(true)
    }

    /// Where a v1 controller's files of this cgroup are; `None` on v2 and where it is not mounted.
    pub(crate) fn v1_dir(&self, controller: &str) -> Option<PathBuf> {
        match hierarchies() {
            Hierarchies::V1 { mounts, .. } => mounts
                .iter()
                .find(|mount| mount.controllers.iter().any(|name| name == controller))
                .map(|mount| mount.root.join(&self.path)),
            Hierarchies::V2 { .. } => None,
        }
    }

    fn v1_dirs(&self) -> Vec<PathBuf> {
        match hierarchies() {
            Hierarchies::V1 { mounts, .. } => mounts
                .iter()
                .map(|mount| mount.root.join(&self.path))
                .collect(),
            Hierarchies::V2 { .. } => Vec::new(),
        }
    }

    fn unified_dir(&self) -> Option<PathBuf> {
        match hierarchies() {
            Hierarchies::V1 { unified, .. } => unified.as_ref().map(|root| root.join(&self.path)),
            Hierarchies::V2 { root } => Some(root.join(&self.path)),
        }
    }

    /// Where the list of processes is read.
    fn process_dir(&self) -> Option<PathBuf> {
        self.unified_dir()
            .or_else(|| self.v1_dir("pids"))
            .or_else(|| self.v1_dir("memory"))
    }
}

/// Moves the calling process, which must have one thread, into the cgroups of the opened `tasks` files. This way takes no
/// lock that waits for an RCU grace period, which a write to `cgroup.procs` does.
pub(crate) fn join(tasks: &[File]) -> io::Result<()> {
    for mut file in tasks {
        file.write_all(b"0")?;
    }
    Ok(())
}

fn collect_pids(folder: &Path, pids: &mut Vec<i32>) -> io::Result<()> {
    let text = match fs::read_to_string(folder.join("cgroup.procs")) {
        Ok(text) => text,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in child_dirs(folder)? {
        collect_pids(&child, pids)?;
    }
    Ok(())
}

fn child_dirs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    for round in 0.. {
        match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if gone(&error) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && round < REMOVE_ROUNDS => {
                let children = child_dirs(folder)?;
                for child in &children {
                    remove_tree(child)?;
                }
                if children.is_empty() {
                    pause_ms(2);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until `cgroup.events` says `key value`. A cgroup that is gone says so too.
fn wait_for_event(folder: &Path, key: &str, value: u64) -> io::Result<()> {
    let path = folder.join("cgroup.events");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    loop {
        let mut text = String::new();
        let mut reader = &file;
        io::Seek::seek(&mut reader, io::SeekFrom::Start(0))?;
        match io::Read::read_to_string(&mut reader, &mut text) {
            Ok(_) if stats::keyed(&text, key) == Some(value) => return Ok(()),
            Ok(_) => {}
            Err(error) if gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut watched = [PollFd::new(&file, PollFlags::PRI)];
        rustix::event::poll(&mut watched, None)?;
    }
}

fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// One write(2), as these files want it; the error names the file.
pub(crate) fn write(path: &Path, value: &str) -> io::Result<()> {
    let written = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("write \"{value}\" to {}: {error}", path.display()),
        )
    })
}
