//! What a container uses, as one sample of its cgroup and its network devices, and the machine's processor
//! time to compare with.

use std::fs;

use crate::engine::base::{Error, Result};
use crate::engine::containers::view::View;
use crate::sys::cgroup::{Cgroup, Stats};

pub(crate) use crate::sys::cgroup::BlkioEntry;

/// One moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// RFC 3339.
    pub(crate) read: String,
    pub(crate) cgroup: Stats,
    /// Nanoseconds of all processors since boot.
    pub(crate) system_cpu_ns: u64,
    pub(crate) online_cpus: u64,
    pub(crate) networks: Vec<NetworkSample>,
    /// The machine's memory, for a container without a limit.
    pub(crate) memory_total_bytes: u64,
}

/// Counters of one device in the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NetworkSample {
    pub(crate) name: String,
    pub(crate) rx_bytes: u64,
    pub(crate) rx_packets: u64,
    pub(crate) rx_errors: u64,
    pub(crate) rx_dropped: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) tx_packets: u64,
    pub(crate) tx_errors: u64,
    pub(crate) tx_dropped: u64,
}

/// Samples a running container. Blocking for a few small files.
pub(crate) fn sample(view: &View) -> Result<Sample> {
    let Some(shim) = &view.shim else {
        return Err(Error::conflict(format!(
            "container {} is not running",
            view.id()
        )));
    };
    let cgroup = Cgroup::at(shim.cgroup_path())
        .stats()
        .map_err(|error| Error::system(format!("read the statistics of {}: {error}", view.id())))?;
    let (system_cpu_ns, online_cpus) = system_cpu();
    Ok(Sample {
        read: crate::engine::containers::record::now_rfc3339(),
        cgroup,
        system_cpu_ns,
        online_cpus,
        networks: networks(view.run.pid),
        memory_total_bytes: memory_total(),
    })
}

/// Processor time of the machine and the number of processors, from `/proc/stat` (in ticks of 10 ms).
fn system_cpu() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let mut total = 0;
    let mut processors = 0;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("cpu") else {
            continue;
        };
        if rest.starts_with(' ') {
            total = rest
                .split_whitespace()
                .take(8)
                .filter_map(|ticks| ticks.parse::<u64>().ok())
                .sum();
        } else {
            processors += 1;
        }
    }
    (total * 10_000_000, processors)
}

pub(crate) fn memory_total() -> u64 {
    fs::read_to_string("/proc/meminfo")
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .unwrap_or(0)
        * 1024
}

/// The devices of the container's network, but for loopback.
fn networks(pid: i32) -> Vec<NetworkSample> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    parse_net_dev(&text)
}

fn parse_net_dev(text: &str) -> Vec<NetworkSample> {
    text.lines()
        .filter_map(|line| {
            let (name, counters) = line.split_once(':')?;
            let counters: Vec<u64> = counters
                .split_whitespace()
                .filter_map(|counter| counter.parse().ok())
                .collect();
            let [
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                _,
                _,
                _,
                _,
                tx_bytes,
                tx_packets,
                tx_errors,
                tx_dropped,
                ..,
            ] = counters[..]
            else {
                return None;
            };
            Some(NetworkSample {
                name: name.trim().to_owned(),
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                tx_bytes,
                tx_packets,
                tx_errors,
                tx_dropped,
            })
        })
        .filter(|sample| sample.name != "lo")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn net_dev_is_read() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes packets\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n";
        let samples = parse_net_dev(text);
        assert_eq!(samples.len(), 1);
        assert_eq!((samples[0].rx_bytes, samples[0].tx_bytes), (10, 50));
        assert_eq!((samples[0].rx_dropped, samples[0].tx_dropped), (4, 8));
    }
}
