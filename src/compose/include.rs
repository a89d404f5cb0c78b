//! `include`: other projects brought into this one, each loaded by itself first.

use crate::compose::dotenv;
use crate::compose::error::{Faults, Finding};
use crate::compose::extends::folder_from;
use crate::compose::load::{Loader, Scope, reason};
use crate::compose::locate::parent;
use crate::compose::node::{Map, Node};
use crate::compose::remote::is_remote;
use crate::compose::source::Span;
use crate::compose::volume_spec::{clean_path, join_path};

/// One entry, as written.
struct Include {
    paths: Vec<String>,
    project_directory: String,
    env_files: Vec<String>,
    span: Span,
}

/// How deep includes may nest.
const MAX_INCLUDES: usize = 64;

/// What an include brings in.
const SECTIONS: [&str; 6] = [
    "services", "volumes", "networks", "secrets", "configs", "models",
];

impl Loader<'_> {
    /// Loads every included project into `root` and removes the `include` key.
    pub(super) fn include(
        &mut self,
        root: &mut Map,
        scope: &Scope<'_>,
        included: &[String],
    ) -> Result<(), Faults> {
        let Some(node) = root.shift_remove("include") else {
            return Ok(());
        };
        if node.is_null() {
            return Ok(());
        }
        let Some(entries) = node.as_seq() else {
            return Err(Finding::new("`include` must be a list")
                .at(node.span)
                .field_text("include")
                .into());
        };
        for (n, entry) in entries.iter().enumerate() {
            let include = parse(entry, n)?;
            let imported = self
                .included(include, scope, included)
                .map_err(|faults| faults.through(entry.span, "included here"))?;
            import(root, imported)?;
        }
        Ok(())
    }

    fn included(
        &mut self,
        mut include: Include,
        scope: &Scope<'_>,
        included: &[String],
    ) -> Result<Node, Faults> {
        if scope.depth >= MAX_INCLUDES {
            return Err(Finding::new("includes are nested too deeply")
                .at(include.span)
                .into());
        }
        let mut folder = String::new();
        for n in 0..include.paths.len() {
            let path = include.paths[n].clone();
            let remote = is_remote(&path);
            let local = if remote {
                self.fetch(&path)?
            } else if path.starts_with('/') {
                clean_path(&path)
            } else {
                join_path(scope.lookup, &path)
            };
            if n == 0 {
                folder = self.include_folder(&mut include, &local, scope, remote);
                check_cycle(&local, included, include.span)?;
            }
            include.paths[n] = local;
        }
        let env_files = self.include_env_files(&include, scope)?;
        let mut environment = scope.environment.clone();
        let values = dotenv::read_files(&environment, &env_files)
            .map_err(|error| Faults::from(Finding::new(error).at(include.span)))?;
        for (key, value) in values {
            environment.entry(key).or_insert(value);
        }
        let inner = Scope {
            folder: &folder,
            lookup: &include.project_directory,
            environment: &environment,
            included,
            // The environment differs, so files extended there are read anew.
            number: self.next_scope(),
            depth: scope.depth + 1,
        };
        self.model(&include.paths, &inner, true)
    }

    fn next_scope(&mut self) -> usize {
        self.scopes += 1;
        self.scopes
    }

    /// Sets the project directory and gives the base of relative paths, seen from here.
    fn include_folder(
        &self,
        include: &mut Include,
        local: &str,
        scope: &Scope<'_>,
        remote: bool,
    ) -> String {
        let directory = &mut include.project_directory;
        if directory.is_empty() {
            parent(local).clone_into(directory);
            if remote {
                return directory.clone();
            }
            return folder_from(scope.lookup, local);
        }
        if directory.starts_with('/') {
            return directory.clone();
        }
        let folder = folder_from(scope.lookup, directory);
        *directory = join_path(scope.folder, directory);
        folder
    }

    fn include_env_files(
        &self,
        include: &Include,
        scope: &Scope<'_>,
    ) -> Result<Vec<std::path::PathBuf>, Faults> {
        if include.env_files.is_empty() {
            let file = self.absolute(&join_path(&include.project_directory, ".env"));
            let is_file = std::fs::metadata(&file).is_ok_and(|meta| !meta.is_dir());
            return Ok(if is_file { vec![file.into()] } else { vec![] });
        }
        let mut files = Vec::with_capacity(include.env_files.len());
        for file in &include.env_files {
            if file.starts_with('/') {
                files.push(file.into());
                continue;
            }
            let path = self.absolute(&join_path(scope.folder, file));
            match std::fs::metadata(&path) {
                Err(error) => {
                    return Err(Finding::new(format!("stat {path}: {}", reason(&error)))
                        .at(include.span)
                        .into());
                }
                Ok(meta) if meta.is_dir() => {
                    return Err(Finding::new(format!("{path} is not a file"))
                        .at(include.span)
                        .into());
                }
                Ok(_) => files.push(path.into()),
            }
        }
        Ok(files)
    }
}

fn check_cycle(file: &str, included: &[String], span: Span) -> Result<(), Faults> {
    if !included.iter().any(|before| before == file) {
        return Ok(());
    }
    let mut chain = included.to_vec();
    chain.push(file.to_owned());
    let first = chain.remove(0);
    Err(Finding::new(format!(
        "include cycle detected:\n{first}\n include {}",
        chain.join("\n include ")
    ))
    .at(span)
    .field_text("include")
    .into())
}

fn parse(entry: &Node, n: usize) -> Result<Include, Faults> {
    let mut include = Include {
        paths: Vec::new(),
        project_directory: String::new(),
        env_files: Vec::new(),
        span: entry.span,
    };
    if let Some(path) = entry.as_str() {
        include.paths.push(path.to_owned());
        return Ok(include);
    }
    if entry.is_null() {
        return Ok(include);
    }
    let refused = |key: &str, node: &Node| {
        Faults::from(
            Finding::new(format!("include[{n}].{key}: unexpected {}", node.kind()))
                .at(node.span)
                .field_text(format!("include[{n}].{key}")),
        )
    };
    let Some(map) = entry.as_map() else {
        return Err(refused("path", entry));
    };
    let list = |key: &str| -> Result<Vec<String>, Faults> {
        let Some(node) = map.get(key).filter(|node| !node.is_null()) else {
            return Ok(Vec::new());
        };
        if let Some(text) = node.as_str() {
            return Ok(vec![text.to_owned()]);
        }
        let Some(items) = node.as_seq() else {
            return Err(refused(key, node));
        };
        items
            .iter()
            .map(|item| match item.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(refused(key, item)),
            })
            .collect()
    };
    include.paths = list("path")?;
    include.env_files = list("env_file")?;
    if let Some(node) = map.get("project_directory").filter(|node| !node.is_null()) {
        match node.scalar_text() {
            Some(text) => include.project_directory = text.to_string(),
            None => return Err(refused("project_directory", node)),
        }
    }
    Ok(include)
}

/// Adds what was loaded; the same thing twice is fine, two different ones under one name are not.
fn import(root: &mut Map, imported: Node) -> Result<(), Faults> {
    let crate::compose::node::Value::Map(mut imported) = imported.value else {
        return Ok(());
    };
    let mut findings = Vec::new();
    for section in SECTIONS {
        let Some(from) = imported.shift_remove(section) else {
            continue;
        };
        let span = from.span;
        let crate::compose::node::Value::Map(from) = from.value else {
            continue;
        };
        let to = root
            .entry(section.into())
            .or_insert_with(|| Node::map(Map::new(), span));
        if to.is_null() {
            *to = Node::map(Map::new(), span);
        }
        let Some(to) = to.as_map_mut() else {
            return Err(Finding::new(format!("{section} must be a mapping"))
                .at(to.span)
                .into());
        };
        for (name, node) in *from {
            match to.get(&name) {
                None => {
                    to.insert(name, node);
                }
                Some(present) if *present == node => {}
                Some(present) => findings.push(
                    Finding::new(format!("{section}.{name} conflicts with imported resource"))
                        .at(node.key)
                        .field_text(format!("{section}.{name}"))
                        .label("comes from the included file")
                        .related(present.key, "defined here too"),
                ),
            }
        }
    }
    Faults::check(findings)
}
