//! A sample of a container's usage as the API shows it.

use serde_json::{Map, Value, json};

use crate::engine::containers::record::ZERO_TIME;
use crate::engine::containers::stats::{BlkioEntry, Sample};
use crate::engine::containers::view::View;

/// One object of `stats`, with the sample before for rates.
pub(crate) fn stats_view(view: &View, sample: &Sample, earlier: Option<&Sample>) -> Value {
    let never = || ZERO_TIME.to_owned();
    let read = if sample.read.is_empty() {
        never()
    } else {
        sample.read.clone()
    };
    let networks: Map<String, Value> = sample
        .networks
        .iter()
        .map(|network| {
            (
                network.name.clone(),
                json!({
                    "rx_bytes": network.rx_bytes,
                    "rx_packets": network.rx_packets,
                    "rx_errors": network.rx_errors,
                    "rx_dropped": network.rx_dropped,
                    "tx_bytes": network.tx_bytes,
                    "tx_packets": network.tx_packets,
                    "tx_errors": network.tx_errors,
                    "tx_dropped": network.tx_dropped,
                }),
            )
        })
        .collect();
    let mut stats = json!({
        "name": format!("/{}", view.record.name),
        "id": view.id(),
        "read": read,
        "preread": earlier.map_or_else(never, |earlier| earlier.read.clone()),
        "pids_stats": pids(sample),
        "blkio_stats": {
            "io_service_bytes_recursive": blkio(&sample.cgroup.blkio_bytes),
            "io_serviced_recursive": blkio(&sample.cgroup.blkio_requests),
            "io_queue_recursive": Value::Null,
            "io_service_time_recursive": Value::Null,
            "io_wait_time_recursive": Value::Null,
            "io_merged_recursive": Value::Null,
            "io_time_recursive": Value::Null,
            "sectors_recursive": Value::Null,
        },
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(sample),
        "precpu_stats": earlier.map_or_else(|| cpu(&Sample::default()), cpu),
        "memory_stats": memory(sample),
    });
    if !networks.is_empty() {
        stats["networks"] = Value::Object(networks);
    }
    stats
}

fn pids(sample: &Sample) -> Value {
    if sample.read.is_empty() {
        return json!({});
    }
    let pids = &sample.cgroup.pids;
    json!({ "current": pids.current, "limit": pids.limit.unwrap_or(u64::MAX) })
}

fn blkio(entries: &[BlkioEntry]) -> Value {
    if entries.is_empty() {
        return Value::Null;
    }
    entries
        .iter()
        .map(|entry| {
            json!({
                "major": entry.major,
                "minor": entry.minor,
                "op": entry.operation.to_ascii_lowercase(),
                "value": entry.value,
            })
        })
        .collect()
}

fn cpu(sample: &Sample) -> Value {
    let cpu = &sample.cgroup.cpu;
    let mut view = json!({
        "cpu_usage": {
            "total_usage": cpu.total_ns,
            "usage_in_kernelmode": cpu.system_ns,
            "usage_in_usermode": cpu.user_ns,
        },
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled_ns,
        },
    });
    if !cpu.per_cpu_ns.is_empty() {
        view["cpu_usage"]["percpu_usage"] = json!(cpu.per_cpu_ns);
    }
    if sample.system_cpu_ns > 0 {
        view["system_cpu_usage"] = json!(sample.system_cpu_ns);
        view["online_cpus"] = json!(sample.online_cpus);
    }
    view
}

fn memory(sample: &Sample) -> Value {
    if sample.read.is_empty() {
        return json!({});
    }
    let memory = &sample.cgroup.memory;
    let limit = memory
        .limit_bytes
        .unwrap_or(sample.memory_total_bytes)
        .min(sample.memory_total_bytes.max(1));
    json!({
        "usage": memory.usage_bytes,
        "max_usage": memory.max_usage_bytes,
        "failcnt": memory.failures,
        "limit": limit,
        "stats": memory.stat,
    })
}
