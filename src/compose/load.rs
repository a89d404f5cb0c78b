//! The pipeline from files to one merged, canonical tree. Each file: read, replace variables, extend,
//! reset, include, lay over what came before, check the structure, bring into the long form.
//! The finished tree becomes a project in `compose::decode`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::compose::canonical::{canonical, omit_empty, set_defaults};
use crate::compose::check::check;
use crate::compose::error::{Faults, Finding, LoadErrors, Warning};
use crate::compose::interpolate::{Environment, interpolate};
use crate::compose::locate::{Located, check_name, locate, named_by_hand, normalize_name, parent};
use crate::compose::merge::merge;
use crate::compose::model::Mapping;
use crate::compose::node::{Map, Node, Path, Value};
use crate::compose::normalize::{normalize, resolve_environment};
use crate::compose::options::LoadOptions;
use crate::compose::paths::{self, Base};
use crate::compose::remote::{fetch, is_remote};
use crate::compose::reset;
use crate::compose::schema;
use crate::compose::source::{Sources, Span};
use crate::compose::unique;
use crate::compose::volume_spec::{clean_path, join_path};
use crate::compose::yaml::{self, Document, ResetPath};

/// The merged and canonical tree of a project, not yet typed.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) root: Node,
    pub(crate) name: String,
    /// Absolute.
    pub(crate) folder: String,
    /// Absolute paths, or `-`.
    pub(crate) files: Vec<String>,
    pub(crate) environment: Mapping,
    pub(crate) profiles: Vec<String>,
    pub(crate) env_files: Vec<PathBuf>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) warnings: Vec<Warning>,
}

/// How many files one load may read, and how large one may be.
const MAX_FILES: usize = 2000;
const MAX_FILE_BYTES: usize = 32 << 20;

/// Loads the tree that `options` describe.
///
/// # Errors
/// Every finding of the step that failed first.
pub(crate) fn load_tree(options: &LoadOptions<'_>) -> Result<Tree, LoadErrors> {
    let located = locate(options)?;
    if located.files.is_empty() {
        return Err(LoadErrors::no_file());
    }
    let mut loader = Loader {
        options,
        sources: Sources::default(),
        warnings: Vec::new(),
        parsed: HashMap::new(),
        extended: HashMap::new(),
        files_read: 0,
        scopes: 0,
    };
    for warning in &located.warnings {
        loader.warn(warning.clone());
    }
    match loader.tree(located) {
        Ok(mut tree) => {
            tree.sources = Arc::new(loader.sources);
            tree.warnings = loader.warnings;
            Ok(tree)
        }
        Err(faults) => Err(LoadErrors::new(faults, Arc::new(loader.sources))),
    }
}

/// The state of one load.
pub(super) struct Loader<'a> {
    pub(super) options: &'a LoadOptions<'a>,
    pub(super) sources: Sources,
    warnings: Vec<Warning>,
    /// Main files that were read for the name already.
    parsed: HashMap<String, Vec<Document>>,
    /// Files that services extend, ready to be copied from.
    pub(super) extended: HashMap<(String, usize), Arc<Extended>>,
    files_read: usize,
    /// How many scopes there were; numbers them.
    pub(super) scopes: usize,
}

/// A file that services extend.
pub(super) struct Extended {
    pub(super) services: Map,
    pub(super) resets: Vec<ResetPath>,
}

/// What a file is loaded for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A file of the project or of an included one.
    Project,
    /// Only its services are wanted: no includes, no extends, no checks.
    Extends,
}

/// Where a group of files stands.
pub(super) struct Scope<'s> {
    /// Base of relative paths; relative itself in included projects.
    pub(super) folder: &'s str,
    /// Base for looking up files; absolute.
    pub(super) lookup: &'s str,
    pub(super) environment: &'s Mapping,
    /// The files whose includes led here.
    pub(super) included: &'s [String],
    /// Tells scopes with different environments apart.
    pub(super) number: usize,
    /// How many includes deep.
    pub(super) depth: usize,
}

impl Loader<'_> {
    pub(super) fn warn(&mut self, message: String) {
        let warning = Warning { message };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn tree(&mut self, mut located: Located) -> Result<Tree, Faults> {
        let files = self.local_files(&mut located)?;
        let name = self.project_name(&files, &located)?;
        located
            .environment
            .insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
        // Where variables are kept as they are, their values have no effect either.
        let only_name = Mapping::from([("COMPOSE_PROJECT_NAME".to_owned(), name.clone())]);
        let environment = if self.options.interpolate {
            &located.environment
        } else {
            &only_name
        };
        let scope = Scope {
            folder: &located.folder,
            lookup: &located.folder,
            environment,
            included: &[],
            number: 0,
            depth: 0,
        };
        let mut root = self.model(&files, &scope, self.options.resolve_paths)?;
        let Some(map) = root.as_map_mut().filter(|map| !map.is_empty()) else {
            return Err(Faults::message("empty compose file"));
        };
        if name.is_empty() {
            return Err(Finding::new("project name must not be empty")
                .help("set `name:` in the Compose file, or give one with -p")
                .into());
        }
        if self.options.normalize {
            let span = map.get("name").map_or(Span::NONE, |name| name.span);
            map.insert("name".into(), Node::string(name.as_str(), span));
            normalize(map, &name, environment);
        }
        Ok(Tree {
            root,
            name,
            folder: located.folder,
            files,
            environment: located.environment,
            profiles: located.profiles,
            env_files: located.env_files,
            sources: Arc::default(),
            warnings: Vec::new(),
        })
    }

    /// Remote files are brought here, paths made absolute. A remote file gives its folder to the project.
    fn local_files(&mut self, located: &mut Located) -> Result<Vec<String>, Faults> {
        let mut files = Vec::with_capacity(located.files.len());
        let mut moved = false;
        for file in &located.files {
            if file == "-" {
                files.push(file.clone());
            } else if is_remote(file) {
                let local = self.fetch(file)?;
                if !moved {
                    parent(&local).clone_into(&mut located.folder);
                    moved = true;
                }
                files.push(local);
            } else {
                files.push(self.absolute(file));
            }
        }
        Ok(files)
    }

    pub(super) fn fetch(&self, reference: &str) -> Result<String, Faults> {
        fetch(reference, &self.options.environment, self.options.fetcher)
            .map(|path| path.to_string_lossy().into_owned())
            .map_err(Faults::message)
    }

    /// A path seen from the folder of this process.
    pub(super) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            clean_path(path)
        } else {
            join_path(&self.options.working_dir.to_string_lossy(), path)
        }
    }

    fn project_name(&mut self, files: &[String], located: &Located) -> Result<String, Faults> {
        if let Some(name) = named_by_hand(self.options, &located.environment) {
            check_name(&name).map_err(|error| Faults(error.findings().to_vec()))?;
            return Ok(name);
        }
        let mut named: Option<String> = None;
        let mut first_named = false;
        for file in files {
            let documents = self.read(file)?;
            for (n, document) in documents.iter().enumerate() {
                let name = document.root.as_ref().and_then(|root| root.get("name"));
                let text = name.filter(|n| !n.is_null()).and_then(Node::scalar_text);
                if let Some(text) = text.filter(|text| !text.is_empty()) {
                    first_named |= n == 0;
                    named = Some(text.to_string());
                }
            }
            self.parsed.insert(file.clone(), documents);
        }
        let mut name = String::new();
        if !first_named {
            name = normalize_name(self.folder_name(&located.folder));
        }
        let Some(mut from_file) = named else {
            return Ok(name);
        };
        if self.options.interpolate {
            let environment = Environment::new(&located.environment);
            let replaced = crate::compose::template::substitute(&from_file, &environment).map_err(
                |error| Faults::message(format!("error while interpolating name: {error}")),
            )?;
            from_file = replaced.into_owned();
            self.warn_unset(environment);
        }
        if self.options.normalize {
            from_file = normalize_name(&from_file);
        }
        Ok(if from_file.is_empty() {
            name
        } else {
            from_file
        })
    }

    fn folder_name<'f>(&mut self, folder: &'f str) -> &'f str {
        let base = folder.rsplit('/').next().unwrap_or(folder);
        let real = std::fs::canonicalize(folder);
        if let Ok(real) = real
            && real.file_name().is_some_and(|name| name != base)
        {
            self.warn(format!(
                "project has been loaded without an explicit name from a symlink. Using name {base:?}"
            ));
        }
        base
    }

    fn warn_unset(&mut self, environment: Environment<'_>) {
        for name in environment.into_unset() {
            self.warn(format!(
                "The {name:?} variable is not set. Defaulting to a blank string."
            ));
        }
    }

    /// Merges the files of a project and finishes the tree.
    pub(super) fn model(
        &mut self,
        files: &[String],
        scope: &Scope<'_>,
        resolve_paths: bool,
    ) -> Result<Node, Faults> {
        let mut dict = Node::map(Map::new(), Span::NONE);
        for file in files {
            self.file(file, scope, &mut dict, Purpose::Project)?;
        }
        let Some(root) = dict.as_map_mut() else {
            return Ok(dict);
        };
        set_defaults(root);
        check(root)?;
        if resolve_paths {
            self.resolve_paths(root, scope.folder)?;
        }
        resolve_environment(root, scope.environment);
        Ok(dict)
    }

    pub(super) fn resolve_paths(&self, root: &mut Map, folder: &str) -> Result<(), Faults> {
        paths::resolve(
            root,
            &Base {
                folder,
                current: &self.options.working_dir,
                environment: &self.options.environment,
            },
        )
    }

    /// Lays one file over `dict`; gives the resets of its last document.
    pub(super) fn file(
        &mut self,
        file: &str,
        scope: &Scope<'_>,
        dict: &mut Node,
        purpose: Purpose,
    ) -> Result<Vec<ResetPath>, Faults> {
        let documents = match self.parsed.remove(file) {
            Some(documents) => documents,
            None => self.read(file)?,
        };
        let mut included = scope.included.to_vec();
        let mut resets = Vec::new();
        for document in documents {
            resets = document.resets;
            let root = document.root.unwrap_or(Node::new(Value::Null, Span::NONE));
            self.document(file, root, &resets, scope, &mut included, dict, purpose)?;
        }
        Ok(resets)
    }

    fn document(
        &mut self,
        file: &str,
        mut root: Node,
        resets: &[ResetPath],
        scope: &Scope<'_>,
        included: &mut Vec<String>,
        dict: &mut Node,
        purpose: Purpose,
    ) -> Result<(), Faults> {
        if root.as_map().is_none() {
            let shown = self.shown(file);
            return Err(
                Finding::new(format!("{shown}: top-level object must be a mapping"))
                    .at(root.span)
                    .into(),
            );
        }
        if self.options.interpolate {
            let environment = Environment::new(scope.environment);
            let mut warnings = Vec::new();
            interpolate(&mut root, &environment, &mut warnings)?;
            self.warn_unset(environment);
            warnings.into_iter().for_each(|warning| self.warn(warning));
        }
        if let Some(map) = root.as_map_mut() {
            if purpose == Purpose::Project {
                self.extend_services(map, file, resets, scope)?;
            }
            if let Some(dict) = dict.as_map_mut() {
                reset::apply(dict, resets, &[]);
            }
            if purpose == Purpose::Project {
                included.push(file.to_owned());
                self.include(map, scope, included)?;
            }
        }
        merge(dict, root, &Path::ROOT)?;
        let Some(map) = dict.as_map_mut() else {
            return Ok(());
        };
        unique::enforce(map)?;
        if purpose == Purpose::Project {
            self.validate(file, dict)?;
        }
        let Some(map) = dict.as_map_mut() else {
            return Ok(());
        };
        let mut warnings = Vec::new();
        canonical(map, !self.options.interpolate, &mut warnings)?;
        warnings.into_iter().for_each(|warning| self.warn(warning));
        omit_empty(map);
        // The long form can show repetitions, as ports that were ranges.
        unique::enforce(map)
    }

    fn validate(&mut self, file: &str, dict: &mut Node) -> Result<(), Faults> {
        let shown = self.shown(file);
        schema::validate(dict, &shown)?;
        if let Some(map) = dict.as_map_mut()
            && map.shift_remove("version").is_some()
        {
            self.warn(format!(
                "{shown}: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion"
            ));
        }
        Ok(())
    }

    /// How a file is named to people: from the folder they are in, when it lies below.
    pub(super) fn shown(&self, file: &str) -> String {
        let current = self.options.working_dir.to_string_lossy();
        let below = file
            .strip_prefix(&*current)
            .and_then(|rest| rest.strip_prefix('/'));
        below.unwrap_or(file).to_owned()
    }

    /// Reads and parses a file.
    fn read(&mut self, file: &str) -> Result<Vec<Document>, Faults> {
        self.files_read += 1;
        if self.files_read > MAX_FILES {
            return Err(Faults::message(format!(
                "more than {MAX_FILES} Compose files in one project"
            )));
        }
        let bytes = if file == "-" {
            self.options.stdin.clone().unwrap_or_default().into_bytes()
        } else {
            read_file(file)?
        };
        if bytes.len() > MAX_FILE_BYTES {
            return Err(Faults::message(format!(
                "{file}: a Compose file may have {} MiB at most",
                MAX_FILE_BYTES >> 20
            )));
        }
        let shown = self.shown(file);
        let failed = |message: &str| format!("failed to parse {shown}: {message}");
        let text: Arc<str> = match yaml::decode_text(&bytes) {
            Ok(text) => text.into(),
            Err((message, before)) => {
                let end = before.len();
                let id = self.sources.add(&shown, before.into());
                return Err(Finding::new(failed(&message))
                    .at(Span::new(id, end, end))
                    .into());
            }
        };
        drop(bytes);
        let id = self.sources.add(&shown, text.clone());
        yaml::load(&text, id).map_err(|error| {
            let mut finding = Finding::new(failed(&error.message)).at(error.span);
            if let Some((span, what)) = error.other {
                finding = finding.label("defined again").related(span, what);
            }
            finding.into()
        })
    }
}

fn read_file(file: &str) -> Result<Vec<u8>, Faults> {
    use std::io::Read;
    let failed =
        |error: std::io::Error| Faults::message(format!("open {file}: {}", reason(&error)));
    let handle = std::fs::File::open(file).map_err(failed)?;
    let meta = handle.metadata().map_err(failed)?;
    if meta.is_dir() {
        return Err(Faults::message(format!("read {file}: is a directory")));
    }
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(limit)).unwrap_or(0));
    handle
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// The plain text of an I/O error.
pub(super) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
