//! Short forms → long forms, in place: `ports: ["80:80"]` becomes a list of mappings, a name a mapping.
//! Defaults that only a finished project takes are set apart ([`set_defaults`]).

use crate::compose::error::{Faults, Finding};
use crate::compose::merge::{go_text, started};
use crate::compose::model::{PortConfig, ServiceVolume};
use crate::compose::node::{Map, Node, Path, Value};
use crate::compose::port_spec::parse_ports;
use crate::compose::volume_spec::{clean_path, parse_volume};

/// Brings every short form into its long form. With `lenient`, what cannot be parsed (it may hold
/// variables still) is left as it is.
///
/// # Errors
/// Every short form that cannot be parsed.
pub(crate) fn canonical(
    root: &mut Map,
    lenient: bool,
    warnings: &mut Vec<String>,
) -> Result<(), Faults> {
    let mut work = Work {
        lenient,
        findings: Vec::new(),
    };
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        let at = Path::ROOT.key("services");
        for (name, service) in services.iter_mut() {
            if let Some(service) = service.as_map_mut() {
                work.service(service, &at.key(name));
            }
        }
    }
    for section in ["volumes", "networks", "secrets", "configs"] {
        if let Some(resources) = root.get_mut(section).and_then(Node::as_map_mut) {
            let at = Path::ROOT.key(section);
            for (name, resource) in resources.iter_mut() {
                work.external(resource, &at.key(name), warnings);
            }
        }
    }
    if let Some(includes) = root.get_mut("include").and_then(Node::as_seq_mut) {
        for include in includes {
            if include.as_str().is_some() {
                wrap(include, "path");
            }
        }
    }
    Faults::check(work.findings)
}

/// `text` → `{key: text}`.
fn wrap(node: &mut Node, key: &str) {
    let inner = node.clone();
    let mut map = Map::with_capacity(1);
    map.insert(key.into(), inner);
    node.value = Value::Map(Box::new(map));
}

fn string_to_list(node: &mut Node) {
    if node.as_str().is_some() {
        node.value = Value::Seq(vec![node.clone()]);
    }
}

struct Work {
    lenient: bool,
    findings: Vec<Finding>,
}

impl Work {
    fn refuse(&mut self, node: &Node, path: &Path<'_>, what: impl Into<String>) {
        self.findings
            .push(Finding::new(what).at(node.span).field(path));
    }

    fn service(&mut self, service: &mut Map, path: &Path<'_>) {
        for (field, node) in service.iter_mut() {
            let at = path.key(field);
            match &**field {
                "build" => self.build(node, &at),
                "depends_on" => self.depends_on(node, &at),
                "env_file" => self.env_file(node, &at),
                "label_file" | "dns" => string_to_list(node),
                "extends" if node.as_str().is_some() => wrap(node, "service"),
                "gpus" => gpus(node),
                "networks" | "models" => self.names(node, &at),
                "volumes" => self.items(node, &at, Self::volume),
                "devices" => self.items(node, &at, Self::device),
                "secrets" | "configs" => self.items(node, &at, Self::file_mount),
                "ports" => self.ports(node, &at),
                "ulimits" => self.ulimits(node, &at),
                "develop" => develop(node),
                _ => {}
            }
        }
    }

    fn items(
        &mut self,
        node: &mut Node,
        path: &Path<'_>,
        convert: fn(&mut Self, &mut Node, &Path<'_>),
    ) {
        if let Some(items) = node.as_seq_mut() {
            for (n, item) in items.iter_mut().enumerate() {
                convert(self, item, &path.item(n));
            }
        }
    }

    fn build(&mut self, node: &mut Node, path: &Path<'_>) {
        if node.as_str().is_some() {
            return wrap(node, "context");
        }
        let Some(build) = node.as_map_mut() else {
            return self.refuse(
                node,
                path,
                format!("{path}: invalid type {} for build", node.kind()),
            );
        };
        for (field, node) in build.iter_mut() {
            let at = path.key(field);
            match &**field {
                "secrets" => self.items(node, &at, Self::file_mount),
                "provenance" | "sbom" if node.as_str().is_none() => {
                    node.value = Value::Str(go_text(node).into());
                }
                "additional_contexts" => self.key_values(node, &at),
                "ssh" => self.ssh(node, &at),
                "ulimits" => self.ulimits(node, &at),
                _ => {}
            }
        }
    }

    /// `[NAME=VALUE]` → mapping.
    fn key_values(&mut self, node: &mut Node, path: &Path<'_>) {
        let Some(items) = node.as_seq() else { return };
        let mut map = Map::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            let Some((key, value)) = item.as_str().and_then(|text| text.split_once('=')) else {
                if !self.lenient {
                    let shown = go_text(item);
                    let at = path.item(n);
                    let item = item.clone();
                    self.refuse(
                        &item,
                        &at,
                        format!("{path}: invalid value {shown}, expected key=value"),
                    );
                }
                return;
            };
            map.insert(key.into(), item.with(Value::Str(value.into())));
        }
        node.value = Value::Map(Box::new(map));
    }

    fn ssh(&mut self, node: &mut Node, path: &Path<'_>) {
        let Some(items) = node.as_seq() else { return };
        let mut map = Map::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            let text = item.as_str().unwrap_or_default();
            match text.split_once('=') {
                Some((id, key)) => {
                    map.insert(id.into(), item.with(Value::Str(key.into())));
                }
                None if text == "default" => {
                    map.insert(text.into(), item.with(Value::Null));
                }
                None => {
                    let (item, at) = (item.clone(), path.item(n));
                    return self.refuse(&item, &at, format!("invalid ssh key {text:?}"));
                }
            }
        }
        node.value = Value::Map(Box::new(map));
    }

    fn depends_on(&mut self, node: &mut Node, path: &Path<'_>) {
        match &mut node.value {
            Value::Map(map) => {
                let mut refused = Vec::new();
                for (name, dependency) in map.iter_mut() {
                    let (span, key) = (dependency.span, dependency.key);
                    let Value::Map(fields) = &mut dependency.value else {
                        refused.push((dependency.clone(), name.clone()));
                        continue;
                    };
                    let default = |value| Node { value, span, key };
                    fields
                        .entry("condition".into())
                        .or_insert_with(|| default(Value::Str("service_started".into())));
                    fields
                        .entry("required".into())
                        .or_insert_with(|| default(Value::Bool(true)));
                }
                for (node, name) in refused {
                    self.refuse(
                        &node,
                        &path.key(&name),
                        format!("{path}.{name}: unsupported value"),
                    );
                }
            }
            Value::Seq(items) => {
                let mut map = Map::with_capacity(items.len());
                for item in items.iter() {
                    if let Value::Str(name) = &item.value {
                        map.insert(name.clone(), started(item));
                    }
                }
                node.value = Value::Map(Box::new(map));
            }
            _ => self.refuse(
                node,
                path,
                format!("{path}: invalid type {} for depend_on", node.kind()),
            ),
        }
    }

    fn env_file(&mut self, node: &mut Node, path: &Path<'_>) {
        string_to_list(node);
        let Some(items) = node.as_seq_mut() else {
            return self.refuse(
                node,
                path,
                format!("{path}: invalid type {} for env_file", node.kind()),
            );
        };
        for item in items {
            if item.as_str().is_some() {
                wrap(item, "path");
            }
            let required = item.with(Value::Bool(true));
            if let Some(map) = item.as_map_mut() {
                map.entry("required".into()).or_insert(required);
            }
        }
    }

    /// A list of names → a mapping to null.
    fn names(&mut self, node: &mut Node, path: &Path<'_>) {
        let Some(items) = node.as_seq() else { return };
        let mut map = Map::with_capacity(items.len());
        for item in items {
            match &item.value {
                Value::Str(name) => {
                    map.insert(name.clone(), item.with(Value::Null));
                }
                _ => {
                    let item = item.clone();
                    return self.refuse(&item, path, format!("{path} items must be strings"));
                }
            }
        }
        node.value = Value::Map(Box::new(map));
    }

    fn volume(&mut self, node: &mut Node, path: &Path<'_>) {
        let Some(text) = node.as_str() else { return };
        match parse_volume(text) {
            Ok(mut volume) => {
                if !volume.target.is_empty() {
                    volume.target = clean_path(&volume.target);
                }
                node.value = volume_value(&volume, node);
            }
            Err(_) if self.lenient => {}
            Err(error) => self.refuse(node, path, error),
        }
    }

    fn device(&mut self, node: &mut Node, path: &Path<'_>) {
        let Some(text) = node.as_str() else { return };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, permissions) = match parts.as_slice() {
            [source] => (*source, "", "rwm"),
            [source, target] => (*source, *target, "rwm"),
            [source, target, permissions] => (*source, *target, *permissions),
            _ if self.lenient => ("", "", "rwm"),
            _ => {
                return self.refuse(
                    node,
                    path,
                    format!("confusing device mapping, please use long syntax: {text}"),
                );
            }
        };
        let target = if target.is_empty() { source } else { target };
        let mut map = Map::with_capacity(3);
        for (key, value) in [
            ("source", source),
            ("target", target),
            ("permissions", permissions),
        ] {
            map.insert(key.into(), node.with(Value::Str(value.into())));
        }
        node.value = Value::Map(Box::new(map));
    }

    fn file_mount(&mut self, node: &mut Node, _path: &Path<'_>) {
        if node.as_str().is_some() {
            wrap(node, "source");
        }
    }

    fn ports(&mut self, node: &mut Node, path: &Path<'_>) {
        let Some(items) = node.as_seq() else {
            return self.refuse(
                node,
                path,
                format!("{path}: invalid type {} for port", node.kind()),
            );
        };
        let mut ports = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            let text = match &item.value {
                Value::Map(_) => {
                    ports.push(item.clone());
                    continue;
                }
                Value::Int(number) => number.to_string(),
                Value::Str(text) => text.to_string(),
                _ => {
                    let (item, at) = (item.clone(), path.item(n));
                    let what = format!("{path}: invalid type {} for port", item.kind());
                    return self.refuse(&item, &at, what);
                }
            };
            match parse_ports(&text) {
                Ok(parsed) => ports.extend(parsed.iter().map(|port| port_node(port, item))),
                Err(_) if self.lenient => return,
                Err(error) => {
                    let (item, at) = (item.clone(), path.item(n));
                    self.refuse(&item, &at, error);
                }
            }
        }
        node.value = Value::Seq(ports);
    }

    fn ulimits(&mut self, node: &mut Node, path: &Path<'_>) {
        let Some(map) = node.as_map() else { return };
        let refused: Vec<_> = map
            .iter()
            .filter(|(_, value)| !matches!(value.value, Value::Map(_) | Value::Int(_)))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (name, value) in refused {
            let at = path.key(&name);
            self.refuse(
                &value,
                &at,
                format!("{at}: invalid type {} for ulimit", value.kind()),
            );
        }
    }

    /// `external: {name: x}` → `external: true` and the name.
    fn external(&mut self, node: &mut Node, path: &Path<'_>, warnings: &mut Vec<String>) {
        let Some(resource) = node.as_map_mut() else {
            return;
        };
        let name = resource.get("name").cloned();
        let Some(external) = resource.get_mut("external") else {
            return;
        };
        let Value::Map(inner) = &external.value else {
            return;
        };
        let inner_name = inner.get("name").cloned();
        external.value = Value::Bool(true);
        let Some(inner_name) = inner_name else { return };
        warnings.push(format!(
            "{path}: external.name is deprecated. Please set name and external: true"
        ));
        match name {
            Some(name) if name != inner_name => {
                let finding = Finding::new(format!(
                    "{path}: name and external.name conflict; only use name"
                ))
                .at(inner_name.span)
                .field(path)
                .related(name.span, "the name here");
                self.findings.push(finding);
            }
            Some(_) => {}
            None => {
                resource.insert("name".into(), inner_name);
            }
        }
    }
}

fn gpus(node: &mut Node) {
    if node.as_str().is_some() {
        let mut map = Map::with_capacity(1);
        map.insert("count".into(), node.with(Value::Str("all".into())));
        let request = node.with(Value::Map(Box::new(map)));
        node.value = Value::Seq(vec![request]);
    }
}

fn develop(node: &mut Node) {
    let rules = node
        .as_map_mut()
        .and_then(|develop| develop.get_mut("watch"))
        .and_then(Node::as_seq_mut);
    for rule in rules.into_iter().flatten() {
        if let Some(rule) = rule.as_map_mut() {
            for field in ["ignore", "include"] {
                if let Some(patterns) = rule.get_mut(field) {
                    string_to_list(patterns);
                }
            }
        }
    }
}

fn put(map: &mut Map, node: &Node, key: &str, value: &str) {
    if !value.is_empty() {
        map.insert(key.into(), node.with(Value::Str(value.into())));
    }
}

fn port_node(port: &PortConfig, node: &Node) -> Node {
    let mut map = Map::with_capacity(5);
    put(&mut map, node, "mode", &port.mode);
    put(&mut map, node, "host_ip", &port.host_ip);
    if port.target != 0 {
        map.insert(
            "target".into(),
            node.with(Value::Int(i64::from(port.target))),
        );
    }
    put(&mut map, node, "published", &port.published);
    put(&mut map, node, "protocol", &port.protocol);
    node.with(Value::Map(Box::new(map)))
}

fn volume_value(volume: &ServiceVolume, node: &Node) -> Value {
    let mut map = Map::with_capacity(5);
    put(&mut map, node, "type", &volume.kind);
    put(&mut map, node, "source", &volume.source);
    put(&mut map, node, "target", &volume.target);
    let flag = || node.with(Value::Bool(true));
    if volume.read_only {
        map.insert("read_only".into(), flag());
    }
    if let Some(bind) = &volume.bind {
        let mut inner = Map::with_capacity(3);
        put(&mut inner, node, "selinux", &bind.selinux);
        put(&mut inner, node, "propagation", &bind.propagation);
        if bind.create_host_path {
            inner.insert("create_host_path".into(), flag());
        }
        map.insert("bind".into(), node.with(Value::Map(Box::new(inner))));
    }
    if let Some(options) = &volume.volume {
        let mut inner = Map::new();
        if options.nocopy {
            inner.insert("nocopy".into(), flag());
        }
        map.insert("volume".into(), node.with(Value::Map(Box::new(inner))));
    }
    Value::Map(Box::new(map))
}

/// Drops empty entries of `dns`.
pub(crate) fn omit_empty(root: &mut Map) {
    let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) else {
        return;
    };
    for service in services.values_mut() {
        let dns = service
            .as_map_mut()
            .and_then(|service| service.get_mut("dns"))
            .and_then(Node::as_seq_mut);
        if let Some(dns) = dns {
            dns.retain(|item| !item.is_null() && item.as_str() != Some(""));
        }
    }
}

/// Sets what a finished project takes for granted: a build's context, a secret's target,
/// a port's protocol and mode, the count of a device request.
pub(crate) fn set_defaults(root: &mut Map) {
    let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) else {
        return;
    };
    for service in services.values_mut() {
        let Some(service) = service.as_map_mut() else {
            continue;
        };
        if let Some(build) = service.get_mut("build") {
            default_text(build, "context", ".");
        }
        for_items(service.get_mut("secrets"), |secret| {
            let source = secret.get("source").map(go_text).unwrap_or_default();
            default_text(secret, "target", &format!("/run/secrets/{source}"));
        });
        for_items(service.get_mut("ports"), |port| {
            default_text(port, "protocol", "tcp");
            default_text(port, "mode", "ingress");
        });
        for_items(service.get_mut("gpus"), device_count);
        let devices = service
            .get_mut("deploy")
            .and_then(Node::as_map_mut)
            .and_then(|deploy| deploy.get_mut("resources"))
            .and_then(Node::as_map_mut)
            .and_then(|resources| resources.get_mut("reservations"))
            .and_then(Node::as_map_mut)
            .and_then(|reservations| reservations.get_mut("devices"));
        for_items(devices, device_count);
    }
}

fn for_items(node: Option<&mut Node>, each: impl Fn(&mut Node)) {
    if let Some(items) = node.and_then(Node::as_seq_mut) {
        items.iter_mut().for_each(each);
    }
}

fn default_text(node: &mut Node, key: &str, value: &str) {
    let default = node.with(Value::Str(value.into()));
    if let Some(map) = node.as_map_mut() {
        map.entry(key.into()).or_insert(default);
    }
}

fn device_count(node: &mut Node) {
    let counted = node.get("count").is_some() || node.get("device_ids").is_some();
    if !counted {
        default_text(node, "count", "all");
    }
}
