//! The rules of `develop.watch`, compiled: which paths they mean, and what they ask for. Pure, but for
//! reading the `.dockerignore` of a build.

use std::path::{Component, Path, PathBuf};

use crate::compose::model::{Hook, Project, Service, WatchRule};
use crate::oci::dockerignore::{PatternSet, parse};
use crate::ops::OpError;
use crate::watch::Note;

/// What editors write beside the file that is meant, and what tools keep to themselves.
const NEVER: [&str; 14] = [
    "**/.git",
    "**/.idea",
    "**/*.swp",
    "**/*.swx",
    "**/*.swo",
    "**/*~",
    "**/4913",
    "**/.#*",
    "**/#*#",
    "**/.*.kate-swp",
    "**/*___jb_tmp___",
    "**/*___jb_old___",
    "**/*-go-tmp-umask",
    "**/.DS_Store",
];

/// What a rule asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Sync,
    Rebuild,
    Restart,
    SyncRestart,
    SyncExec,
}

/// A compiled rule of one service.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) service: String,
    /// Absolute; a file or a folder.
    pub(crate) path: PathBuf,
    pub(crate) action: Action,
    /// Where `path` is in the container.
    pub(crate) target: String,
    pub(crate) exec: Hook,
    pub(crate) initial_sync: bool,
    include: PatternSet,
    ignore: PatternSet,
    never: PatternSet,
    /// The build's own patterns, relative to its context.
    build: Option<(PathBuf, PatternSet)>,
}

impl Rule {
    /// The path below the rule's own, when the rule means `path`.
    pub(crate) fn matches<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        let below = path.strip_prefix(&self.path).ok()?;
        let text = below.to_string_lossy();
        if !text.is_empty() && !self.include.is_empty() && !self.include.matches(&text) {
            return None;
        }
        (!self.is_ignored(path, &text)).then_some(below)
    }

    /// Whether a folder at or below the rule's path may hold something that the rule means.
    pub(crate) fn may_contain(&self, folder: &Path) -> bool {
        let Ok(below) = folder.strip_prefix(&self.path) else {
            return false;
        };
        let text = below.to_string_lossy();
        !self.is_ignored(folder, &text) || self.ignore.may_match_below(&text)
    }

    fn is_ignored(&self, path: &Path, below: &str) -> bool {
        if !below.is_empty() && (self.never.matches(below) || self.ignore.matches(below)) {
            return true;
        }
        self.build.as_ref().is_some_and(|(context, patterns)| {
            path.strip_prefix(context)
                .is_ok_and(|below| patterns.matches(&below.to_string_lossy()))
        })
    }

    /// Where a changed path is in the container.
    pub(crate) fn in_container(&self, below: &Path) -> String {
        let target = self.target.trim_end_matches('/');
        if below.as_os_str().is_empty() {
            return self.target.clone();
        }
        format!("{target}/{}", below.display())
    }
}

/// The rules of the services named (of all when none is).
///
/// # Errors
/// An unknown action, a rule that lacks what its action needs, a pattern that is none.
pub(crate) fn of_project(
    project: &Project,
    services: &[String],
    note: &Note,
) -> Result<Vec<Rule>, OpError> {
    let mut rules = Vec::new();
    for service in project.services.values() {
        if !services.is_empty() && !services.contains(&service.name) {
            continue;
        }
        let Some(develop) = &service.develop else {
            continue;
        };
        for rule in &develop.watch {
            let compiled = compile(service, rule)?;
            let copies = matches!(compiled.action, Action::Sync | Action::SyncRestart);
            if copies && is_bind_mounted(service, &compiled.path) {
                note(&format!(
                    "path '{}' of service \"{}\" is bind mounted: the rule is left out",
                    compiled.path.display(),
                    service.name
                ));
                continue;
            }
            rules.push(compiled);
        }
    }
    Ok(rules)
}

fn compile(service: &Service, rule: &WatchRule) -> Result<Rule, OpError> {
    let wrong = |text: String| {
        OpError::failed(format!(
            "services.{}.develop.watch: {text} (path {})",
            service.name, rule.path
        ))
    };
    let action = match rule.action.as_str() {
        "sync" => Action::Sync,
        "rebuild" => Action::Rebuild,
        "restart" => Action::Restart,
        "sync+restart" => Action::SyncRestart,
        "sync+exec" => Action::SyncExec,
        other => return Err(wrong(format!("unknown action \"{other}\""))),
    };
    if action == Action::Rebuild && service.build.is_none() {
        return Err(wrong("rebuild needs a build section".to_owned()));
    }
    let copies = !matches!(action, Action::Rebuild | Action::Restart);
    if copies && rule.target.is_empty() {
        return Err(wrong(format!("{} needs a target", rule.action)));
    }
    if action == Action::SyncExec && rule.exec.command.as_ref().is_none_or(Vec::is_empty) {
        return Err(wrong("sync+exec needs exec.command".to_owned()));
    }
    let set =
        |patterns: &[String]| PatternSet::new(patterns).map_err(|error| wrong(error.to_string()));
    Ok(Rule {
        service: service.name.clone(),
        path: normal(Path::new(&rule.path)),
        action,
        target: rule.target.clone(),
        exec: rule.exec.clone(),
        initial_sync: rule.initial_sync && copies,
        include: set(&rule.include)?,
        ignore: set(&rule.ignore)?,
        never: set(&NEVER.map(str::to_owned))?,
        build: build_patterns(service).map_err(wrong)?,
    })
}

/// The patterns of the build's ignore file; `<Dockerfile>.dockerignore` wins.
fn build_patterns(service: &Service) -> Result<Option<(PathBuf, PatternSet)>, String> {
    let Some(build) = &service.build else {
        return Ok(None);
    };
    let context = normal(Path::new(&build.context));
    let dockerfile = if build.dockerfile.is_empty() {
        "Dockerfile"
    } else {
        &build.dockerfile
    };
    let own = context.join(format!("{dockerfile}.dockerignore"));
    for candidate in [own, context.join(".dockerignore")] {
        if let Ok(text) = std::fs::read_to_string(&candidate) {
            let patterns = PatternSet::new(&parse(&text))
                .map_err(|error| format!("{}: {error}", candidate.display()))?;
            return Ok(Some((context, patterns)));
        }
    }
    Ok(None)
}

fn is_bind_mounted(service: &Service, path: &Path) -> bool {
    service
        .volumes
        .iter()
        .any(|volume| volume.kind == "bind" && path.starts_with(normal(Path::new(&volume.source))))
}

/// Without `.` and `..`, so that prefixes compare.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A rule of a service `web` on `/src`.
    pub(crate) fn rule(action: &str, ignore: &[&str], include: &[&str]) -> Rule {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let service = Service {
            name: "web".to_owned(),
            build: (action == "rebuild").then(Box::default),
            ..Service::default()
        };
        let rule = WatchRule {
            path: "/src/./x/..".to_owned(),
            action: action.to_owned(),
            target: "/app".to_owned(),
            exec: Hook {
                command: Some(vec!["reload".to_owned()]),
                ..Hook::default()
            },
            ignore: texts(ignore),
            include: texts(include),
            ..WatchRule::default()
        };
        compile(&service, &rule).unwrap()
    }

    #[test]
    fn a_rule_means_what_is_below_it_and_not_ignored() {
        let rule = rule("sync", &["node_modules"], &[]);
        let matches = |path: &str| {
            rule.matches(Path::new(path))
                .map(|below| rule.in_container(below))
        };
        assert_eq!(matches("/src/a/b.js").as_deref(), Some("/app/a/b.js"));
        for ignored in [
            "/other/a",
            "/srcs/a",
            "/src/node_modules/x/y.js",
            "/src/.git/HEAD",
            "/src/a/.b.js.swp",
            "/src/a/b.js~",
        ] {
            assert_eq!(matches(ignored), None, "{ignored}");
        }
        assert!(!rule.may_contain(Path::new("/src/node_modules")));
        assert!(rule.may_contain(Path::new("/src/lib")));
    }

    #[test]
    fn include_narrows_a_rule() {
        let rule = rule("sync", &[], &["**/*.js"]);
        assert!(rule.matches(Path::new("/src/a/b.js")).is_some());
        assert!(rule.matches(Path::new("/src/a/b.css")).is_none());
    }
}
