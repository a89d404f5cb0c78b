//! What a project implies without saying it: the default network, dependencies through links and shared
//! namespaces, names of resources, values of bare variables.

use crate::compose::merge::go_text;
use crate::compose::model::Mapping;
use crate::compose::node::{Map, Node, Value};
use crate::compose::source::Span;
use crate::compose::volume_spec::clean_path;

/// Completes the tree of a project of this name.
pub(crate) fn normalize(root: &mut Map, project_name: &str, environment: &Mapping) {
    normalize_networks(root);
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        for service in services.values_mut() {
            let span = service.key;
            if let Some(service) = service.as_map_mut() {
                normalize_service(service, span, environment);
            }
        }
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        if let Some(resources) = root.get_mut(section).and_then(Node::as_map_mut) {
            name_resources(resources, project_name);
        }
    }
}

fn normalize_networks(root: &mut Map) {
    let mut uses_default = None;
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        for service in services.values_mut() {
            let span = service.key;
            let Some(service) = service.as_map_mut() else {
                continue;
            };
            if service.contains_key("provider") || service.contains_key("network_mode") {
                continue;
            }
            let networks = service.get("networks").and_then(Node::as_map);
            match networks {
                Some(networks) if !networks.is_empty() => {
                    if networks.contains_key("default") {
                        uses_default = Some(span);
                    }
                }
                _ => {
                    let mut networks = Map::with_capacity(1);
                    networks.insert("default".into(), Node::new(Value::Null, span));
                    service.insert("networks".into(), Node::map(networks, span));
                    uses_default = Some(span);
                }
            }
        }
    }
    let Some(span) = uses_default else { return };
    let networks = root
        .entry("networks".into())
        .or_insert_with(|| Node::map(Map::new(), span));
    if networks.as_map().is_none() {
        networks.value = Value::Map(Box::default());
    }
    if let Some(networks) = networks.as_map_mut() {
        networks
            .entry("default".into())
            .or_insert_with(|| Node::new(Value::Null, span));
    }
}

fn normalize_service(service: &mut Map, span: Span, environment: &Mapping) {
    if let Some(policy) = service.get_mut("pull_policy")
        && policy.as_str() == Some("if_not_present")
    {
        policy.value = Value::Str("missing".into());
    }
    if let Some(build) = service.get_mut("build").and_then(Node::as_map_mut) {
        let absent = |build: &Map, key: &str| build.get(key).is_none_or(Node::is_null);
        if absent(build, "context") {
            build.insert("context".into(), Node::string(".", span));
        }
        if absent(build, "dockerfile") && absent(build, "dockerfile_inline") {
            build.insert("dockerfile".into(), Node::string("Dockerfile", span));
        }
        if let Some(args) = build.get_mut("args") {
            resolve(args, environment, Bare::Drop);
        }
    }
    if let Some(values) = service.get_mut("environment") {
        resolve(values, environment, Bare::Keep);
    }
    if let Some(volumes) = service.get_mut("volumes").and_then(Node::as_seq_mut) {
        for volume in volumes {
            if let Some(target) = volume.as_map_mut().and_then(|v| v.get_mut("target"))
                && let Value::Str(text) = &target.value
            {
                target.value = Value::Str(clean_path(text).into());
            }
        }
    }
    imply_dependencies(service, span);
}

/// What happens to a variable without a value that the environment does not have either.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bare {
    Keep,
    Drop,
}

fn resolve(node: &mut Node, environment: &Mapping, bare: Bare) {
    match &mut node.value {
        Value::Seq(items) => {
            items.retain_mut(|item| {
                let Value::Str(text) = &item.value else {
                    return false;
                };
                if text.contains('=') {
                    return true;
                }
                match environment.get(&**text) {
                    Some(value) => {
                        item.value = Value::Str(format!("{text}={value}").into());
                        true
                    }
                    None => bare == Bare::Keep,
                }
            });
        }
        Value::Map(map) => map.retain(|key, value| {
            if !value.is_null() {
                return true;
            }
            match environment.get(&**key) {
                Some(found) => {
                    value.value = Value::Str(found.as_str().into());
                    true
                }
                None => bare == Bare::Keep,
            }
        }),
        _ => {}
    }
}

fn imply_dependencies(service: &mut Map, span: Span) {
    let mut implied: Vec<(String, bool, Span)> = Vec::new();
    let texts = |service: &Map, key: &str| -> Vec<(String, Span)> {
        service
            .get(key)
            .and_then(Node::as_seq)
            .unwrap_or_default()
            .iter()
            .filter_map(|item| Some((item.as_str()?.to_owned(), item.span)))
            .collect()
    };
    for (link, at) in texts(service, "links") {
        let name = match link.split(':').collect::<Vec<_>>().as_slice() {
            [name, _] => (*name).to_owned(),
            _ => link,
        };
        implied.push((name, true, at));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(key)
            && let Some(name) = node.as_str().and_then(|text| text.strip_prefix("service:"))
        {
            implied.push((name.to_owned(), true, node.span));
        }
    }
    for (from, at) in texts(service, "volumes_from") {
        if !from.starts_with("container:") {
            let name = from.split(':').next().unwrap_or_default().to_owned();
            implied.push((name, false, at));
        }
    }
    if implied.is_empty() {
        return;
    }
    let depends_on = service
        .entry("depends_on".into())
        .or_insert_with(|| Node::map(Map::new(), span));
    if depends_on.is_null() {
        depends_on.value = Value::Map(Box::default());
    }
    let Some(depends_on) = depends_on.as_map_mut() else {
        return;
    };
    for (name, restart, at) in implied {
        depends_on.entry(name.into()).or_insert_with(|| {
            let mut dependency = Map::with_capacity(3);
            dependency.insert("condition".into(), Node::string("service_started", at));
            dependency.insert("restart".into(), Node::new(Value::Bool(restart), at));
            dependency.insert("required".into(), Node::new(Value::Bool(true), at));
            Node::map(dependency, at)
        });
    }
}

fn name_resources(resources: &mut Map, project_name: &str) {
    for (key, resource) in resources.iter_mut() {
        if resource.is_null() {
            resource.value = Value::Map(Box::default());
        }
        let span = resource.key;
        let Some(resource) = resource.as_map_mut() else {
            continue;
        };
        if resource.get("name").is_some_and(|name| !name.is_null()) {
            continue;
        }
        let external = resource.get("external").is_some_and(|external| {
            matches!(
                go_text(external).as_str(),
                "1" | "t" | "T" | "TRUE" | "true" | "True"
            )
        });
        let name = if external {
            key.to_string()
        } else {
            format!("{project_name}_{key}")
        };
        resource.insert("name".into(), Node::string(name, span));
    }
}

/// Gives services, secrets and configs the values of the variables they name.
pub(crate) fn resolve_environment(root: &mut Map, environment: &Mapping) {
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        for service in services.values_mut() {
            let values = service
                .as_map_mut()
                .and_then(|service| service.get_mut("environment"))
                .and_then(Node::as_seq_mut);
            let Some(values) = values else { continue };
            values.retain_mut(|item| {
                let Value::Str(text) = &item.value else {
                    return false;
                };
                if let Some(value) = environment.get(&**text) {
                    item.value = Value::Str(format!("{text}={value}").into());
                }
                true
            });
        }
    }
    for (section, field) in [("secrets", SECRET_VALUE), ("configs", "content")] {
        let Some(resources) = root.get_mut(section).and_then(Node::as_map_mut) else {
            continue;
        };
        for resource in resources.values_mut() {
            let Some(resource) = resource.as_map_mut() else {
                continue;
            };
            let Some(variable) = resource.get("environment") else {
                continue;
            };
            let found = variable.as_str().and_then(|name| environment.get(name));
            if let Some(value) = found {
                let node = Node::string(value.as_str(), variable.span);
                resource.insert(field.into(), node);
            }
        }
    }
}

/// The key under which the value of a secret's variable travels.
pub(crate) const SECRET_VALUE: &str = "x-#value";
