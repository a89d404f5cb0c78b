//! `extends`: a service on the base of another one, of the same file or of a different one.

use std::sync::Arc;

use crate::compose::error::{Faults, Finding};
use crate::compose::load::{Extended, Loader, Purpose, Scope};
use crate::compose::locate::parent;
use crate::compose::merge::merge;
use crate::compose::node::{Map, Node, Path, Value};
use crate::compose::remote::is_remote;
use crate::compose::reset;
use crate::compose::source::Span;
use crate::compose::volume_spec::{clean_path, join_path};
use crate::compose::yaml::ResetPath;

/// The way of extensions so far: file and service of each, and where it was asked for.
type Trail = Vec<(String, String, Span)>;

/// What a service extends.
struct Target {
    service: String,
    file: Option<String>,
    span: Span,
}

/// A file's services while they are extended.
struct Group<'g> {
    services: &'g mut Map,
    /// The file that the whole chain began in.
    file: &'g str,
    resets: &'g [ResetPath],
}

impl Loader<'_> {
    /// Resolves every `extends` of a file's services.
    pub(super) fn extend_services(
        &mut self,
        root: &mut Map,
        file: &str,
        resets: &[ResetPath],
        scope: &Scope<'_>,
    ) -> Result<(), Faults> {
        let Some(services) = root.get_mut("services") else {
            return Ok(());
        };
        let Some(services) = services.as_map_mut() else {
            return Err(Finding::new("services must be a mapping")
                .at(services.span)
                .into());
        };
        let extending: Vec<String> = services
            .iter()
            .filter(|(_, service)| service.get("extends").is_some())
            .map(|(name, _)| name.to_string())
            .collect();
        if let Some((name, service)) = services
            .iter()
            .find(|(_, service)| !service.is_null() && service.as_map().is_none())
        {
            return Err(Finding::new(format!("services.{name} must be a mapping"))
                .at(service.span)
                .field_text(format!("services.{name}"))
                .into());
        }
        let mut group = Group {
            services,
            file,
            resets,
        };
        for name in extending {
            self.extend(&name, &mut group, &Vec::new(), scope)?;
        }
        Ok(())
    }

    /// Makes `services[name]` whole.
    fn extend(
        &mut self,
        name: &str,
        group: &mut Group<'_>,
        trail: &Trail,
        scope: &Scope<'_>,
    ) -> Result<(), Faults> {
        let Some(service) = group.services.get(name) else {
            return Ok(());
        };
        if service.is_null() {
            return Ok(());
        }
        if service.as_map().is_none() {
            return Err(Finding::new(format!("services.{name} must be a mapping"))
                .at(service.span)
                .into());
        }
        let Some(extends) = service.get("extends") else {
            return Ok(());
        };
        let target = target(name, extends)?;
        let base = match &target.file {
            Some(file) => self.base_of_file(name, file, &target, group, trail, scope)?,
            None => self.base_of_group(name, &target, group, trail, scope)?,
        };
        let Some(mut base) = base.filter(|base| !base.is_null()) else {
            return Ok(());
        };
        if let Some(map) = base.as_map_mut() {
            reset::apply(map, group.resets, &["services", name]);
        }
        let Some(slot) = group.services.get_mut(name) else {
            return Ok(());
        };
        let (span, key) = (slot.span, slot.key);
        let service = std::mem::replace(slot, Node::new(Value::Null, span));
        let root = Path::ROOT;
        merge(&mut base, service, &root.key("services").key(name))
            .map_err(|finding| (*finding).related(target.span, "extended here"))?;
        if let Some(map) = base.as_map_mut() {
            map.shift_remove("extends");
        }
        (base.span, base.key) = (span, key);
        *slot = base;
        Ok(())
    }

    fn base_of_group(
        &mut self,
        name: &str,
        target: &Target,
        group: &mut Group<'_>,
        trail: &Trail,
        scope: &Scope<'_>,
    ) -> Result<Option<Node>, Faults> {
        if !group.services.contains_key(target.service.as_str()) {
            return Err(not_found(name, target, group.file, group.services));
        }
        let trail = follow(trail, group.file, name, target.span)?;
        // The base is taken before this file's own tags apply to it.
        let mut inner = Group {
            services: group.services,
            file: group.file,
            resets: &[],
        };
        self.extend(&target.service, &mut inner, &trail, scope)?;
        Ok(group.services.get(target.service.as_str()).cloned())
    }

    fn base_of_file(
        &mut self,
        name: &str,
        file: &str,
        target: &Target,
        group: &Group<'_>,
        trail: &Trail,
        scope: &Scope<'_>,
    ) -> Result<Option<Node>, Faults> {
        let through = |faults: Faults| faults.through(target.span, "extended here");
        let extended = self.extended_file(name, file, scope).map_err(through)?;
        let Some(base) = extended.services.get(target.service.as_str()) else {
            let shown = self.shown(group.file);
            let mut finding = Finding::new(format!(
                "cannot extend service {name:?} in {shown}: service {:?} not found in {file}",
                target.service
            ))
            .at(target.span)
            .field_text(format!("services.{name}.extends"));
            finding.help = suggestion(&target.service, &extended.services);
            return Err(finding.into());
        };
        let trail = follow(trail, file, name, target.span)?;
        if base.get("extends").is_none() {
            return Ok(Some(base.clone()));
        }
        let mut services = extended.services.clone();
        let mut inner = Group {
            services: &mut services,
            file: group.file,
            resets: &extended.resets,
        };
        self.extend(&target.service, &mut inner, &trail, scope)
            .map_err(through)?;
        Ok(services.get(target.service.as_str()).cloned())
    }

    /// The services of a file, their paths moved to where they are used.
    fn extended_file(
        &mut self,
        name: &str,
        file: &str,
        scope: &Scope<'_>,
    ) -> Result<Arc<Extended>, Faults> {
        let (local, folder) = if is_remote(file) {
            let local = self.fetch(file)?;
            let folder = parent(&local).to_owned();
            (local, folder)
        } else {
            let local = if file.starts_with('/') {
                clean_path(file)
            } else {
                join_path(scope.lookup, file)
            };
            (local, folder_from(scope.lookup, file))
        };
        let key = (format!("{folder}\0{local}"), scope.number);
        if let Some(extended) = self.extended.get(&key) {
            return Ok(extended.clone());
        }
        let lookup = parent(&local).to_owned();
        let inner = Scope {
            folder: &folder,
            lookup: &lookup,
            environment: scope.environment,
            included: &[],
            number: scope.number,
            depth: scope.depth,
        };
        let mut dict = Node::map(Map::new(), Span::NONE);
        let resets = self.file(&local, &inner, &mut dict, Purpose::Extends)?;
        let shown = self.shown(&local);
        if let Some(root) = dict.as_map_mut() {
            self.resolve_paths(root, &folder)?;
        }
        let services = match dict
            .as_map_mut()
            .and_then(|root| root.shift_remove("services"))
        {
            None => {
                return Err(Faults::message(format!(
                    "cannot extend service {name:?} in {shown}: no services section"
                )));
            }
            Some(Node {
                value: Value::Map(services),
                ..
            }) => *services,
            Some(other) => {
                return Err(Finding::new(format!(
                    "cannot extend service {name:?} in {shown}: services must be a mapping"
                ))
                .at(other.span)
                .into());
            }
        };
        let extended = Arc::new(Extended { services, resets });
        self.extended.insert(key, extended.clone());
        Ok(extended)
    }
}

fn target(name: &str, extends: &Node) -> Result<Target, Faults> {
    let refused = |what: String| {
        Finding::new(what)
            .at(extends.span)
            .field_text(format!("services.{name}.extends"))
    };
    if let Some(service) = extends.as_str() {
        return Ok(Target {
            service: service.to_owned(),
            file: None,
            span: extends.span,
        });
    }
    let Some(map) = extends.as_map() else {
        return Err(refused(format!(
            "services.{name}.extends must be a mapping or string"
        ))
        .into());
    };
    let Some(service) = map.get("service").and_then(Node::as_str) else {
        return Err(refused(format!("extends.{name}.service is required")).into());
    };
    let file = match map.get("file") {
        None => None,
        Some(file) if file.is_null() => None,
        Some(file) => match file.as_str() {
            Some(file) => Some(file.to_owned()),
            None => {
                return Err(
                    refused(format!("services.{name}.extends.file must be a string")).into(),
                );
            }
        },
    };
    Ok(Target {
        service: service.to_owned(),
        file,
        span: extends.span,
    })
}

fn not_found(name: &str, target: &Target, file: &str, services: &Map) -> Faults {
    let mut finding = Finding::new(format!(
        "cannot extend service {name:?} in {file}: service {:?} not found",
        target.service
    ))
    .at(target.span)
    .field_text(format!("services.{name}.extends"));
    finding.help = suggestion(&target.service, services);
    finding.into()
}

fn suggestion(service: &str, services: &Map) -> Option<String> {
    crate::compose::error::did_you_mean(service, services.keys().map(|name| &**name))
        .map(|near| format!("did you mean `{near}`?"))
}

/// The trail with one more step.
fn follow(trail: &Trail, file: &str, service: &str, span: Span) -> Result<Trail, Faults> {
    let mut longer = trail.clone();
    let seen = trail.iter().any(|(f, s, _)| f == file && s == service);
    longer.push((file.to_owned(), service.to_owned(), span));
    if !seen {
        return Ok(longer);
    }
    let mut lines = vec!["Circular reference:".to_owned()];
    for (n, (file, service, _)) in longer.iter().enumerate() {
        let word = if n == 0 { "" } else { "extends " };
        lines.push(format!("  {word}{service} in {file}"));
    }
    let mut finding = Finding::new(lines.join("\n")).at(span);
    for (_, _, span) in trail {
        finding = finding.related(*span, "extends here");
    }
    Err(finding.into())
}

/// The folder of `file`, seen from `base`.
pub(super) fn folder_from(base: &str, file: &str) -> String {
    let absolute = |path: &str| {
        if path.starts_with('/') {
            clean_path(path)
        } else {
            join_path(base, path)
        }
    };
    let path = absolute(file);
    let folder = if std::path::Path::new(&path).is_dir() {
        path
    } else {
        let folder = match file.rfind('/') {
            Some(0) => "/",
            Some(at) => &file[..at],
            None => ".",
        };
        absolute(folder)
    };
    relative(base, &folder).unwrap_or(folder)
}

/// `target` as seen from `base`, both absolute and clean; `None` when one is not.
fn relative(base: &str, target: &str) -> Option<String> {
    if base.starts_with('/') != target.starts_with('/') {
        return None;
    }
    let parts = |path: &str| -> Vec<String> {
        clean_path(path)
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .map(str::to_owned)
            .collect()
    };
    let (base, target) = (parts(base), parts(target));
    let common = base.iter().zip(&target).take_while(|(a, b)| a == b).count();
    if base[common..].iter().any(|part| part == "..") {
        return None;
    }
    let mut result: Vec<&str> = vec![".."; base.len() - common];
    result.extend(target[common..].iter().map(String::as_str));
    Some(if result.is_empty() {
        ".".to_owned()
    } else {
        result.join("/")
    })
}
