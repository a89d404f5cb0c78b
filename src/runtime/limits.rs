//! Limits and device rules as the files that hold them: one table for v1, one for v2. It knows no process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::oci::runtime_spec::{BlkioDevice, DeviceKind, DeviceRule, Resources};
use crate::sys::cgroup::{Cgroup, DeviceAccess, Hierarchies, hierarchies, write};

/// Makes the cgroup of a container, with everything that must hold before its first process is inside.
pub(crate) fn create(
    cgroup: &Cgroup,
    resources: &Resources,
    rules: &[DeviceRule],
) -> io::Result<()> {
    cgroup.create(&v1_controllers(resources))?;
    write_limits(cgroup, resources)?;
    let rules: Vec<DeviceAccess> = rules.iter().map(device_access).collect();
    cgroup.set_devices(&rules)
}

/// Changes the limits of a container that may be running.
pub(crate) fn update(cgroup: &Cgroup, resources: &Resources) -> io::Result<()> {
    cgroup.extend(&v1_controllers(resources))?;
    write_limits(cgroup, resources)
}

fn write_limits(cgroup: &Cgroup, resources: &Resources) -> io::Result<()> {
    match hierarchies() {
        Hierarchies::V1 { .. } => write_v1(&|controller| cgroup.v1_dir(controller), resources),
        Hierarchies::V2 { root } => write_v2(&root.join(cgroup.path()), resources),
    }
}

fn device_access(rule: &DeviceRule) -> DeviceAccess {
    DeviceAccess {
        allow: rule.allow,
        kind: match rule.kind {
            None => 'a',
            Some(DeviceKind::Char) => 'c',
            Some(DeviceKind::Block) => 'b',
        },
        major: rule.major,
        minor: rule.minor,
        access: rule.access.clone(),
    }
}

/// Controllers, besides those always joined, that these limits need.
fn v1_controllers(resources: &Resources) -> Vec<&'static str> {
    let r = resources;
    let cpu = r.cpu_shares.is_some()
        || r.cpu_quota_us.is_some()
        || r.cpu_period_us.is_some()
        || r.cpu_realtime_runtime_us.is_some()
        || r.cpu_realtime_period_us.is_some();
    let cpuset = r.cpuset_cpus.is_some() || r.cpuset_mems.is_some();
    let blkio = r.blkio_weight.is_some()
        || [
            &r.blkio_weight_devices,
            &r.blkio_read_bps,
            &r.blkio_write_bps,
            &r.blkio_read_iops,
            &r.blkio_write_iops,
        ]
        .iter()
        .any(|devices| !devices.is_empty());
    [("cpu", cpu), ("cpuset", cpuset), ("blkio", blkio)]
        .into_iter()
        .filter_map(|(name, needed)| needed.then_some(name))
        .collect()
}

/// `folder` gives a controller's directory, `None` where it is not mounted.
fn write_v1(folder: &dyn Fn(&str) -> Option<PathBuf>, resources: &Resources) -> io::Result<()> {
    let r = resources;
    let set = |controller: &str, file: &str, value: Option<String>| -> io::Result<()> {
        let Some(value) = value else {
            return Ok(());
        };
        let folder = folder(controller).ok_or_else(|| {
            io::Error::other(format!(
                "no {controller} cgroup is mounted, which {file} needs"
            ))
        })?;
        write(&folder.join(file), &value)
    };
    if (r.memory_bytes.is_some() || r.memory_swap_bytes.is_some())
        && let Some(folder) = folder("memory")
    {
        write_v1_memory(&folder, r)?;
    }
    set(
        "memory",
        "memory.soft_limit_in_bytes",
        text(r.memory_reservation_bytes),
    )?;
    set(
        "memory",
        "memory.swappiness",
        text(r.memory_swappiness.filter(|v| *v >= 0)),
    )?;
    set(
        "memory",
        "memory.oom_control",
        r.oom_kill_disable.then(|| "1".to_owned()),
    )?;
    set("cpu", "cpu.shares", text(r.cpu_shares))?;
    set("cpu", "cpu.cfs_period_us", text(r.cpu_period_us))?;
    set("cpu", "cpu.cfs_quota_us", text(r.cpu_quota_us))?;
    set("cpu", "cpu.rt_period_us", text(r.cpu_realtime_period_us))?;
    set("cpu", "cpu.rt_runtime_us", text(r.cpu_realtime_runtime_us))?;
    set("cpuset", "cpuset.cpus", r.cpuset_cpus.clone())?;
    set("cpuset", "cpuset.mems", r.cpuset_mems.clone())?;
    set("pids", "pids.max", r.pids_limit.map(pids_max))?;
    if let (Some(weight), Some(folder)) = (r.blkio_weight, folder("blkio")) {
        write_first(
            &folder,
            &["blkio.weight", "blkio.bfq.weight"],
            &weight.to_string(),
        )?;
    }
    for device in &r.blkio_weight_devices {
        let folder = folder("blkio").unwrap_or_default();
        let files = ["blkio.weight_device", "blkio.bfq.weight_device"];
        write_first(&folder, &files, &device_line(device))?;
    }
    for (file, devices) in [
        ("blkio.throttle.read_bps_device", &r.blkio_read_bps),
        ("blkio.throttle.write_bps_device", &r.blkio_write_bps),
        ("blkio.throttle.read_iops_device", &r.blkio_read_iops),
        ("blkio.throttle.write_iops_device", &r.blkio_write_iops),
    ] {
        for device in devices {
            set("blkio", file, Some(device_line(device)))?;
        }
    }
    Ok(())
}

/// The limit of memory and swap together may never be below that of memory: which one goes first depends.
fn write_v1_memory(folder: &Path, r: &Resources) -> io::Result<()> {
    let memory = || match r.memory_bytes {
        Some(value) => write(&folder.join("memory.limit_in_bytes"), &value.to_string()),
        None => Ok(()),
    };
    let swap_file = folder.join("memory.memsw.limit_in_bytes");
    let swap = || match r.memory_swap_bytes {
        // The kernel may be built without swap accounting.
        Some(value) if swap_file.exists() => write(&swap_file, &value.to_string()),
        _ => Ok(()),
    };
    if memory().and_then(|()| swap()).is_ok() {
        return Ok(());
    }
    swap().and_then(|()| memory())
}

fn write_v2(folder: &Path, resources: &Resources) -> io::Result<()> {
    let r = resources;
    let set = |file: &str, value: Option<String>| match value {
        Some(value) => write(&folder.join(file), &value),
        None => Ok(()),
    };
    set("memory.max", r.memory_bytes.map(or_max))?;
    if let (Some(swap), true) = (r.memory_swap_bytes, folder.join("memory.swap.max").exists()) {
        let only_swap = match (swap, r.memory_bytes) {
            (..0, _) => -1,
            (swap, memory) => (swap - memory.unwrap_or(0).max(0)).max(0),
        };
        set("memory.swap.max", Some(or_max(only_swap)))?;
    }
    set("memory.low", r.memory_reservation_bytes.map(or_max))?;
    if r.oom_kill_disable {
        return Err(io::Error::other(
            "oom_kill_disable is not possible with cgroup v2",
        ));
    }
    set(
        "cpu.weight",
        r.cpu_shares
            .filter(|v| *v > 0)
            .map(|v| cpu_weight(v).to_string()),
    )?;
    if r.cpu_quota_us.is_some() || r.cpu_period_us.is_some() {
        let quota = or_max(r.cpu_quota_us.filter(|v| *v > 0).unwrap_or(-1));
        let period = r.cpu_period_us.filter(|v| *v > 0).unwrap_or(100_000);
        set("cpu.max", Some(format!("{quota} {period}")))?;
    }
    set("cpuset.cpus", r.cpuset_cpus.clone())?;
    set("cpuset.mems", r.cpuset_mems.clone())?;
    set("pids.max", r.pids_limit.map(pids_max))?;
    if let Some(weight) = r.blkio_weight.filter(|v| *v > 0) {
        let files = [
            ("io.bfq.weight", format!("{weight}")),
            ("io.weight", format!("default {}", io_weight(weight))),
        ];
        for (file, value) in files {
            if folder.join(file).exists() {
                write(&folder.join(file), &value)?;
                break;
            }
        }
    }
    for (key, devices) in [
        ("rbps", &r.blkio_read_bps),
        ("wbps", &r.blkio_write_bps),
        ("riops", &r.blkio_read_iops),
        ("wiops", &r.blkio_write_iops),
    ] {
        for BlkioDevice {
            major,
            minor,
            value,
        } in devices
        {
            set("io.max", Some(format!("{major}:{minor} {key}={value}")))?;
        }
    }
    Ok(())
}

fn text<T: ToString>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn or_max(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

fn pids_max(value: i64) -> String {
    or_max(if value <= 0 { -1 } else { value })
}

fn device_line(device: &BlkioDevice) -> String {
    format!("{}:{} {}", device.major, device.minor, device.value)
}

fn write_first(folder: &Path, files: &[&str], value: &str) -> io::Result<()> {
    for file in files {
        let path = folder.join(file);
        if fs::exists(&path)? {
            return write(&path, value);
        }
    }
    Err(io::Error::other(format!("this kernel has no {}", files[0])))
}

/// v1's 2..=262144 on v2's 1..=10000, as runc maps it.
fn cpu_weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// v1's 10..=1000 on v2's 1..=10000, as runc maps it.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_ends() {
        assert_eq!(
            [cpu_weight(2), cpu_weight(1024), cpu_weight(262_144)],
            [1, 39, 10000]
        );
        assert_eq!([io_weight(10), io_weight(1000)], [1, 10000]);
    }

    #[test]
    fn v2_files_hold_what_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "memory.max",
            "memory.swap.max",
            "cpu.max",
            "cpu.weight",
            "pids.max",
        ] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let resources = Resources {
            memory_bytes: Some(100),
            memory_swap_bytes: Some(300),
            cpu_quota_us: Some(50_000),
            cpu_shares: Some(1024),
            pids_limit: Some(-1),
            ..Resources::default()
        };
        write_v2(folder.path(), &resources).unwrap();
        let read = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
        let found = [
            "memory.max",
            "memory.swap.max",
            "cpu.max",
            "cpu.weight",
            "pids.max",
        ]
        .map(read);
        assert_eq!(found, ["100", "200", "50000 100000", "39", "max"]);
    }

    #[test]
    fn controllers_follow_the_limits() {
        let resources = Resources {
            cpu_shares: Some(512),
            blkio_weight: Some(100),
            ..Resources::default()
        };
        assert_eq!(v1_controllers(&resources), ["cpu", "blkio"]);
    }
}
