//! Which services of a project take part in a run: by profile, by name, with what they depend on.

use std::collections::HashSet;
use std::path::Path;

use indexmap::IndexMap;

use crate::compose::dotenv;
use crate::compose::model::{Mapping, Project, Service};

/// Which other services come along with the selected ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dependencies {
    /// Those they depend on.
    Include,
    /// Those that depend on them.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look at it"))]
    IncludeDependents,
    /// None.
    Ignore,
}

/// Why services cannot be selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectError {
    #[error("no such service: {0}")]
    NoSuchService(String),
    /// An `env_file` of a service that the selection enabled.
    #[error("{0}")]
    EnvFile(String),
}

impl Project {
    /// Enables the services that these profiles (`*` for all) ask for and disables the others.
    pub(crate) fn set_profiles(&mut self, profiles: &[String]) {
        let mut all = std::mem::take(&mut self.services);
        all.extend(std::mem::take(&mut self.disabled_services));
        for (name, service) in all {
            let group = if service.has_profile(profiles) {
                &mut self.services
            } else {
                &mut self.disabled_services
            };
            group.insert(name, service);
        }
        self.profiles = profiles.to_vec();
    }

    /// Narrows the project to the services named (globs work; none: all), enabling the profiles of
    /// disabled ones, together with `dependencies`. What is not named is moved to the disabled services.
    ///
    /// # Errors
    /// A name without a service, or an unreadable `env_file` of a service that gets enabled.
    pub(crate) fn select(
        &mut self,
        names: &[String],
        dependencies: Dependencies,
    ) -> Result<(), SelectError> {
        if names.is_empty() {
            return Ok(());
        }
        self.enable(names)?;
        let mut wanted = HashSet::new();
        self.collect(names, dependencies, true, &mut wanted)?;
        for (name, service) in std::mem::take(&mut self.services) {
            let group = if wanted.contains(&name) {
                &mut self.services
            } else {
                &mut self.disabled_services
            };
            group.insert(name, service);
        }
        for service in self.services.values_mut() {
            service.depends_on.retain(|name, _| wanted.contains(name));
        }
        Ok(())
    }

    /// Activates the profiles of disabled services that are named.
    fn enable(&mut self, names: &[String]) -> Result<(), SelectError> {
        let mut profiles = self.profiles.clone();
        let before = profiles.len();
        for name in names {
            if !self.services.contains_key(name)
                && let Some(service) = self.disabled_services.get(name)
            {
                profiles.extend(service.profiles.iter().cloned());
            }
        }
        if profiles.len() == before {
            return Ok(());
        }
        self.set_profiles(&profiles);
        resolve_env_files(self).map_err(SelectError::EnvFile)
    }

    fn collect(
        &self,
        names: &[String],
        dependencies: Dependencies,
        required: bool,
        wanted: &mut HashSet<String>,
    ) -> Result<(), SelectError> {
        for name in names {
            let matching: Vec<&Service> = match self.services.get(name) {
                Some(service) => vec![service],
                None => self
                    .services
                    .iter()
                    .filter(|(service, _)| glob(name, service))
                    .map(|(_, service)| service)
                    .collect(),
            };
            if matching.is_empty() && required {
                return Err(SelectError::NoSuchService(name.clone()));
            }
            for service in matching {
                if !wanted.insert(service.name.clone()) {
                    continue;
                }
                match dependencies {
                    Dependencies::Ignore => {}
                    Dependencies::Include => {
                        for (name, dependency) in &service.depends_on {
                            let name = std::slice::from_ref(name);
                            self.collect(name, dependencies, dependency.required, wanted)?;
                        }
                    }
                    Dependencies::IncludeDependents => {
                        let dependents: Vec<String> = self
                            .dependents(&service.name)
                            .map(|(dependent, _)| dependent.name.clone())
                            .collect();
                        self.collect(&dependents, dependencies, false, wanted)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Drops networks, volumes, secrets, configs and models that no enabled service uses.
    pub(crate) fn drop_unused(&mut self) {
        let (mut networks, mut volumes, mut secrets, mut configs, mut models) = (
            HashSet::new(),
            HashSet::new(),
            HashSet::new(),
            HashSet::new(),
            HashSet::new(),
        );
        for service in self.services.values() {
            networks.extend(service.networks.keys());
            models.extend(service.models.keys());
            configs.extend(service.configs.iter().map(|config| &config.source));
            secrets.extend(service.secrets.iter().map(|secret| &secret.source));
            let build_secrets = service.build.iter().flat_map(|build| &build.secrets);
            secrets.extend(build_secrets.map(|secret| &secret.source));
            let named = service.volumes.iter().filter(|v| v.kind == "volume");
            volumes.extend(named.map(|volume| &volume.source));
        }
        self.networks.retain(|name, _| networks.contains(name));
        self.volumes.retain(|name, _| volumes.contains(name));
        self.secrets.retain(|name, _| secrets.contains(name));
        self.configs.retain(|name, _| configs.contains(name));
        self.models.retain(|name, _| models.contains(name));
    }
}

/// Reads the `env_file`s of the enabled services into their environments and forgets the files.
///
/// # Errors
/// A missing required file, an unreadable or malformed one.
pub(crate) fn resolve_env_files(project: &mut Project) -> Result<(), String> {
    let environment = &project.environment;
    for service in project.services.values_mut() {
        for (key, value) in &mut service.environment {
            if value.is_none() {
                *value = environment.get(key).cloned();
            }
        }
        let files = std::mem::take(&mut service.env_file);
        if files.is_empty() {
            continue;
        }
        let own = &service.environment;
        let mut values: Mapping = own
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
            .collect();
        let find = |name: &str| {
            environment
                .get(name)
                .cloned()
                .or_else(|| own.get(name).cloned().flatten())
        };
        for file in &files {
            if !Path::new(&file.path).exists() {
                if file.required {
                    return Err(format!(
                        "env file {} not found: stat {}: no such file or directory",
                        file.path, file.path
                    ));
                }
                continue;
            }
            dotenv::read_into(Path::new(&file.path), &file.format, &mut values, &find)?;
        }
        let mut merged: IndexMap<String, Option<String>> = values
            .into_iter()
            .map(|(key, value)| (key, Some(value)))
            .collect();
        for (key, value) in std::mem::take(&mut service.environment) {
            merged.insert(key, value);
        }
        service.environment = merged;
    }
    Ok(())
}

/// Reads the `label_file`s of the enabled services into their labels; with `forget`, drops the list.
///
/// # Errors
/// A missing, unreadable or malformed file.
pub(crate) fn resolve_label_files(project: &mut Project, forget: bool) -> Result<(), String> {
    for service in project.services.values_mut() {
        let mut labels = Mapping::new();
        for file in &service.label_file {
            if !Path::new(file).exists() {
                return Err(format!(
                    "label file {file} not found: stat {file}: no such file or directory"
                ));
            }
            let known = labels.clone();
            let mut values = Mapping::new();
            dotenv::read_into(Path::new(file), "", &mut values, &|name| {
                known.get(name).cloned()
            })?;
            labels.extend(values);
        }
        if !labels.is_empty() {
            labels.extend(std::mem::take(&mut service.labels));
            service.labels = labels;
        }
        if forget {
            service.label_file.clear();
        }
    }
    Ok(())
}

/// Whether a shell pattern (`*`, `?`, `[a-z]`) fits the whole name.
fn glob(pattern: &str, name: &str) -> bool {
    if !pattern.contains(['*', '?', '[', '\\']) {
        return pattern == name;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    glob_here(&pattern, &name)
}

fn glob_here(pattern: &[char], name: &[char]) -> bool {
    match pattern.first() {
        None => name.is_empty(),
        Some('*') => (0..=name.len()).any(|skip| glob_here(&pattern[1..], &name[skip..])),
        Some('?') => !name.is_empty() && glob_here(&pattern[1..], &name[1..]),
        Some('\\') if pattern.len() > 1 => {
            name.first() == Some(&pattern[1]) && glob_here(&pattern[2..], &name[1..])
        }
        Some('[') => {
            let Some(end) = pattern.iter().skip(2).position(|c| *c == ']') else {
                return false;
            };
            let set = &pattern[1..end + 2];
            let (negated, set) = match set.first() {
                Some('^') => (true, &set[1..]),
                _ => (false, set),
            };
            let Some(c) = name.first() else { return false };
            let mut found = false;
            let mut at = 0;
            while at < set.len() {
                if at + 2 < set.len() && set[at + 1] == '-' {
                    found |= (set[at]..=set[at + 2]).contains(c);
                    at += 3;
                } else {
                    found |= set[at] == *c;
                    at += 1;
                }
            }
            found != negated && glob_here(&pattern[end + 3..], &name[1..])
        }
        Some(c) => name.first() == Some(c) && glob_here(&pattern[1..], &name[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(services: &[(&str, &[&str], &[&str])]) -> Project {
        let mut project = Project::default();
        for (name, profiles, depends) in services {
            let mut service = Service {
                name: (*name).to_owned(),
                profiles: profiles.iter().map(|p| (*p).to_owned()).collect(),
                ..Service::default()
            };
            for other in *depends {
                service.depends_on.insert(
                    (*other).to_owned(),
                    crate::compose::model::Dependency {
                        required: true,
                        ..Default::default()
                    },
                );
            }
            project.services.insert((*name).to_owned(), service);
        }
        project
    }

    #[test]
    fn selects_with_dependencies_and_profiles() {
        let mut p = project(&[
            ("web", &[], &["db"]),
            ("db", &[], &[]),
            ("other", &[], &["web"]),
            ("debug", &["d"], &["db"]),
        ]);
        p.set_profiles(&[]);
        assert_eq!(p.disabled_services.len(), 1);
        let mut narrowed = p.clone();
        narrowed
            .select(&["web".to_owned()], Dependencies::Include)
            .unwrap();
        assert_eq!(narrowed.service_names(), ["db", "web"]);
        let mut narrowed = p.clone();
        narrowed
            .select(&["debug".to_owned()], Dependencies::Include)
            .unwrap();
        assert_eq!(narrowed.service_names(), ["db", "debug"]);
        let mut narrowed = p.clone();
        narrowed
            .select(&["d*".to_owned()], Dependencies::IncludeDependents)
            .unwrap();
        assert_eq!(narrowed.service_names(), ["db", "other", "web"]);
        assert_eq!(
            p.select(&["no".to_owned()], Dependencies::Ignore),
            Err(SelectError::NoSuchService("no".to_owned()))
        );
    }

    #[test]
    fn globs_as_a_shell() {
        assert!(glob("w*b", "web") && glob("w?b", "web") && glob("[a-w]eb", "web"));
        assert!(!glob("w", "web") && !glob("[^w]eb", "web") && !glob("[", "web"));
    }
}
