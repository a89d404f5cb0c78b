//! Relative paths → absolute ones (or relative to the including project), at the places that hold paths.

use std::path::{Path as FilePath, PathBuf};

use crate::compose::error::{Faults, Finding};
use crate::compose::model::Mapping;
use crate::compose::node::{Map, Node, Path, Value};
use crate::compose::remote::is_remote;
use crate::compose::volume_spec::join_path;

/// What paths are resolved with.
pub(crate) struct Base<'a> {
    /// The folder that relative paths start from; may itself be relative.
    pub(crate) folder: &'a str,
    /// The folder of this process, for looking at links.
    pub(crate) current: &'a FilePath,
    /// For `~`.
    pub(crate) environment: &'a Mapping,
}

/// Resolves every path of the tree.
///
/// # Errors
/// A bind mount without a source.
pub(crate) fn resolve(root: &mut Map, base: &Base<'_>) -> Result<(), Faults> {
    let mut findings = Vec::new();
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        let at = Path::ROOT.key("services");
        for (name, service) in services.iter_mut() {
            if let Some(service) = service.as_map_mut() {
                base.service(service, &at.key(name), &mut findings);
            }
        }
    }
    for section in ["configs", "secrets"] {
        for resource in maps_of(root, section) {
            change(resource.get_mut("file"), |text| base.unix_path(text));
        }
    }
    for volume in maps_of(root, "volumes") {
        base.volume_device(volume);
    }
    Faults::check(findings)
}

fn maps_of<'m>(root: &'m mut Map, section: &str) -> impl Iterator<Item = &'m mut Map> {
    root.get_mut(section)
        .and_then(Node::as_map_mut)
        .into_iter()
        .flat_map(|section| section.values_mut())
        .filter_map(Node::as_map_mut)
}

/// Rewrites a text, where there is one.
fn change(node: Option<&mut Node>, new: impl Fn(&str) -> String) {
    if let Some(node) = node
        && let Value::Str(text) = &node.value
    {
        node.value = Value::Str(new(text).into());
    }
}

fn change_items(node: Option<&mut Node>, new: impl Fn(&str) -> String) {
    for item in node.and_then(Node::as_seq_mut).into_iter().flatten() {
        change(Some(item), &new);
    }
}

fn change_values(node: Option<&mut Node>, new: impl Fn(&str) -> String) {
    match node.map(|node| &mut node.value) {
        Some(Value::Map(map)) => {
            for value in map.values_mut() {
                change(Some(value), &new);
            }
        }
        Some(Value::Seq(items)) => {
            for item in items {
                change(Some(item), &new);
            }
        }
        _ => {}
    }
}

impl Base<'_> {
    fn service(&self, service: &mut Map, path: &Path<'_>, findings: &mut Vec<Finding>) {
        if let Some(build) = service.get_mut("build").and_then(Node::as_map_mut) {
            change(build.get_mut("context"), |text| self.context(text));
            change_values(build.get_mut("additional_contexts"), |text| {
                self.context(text)
            });
            change_values(build.get_mut("ssh"), |text| self.unix_path(text));
        }
        let env_files = service.get_mut("env_file").and_then(Node::as_seq_mut);
        for file in env_files.into_iter().flatten() {
            let path = file.as_map_mut().and_then(|file| file.get_mut("path"));
            change(path, |text| self.path(text));
        }
        change_items(service.get_mut("label_file"), |text| self.path(text));
        if let Some(extends) = service.get_mut("extends").and_then(Node::as_map_mut) {
            change(extends.get_mut("file"), |text| {
                if is_remote(text) {
                    text.to_owned()
                } else {
                    self.path(text)
                }
            });
        }
        let rules = service
            .get_mut("develop")
            .and_then(Node::as_map_mut)
            .and_then(|develop| develop.get_mut("watch"))
            .and_then(Node::as_seq_mut);
        for rule in rules.into_iter().flatten() {
            let watched = rule.as_map_mut().and_then(|rule| rule.get_mut("path"));
            change(watched, |text| self.without_links(&self.path(text)));
        }
        let at = path.key("volumes");
        let volumes = service.get_mut("volumes").and_then(Node::as_seq_mut);
        for (n, volume) in volumes.into_iter().flatten().enumerate() {
            self.bind_source(volume, &at.item(n), findings);
        }
    }

    fn bind_source(&self, node: &mut Node, path: &Path<'_>, findings: &mut Vec<Finding>) {
        let span = node.span;
        let Some(volume) = node.as_map_mut() else {
            return;
        };
        if volume.get("type").and_then(Node::as_str) != Some("bind") {
            return;
        }
        match volume.get_mut("source") {
            Some(source) => change(Some(source), |text| self.unix_path(text)),
            None => findings.push(
                Finding::new(
                    "invalid mount config for type \"bind\": field Source must not be empty",
                )
                .at(span)
                .field(path),
            ),
        }
    }

    /// A local volume made with `o: bind` mounts a folder.
    fn volume_device(&self, volume: &mut Map) {
        if volume.get("driver").and_then(Node::as_str) != Some("local") {
            return;
        }
        let Some(options) = volume.get_mut("driver_opts").and_then(Node::as_map_mut) else {
            return;
        };
        if options.get("o").and_then(Node::as_str) == Some("bind") {
            change(options.get_mut("device"), |text| self.unix_path(text));
        }
    }

    fn context(&self, text: &str) -> String {
        let kept = text.contains("://")
            || text.starts_with("service:")
            || text.starts_with("github.com/")
            || text.starts_with("git@");
        if kept {
            text.to_owned()
        } else {
            self.path(text)
        }
    }

    /// Absolute paths and empty texts stay.
    fn path(&self, text: &str) -> String {
        let text = self.expand_home(text);
        if text.starts_with('/') || text.is_empty() {
            text
        } else {
            join_path(self.folder, &text)
        }
    }

    /// As [`Self::path`], but paths of Windows stay too, and an empty text is the folder itself.
    fn unix_path(&self, text: &str) -> String {
        let text = self.expand_home(text);
        if text.starts_with('/') || is_windows_absolute(&text) {
            text
        } else {
            join_path(self.folder, &text)
        }
    }

    fn expand_home(&self, text: &str) -> String {
        match (text.strip_prefix('~'), self.environment.get("HOME")) {
            (Some(rest), Some(home)) if !home.is_empty() => join_path(home, rest),
            _ => text.to_owned(),
        }
    }

    /// The path with its first symbolic link followed.
    fn without_links(&self, path: &str) -> String {
        let mut so_far = PathBuf::new();
        if path.starts_with('/') {
            so_far.push("/");
        }
        for part in path.split('/').filter(|part| !part.is_empty()) {
            so_far.push(part);
            let on_disk = self.current.join(&so_far);
            let is_link = std::fs::symlink_metadata(&on_disk).is_ok_and(|meta| meta.is_symlink());
            if !is_link {
                continue;
            }
            return match std::fs::canonicalize(&on_disk) {
                Ok(target) => {
                    path.replacen(&*so_far.to_string_lossy(), &target.to_string_lossy(), 1)
                }
                Err(_) => path.to_owned(),
            };
        }
        path.to_owned()
    }
}

/// `C:\x`, `C:/x`, `\\server\share`.
fn is_windows_absolute(path: &str) -> bool {
    let bytes = path.as_bytes();
    let separator = |n: usize| matches!(bytes.get(n), Some(b'\\' | b'/'));
    if separator(0) && separator(1) {
        return true;
    }
    bytes.get(1) == Some(&b':') && separator(2)
}
