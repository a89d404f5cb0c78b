//! What an engine that ended must not leave on the machine: processes, mounts, links, firewall tables, cgroups.

use std::fs;
use std::path::Path;
use std::process::Command;

/// All that is still there of the engine whose roots lie in `root` and whose containers had these ids.
pub(crate) fn find(root: &Path, ids: &[String], own_network: bool) -> Vec<String> {
    let mut left = processes(root, ids);
    left.extend(mounts(root));
    left.extend(cgroups(Path::new("/sys/fs/cgroup"), ids, 0));
    if own_network {
        left.extend(links());
        left.extend(firewall());
    }
    left
}

fn processes(root: &Path, ids: &[String]) -> Vec<String> {
    let root = root.to_string_lossy();
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) || name == std::process::id().to_string()
        {
            continue;
        }
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let cgroup = String::from_utf8_lossy(&read("cgroup")).into_owned();
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        let engine = environment.contains(&format!("HOIST_RUN_ROOT={root}"));
        if engine || line.contains(&*root) || ids.iter().any(|id| cgroup.contains(id.as_str())) {
            left.push(format!("process {name}: {line}"));
        }
    }
    left
}

fn mounts(root: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = root.to_string_lossy();
    table
        .lines()
        .filter(|line| line.contains(&*root))
        .map(|line| format!("mount {line}"))
        .collect()
}

fn links() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let names = table
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next());
    names
        .map(str::trim)
        .filter(|name| *name != "lo")
        .map(|name| format!("link {name}"))
        .collect()
}

/// Tables of the own network namespace. Without `nft` nothing can be told, and nothing is claimed.
fn firewall() -> Vec<String> {
    let Ok(output) = Command::new("nft").args(["list", "ruleset"]).output() else {
        return Vec::new();
    };
    let rules = String::from_utf8_lossy(&output.stdout).into_owned();
    if rules.trim().is_empty() {
        Vec::new()
    } else {
        vec![format!("firewall {rules}")]
    }
}

fn cgroups(folder: &Path, ids: &[String], depth: usize) -> Vec<String> {
    let mut left = Vec::new();
    if depth > 6 || ids.is_empty() {
        return left;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if ids.iter().any(|id| name.contains(id.as_str())) {
            left.push(format!("cgroup {}", entry.path().display()));
        }
        left.extend(cgroups(&entry.path(), ids, depth + 1));
    }
    left
}
