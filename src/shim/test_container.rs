//! Real containers for tests: a rootfs of busybox, a spec as Docker's defaults, a shim. Not for anything but tests.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::oci::capabilities::Capabilities;
use crate::oci::runtime_spec::{
    ContainerSpec, Namespace, Namespaces, ProcessSpec, Resources, RootfsSource, RootfsSpec,
    Seccomp, UserSpec, default_device_rules, default_masked_paths, default_mounts,
    default_readonly_paths,
};
use crate::shim::client::{AttachOptions, Exit, LogOptions, Shim, ShimOptions, StdStream};

const BUSYBOX: &str = "/bin/busybox";

/// Files of one test's container. Removed with it.
pub(crate) struct TestContainer {
    folder: tempfile::TempDir,
    pub(crate) spec: ContainerSpec,
    pub(crate) log: bool,
    pub(crate) open_stdin: bool,
    pub(crate) stdin_once: bool,
}

/// What a container wrote, and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: Exit,
}

pub(crate) const ALL_OUTPUT: AttachOptions = AttachOptions {
    stdin: false,
    stdout: true,
    stderr: true,
};

impl TestContainer {
    /// `None`, said aloud, where containers cannot be run.
    pub(crate) fn new(script: &str) -> Option<TestContainer> {
        if !rustix::process::geteuid().is_root() || !Path::new(BUSYBOX).exists() {
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("LEFT OUT: needs root and a static {BUSYBOX} (package busybox-static)\n")
                    .as_bytes(),
            );
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let lower = folder.path().join("lower");
        for name in ["bin", "etc", "tmp", "upper", "work"] {
            let parent = if matches!(name, "upper" | "work") {
                folder.path()
            } else {
                lower.as_path()
            };
            fs::create_dir_all(parent.join(name)).unwrap();
        }
        fs::copy(BUSYBOX, lower.join("bin/busybox")).unwrap();
        symlink("busybox", lower.join("bin/sh")).unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy();
        let id = format!(
            "test-{}-{}",
            std::process::id(),
            name.trim_start_matches('.')
        );
        let spec = spec(&id, folder.path(), script);
        Some(TestContainer {
            folder,
            spec,
            log: false,
            open_stdin: false,
            stdin_once: false,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path("shim")
    }

    pub(crate) async fn create(&self) -> Shim {
        let options = ShimOptions {
            state_dir: self.state_dir(),
            spec: self.spec.clone(),
            log: self.log.then(|| LogOptions {
                path: self.path("c.log"),
                max_size_bytes: None,
                max_files: 1,
                attrs: BTreeMap::new(),
            }),
            open_stdin: self.open_stdin,
            stdin_once: self.stdin_once,
        };
        Shim::create(options).await.unwrap()
    }

    /// The whole life of a container that ends by itself.
    pub(crate) async fn run(&self) -> Outcome {
        let shim = self.create().await;
        let mut attached = shim.attach(ALL_OUTPUT).await.unwrap();
        shim.start().await.unwrap();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some((stream, bytes)) = attached.output.next().await {
            match stream {
                StdStream::Stdout => stdout.extend_from_slice(&bytes),
                StdStream::Stderr => stderr.extend_from_slice(&bytes),
            }
        }
        let exit = shim.wait().await;
        shim.release().await.unwrap();
        self.assert_nothing_left();
        Outcome {
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            exit,
        }
    }

    /// Looks again: no state, no cgroup, no mount.
    pub(crate) fn assert_nothing_left(&self) {
        assert!(!self.state_dir().exists());
        let cgroup = crate::sys::cgroup::Cgroup::at(&self.spec.cgroup_path);
        assert!(!cgroup.exists(), "{cgroup:?}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let folder = self.folder.path().to_string_lossy();
        assert!(!mounts.contains(folder.as_ref()), "{mounts}");
    }
}

/// `sh -c script`, with everything as Docker has it by default, and no network.
fn spec(id: &str, folder: &Path, script: &str) -> ContainerSpec {
    ContainerSpec {
        id: id.to_owned(),
        hostname: "box".to_owned(),
        domainname: String::new(),
        root: RootfsSpec {
            source: RootfsSource::Overlay {
                lowers: vec![folder.join("lower")],
                upper: folder.join("upper"),
                work: folder.join("work"),
                volatile: true,
            },
            readonly: false,
        },
        mounts: default_mounts(false, Some(64 << 20)),
        process: process(&["/bin/sh", "-c", script]),
        namespaces: Namespaces {
            net: Namespace::New,
            pid: Namespace::New,
            ipc: Namespace::New,
            uts: Namespace::New,
            cgroup: Namespace::New,
        },
        cgroup_path: format!("hoist/{id}"),
        resources: Resources::default(),
        devices: Vec::new(),
        device_rules: default_device_rules(),
        sysctls: BTreeMap::new(),
        masked_paths: default_masked_paths(),
        readonly_paths: default_readonly_paths(),
        init: false,
    }
}

pub(crate) fn process(args: &[&str]) -> ProcessSpec {
    ProcessSpec {
        args: args.iter().map(|argument| (*argument).to_owned()).collect(),
        env: vec!["PATH=/usr/bin:/bin".to_owned()],
        cwd: "/".to_owned(),
        user: UserSpec::default(),
        tty: false,
        console_size: None,
        capabilities: Capabilities::docker_default(),
        rlimits: Vec::new(),
        no_new_privileges: false,
        oom_score_adj: None,
        seccomp: Seccomp::Default,
    }
}
