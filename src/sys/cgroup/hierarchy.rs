//! Which cgroup hierarchies this machine has, read once from mountinfo, and the making of inner directories.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::sys::cgroup::write;

/// Controllers that a v2 container needs from its parent.
const V2_CONTROLLERS: [&str; 6] = ["cpuset", "cpu", "io", "memory", "pids", "hugetlb"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hierarchies {
    V1 {
        mounts: Vec<HierarchyMount>,
        /// The v2 hierarchy beside them, without controllers of use.
        unified: Option<PathBuf>,
    },
    V2 {
        root: PathBuf,
    },
}

/// One v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HierarchyMount {
    pub(crate) root: PathBuf,
    /// `memory`; or `cpu` and `cpuacct`; or `name=systemd`.
    pub(crate) controllers: Vec<String>,
}

/// Read once: hierarchies do not change under a running system.
pub(crate) fn hierarchies() -> &'static Hierarchies {
    static FOUND: OnceLock<Hierarchies> = OnceLock::new();
    FOUND.get_or_init(|| {
        parse_mountinfo(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    })
}

fn parse_mountinfo(text: &str) -> Hierarchies {
    let mut mounts: Vec<HierarchyMount> = Vec::new();
    let mut unified = None;
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let Some(mountpoint) = left.split(' ').nth(4) else {
            continue;
        };
        // Only what is mounted in the usual place: containers' own views may be visible from here as well.
        if !mountpoint.starts_with("/sys/fs/cgroup") {
            continue;
        }
        let mut right = right.split(' ');
        match (right.next(), right.nth(1)) {
            (Some("cgroup2"), _) => {
                unified.get_or_insert_with(|| PathBuf::from(mountpoint));
            }
            (Some("cgroup"), Some(options)) => {
                let controllers = v1_controllers(options);
                if !mounts.iter().any(|mount| mount.controllers == controllers) {
                    mounts.push(HierarchyMount {
                        root: PathBuf::from(mountpoint),
                        controllers,
                    });
                }
            }
            _ => {}
        }
    }
    let has_limits = mounts.iter().any(|mount| {
        mount
            .controllers
            .iter()
            .any(|name| name == "memory" || name == "pids")
    });
    match unified {
        Some(root) if !has_limits => Hierarchies::V2 { root },
        unified => Hierarchies::V1 { mounts, unified },
    }
}

fn v1_controllers(options: &str) -> Vec<String> {
    options
        .split(',')
        .filter(|option| !matches!(*option, "rw" | "ro" | "xattr" | "clone_children"))
        .map(str::to_owned)
        .collect()
}

/// A new cpuset is empty, and an empty one takes no process: copies the parent's, from the top down.
pub(crate) fn inherit_cpuset(folder: &Path, path: &str) -> io::Result<()> {
    let depth = path.split('/').count();
    let folders: Vec<&Path> = folder.ancestors().take(depth + 1).collect();
    for pair in folders.windows(2).rev() {
        let (child, parent) = (pair[0], pair[1]);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(child.join(file))?.trim().is_empty() {
                let value = fs::read_to_string(parent.join(file))?;
                write(&child.join(file), value.trim())?;
            }
        }
    }
    Ok(())
}

/// Makes `path` with every controller that can be had, from the root down.
pub(crate) fn make_v2(root: &Path, path: &str) -> io::Result<()> {
    let mut folder = root.to_owned();
    for name in path.split('/') {
        enable_controllers(&folder, folder == root)?;
        folder.push(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn enable_controllers(folder: &Path, is_root: bool) -> io::Result<()> {
    let available = fs::read_to_string(folder.join("cgroup.controllers"))?;
    let enabled = fs::read_to_string(folder.join("cgroup.subtree_control"))?;
    let missing: Vec<&str> = V2_CONTROLLERS
        .into_iter()
        .filter(|name| available.split_whitespace().any(|have| have == *name))
        .filter(|name| !enabled.split_whitespace().any(|have| have == *name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted: Vec<String> = missing.iter().map(|name| format!("+{name}")).collect();
    let file = folder.join("cgroup.subtree_control");
    match write(&file, &wanted.join(" ")) {
        Err(error) if is_root && error.kind() == io::ErrorKind::ResourceBusy => {
            // Inside a container the "root" is an ordinary cgroup: its processes must move to a leaf first.
            empty_into_leaf(folder)?;
            write(&file, &wanted.join(" "))
        }
        other => other,
    }
}

fn empty_into_leaf(folder: &Path) -> io::Result<()> {
    let leaf = folder.join("init");
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for pid in fs::read_to_string(folder.join("cgroup.procs"))?.lines() {
        // A process that ended meanwhile, or a kernel thread, stays where it is.
        let _ = write(&leaf.join("cgroup.procs"), pid);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_and_unified_are_told_apart() {
        let hybrid = "\
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
99 30 0:30 /x /elsewhere/memory rw - cgroup cgroup rw,memory";
        let Hierarchies::V1 { mounts, unified } = parse_mountinfo(hybrid) else {
            panic!("hybrid is v1");
        };
        assert_eq!(unified, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let names: Vec<String> = mounts
            .iter()
            .map(|mount| mount.controllers.join(","))
            .collect();
        assert_eq!(names, ["cpu,cpuacct", "name=systemd", "memory"]);
        let unified = "31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(
            parse_mountinfo(unified),
            Hierarchies::V2 {
                root: PathBuf::from("/sys/fs/cgroup")
            }
        );
    }
}
