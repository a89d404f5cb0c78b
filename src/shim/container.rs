//! The one container of a shim, and what of it is on disk.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::Serialize;

use crate::oci::runtime_spec::{ContainerSpec, Namespace};
use crate::shim::leftovers;
use crate::shim::protocol::{
    CreateRequest, EXIT_FILE, Exit, RECORD_FILE, SOCKET_FILE, ShimRecord, ShimState, Started,
};
use crate::sys::cgroup::Cgroup;
use crate::sys::process::start_time_ticks;

#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) state_dir: PathBuf,
    pub(crate) spec: ContainerSpec,
    pub(crate) open_stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) started: Option<Started>,
    pub(crate) exit: Option<Exit>,
    /// Held from the start to the report of the end.
    pub(crate) rootfs: Option<OwnedFd>,
}

impl Container {
    /// Makes the state directory and says in it whose it is.
    pub(crate) fn create(request: CreateRequest) -> io::Result<Container> {
        let container = Container {
            state_dir: request.state_dir,
            spec: request.spec,
            open_stdin: request.open_stdin,
            stdin_once: request.stdin_once,
            started: None,
            exit: None,
            rootfs: None,
        };
        fs::create_dir_all(&container.state_dir)?;
        rustix::fs::chmod(&container.state_dir, rustix::fs::Mode::from_raw_mode(0o700))?;
        // Left by an earlier shim of the same container, it would tell the wrong end.
        let _ = fs::remove_file(container.state_dir.join(EXIT_FILE));
        let shim_pid = own_pid();
        container.write(
            RECORD_FILE,
            &ShimRecord {
                shim_pid,
                shim_start_ticks: start_time_ticks(shim_pid)?,
                cgroup_path: container.spec.cgroup_path.clone(),
            },
        )?;
        Ok(container)
    }

    pub(crate) fn state(&self) -> ShimState {
        ShimState {
            shim_pid: own_pid(),
            cgroup_path: self.spec.cgroup_path.clone(),
            started: self.started,
            exit: self.exit,
        }
    }

    pub(crate) fn cgroup(&self) -> Cgroup {
        Cgroup::at(&self.spec.cgroup_path)
    }

    /// In a pid namespace of its own the kernel has killed the other processes; elsewhere they would stay.
    pub(crate) fn kill_rest(&self) {
        if self.spec.namespaces.pid != Namespace::New {
            // What cannot be killed now is found by the release.
            let _ = self.cgroup().kill_and_wait();
        }
    }

    pub(crate) fn was_short_of_memory(&self) -> bool {
        self.cgroup().oom_kills() > 0
    }

    pub(crate) fn record_exit(&mut self, exit: Exit) -> io::Result<()> {
        self.exit = Some(exit);
        self.write(EXIT_FILE, &exit)
    }

    pub(crate) fn let_rootfs_go(&mut self) {
        self.rootfs = None;
    }

    /// The shim ends without a release: the end stays on disk, kernel objects do not stay.
    pub(crate) fn retire(&self) {
        let _ = self.cgroup().remove();
        let _ = fs::remove_file(self.state_dir.join(SOCKET_FILE));
    }

    /// Nothing stays.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
        self.let_rootfs_go();
        self.cgroup().kill_and_wait()?;
        self.cgroup().remove()?;
        leftovers::remove(&self.state_dir)
    }

    /// Whole or not at all.
    fn write<T: Serialize>(&self, name: &str, content: &T) -> io::Result<()> {
        let text = serde_json::to_vec(content).map_err(io::Error::other)?;
        let temporary = self.state_dir.join(format!(".{name}"));
        fs::write(&temporary, text)?;
        fs::rename(temporary, self.state_dir.join(name))
    }
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}
