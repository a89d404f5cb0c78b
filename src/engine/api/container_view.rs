//! Containers as the API shows them: list entries and inspect. Every field that clients index is there,
//! also when it is empty.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::engine::base::{ErrorKind, Result};
use crate::engine::containers::config::EndpointSettings;
use crate::engine::containers::mounts::{MountPoint, MountSource};
use crate::engine::containers::record::{Record, log_path};
use crate::engine::containers::state::State;
use crate::engine::containers::view::View;
use crate::engine::containers::{Containers, network};
use crate::engine::images::Usage;
use crate::engine::networks::{Endpoint, PortBinding};

/// One entry of `GET /containers/json`.
pub(crate) fn list_entry(containers: &Containers, view: &View, usage: Option<Usage>) -> Value {
    let record = &view.record;
    let image_id = record.image_id.to_string();
    let mut entry = json!({
        "Id": record.id,
        "Names": [format!("/{}", record.name)],
        "Image": image_name(containers, record),
        "ImageID": image_id,
        "Command": command_line(record),
        "Created": unix_seconds(&record.created),
        "Ports": port_summaries(view),
        "Labels": record.config.labels,
        "State": view.run.state.name(),
        "Status": status_text(view),
        "HostConfig": host_config_summary(record),
        "NetworkSettings": { "Networks": networks(containers, view) },
        "Mounts": mounts(containers, record),
    });
    if let (Some(usage), Some(fields)) = (usage, entry.as_object_mut()) {
        if usage.writable > 0 {
            fields.insert("SizeRw".to_owned(), json!(usage.writable));
        }
        fields.insert("SizeRootFs".to_owned(), json!(usage.rootfs));
    }
    entry
}

fn host_config_summary(record: &Record) -> Value {
    let mut summary = json!({ "NetworkMode": record.host.network_mode });
    if !record.host.annotations.is_empty() {
        summary["Annotations"] = json!(record.host.annotations);
    }
    summary
}

/// The name it was made from while that still means the same image, else the id.
fn image_name(containers: &Containers, record: &Record) -> String {
    let asked = &record.config.image;
    match containers.deps.images.resolve(asked) {
        Ok(image) if image.id == record.image_id => asked.clone(),
        Ok(_) => record.image_id.to_string(),
        Err(error) if error.kind == ErrorKind::NotFound => record.image_id.to_string(),
        Err(_) => asked.clone(),
    }
}

fn command_line(record: &Record) -> String {
    record
        .args()
        .iter()
        .map(|word| {
            if word.contains(' ') {
                format!("'{word}'")
            } else {
                word.clone()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

pub(crate) fn unix_seconds(rfc3339: &str) -> i64 {
    rfc3339
        .parse::<jiff::Timestamp>()
        .map(jiff::Timestamp::as_second)
        .unwrap_or(0)
}

fn now_seconds() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// `Up 5 minutes (healthy)`, `Exited (0) 2 hours ago`, `Created`.
pub(crate) fn status_text(view: &View) -> String {
    let run = &view.run;
    let ago = |time: &str| human_duration(now_seconds() - unix_seconds(time));
    match run.state {
        State::Running => {
            let health = match &view.health {
                None => String::new(),
                Some(health) if health.status.name() == "starting" => {
                    " (health: starting)".to_owned()
                }
                Some(health) => format!(" ({})", health.status.name()),
            };
            format!("Up {}{health}", ago(&run.started_at))
        }
        State::Paused => format!("Up {} (Paused)", ago(&run.started_at)),
        State::Restarting => {
            format!(
                "Restarting ({}) {} ago",
                run.exit_code,
                ago(&run.finished_at)
            )
        }
        State::Created => "Created".to_owned(),
        State::Removing | State::Removed => "Removal In Progress".to_owned(),
        State::Dead => "Dead".to_owned(),
        State::Exited => {
            if unix_seconds(&run.finished_at) <= 0 {
                return format!("Exited ({})", run.exit_code);
            }
            format!("Exited ({}) {} ago", run.exit_code, ago(&run.finished_at))
        }
    }
}

/// Durations as Docker's go-units writes them.
fn human_duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 if minutes < 60 && hours < 1 => format!("{minutes} minutes"),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// Ports as `ps` lists them: published ones, then those only exposed.
fn port_summaries(view: &View) -> Vec<Value> {
    let mut ports: Vec<Value> = view
        .network
        .ports
        .iter()
        .map(|binding| {
            json!({
                "IP": binding.host_ip.to_string(),
                "PrivatePort": binding.container_port,
                "PublicPort": binding.host_port,
                "Type": binding.protocol.name(),
            })
        })
        .collect();
    if !view.run.state.has_process() {
        return ports;
    }
    for port in view.record.config.exposed_ports.keys() {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let Ok(number) = number.parse::<u16>() else {
            continue;
        };
        let published =
            view.network.ports.iter().any(|binding| {
                binding.container_port == number && binding.protocol.name() == protocol
            });
        if !published {
            ports.push(json!({ "PrivatePort": number, "Type": protocol }));
        }
    }
    ports
}

/// `NetworkSettings.Ports`: `80/tcp` → bindings, or null for one that is only exposed.
fn port_map(view: &View) -> Value {
    let mut map: BTreeMap<String, Option<Vec<Value>>> = BTreeMap::new();
    if view.run.state.has_process() {
        for port in view.record.config.exposed_ports.keys() {
            let key = if port.contains('/') {
                port.clone()
            } else {
                format!("{port}/tcp")
            };
            map.insert(key, None);
        }
    }
    for PortBinding {
        container_port,
        protocol,
        host_ip,
        host_port,
    } in &view.network.ports
    {
        map.entry(format!("{container_port}/{}", protocol.name()))
            .or_default()
            .get_or_insert_default()
            .push(json!({ "HostIp": host_ip.to_string(), "HostPort": host_port.to_string() }));
    }
    json!(map)
}

/// The networks by name: the endpoints of a running container, the wishes of one that does not run.
fn networks(containers: &Containers, view: &View) -> Value {
    let mut map = Map::new();
    for (key, asked) in &view.record.networks {
        let endpoint = view.network.endpoints.iter().find(|endpoint| {
            endpoint.network_name == *key
                || endpoint.network_id == *key
                || (key.len() >= 12 && endpoint.network_id.starts_with(key.as_str()))
        });
        let known = containers.deps.networks.get(key).ok();
        let name = known
            .as_ref()
            .map_or(key.as_str(), |network| network.name.as_str());
        let network_id = known.as_ref().map_or("", |network| network.id.as_str());
        map.insert(
            name.to_owned(),
            endpoint_view(&view.record, asked, endpoint, network_id),
        );
    }
    for endpoint in &view.network.endpoints {
        if !map.contains_key(&endpoint.network_name) {
            let asked = EndpointSettings::default();
            map.insert(
                endpoint.network_name.clone(),
                endpoint_view(&view.record, &asked, Some(endpoint), &endpoint.network_id),
            );
        }
    }
    Value::Object(map)
}

fn endpoint_view(
    record: &Record,
    asked: &EndpointSettings,
    endpoint: Option<&Endpoint>,
    network_id: &str,
) -> Value {
    let text = |value: Option<String>| value.unwrap_or_default();
    let ipv4 = endpoint.and_then(|endpoint| endpoint.ipv4);
    let ipv6 = endpoint.and_then(|endpoint| endpoint.ipv6);
    let dns_names = match endpoint {
        Some(endpoint)
            if record.host.network_mode != "bridge" || endpoint.network_name != "bridge" =>
        {
            json!(endpoint.dns_names)
        }
        _ => Value::Null,
    };
    json!({
        "IPAMConfig": asked.ipam_config,
        "Links": asked.links,
        "Aliases": asked.aliases,
        "MacAddress": endpoint.map_or(asked.mac_address.as_str(), |endpoint| endpoint.mac.as_str()),
        "DriverOpts": asked.driver_opts,
        "GwPriority": asked.gw_priority,
        "NetworkID": endpoint.map_or(network_id, |endpoint| endpoint.network_id.as_str()),
        "EndpointID": endpoint.map_or("", |endpoint| endpoint.id.as_str()),
        "Gateway": text(endpoint.and_then(|endpoint| endpoint.gateway4).map(|ip| ip.to_string())),
        "IPAddress": text(ipv4.map(|(ip, _)| ip.to_string())),
        "IPPrefixLen": ipv4.map_or(0, |(_, length)| length),
        "IPv6Gateway": text(endpoint.and_then(|endpoint| endpoint.gateway6).map(|ip| ip.to_string())),
        "GlobalIPv6Address": text(ipv6.map(|(ip, _)| ip.to_string())),
        "GlobalIPv6PrefixLen": ipv6.map_or(0, |(_, length)| length),
        "DNSNames": dns_names,
    })
}

/// The mounts as inspect and list show them. A tmpfs asked for by `Tmpfs` is not among them.
pub(crate) fn mounts(containers: &Containers, record: &Record) -> Vec<Value> {
    let mut shown: Vec<&MountPoint> = record
        .mounts
        .iter()
        .filter(|point| {
            point.source.kind() != "tmpfs" || !record.host.tmpfs.contains_key(&point.destination)
        })
        .collect();
    shown.sort_by(|a, b| a.destination.cmp(&b.destination));
    shown
        .into_iter()
        .map(|point| mount_view(containers, point))
        .collect()
}

fn mount_view(containers: &Containers, point: &MountPoint) -> Value {
    let mut view = Map::new();
    view.insert("Type".to_owned(), json!(point.source.kind()));
    let mut mode = point.mode.clone();
    match &point.source {
        MountSource::Bind { path, .. } => {
            view.insert("Source".to_owned(), json!(path));
        }
        MountSource::Volume { name, driver, .. } => {
            view.insert("Name".to_owned(), json!(name));
            let source = containers
                .deps
                .volumes
                .get(name)
                .map(|volume| volume.mountpoint.display().to_string())
                .unwrap_or_default();
            view.insert("Source".to_owned(), json!(source));
            view.insert("Driver".to_owned(), json!(driver));
            if mode.is_empty() {
                mode = "z".to_owned();
            }
        }
        MountSource::Tmpfs { .. } => {
            view.insert("Source".to_owned(), json!(""));
        }
        MountSource::Image { reference, .. } => {
            view.insert("Source".to_owned(), json!(reference));
        }
    }
    let propagation = match &point.source {
        MountSource::Bind { .. } if point.propagation.is_empty() => "rprivate",
        _ => point.propagation.as_str(),
    };
    view.insert("Destination".to_owned(), json!(point.destination));
    view.insert("Mode".to_owned(), json!(mode));
    view.insert("RW".to_owned(), json!(!point.read_only));
    view.insert("Propagation".to_owned(), json!(propagation));
    Value::Object(view)
}

/// `GET /containers/{id}/json`.
pub(crate) fn inspect(containers: &Containers, view: &View, usage: Option<Usage>) -> Result<Value> {
    let record = &view.record;
    let paths = &containers.deps.paths;
    let args = record.args();
    let has_sandbox = view.run.state != State::Created && network::sandbox_kind(record).is_some();
    let etc = |name: &str| {
        if has_sandbox {
            paths.container(&record.id).join(name).display().to_string()
        } else {
            String::new()
        }
    };
    let exec_ids = containers.deps.exec_ids(&record.id);
    let mut config = serde_json::to_value(&record.config).unwrap_or_default();
    if record.config.hostname.is_empty() {
        config["Hostname"] = json!(network::hostname(record));
    }
    if record.config.volumes.is_empty() {
        config["Volumes"] = Value::Null;
    }
    let mut inspected = json!({
        "Id": record.id,
        "Created": record.created,
        "Path": args.first().cloned().unwrap_or_default(),
        "Args": args.get(1..).unwrap_or_default(),
        "State": state_view(view),
        "Image": record.image_id.to_string(),
        "ResolvConfPath": etc("resolv.conf"),
        "HostnamePath": etc("hostname"),
        "HostsPath": etc("hosts"),
        "LogPath": if record.host.log_config.kind == "none" {
            String::new()
        } else {
            log_path(paths, &record.id).display().to_string()
        },
        "Name": format!("/{}", record.name),
        "RestartCount": view.run.restart_count,
        "Driver": "overlay2",
        "Platform": record.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": if exec_ids.is_empty() { Value::Null } else { json!(exec_ids) },
        "HostConfig": record.host,
        "GraphDriver": graph_driver(containers, record),
        "Mounts": mounts(containers, record),
        "Config": config,
        "NetworkSettings": network_settings(containers, view),
    });
    if let Some(usage) = usage {
        inspected["SizeRw"] = json!(usage.writable);
        inspected["SizeRootFs"] = json!(usage.rootfs);
    }
    Ok(inspected)
}

fn graph_driver(containers: &Containers, record: &Record) -> Value {
    let folder = containers.deps.paths.snapshots().join(&record.id);
    json!({
        "Name": "overlay2",
        "Data": {
            "ID": record.id,
            "LowerDir": "",
            "MergedDir": folder.join("merged").display().to_string(),
            "UpperDir": folder.join("upper").display().to_string(),
            "WorkDir": folder.join("work").display().to_string(),
        },
    })
}

fn state_view(view: &View) -> Value {
    let run = &view.run;
    let mut state = json!({
        "Status": run.state.name(),
        "Running": run.state.counts_as_running(),
        "Paused": run.state == State::Paused,
        "Restarting": run.state == State::Restarting,
        "OOMKilled": run.oom_killed,
        "Dead": run.state == State::Dead,
        "Pid": run.pid,
        "ExitCode": run.exit_code,
        "Error": run.error,
        "StartedAt": run.started_at,
        "FinishedAt": run.finished_at,
    });
    if let Some(health) = &view.health {
        let log: Vec<Value> = health
            .log
            .iter()
            .map(|probe| {
                json!({
                    "Start": probe.start,
                    "End": probe.end,
                    "ExitCode": probe.exit_code,
                    "Output": probe.output,
                })
            })
            .collect();
        state["Health"] = json!({
            "Status": health.status.name(),
            "FailingStreak": health.failing_streak,
            "Log": log,
        });
    }
    state
}

/// With the fields of the first bridge-only API, which scripts still read.
fn network_settings(containers: &Containers, view: &View) -> Value {
    let bridge = view
        .network
        .endpoints
        .iter()
        .find(|endpoint| endpoint.network_name == "bridge");
    let ipv4 = bridge.and_then(|endpoint| endpoint.ipv4);
    let ipv6 = bridge.and_then(|endpoint| endpoint.ipv6);
    let sandbox_key = view
        .network
        .netns_path
        .as_ref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    json!({
        "Bridge": "",
        "SandboxID": if sandbox_key.is_empty() { "" } else { view.id() },
        "SandboxKey": sandbox_key,
        "Ports": port_map(view),
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": Value::Null,
        "SecondaryIPv6Addresses": Value::Null,
        "EndpointID": bridge.map_or("", |endpoint| endpoint.id.as_str()),
        "Gateway": bridge.and_then(|endpoint| endpoint.gateway4).map(|ip| ip.to_string()).unwrap_or_default(),
        "GlobalIPv6Address": ipv6.map(|(ip, _)| ip.to_string()).unwrap_or_default(),
        "GlobalIPv6PrefixLen": ipv6.map_or(0, |(_, length)| length),
        "IPAddress": ipv4.map(|(ip, _)| ip.to_string()).unwrap_or_default(),
        "IPPrefixLen": ipv4.map_or(0, |(_, length)| length),
        "IPv6Gateway": bridge.and_then(|endpoint| endpoint.gateway6).map(|ip| ip.to_string()).unwrap_or_default(),
        "MacAddress": bridge.map_or("", |endpoint| endpoint.mac.as_str()),
        "Networks": networks(containers, view),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_dockers() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (300, "5 minutes"),
            (3600, "About an hour"),
            (3 * 3600, "3 hours"),
            (72 * 3600, "3 days"),
        ] {
            assert_eq!(human_duration(seconds), text);
        }
    }
}
