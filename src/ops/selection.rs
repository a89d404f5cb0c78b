//! The project as one command sees it: the named services, what they depend on, the numbers of
//! replicas from the command line, and only the resources that are still used. Pure.

use crate::compose::Dependencies;
use crate::compose::model::Project;
use crate::ops::OpError;

/// Reduces a project to the named services (all when none is named), what comes along with them,
/// and the resources that are used. Naming a service that profiles switch off enables its profiles.
///
/// # Errors
/// When a name is no service, or an env file of one that was switched on cannot be read.
pub(crate) fn select(
    project: &Project,
    names: &[String],
    follow: Dependencies,
) -> Result<Project, OpError> {
    let mut selected = project.clone();
    selected
        .select(names, follow)
        .map_err(|e| OpError::failed(e.to_string()))?;
    selected.drop_unused();
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
    use crate::compose::model::{Dependency, Service};

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
        let web = select(&project, &named(&["web"]), Dependencies::Include).unwrap();
        assert_eq!(names(&web), ["db", "web"]);
        let alone = select(&project, &named(&["web"]), Dependencies::Ignore).unwrap();
        assert_eq!(names(&alone), ["web"]);
        assert!(alone.services["web"].depends_on.is_empty());
        let pattern = select(&project, &named(&["w*"]), Dependencies::Ignore).unwrap();
        assert_eq!(names(&pattern), ["web"]);
        let job = select(&project, &named(&["job"]), Dependencies::Include).unwrap();
        assert_eq!(names(&job), ["db", "job"]);
        let error = select(&project, &named(&["nope"]), Dependencies::Ignore).unwrap_err();
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
