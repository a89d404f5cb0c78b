//! Model → values for output, in the order and with the omissions of docker compose's own types.
//! What `config` prints and what a service's hash is taken of. No text is written here.

mod parts;
mod resources;
mod service;

pub(crate) use resources::project;

use crate::compose::model::{
    Environment, Extensions, Hosts, Mapping, Network, Service, Value, Volume,
};
use crate::compose::out::{Flavor, Out, to_json};
use crate::units::Duration;

/// A service as one line of JSON, as `json.Marshal` of docker compose's type gives it.
pub(crate) fn service_json(service: &Service) -> String {
    to_json(&service::service(service, Flavor::Json))
}

/// A network as one line of JSON.
pub(crate) fn network_json(network: &Network) -> String {
    to_json(&resources::network(network, Flavor::Json))
}

/// A volume as one line of JSON.
pub(crate) fn volume_json(volume: &Volume) -> String {
    to_json(&resources::volume(volume, Flavor::Json))
}

/// A mapping being filled; what is empty is left out.
struct Fields {
    flavor: Flavor,
    entries: Vec<(String, Out)>,
}

impl Fields {
    fn new(flavor: Flavor) -> Self {
        Self {
            flavor,
            entries: Vec::new(),
        }
    }

    fn put(&mut self, key: &str, value: Out) {
        self.entries.push((key.to_owned(), value));
    }

    fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.put(key, Out::Str(text.to_owned()));
        }
    }

    fn texts(&mut self, key: &str, texts: &[String]) {
        if !texts.is_empty() {
            let texts = texts.iter().cloned().map(Out::Str).collect();
            self.put(key, Out::List(texts));
        }
    }

    fn flag(&mut self, key: &str, flag: bool) {
        if flag {
            self.put(key, Out::Bool(true));
        }
    }

    fn optional_flag(&mut self, key: &str, flag: Option<bool>) {
        if let Some(flag) = flag {
            self.put(key, Out::Bool(flag));
        }
    }

    fn integer(&mut self, key: &str, number: i64) {
        if number != 0 {
            self.put(key, Out::Int(number));
        }
    }

    fn optional_integer(&mut self, key: &str, number: Option<i64>) {
        if let Some(number) = number {
            self.put(key, Out::Int(number));
        }
    }

    fn optional_unsigned(&mut self, key: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.put(key, Out::Uint(number));
        }
    }

    fn float(&mut self, key: &str, number: f32) {
        if number != 0.0 {
            self.put(key, Out::F32(number));
        }
    }

    fn bytes(&mut self, key: &str, bytes: i64) {
        if bytes != 0 {
            self.put(key, Out::Str(bytes.to_string()));
        }
    }

    fn duration(&mut self, key: &str, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.put(key, Out::Str(duration.to_string()));
        }
    }

    fn mapping(&mut self, key: &str, mapping: &Mapping) {
        if !mapping.is_empty() {
            let value = self.sorted(
                mapping
                    .iter()
                    .map(|(k, v)| (k.clone(), Out::Str(v.clone()))),
            );
            self.put(key, value);
        }
    }

    fn environment(&mut self, key: &str, environment: &Environment) {
        if !environment.is_empty() {
            let value = self.sorted(environment.iter().map(|(k, v)| {
                let value = v.as_ref().map_or(Out::Null, |v| Out::Str(v.clone()));
                (k.clone(), value)
            }));
            self.put(key, value);
        }
    }

    fn hosts(&mut self, key: &str, hosts: &Hosts) {
        if hosts.is_empty() {
            return;
        }
        let mut list: Vec<String> = hosts
            .iter()
            .flat_map(|(host, ips)| ips.iter().map(move |ip| format!("{host}={ip}")))
            .collect();
        list.sort_unstable();
        self.put(key, Out::List(list.into_iter().map(Out::Str).collect()));
    }

    /// Every entry of a mapping of named things.
    fn named<'a, T: 'a>(
        &mut self,
        key: &str,
        entries: impl IntoIterator<Item = (&'a String, &'a T)>,
        view: impl Fn(&T, Flavor) -> Out,
    ) {
        let flavor = self.flavor;
        let value = self.sorted(
            entries
                .into_iter()
                .map(|(name, entry)| (name.clone(), view(entry, flavor))),
        );
        if !matches!(&value, Out::Map(entries) if entries.is_empty()) {
            self.put(key, value);
        }
    }

    fn list<T>(&mut self, key: &str, items: &[T], view: impl Fn(&T, Flavor) -> Out) {
        if !items.is_empty() {
            let items = items.iter().map(|item| view(item, self.flavor)).collect();
            self.put(key, Out::List(items));
        }
    }

    /// A mapping, left out in YAML when it is empty; JSON always has it.
    fn structure(&mut self, key: &str, value: Out) {
        let empty = matches!(&value, Out::Map(entries) if entries.is_empty());
        if !(empty && self.flavor == Flavor::Yaml) {
            self.put(key, value);
        }
    }

    fn optional<T>(&mut self, key: &str, value: Option<&T>, view: impl Fn(&T, Flavor) -> Out) {
        if let Some(value) = value {
            self.put(key, view(value, self.flavor));
        }
    }

    fn sorted(&self, entries: impl Iterator<Item = (String, Out)>) -> Out {
        let mut entries: Vec<_> = entries.collect();
        self.flavor.sort(&mut entries);
        Out::Map(entries)
    }

    /// The `x-…` keys: YAML shows them, docker compose's JSON does not.
    fn extensions(&mut self, extensions: &Extensions) {
        if self.flavor == Flavor::Yaml && !extensions.is_empty() {
            let mut entries: Vec<_> = extensions
                .iter()
                .map(|(key, value)| (key.clone(), untyped(value, self.flavor)))
                .collect();
            self.flavor.sort(&mut entries);
            self.entries.extend(entries);
        }
    }

    fn done(self) -> Out {
        Out::Map(self.entries)
    }
}

/// An untyped value.
pub(crate) fn untyped(value: &Value, flavor: Flavor) -> Out {
    match value {
        Value::Null => Out::Null,
        Value::Bool(b) => Out::Bool(*b),
        Value::Int(n) => Out::Int(*n),
        Value::Uint(n) => Out::Uint(*n),
        Value::Float(f) => Out::Float(*f),
        Value::Time(text) => Out::Time(text.clone()),
        Value::String(text) => Out::Str(text.clone()),
        Value::List(items) if items.is_empty() => Out::NoList,
        Value::List(items) => Out::List(items.iter().map(|item| untyped(item, flavor)).collect()),
        Value::Map(map) => {
            let mut entries: Vec<_> = map
                .iter()
                .map(|(key, value)| (key.clone(), untyped(value, flavor)))
                .collect();
            flavor.sort(&mut entries);
            Out::Map(entries)
        }
    }
}
