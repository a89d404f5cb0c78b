//! What a cgroup has used, in the terms that both versions share. It reads; it keeps no history.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Usage at one moment. What a hierarchy does not have stays zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stats {
    pub(crate) cpu: CpuStats,
    pub(crate) memory: MemoryStats,
    pub(crate) pids: PidsStats,
    /// Bytes moved, by device and direction.
    pub(crate) blkio_bytes: Vec<BlkioEntry>,
    /// Requests, by device and direction.
    pub(crate) blkio_requests: Vec<BlkioEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CpuStats {
    /// Nanoseconds.
    pub(crate) total_ns: u64,
    pub(crate) user_ns: u64,
    pub(crate) system_ns: u64,
    /// v1 only.
    pub(crate) per_cpu_ns: Vec<u64>,
    pub(crate) periods: u64,
    pub(crate) throttled_periods: u64,
    pub(crate) throttled_ns: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MemoryStats {
    pub(crate) usage_bytes: u64,
    /// v1 only.
    pub(crate) max_usage_bytes: u64,
    /// `None`: no limit.
    pub(crate) limit_bytes: Option<u64>,
    pub(crate) failures: u64,
    /// `memory.stat` as it is.
    pub(crate) stat: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PidsStats {
    pub(crate) current: u64,
    /// `None`: no limit.
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlkioEntry {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    /// `Read`, `Write`…
    pub(crate) operation: String,
    pub(crate) value: u64,
}

pub(crate) fn read_v1(folder: &dyn Fn(&str) -> Option<PathBuf>) -> Stats {
    let text = |controller: &str, file: &str| -> String {
        folder(controller)
            .and_then(|folder| fs::read_to_string(folder.join(file)).ok())
            .unwrap_or_default()
    };
    let number = |controller: &str, file: &str| -> u64 {
        text(controller, file).trim().parse().unwrap_or(0)
    };
    let cpu_stat = text("cpu", "cpu.stat");
    let total_ns = number("cpuacct", "cpuacct.usage");
    let user_ns = number("cpuacct", "cpuacct.usage_user");
    let limit = number("memory", "memory.limit_in_bytes");
    Stats {
        cpu: CpuStats {
            total_ns,
            user_ns,
            system_ns: number("cpuacct", "cpuacct.usage_sys"),
            per_cpu_ns: text("cpuacct", "cpuacct.usage_percpu")
                .split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect(),
            periods: keyed(&cpu_stat, "nr_periods").unwrap_or(0),
            throttled_periods: keyed(&cpu_stat, "nr_throttled").unwrap_or(0),
            throttled_ns: keyed(&cpu_stat, "throttled_time").unwrap_or(0),
        },
        memory: MemoryStats {
            usage_bytes: number("memory", "memory.usage_in_bytes"),
            max_usage_bytes: number("memory", "memory.max_usage_in_bytes"),
            // "No limit" is the largest number of whole pages.
            limit_bytes: (limit > 0 && limit < 1 << 62).then_some(limit),
            failures: number("memory", "memory.failcnt"),
            stat: all_keyed(&text("memory", "memory.stat")),
        },
        pids: PidsStats {
            current: number("pids", "pids.current"),
            limit: text("pids", "pids.max").trim().parse().ok(),
        },
        blkio_bytes: v1_blkio(&text("blkio", "blkio.throttle.io_service_bytes_recursive")),
        blkio_requests: v1_blkio(&text("blkio", "blkio.throttle.io_serviced_recursive")),
    }
}

pub(crate) fn read_v2(folder: &Path) -> Stats {
    let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
    let cpu_stat = text("cpu.stat");
    let micros = |key: &str| keyed(&cpu_stat, key).unwrap_or(0).saturating_mul(1000);
    let io_stat = text("io.stat");
    Stats {
        cpu: CpuStats {
            total_ns: micros("usage_usec"),
            user_ns: micros("user_usec"),
            system_ns: micros("system_usec"),
            per_cpu_ns: Vec::new(),
            periods: keyed(&cpu_stat, "nr_periods").unwrap_or(0),
            throttled_periods: keyed(&cpu_stat, "nr_throttled").unwrap_or(0),
            throttled_ns: micros("throttled_usec"),
        },
        memory: MemoryStats {
            usage_bytes: text("memory.current").trim().parse().unwrap_or(0),
            max_usage_bytes: text("memory.peak").trim().parse().unwrap_or(0),
            limit_bytes: text("memory.max").trim().parse().ok(),
            failures: keyed(&text("memory.events"), "max").unwrap_or(0),
            stat: all_keyed(&text("memory.stat")),
        },
        pids: PidsStats {
            current: text("pids.current").trim().parse().unwrap_or(0),
            limit: text("pids.max").trim().parse().ok(),
        },
        blkio_bytes: v2_io(&io_stat, [("rbytes", "Read"), ("wbytes", "Write")]),
        blkio_requests: v2_io(&io_stat, [("rios", "Read"), ("wios", "Write")]),
    }
}

/// The number after `key` in lines of `key number`.
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok()).flatten()
    })
}

fn all_keyed(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// Lines of `8:0 Read 4096`.
fn v1_blkio(text: &str) -> Vec<BlkioEntry> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (device, operation, value) = (words.next()?, words.next()?, words.next()?);
            entry(device, operation, value)
        })
        .collect()
}

/// Lines of `8:0 rbytes=4096 wbytes=0 …`.
fn v2_io(text: &str, keys: [(&str, &str); 2]) -> Vec<BlkioEntry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(device) = words.next() else {
            continue;
        };
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            let operation = keys.iter().find(|(name, _)| *name == key);
            entries.extend(operation.and_then(|(_, operation)| entry(device, operation, value)));
        }
    }
    entries
}

fn entry(device: &str, operation: &str, value: &str) -> Option<BlkioEntry> {
    let (major, minor) = device.split_once(':')?;
    Some(BlkioEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        operation: operation.to_owned(),
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_block_statistics_are_read() {
        let v1 = v1_blkio("8:0 Read 4096\n8:0 Write 1\nTotal 4097\n");
        assert_eq!(v1.len(), 2);
        let v2 = v2_io(
            "8:0 rbytes=4096 wbytes=1 rios=1\n",
            [("rbytes", "Read"), ("wbytes", "Write")],
        );
        assert_eq!(v1, v2);
    }

    #[test]
    fn a_key_is_matched_whole() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(keyed(text, "oom_kill"), Some(3));
        assert_eq!(keyed(text, "oom"), None);
    }
}
