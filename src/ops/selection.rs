//! The project as one command sees it: the named services, what they depend on, the numbers of
//! replicas from the command line, and only the resources that are still used. Pure.

use std::collections::BTreeSet;

use crate::compose::model::{Project, Service};
use crate::ops::OpError;

/// What comes along with the named services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    Dependencies,
    Nothing,
}

/// Reduces a project to the named services (all when none is named) and what they depend on.
/// Names may be patterns. Naming a service that profiles switch off enables all its profiles.
///
/// # Errors
/// When a name is no service.
pub(crate) fn select(
    project: &Project,
    names: &[String],
    follow: Follow,
) -> Result<Project, OpError> {
    let mut selected = project.clone();
    if names.is_empty() {
        if follow == Follow::Nothing {
            for service in selected.services.values_mut() {
                service
                    .depends_on
                    .retain(|name, _| project.services.contains_key(name));
            }
        }
        return Ok(selected);
    }
    enable_named(&mut selected, names);
    let named = matching(&selected, names)?;
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut queue = named;
    while let Some(name) = queue.pop() {
        let Some(service) = selected.services.get(&name) else {
            continue;
        };
        if !wanted.insert(name) || follow == Follow::Nothing {
            continue;
        }
        for (dependency, how) in &service.depends_on {
            if selected.services.contains_key(dependency) {
                queue.push(dependency.clone());
            } else if how.required {
                return Err(OpError::failed(format!("no such service: {dependency}")));
            }
        }
    }
    let (kept, dropped): (Vec<_>, Vec<_>) = std::mem::take(&mut selected.services)
        .into_iter()
        .partition(|(name, _)| wanted.contains(name));
    selected.services = kept.into_iter().collect();
    selected.disabled_services.extend(dropped);
    for service in selected.services.values_mut() {
        service.depends_on.retain(|name, _| wanted.contains(name));
    }
    prune(&mut selected);
    Ok(selected)
}

/// The services that the names and patterns mean, sorted.
///
/// # Errors
/// When a name is no service.
pub(crate) fn matching(project: &Project, names: &[String]) -> Result<Vec<String>, OpError> {
    let mut found = Vec::new();
    for name in names {
        let before = found.len();
        found.extend(
            project
                .services
                .keys()
                .filter(|service| matches(name, service))
                .cloned(),
        );
        if found.len() == before {
            return Err(OpError::failed(format!("no such service: {name}")));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Sets the number of replicas of services, as `--scale web=3` asks.
///
/// # Errors
/// When a name is no service, or its container name allows only one.
pub(crate) fn scale(project: &mut Project, scales: &[(String, i64)]) -> Result<(), OpError> {
    for (name, number) in scales {
        let Some(service) = project.services.get_mut(name) else {
            return Err(OpError::failed(format!("no such service: {name}")));
        };
        service.set_scale(*number);
        if *number > 1 && !service.container_name.is_empty() {
            return Err(OpError::failed(format!(
                "WARNING: The \"{name}\" service is using the custom container name \"{}\". Docker requires each container to have a unique name. Remove the custom name to scale the service",
                service.container_name
            )));
        }
    }
    Ok(())
}

/// Reads `web=3`.
///
/// # Errors
/// When it is not of that form.
pub(crate) fn parse_scale(text: &str) -> Result<(String, i64), OpError> {
    let bad = || {
        OpError::failed(format!(
            "invalid --scale option \"{text}\". Should be SERVICE=NUM"
        ))
    };
    let (name, number) = text.split_once('=').ok_or_else(bad)?;
    let number: i64 = number.parse().map_err(|_| bad())?;
    if name.is_empty() || number < 0 {
        return Err(bad());
    }
    Ok((name.to_owned(), number))
}

/// Moves named services, and whatever shares a profile with them, among the enabled ones.
fn enable_named(project: &mut Project, names: &[String]) {
    let mut profiles: Vec<String> = project.profiles.clone();
    for (name, service) in &project.disabled_services {
        if names.iter().any(|n| n == name) {
            profiles.extend(service.profiles.iter().cloned());
        }
    }
    if profiles.len() == project.profiles.len() {
        return;
    }
    let (enabled, disabled): (Vec<_>, Vec<_>) = std::mem::take(&mut project.disabled_services)
        .into_iter()
        .partition(|(_, service)| service.has_profile(&profiles));
    project.services.extend(enabled);
    project.disabled_services = disabled.into_iter().collect();
    project.services.sort_keys();
    project.profiles = profiles;
}

/// Drops networks, volumes, configs and secrets that no service uses any more.
fn prune(project: &mut Project) {
    let uses = |pick: &dyn Fn(&Service) -> Vec<String>| -> BTreeSet<String> {
        project.services.values().flat_map(pick).collect()
    };
    let networks = uses(&|s| s.networks.keys().cloned().collect());
    let volumes = uses(&|s| {
        s.volumes
            .iter()
            .filter(|v| v.kind == "volume")
            .map(|v| v.source.clone())
            .collect()
    });
    let configs = uses(&|s| s.configs.iter().map(|c| c.source.clone()).collect());
    let secrets = uses(&|s| s.secrets.iter().map(|c| c.source.clone()).collect());
    let models = uses(&|s| s.models.keys().cloned().collect());
    project.networks.retain(|key, _| networks.contains(key));
    project.volumes.retain(|key, _| volumes.contains(key));
    project.configs.retain(|key, _| configs.contains(key));
    project.secrets.retain(|key, _| secrets.contains(key));
    project.models.retain(|key, _| models.contains(key));
}

/// Shell patterns with `*`, `?` and `[…]`, as Go's `filepath.Match` takes them.
fn matches(pattern: &str, text: &str) -> bool {
    fn go(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|n| go(rest, &text[n..])),
            Some(('?', rest)) => !text.is_empty() && go(rest, &text[1..]),
            Some(('[', rest)) => {
                let Some(end) = rest.iter().position(|c| *c == ']') else {
                    return false;
                };
                let Some((first, text)) = text.split_first() else {
                    return false;
                };
                let (set, negated) = match rest[..end].split_first() {
                    Some(('^', set)) => (set, true),
                    _ => (&rest[..end], false),
                };
                in_set(set, *first) != negated && go(&rest[end + 1..], text)
            }
            Some(('\\', rest)) if !rest.is_empty() => {
                text.first() == rest.first() && go(&rest[1..], &text[1..])
            }
            Some((c, rest)) => text.first() == Some(c) && go(rest, &text[1..]),
        }
    }
    fn in_set(set: &[char], c: char) -> bool {
        let mut at = 0;
        while at < set.len() {
            if set.get(at + 1) == Some(&'-') && at + 2 < set.len() {
                if (set[at]..=set[at + 2]).contains(&c) {
                    return true;
                }
                at += 3;
            } else {
                if set[at] == c {
                    return true;
                }
                at += 1;
            }
        }
        false
    }
    if !pattern.contains(['*', '?', '[', '\\']) {
        return pattern == text;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    go(&pattern, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::model::Dependency;

    fn project() -> Project {
        let mut project = Project::default();
        for (name, needs, profiles) in [
            ("web", vec!["db"], vec![]),
            ("db", vec![], vec![]),
            ("job", vec!["db"], vec!["tools"]),
            ("seed", vec![], vec!["tools"]),
        ] {
            let mut service = Service {
                name: name.to_owned(),
                profiles: profiles.into_iter().map(str::to_owned).collect(),
                ..Service::default()
            };
            for need in needs {
                let how = Dependency {
                    required: true,
                    ..Dependency::default()
                };
                service.depends_on.insert(need.to_owned(), how);
            }
            if service.profiles.is_empty() {
                project.services.insert(name.to_owned(), service);
            } else {
                project.disabled_services.insert(name.to_owned(), service);
            }
        }
        project
    }

    fn names(project: &Project) -> Vec<&str> {
        project.service_names()
    }

    #[test]
    fn named_services_bring_their_dependencies() {
        let project = project();
        let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let web = select(&project, &named(&["web"]), Follow::Dependencies).unwrap();
        assert_eq!(names(&web), ["db", "web"]);
        let alone = select(&project, &named(&["web"]), Follow::Nothing).unwrap();
        assert_eq!(names(&alone), ["web"]);
        assert!(alone.services["web"].depends_on.is_empty());
        let pattern = select(&project, &named(&["w*"]), Follow::Nothing).unwrap();
        assert_eq!(names(&pattern), ["web"]);
        let job = select(&project, &named(&["job"]), Follow::Dependencies).unwrap();
        assert_eq!(names(&job), ["db", "job"]);
        let error = select(&project, &named(&["nope"]), Follow::Nothing).unwrap_err();
        assert_eq!(error.message, "no such service: nope");
    }

    #[test]
    fn patterns_match_as_in_go() {
        assert!(matches("we?", "web"));
        assert!(matches("[a-c]*", "bob"));
        assert!(!matches("[^a-c]*", "bob"));
        assert!(!matches("we", "web"));
        assert!(!matches("[", "["));
    }
}
