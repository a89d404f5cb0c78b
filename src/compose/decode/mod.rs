//! Canonical tree → [`Project`]: one file a section. Values get their types; what a field cannot hold
//! is a finding. No rules between fields (`compose::consistency`).

mod build;
mod deploy;
mod mounts;
mod resources;
mod service;

use indexmap::IndexMap;

use crate::compose::error::{Faults, Finding};
use crate::compose::interpolate::{parse_bool, parse_float, parse_int};
use crate::compose::merge::go_text;
use crate::compose::model::{Environment, Extensions, Hosts, Mapping, Project, Value as Plain};
use crate::compose::node::{Map, Node, Path, Value};
use crate::compose::shellwords;
use crate::units::{Duration, parse_bytes};

/// Reads the sections of a canonical tree into a project; name, folder and environment are the caller's.
///
/// # Errors
/// Every value that its field cannot hold.
pub(crate) fn project(root: &Map, warnings: &mut Vec<String>) -> Result<Project, Faults> {
    let mut decoder = Decoder {
        findings: Vec::new(),
        warnings,
    };
    let fields = Fields {
        map: root,
        path: Path::ROOT,
    };
    let project = Project {
        services: decoder.entries(&fields, "services", service::service),
        networks: decoder.entries(&fields, "networks", resources::network),
        volumes: decoder.entries(&fields, "volumes", resources::volume),
        configs: decoder.entries(&fields, "configs", resources::file_object),
        secrets: decoder.entries(&fields, "secrets", resources::file_object),
        models: decoder.entries(&fields, "models", resources::model),
        extensions: decoder.extensions(&fields),
        ..Project::default()
    };
    Faults::check(decoder.findings)?;
    Ok(project)
}

/// Collects what cannot be read while everything else is.
struct Decoder<'w> {
    findings: Vec<Finding>,
    warnings: &'w mut Vec<String>,
}

/// The mapping being read.
struct Fields<'a> {
    map: &'a Map,
    path: Path<'a>,
}

impl<'a> Fields<'a> {
    /// The value of a field that is there and not null.
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.map.get(key).filter(|node| !node.is_null())
    }
}

impl Decoder<'_> {
    fn refuse(&mut self, node: &Node, path: &Path<'_>, what: impl AsRef<str>) {
        self.findings.push(
            Finding::new(format!("{path}: {}", what.as_ref()))
                .at(node.span)
                .field(path),
        );
    }

    fn unexpected(&mut self, node: &Node, path: &Path<'_>, wanted: &str) {
        self.refuse(
            node,
            path,
            format!("expected a {wanted}, got a {}", node.kind()),
        );
    }

    /// The mapping below `key`, read by `read`.
    fn section<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        read: impl FnOnce(&mut Self, &Fields<'_>) -> T,
    ) -> Option<T> {
        let node = fields.get(key)?;
        let path = fields.path.key(key);
        self.mapping_of(node, path, read)
    }

    fn mapping_of<T>(
        &mut self,
        node: &Node,
        path: Path<'_>,
        read: impl FnOnce(&mut Self, &Fields<'_>) -> T,
    ) -> Option<T> {
        match node.as_map() {
            Some(map) => Some(read(self, &Fields { map, path })),
            None => {
                self.unexpected(node, &path, "mapping");
                None
            }
        }
    }

    /// A mapping of user-chosen names; null entries read as empty mappings.
    fn entries<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        mut read: impl FnMut(&mut Self, &Fields<'_>, &str) -> T,
    ) -> IndexMap<String, T> {
        let Some(node) = fields.get(key) else {
            return IndexMap::new();
        };
        let path = fields.path.key(key);
        let Some(map) = node.as_map() else {
            self.unexpected(node, &path, "mapping");
            return IndexMap::new();
        };
        let empty = Map::new();
        let mut entries = IndexMap::with_capacity(map.len());
        for (name, node) in map {
            let path = path.key(name);
            let map = match &node.value {
                Value::Map(map) => map,
                Value::Null => &empty,
                _ => {
                    self.unexpected(node, &path, "mapping");
                    continue;
                }
            };
            entries.insert(name.to_string(), read(self, &Fields { map, path }, name));
        }
        entries
    }

    /// A mapping of user-chosen names where null says "no options".
    fn optional_entries<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        mut read: impl FnMut(&mut Self, &Fields<'_>) -> T,
    ) -> IndexMap<String, Option<T>> {
        let Some(node) = fields.get(key) else {
            return IndexMap::new();
        };
        let path = fields.path.key(key);
        let Some(map) = node.as_map() else {
            self.unexpected(node, &path, "mapping");
            return IndexMap::new();
        };
        let mut entries = IndexMap::with_capacity(map.len());
        for (name, node) in map {
            let path = path.key(name);
            let value = match &node.value {
                Value::Null => None,
                Value::Map(map) => Some(read(self, &Fields { map, path })),
                _ => {
                    self.unexpected(node, &path, "mapping");
                    continue;
                }
            };
            entries.insert(name.to_string(), value);
        }
        entries
    }

    /// A list of mappings.
    fn list<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        mut read: impl FnMut(&mut Self, &Fields<'_>) -> T,
    ) -> Vec<T> {
        let Some(node) = fields.get(key) else {
            return Vec::new();
        };
        let path = fields.path.key(key);
        let Some(items) = node.as_seq() else {
            self.unexpected(node, &path, "list");
            return Vec::new();
        };
        let mut list = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            list.extend(self.mapping_of(item, path.item(n), &mut read));
        }
        list
    }

    /// A text; numbers are taken as they print.
    fn text(&mut self, fields: &Fields<'_>, key: &str) -> String {
        let Some(node) = fields.get(key) else {
            return String::new();
        };
        self.text_of(node, &fields.path.key(key))
    }

    fn text_of(&mut self, node: &Node, path: &Path<'_>) -> String {
        match &node.value {
            Value::Str(text) => text.to_string(),
            Value::Int(n) => n.to_string(),
            Value::Null => String::new(),
            _ => {
                self.unexpected(node, path, "string");
                String::new()
            }
        }
    }

    fn texts(&mut self, fields: &Fields<'_>, key: &str) -> Vec<String> {
        let Some(node) = fields.get(key) else {
            return Vec::new();
        };
        let path = fields.path.key(key);
        match &node.value {
            Value::Str(text) => vec![text.to_string()],
            Value::Seq(items) => items
                .iter()
                .enumerate()
                .map(|(n, item)| self.text_of(item, &path.item(n)))
                .collect(),
            _ => {
                self.unexpected(node, &path, "list");
                Vec::new()
            }
        }
    }

    /// A list whose items may be numbers of any kind.
    fn printed_texts(&mut self, fields: &Fields<'_>, key: &str) -> Vec<String> {
        match fields.get(key).map(|node| &node.value) {
            Some(Value::Seq(items)) => items.iter().map(go_text).collect(),
            _ => self.texts(fields, key),
        }
    }

    fn boolean(&mut self, fields: &Fields<'_>, key: &str) -> bool {
        self.optional_boolean(fields, key).unwrap_or(false)
    }

    fn optional_boolean(&mut self, fields: &Fields<'_>, key: &str) -> Option<bool> {
        let node = fields.get(key)?;
        match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Str(text) => match parse_bool(text, self.warnings) {
                Ok(value) => Some(value),
                Err(error) => {
                    self.refuse(node, &fields.path.key(key), error);
                    None
                }
            },
            _ => {
                self.unexpected(node, &fields.path.key(key), "boolean");
                None
            }
        }
    }

    fn integer(&mut self, fields: &Fields<'_>, key: &str) -> i64 {
        self.optional_integer(fields, key).unwrap_or(0)
    }

    fn optional_integer(&mut self, fields: &Fields<'_>, key: &str) -> Option<i64> {
        let node = fields.get(key)?;
        match &node.value {
            Value::Str(text) => match parse_int(text) {
                Ok(value) => Some(value),
                Err(error) => {
                    self.refuse(node, &fields.path.key(key), error);
                    None
                }
            },
            _ => self.number(node, &fields.path.key(key)),
        }
    }

    /// A number, its fraction cut off.
    fn number(&mut self, node: &Node, path: &Path<'_>) -> Option<i64> {
        match &node.value {
            Value::Int(value) => Some(*value),
            Value::Uint(value) => Some(i64::from_ne_bytes(value.to_ne_bytes())),
            #[expect(clippy::cast_possible_truncation, reason = "the fraction is dropped")]
            Value::Float(value) => Some(*value as i64),
            _ => {
                self.unexpected(node, path, "number");
                None
            }
        }
    }

    /// A number that is not negative; texts are not numbers here.
    fn unsigned(&mut self, fields: &Fields<'_>, key: &str) -> Option<u64> {
        let node = fields.get(key)?;
        let path = fields.path.key(key);
        if let Value::Uint(value) = node.value {
            return Some(value);
        }
        let value = self.number(node, &path)?;
        match u64::try_from(value) {
            Ok(value) => Some(value),
            Err(_) => {
                self.refuse(node, &path, format!("{value} overflows uint"));
                None
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "the model holds 32-bit numbers, as docker compose's does"
    )]
    fn float(&mut self, fields: &Fields<'_>, key: &str) -> f32 {
        let Some(node) = fields.get(key) else {
            return 0.0;
        };
        match &node.value {
            Value::Int(value) => *value as f32,
            Value::Uint(value) => *value as f32,
            Value::Float(value) => *value as f32,
            Value::Str(text) => match parse_float(text) {
                Ok(value) => value as f32,
                Err(error) => {
                    self.refuse(node, &fields.path.key(key), error);
                    0.0
                }
            },
            _ => {
                self.unexpected(node, &fields.path.key(key), "number");
                0.0
            }
        }
    }

    /// Bytes, as a number or with a unit.
    fn bytes(&mut self, fields: &Fields<'_>, key: &str) -> i64 {
        let Some(node) = fields.get(key) else {
            return 0;
        };
        match &node.value {
            Value::Int(value) => *value,
            Value::Str(text) => match parse_bytes(text) {
                Ok(value) => value,
                Err(error) => {
                    self.refuse(node, &fields.path.key(key), error.to_string());
                    0
                }
            },
            _ => 0,
        }
    }

    fn duration(&mut self, fields: &Fields<'_>, key: &str) -> Option<Duration> {
        let node = fields.get(key)?;
        match Duration::parse(&go_text(node)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(node, &fields.path.key(key), error.to_string());
                None
            }
        }
    }

    /// Words, or a command line that is split into words.
    fn command(&mut self, fields: &Fields<'_>, key: &str) -> Option<Vec<String>> {
        let node = fields.get(key)?;
        let path = fields.path.key(key);
        match &node.value {
            Value::Seq(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(n, item)| self.text_of(item, &path.item(n)))
                    .collect(),
            ),
            Value::Str(text) => match shellwords::split(text) {
                Ok(words) => Some(words),
                Err(error) => {
                    self.refuse(node, &path, error.to_string());
                    None
                }
            },
            _ => {
                self.unexpected(node, &path, "string or list");
                None
            }
        }
    }

    /// `KEY=VALUE` texts or a mapping; a key alone has an empty value.
    fn mapping(&mut self, fields: &Fields<'_>, key: &str) -> Mapping {
        let Some(node) = fields.get(key) else {
            return Mapping::new();
        };
        match &node.value {
            Value::Map(map) => map
                .iter()
                .map(|(key, value)| (key.to_string(), printed(value)))
                .collect(),
            Value::Seq(items) => items
                .iter()
                .map(|item| {
                    let text = go_text(item);
                    match text.split_once('=') {
                        Some((key, value)) => (key.to_owned(), value.to_owned()),
                        None => (text, String::new()),
                    }
                })
                .collect(),
            _ => {
                self.unexpected(node, &fields.path.key(key), "mapping or list");
                Mapping::new()
            }
        }
    }

    /// A mapping whose values must be texts or whole numbers.
    fn strict_mapping(&mut self, fields: &Fields<'_>, key: &str) -> Mapping {
        let Some(node) = fields.get(key) else {
            return Mapping::new();
        };
        let path = fields.path.key(key);
        let Some(map) = node.as_map() else {
            self.unexpected(node, &path, "mapping");
            return Mapping::new();
        };
        map.iter()
            .map(|(key, value)| (key.to_string(), self.text_of(value, &path.key(key))))
            .collect()
    }

    /// As [`Self::mapping`], but a key alone has no value.
    fn environment(&mut self, fields: &Fields<'_>, key: &str) -> Environment {
        let Some(node) = fields.get(key) else {
            return Environment::new();
        };
        let path = fields.path.key(key);
        match &node.value {
            Value::Map(map) => map
                .iter()
                .map(|(key, value)| {
                    let text = (!value.is_null()).then(|| go_text(value));
                    (key.to_string(), text)
                })
                .collect(),
            Value::Seq(items) => {
                let mut environment = Environment::with_capacity(items.len());
                for (n, item) in items.iter().enumerate() {
                    let text = go_text(item);
                    let (key, value) = match text.split_once('=') {
                        Some((key, value)) => (key, Some(value.to_owned())),
                        None => (text.as_str(), None),
                    };
                    if key.ends_with(|c: char| c.is_ascii() && c.is_whitespace()) {
                        let what =
                            format!("environment variable {key} is declared with a trailing space");
                        self.refuse(item, &path.item(n), what);
                    }
                    environment.insert(key.to_owned(), value);
                }
                environment
            }
            _ => {
                self.unexpected(node, &path, "mapping or list");
                Environment::new()
            }
        }
    }

    /// Host names and addresses: `host=ip`, `host:ip`, or a mapping.
    fn hosts(&mut self, fields: &Fields<'_>, key: &str) -> Hosts {
        let Some(node) = fields.get(key) else {
            return Hosts::new();
        };
        let path = fields.path.key(key);
        let mut hosts = Hosts::new();
        match &node.value {
            Value::Map(map) => {
                for (host, value) in map.iter() {
                    let addresses = match &value.value {
                        Value::Seq(items) => items.iter().map(go_text).collect(),
                        Value::Null => vec![String::new()],
                        Value::Str(text) => vec![text.to_string()],
                        _ => {
                            self.unexpected(value, &path.key(host), "string or list");
                            continue;
                        }
                    };
                    hosts.insert(host.to_string(), addresses);
                }
            }
            Value::Seq(items) => {
                for (n, item) in items.iter().enumerate() {
                    let text = go_text(item);
                    let Some((host, addresses)) =
                        text.split_once('=').or_else(|| text.split_once(':'))
                    else {
                        let what = format!("invalid additional host, missing IP: {text}");
                        self.refuse(item, &path.item(n), what);
                        continue;
                    };
                    hosts
                        .entry(host.to_owned())
                        .or_default()
                        .extend(addresses.split(',').map(str::to_owned));
                }
            }
            _ => self.unexpected(node, &path, "mapping or list"),
        }
        for (host, addresses) in &mut hosts {
            if host.is_empty() || host.contains([':', '=']) {
                self.refuse(node, &path, format!("bad host name '{host}'"));
            }
            for address in addresses {
                let inner = address
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'))
                    .filter(|inner| !inner.is_empty());
                if let Some(inner) = inner {
                    *address = inner.to_owned();
                }
            }
        }
        hosts
    }

    /// The `x-…` keys.
    fn extensions(&mut self, fields: &Fields<'_>) -> Extensions {
        fields
            .map
            .iter()
            .filter(|(key, _)| key.starts_with("x-"))
            .map(|(key, node)| (key.to_string(), plain(node)))
            .collect()
    }
}

/// The text of a mapping's value; null is empty.
fn printed(node: &Node) -> String {
    if node.is_null() {
        String::new()
    } else {
        go_text(node)
    }
}

/// Any node as an untyped value.
pub(crate) fn plain(node: &Node) -> Plain {
    match &node.value {
        Value::Null => Plain::Null,
        Value::Bool(value) => Plain::Bool(*value),
        Value::Int(value) => Plain::Int(*value),
        Value::Uint(value) => Plain::Uint(*value),
        Value::Float(value) => Plain::Float(*value),
        Value::Time(time) => Plain::Time(time.rfc3339()),
        Value::Str(text) => Plain::String(text.to_string()),
        Value::Seq(items) => Plain::List(items.iter().map(plain).collect()),
        Value::Map(map) => Plain::Map(
            map.iter()
                .map(|(key, value)| (key.to_string(), plain(value)))
                .collect(),
        ),
    }
}
