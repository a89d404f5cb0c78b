//! Which files make up the project, in which folder, with which variables and under which name.

use std::path::{Path, PathBuf};

use crate::compose::dotenv;
use crate::compose::error::LoadErrors;
use crate::compose::model::Mapping;
use crate::compose::options::LoadOptions;
use crate::compose::remote::is_remote;
use crate::compose::volume_spec::{clean_path, join_path};

/// Names of a Compose file, best first.
pub(crate) const DEFAULT_FILES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];

const DEFAULT_OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Located {
    /// In merge order: paths, `-`, and remote references.
    pub(crate) files: Vec<String>,
    /// Base of relative paths, absolute. A remote first file moves it later.
    pub(crate) folder: String,
    /// Process environment over `.env` files.
    pub(crate) environment: Mapping,
    pub(crate) profiles: Vec<String>,
    /// The env files that were read.
    pub(crate) env_files: Vec<PathBuf>,
    pub(crate) warnings: Vec<String>,
}

/// Finds files, folder, environment and profiles.
///
/// # Errors
/// An unreadable env file, a missing file of `COMPOSE_FILE`.
pub(crate) fn locate(options: &LoadOptions<'_>) -> Result<Located, LoadErrors> {
    let mut search = Search {
        options,
        current: options.working_dir.to_string_lossy().into_owned(),
        located: Located {
            files: options.files.clone(),
            environment: options.environment.clone(),
            ..Located::default()
        },
    };
    search
        .located
        .environment
        .entry("PWD".to_owned())
        .or_insert_with(|| search.current.clone());
    search.read_env_files()?;
    search.files_of_environment()?;
    search.default_files();
    search.read_env_files()?;
    search.located.folder = search.folder();
    search.located.profiles = if options.profiles.is_empty() {
        let named = search.located.environment.get("COMPOSE_PROFILES");
        named
            .map(String::as_str)
            .unwrap_or_default()
            .split(',')
            .map(|profile| profile.trim().to_owned())
            .collect()
    } else {
        options.profiles.clone()
    };
    Ok(search.located)
}

struct Search<'a, 'o> {
    options: &'a LoadOptions<'o>,
    /// The folder of this process.
    current: String,
    located: Located,
}

impl Search<'_, '_> {
    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            clean_path(path)
        } else {
            join_path(&self.current, path)
        }
    }

    /// The project directory, as far as it is known by now.
    fn folder(&self) -> String {
        if let Some(folder) = &self.options.project_directory {
            let folder = folder.to_string_lossy();
            if !folder.is_empty() {
                return self.absolute(&folder);
            }
        }
        for file in &self.located.files {
            if file == "-" {
                continue;
            }
            if is_remote(file) {
                break;
            }
            let path = self.absolute(file);
            return parent(&path).to_owned();
        }
        self.current.clone()
    }

    fn read_env_files(&mut self) -> Result<(), LoadErrors> {
        if let Some(files) = self.env_files()? {
            self.located.env_files = files;
        }
        let values = dotenv::read_files(&self.located.environment, &self.located.env_files)
            .map_err(LoadErrors::message)?;
        for (key, value) in values {
            self.located.environment.entry(key).or_insert(value);
        }
        Ok(())
    }

    /// The env files to read; `None` leaves those of before.
    fn env_files(&self) -> Result<Option<Vec<PathBuf>>, LoadErrors> {
        let named: Vec<PathBuf> = if self.options.env_files.is_empty() {
            let list = self.options.environment.get("COMPOSE_ENV_FILES");
            let list = list.map(String::as_str).unwrap_or_default();
            list.split(',')
                .filter(|file| !file.is_empty())
                .map(PathBuf::from)
                .collect()
        } else {
            self.options.env_files.clone()
        };
        if !named.is_empty() {
            let absolute = named
                .iter()
                .map(|file| PathBuf::from(self.absolute(&file.to_string_lossy())));
            return Ok(Some(absolute.collect()));
        }
        if let Some(text) = self.options.environment.get("COMPOSE_DISABLE_ENV_FILE") {
            match text.as_str() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => return Ok(None),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => {}
                _ => {
                    return Err(LoadErrors::message(format!(
                        "COMPOSE_DISABLE_ENV_FILE: {text:?} is not a boolean"
                    )));
                }
            }
        }
        let file = PathBuf::from(join_path(&self.folder(), ".env"));
        match std::fs::metadata(&file) {
            Ok(meta) if !meta.is_dir() => Ok(Some(vec![file])),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LoadErrors::message(format!(
                "stat {}: {error}",
                file.display()
            ))),
        }
    }

    fn files_of_environment(&mut self) -> Result<(), LoadErrors> {
        if !self.located.files.is_empty() {
            return Ok(());
        }
        let environment = &self.located.environment;
        let Some(list) = environment.get("COMPOSE_FILE") else {
            return Ok(());
        };
        let separator = match environment.get("COMPOSE_PATH_SEPARATOR") {
            Some(separator) if !separator.is_empty() => separator.as_str(),
            _ => ":",
        };
        let mut files = Vec::new();
        for file in list.split(separator) {
            if file == "-" {
                files.push(file.to_owned());
                continue;
            }
            let path = self.absolute(file);
            if let Err(error) = std::fs::metadata(&path) {
                return Err(LoadErrors::message(format!("stat {path}: {error}")));
            }
            files.push(path);
        }
        self.located.files = files;
        Ok(())
    }

    /// Looks in the folder and those above it.
    fn default_files(&mut self) {
        if !self.located.files.is_empty() {
            return;
        }
        let mut folder = self.folder();
        loop {
            let found = present(&DEFAULT_FILES, &folder);
            if let Some(winner) = found.first() {
                self.warn_many("config", &found);
                self.located.files.push(winner.clone());
                let overrides = present(&DEFAULT_OVERRIDES, &folder);
                if let Some(winner) = overrides.first() {
                    self.warn_many("override", &overrides);
                    self.located.files.push(winner.clone());
                }
                return;
            }
            let above = parent(&folder).to_owned();
            if above == folder {
                return;
            }
            folder = above;
        }
    }

    fn warn_many(&mut self, what: &str, found: &[String]) {
        if let [winner, _, ..] = found {
            self.located.warnings.push(format!(
                "Found multiple {what} files with supported names: {}",
                found.join(", ")
            ));
            self.located.warnings.push(format!("Using {winner}"));
        }
    }
}

fn present(names: &[&str], folder: &str) -> Vec<String> {
    names
        .iter()
        .map(|name| join_path(folder, name))
        .filter(|path| Path::new(path).exists())
        .collect()
}

/// The folder of an absolute path.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(at) => &path[..at],
        None => ".",
    }
}

/// A name with what may not stand in it taken out.
pub(crate) fn normalize_name(name: &str) -> String {
    let kept: String = name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
        .collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

/// Checks a name that was given by hand.
///
/// # Errors
/// When it is not as names have to be.
pub(crate) fn check_name(name: &str) -> Result<(), LoadErrors> {
    if normalize_name(name) == name {
        return Ok(());
    }
    Err(LoadErrors::message(format!(
        "invalid project name {name:?}: must consist only of lowercase alphanumeric characters, hyphens, and underscores as well as start with a letter or number"
    )))
}

/// The project's name, as far as it is known without loading any file: `-p` or the environment.
pub(crate) fn named_by_hand(options: &LoadOptions<'_>, environment: &Mapping) -> Option<String> {
    let given = options
        .project_name
        .as_ref()
        .filter(|name| !name.is_empty());
    given
        .or_else(|| {
            environment
                .get("COMPOSE_PROJECT_NAME")
                .filter(|name| !name.is_empty())
        })
        .cloned()
}
