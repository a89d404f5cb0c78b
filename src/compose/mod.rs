//! Compose files: text → [`model::Project`]. Knows nothing of engines; no async, no printing.

pub(crate) mod advice;
mod canonical;
mod check;
mod consistency;
mod decode;
pub(crate) mod dotenv;
pub(crate) mod error;
pub(crate) mod explain;
mod extends;
mod include;
mod interpolate;
mod load;
mod locate;
mod merge;
pub(crate) mod model;
mod node;
mod normalize;
mod number;
mod options;
mod out;
mod paths;
pub(crate) mod port_spec;
mod profiles;
mod provenance;
mod remote;
pub(crate) mod render;
mod reset;
mod schema;
pub(crate) mod shellwords;
mod source;
mod template;
mod unique;
mod variables;
pub(crate) mod volume_spec;
mod yaml;

pub(crate) use error::{LoadErrors, Warning};
pub(crate) use load::Tree;
pub(crate) use options::{LoadOptions, Loaded};
pub(crate) use profiles::Dependencies;
pub(crate) use provenance::Provenance;

use std::path::PathBuf;
use std::sync::Arc;

use crate::compose::error::Faults;

/// Loads the project that `options` describe: every service of the active profiles, with the
/// files of `env_file` read. Nothing is selected or dropped yet (see [`model::Project::select`]).
///
/// # Errors
/// Every finding of the step that failed first, each with its place.
pub(crate) fn load(options: &LoadOptions<'_>) -> Result<Loaded, LoadErrors> {
    let tree = load::load_tree(options)?;
    let sources = tree.sources.clone();
    finish(tree, options).map_err(|faults| LoadErrors::new(faults, sources))
}

/// Loads the merged tree as it is before it becomes a project, for views that keep variables.
///
/// # Errors
/// Every finding of the step that failed first.
pub(crate) fn load_tree(options: &LoadOptions<'_>) -> Result<Tree, LoadErrors> {
    load::load_tree(options)
}

/// Checks what only `config` and commands that create containers ask: one owner a container name.
///
/// # Errors
/// Names that are taken twice.
pub(crate) fn check_container_names(loaded: &Loaded) -> Result<(), LoadErrors> {
    consistency::check_container_names(&loaded.project)
        .map_err(|faults| LoadErrors::new(faults, loaded.provenance.sources.clone()))
}

fn finish(tree: Tree, options: &LoadOptions<'_>) -> Result<Loaded, Faults> {
    let mut warnings = tree.warnings;
    let mut words = Vec::new();
    let mut project = match tree.root.as_map() {
        Some(root) => decode::project(root, &mut words)?,
        None => return Err(Faults::message("empty compose file")),
    };
    for message in words {
        let warning = Warning { message };
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    project.name = tree.name;
    project.working_dir = PathBuf::from(tree.folder);
    project.compose_files = tree.files.into_iter().map(PathBuf::from).collect();
    project.environment = tree.environment;
    project.set_profiles(&tree.profiles);
    if options.check_consistency {
        consistency::check(&project, &tree.root)?;
    }
    if options.resolve_environment {
        profiles::resolve_env_files(&mut project).map_err(Faults::message)?;
    }
    profiles::resolve_label_files(&mut project, true).map_err(Faults::message)?;
    Ok(Loaded {
        project,
        warnings,
        provenance: Provenance {
            root: Arc::new(tree.root),
            sources: tree.sources,
        },
        env_files: tree.env_files,
    })
}

#[cfg(test)]
mod tests;
