//! Lists whose entries have a key: of two entries with one key the later takes the earlier's place.

use std::collections::HashMap;

use crate::compose::error::{Faults, Finding};
use crate::compose::node::{Map, Node, Path, Value};
use crate::compose::volume_spec::parse_volume;

/// What makes the entries of a list the same.
#[derive(Clone, Copy)]
enum Key {
    /// The part before `=`.
    Name,
    /// The path inside the container.
    VolumeTarget,
    DeviceTarget,
    /// The target, or this folder and the source.
    MountTarget(&'static str),
    Port,
    Expose,
    EnvFile,
}

/// The keyed lists of a service.
const SERVICE_LISTS: [(&str, Key); 19] = [
    ("annotations", Key::Name),
    ("cap_add", Key::Name),
    ("cap_drop", Key::Name),
    ("configs", Key::MountTarget("")),
    ("devices", Key::DeviceTarget),
    ("dns", Key::Name),
    ("dns_opt", Key::Name),
    ("dns_search", Key::Name),
    ("env_file", Key::EnvFile),
    ("environment", Key::Name),
    ("expose", Key::Expose),
    ("labels", Key::Name),
    ("links", Key::Name),
    ("ports", Key::Port),
    ("profiles", Key::Name),
    ("secrets", Key::MountTarget("/run/secrets")),
    ("sysctls", Key::Name),
    ("tmpfs", Key::Name),
    ("volumes", Key::VolumeTarget),
];

const BUILD_LISTS: [&str; 5] = ["args", "additional_contexts", "platform", "tags", "labels"];

/// Whether the list at a path is one of the keyed ones (they stay lists even when empty).
pub(crate) fn is_keyed(path: &Path<'_>) -> bool {
    path.matches(&["networks", "*", "labels"])
        || path.matches(&["networks", "*", "ipam", "options"])
        || SERVICE_LISTS
            .iter()
            .any(|(field, _)| path.matches(&["services", "*", field]))
        || BUILD_LISTS
            .iter()
            .any(|field| path.matches(&["services", "*", "build", field]))
        || path.matches(&["services", "*", "deploy", "labels"])
        || path.matches(&["services", "*", "networks", "*", "aliases"])
        || path.matches(&["services", "*", "networks", "*", "link_local_ips"])
}

/// Removes the earlier of entries with the same key from every keyed list of the tree.
///
/// # Errors
/// Every entry that has no key.
pub(crate) fn enforce(root: &mut Map) -> Result<(), Faults> {
    let mut findings = Vec::new();
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        for (name, service) in services.iter_mut() {
            if let Some(service) = service.as_map_mut() {
                let at = Path::ROOT.key("services");
                enforce_service(service, &at.key(name), &mut findings);
            }
        }
    }
    if let Some(networks) = root.get_mut("networks").and_then(Node::as_map_mut) {
        for (name, network) in networks.iter_mut() {
            let at = Path::ROOT.key("networks");
            let at = at.key(name);
            list_of(network, "labels", Key::Name, &at, &mut findings);
            if let Some(ipam) = network.as_map_mut().and_then(|n| n.get_mut("ipam")) {
                list_of(ipam, "options", Key::Name, &at.key("ipam"), &mut findings);
            }
        }
    }
    Faults::check(findings)
}

fn enforce_service(service: &mut Map, path: &Path<'_>, findings: &mut Vec<Finding>) {
    for (field, key) in SERVICE_LISTS {
        if let Some(node) = service.get_mut(field) {
            dedupe(node, key, &path.key(field), findings);
        }
    }
    if let Some(build) = service.get_mut("build") {
        for field in BUILD_LISTS {
            list_of(build, field, Key::Name, &path.key("build"), findings);
        }
    }
    if let Some(deploy) = service.get_mut("deploy") {
        list_of(deploy, "labels", Key::Name, &path.key("deploy"), findings);
    }
    if let Some(networks) = service.get_mut("networks").and_then(Node::as_map_mut) {
        let at = path.key("networks");
        for (name, network) in networks.iter_mut() {
            for field in ["aliases", "link_local_ips"] {
                list_of(network, field, Key::Name, &at.key(name), findings);
            }
        }
    }
}

fn list_of(node: &mut Node, field: &str, key: Key, path: &Path<'_>, findings: &mut Vec<Finding>) {
    if let Some(list) = node.as_map_mut().and_then(|map| map.get_mut(field)) {
        dedupe(list, key, &path.key(field), findings);
    }
}

fn dedupe(node: &mut Node, key: Key, path: &Path<'_>, findings: &mut Vec<Finding>) {
    let Value::Seq(items) = &mut node.value else {
        return;
    };
    let mut keys: Vec<String> = Vec::with_capacity(items.len());
    for (n, item) in items.iter().enumerate() {
        match key_of(item, key, &path.item(n)) {
            Ok(key) => keys.push(key),
            Err(finding) => {
                findings.push(*finding);
                return;
            }
        }
    }
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(keys.len());
    if keys
        .iter()
        .enumerate()
        .all(|(n, key)| places.insert(key, n).is_none())
    {
        return;
    }
    places.clear();
    let mut kept: Vec<Node> = Vec::with_capacity(items.len());
    for (item, key) in std::mem::take(items).into_iter().zip(&keys) {
        match places.get(key.as_str()) {
            Some(at) => kept[*at] = item,
            None => {
                places.insert(key, kept.len());
                kept.push(item);
            }
        }
    }
    *items = kept;
}

fn key_of(item: &Node, key: Key, path: &Path<'_>) -> Result<String, Box<Finding>> {
    let refused = |what: &str| {
        Box::new(
            Finding::new(format!("{path}: {what}"))
                .at(item.span)
                .field(path),
        )
    };
    let field = |name: &str| item.get(name);
    match (key, &item.value) {
        (Key::Name, Value::Str(text)) => {
            Ok(text.split_once('=').map_or(&**text, |(k, _)| k).to_owned())
        }
        (Key::Name, _) => Err(refused(&format!("unexpected type {}", item.kind()))),
        (Key::Expose, Value::Str(text)) => Ok(text.to_string()),
        (Key::Expose, Value::Int(n)) => Ok(n.to_string()),
        (Key::Expose, _) => Err(refused("unsupported expose value")),
        (Key::MountTarget(folder), Value::Str(text)) => Ok(format!("{folder}/{text}")),
        (Key::MountTarget(folder), Value::Map(_)) => match field("target") {
            Some(target) => match target.as_str() {
                Some(target) => Ok(target.to_owned()),
                None => Err(refused("the target must be a string")),
            },
            None => Ok(format!(
                "{folder}/{}",
                field("source").and_then(Node::as_str).unwrap_or_default()
            )),
        },
        (Key::MountTarget(_), _) => Err(refused("must be a name or a mapping")),
        (Key::VolumeTarget, Value::Map(_)) => field("target")
            .and_then(Node::as_str)
            .map(str::to_owned)
            .ok_or_else(|| refused("service volume is missing a mount target")),
        (Key::VolumeTarget, Value::Str(text)) => parse_volume(text)
            .map(|volume| volume.target)
            .map_err(|error| refused(&error)),
        (Key::DeviceTarget, Value::Map(_)) => field("target")
            .and_then(Node::as_str)
            .map(str::to_owned)
            .ok_or_else(|| refused("service device is missing a mount target")),
        (Key::DeviceTarget, Value::Str(text)) => {
            let mut parts = text.split(':');
            let first = parts.next().unwrap_or_default();
            Ok(parts.next().unwrap_or(first).to_owned())
        }
        (Key::EnvFile, Value::Str(text)) => Ok(text.to_string()),
        (Key::EnvFile, Value::Map(_)) => field("path")
            .and_then(Node::as_str)
            .map(str::to_owned)
            .ok_or_else(|| refused("environment path attribute is missing")),
        (Key::Port, Value::Int(n)) => Ok(n.to_string()),
        (Key::Port, Value::Str(text)) => Ok(text.to_string()),
        (Key::Port, Value::Map(map)) => {
            port_key(map).ok_or_else(|| refused("service ports is missing a target port"))
        }
        _ => Ok(String::new()),
    }
}

/// `ip:published:target/protocol`; a number and a text with the same digits are not the same.
fn port_key(port: &Map) -> Option<String> {
    let target = match &port.get("target")?.value {
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Str(text) => format!("%!d(string={text})"),
        _ => String::new(),
    };
    let published = match port.get("published").map(|n| &n.value) {
        Some(Value::Str(text)) => text.to_string(),
        Some(Value::Int(n)) => format!("%!s(int={n})"),
        _ => "%!s(<nil>)".to_owned(),
    };
    let text = |field: &str, default: &str| match port.get(field) {
        Some(node) => node.as_str().unwrap_or_default().to_owned(),
        None => default.to_owned(),
    };
    Some(format!(
        "{}:{published}:{target}/{}",
        text("host_ip", "0.0.0.0"),
        text("protocol", "tcp")
    ))
}
