//! One run of the command line: its global flags, the environment, the folder it was started in, and what
//! is made of them on demand: the loaded project, the context of an operation.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::error::CliError;
use crate::cli::flags::go_bool;
use crate::cli::globals::Globals;
use crate::client::{Client, EngineChoice};
use crate::compose::model::Mapping;
use crate::compose::{LoadOptions, Loaded, load};
use crate::ops::Context;
use crate::progress::Sink;
use crate::ui::progress::{self, Mode};
use crate::ui::{output, prompt};

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) globals: Globals,
    pub(crate) environment: Mapping,
    pub(crate) working_dir: PathBuf,
    /// The name to use in messages.
    pub(crate) program: &'static str,
}

/// What a command needs to know of the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The whole model.
    Project,
    /// With `-p` and no `-f`, the labels on the engine are enough.
    ProjectOrName,
}

/// How a command wants its progress shown and its questions asked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Display {
    /// Output of the containers follows at once: do not show that they start.
    pub(crate) hide_starting: bool,
    /// Every question is answered with yes.
    pub(crate) yes: bool,
    pub(crate) quiet: bool,
}

impl Session {
    /// Reads the environment of the process.
    ///
    /// # Errors
    /// The current folder is gone.
    pub(crate) fn new(globals: Globals, program: &'static str) -> Result<Self, CliError> {
        let working_dir = std::env::current_dir()
            .map_err(|error| CliError::new(format!("current directory: {error}")))?;
        let environment = std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect();
        Ok(Session {
            globals,
            environment,
            working_dir,
            program,
        })
    }

    /// A variable of the process environment that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A boolean `COMPOSE_…` variable of the environment, or of the project's `.env`.
    pub(crate) fn switch(&self, name: &str, loaded: Option<&Loaded>) -> Option<bool> {
        let from_project =
            || loaded.and_then(|loaded| loaded.project.environment.get(name).map(String::as_str));
        self.variable(name)
            .or_else(from_project)
            .and_then(|text| go_bool(text).ok())
    }

    /// What the global flags ask the loader for.
    ///
    /// # Errors
    /// `-f -` and stdin cannot be read.
    pub(crate) fn load_options(&self) -> Result<LoadOptions<'static>, CliError> {
        let globals = &self.globals;
        let mut options = LoadOptions::new(self.working_dir.clone(), self.environment.clone());
        options.files.clone_from(&globals.file);
        options.project_directory = globals
            .project_directory
            .clone()
            .or_else(|| globals.workdir.clone());
        options.project_name.clone_from(&globals.project_name);
        options.profiles.clone_from(&globals.profile);
        options.env_files = self.env_files();
        if options.files.iter().any(|file| file == "-") {
            options.stdin = Some(
                std::io::read_to_string(std::io::stdin())
                    .map_err(|error| CliError::new(format!("read stdin: {error}")))?,
            );
        }
        Ok(options)
    }

    fn env_files(&self) -> Vec<PathBuf> {
        if !self.globals.env_file.is_empty() {
            return self.globals.env_file.clone();
        }
        match self.variable("COMPOSE_ENV_FILES") {
            Some(list) => list.split(',').map(PathBuf::from).collect(),
            None => Vec::new(),
        }
    }

    /// Loads the project and prints the warnings of the load.
    ///
    /// # Errors
    /// What the loader found.
    pub(crate) fn load(&self) -> Result<Loaded, CliError> {
        let options = self.load_options()?;
        let loaded = load(&options).map_err(CliError::new)?;
        for warning in &loaded.warnings {
            output::warning(&warning.message);
        }
        Ok(loaded)
    }

    /// The project, or only its name where that is enough and all that there is.
    ///
    /// # Errors
    /// What the loader found, where a project is needed.
    pub(crate) fn project(&self, need: Need) -> Result<(Option<Loaded>, String), CliError> {
        let named = self.globals.project_name.clone();
        if need == Need::ProjectOrName && self.globals.file.is_empty() {
            if let Some(name) = named {
                return Ok((None, name));
            }
            return match self.load() {
                Ok(loaded) => {
                    let name = loaded.project.name.clone();
                    Ok((Some(loaded), name))
                }
                Err(error) => match self.variable("COMPOSE_PROJECT_NAME") {
                    Some(name) => Ok((None, name.to_owned())),
                    None => Err(error),
                },
            };
        }
        let loaded = self.load()?;
        let name = loaded.project.name.clone();
        Ok((Some(loaded), name))
    }

    /// The engine that the flags and the environment mean.
    ///
    /// # Errors
    /// A contradiction, or an address that is none.
    pub(crate) fn engine_choice(&self) -> Result<EngineChoice, CliError> {
        let mut environment: HashMap<String, String> = self
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let docker = &self.globals.docker;
        if let Some(host) = &docker.host {
            environment.insert("DOCKER_HOST".to_owned(), host.clone());
        }
        if let Some(context) = &docker.context {
            environment.remove("DOCKER_HOST");
            environment.insert("DOCKER_CONTEXT".to_owned(), context.clone());
        }
        if let Some(config) = &docker.config {
            let config = config.to_string_lossy().into_owned();
            environment.insert("DOCKER_CONFIG".to_owned(), config);
        }
        EngineChoice::select(self.globals.engine.as_deref(), &environment).map_err(CliError::new)
    }

    /// A connection to the engine.
    ///
    /// # Errors
    /// Nobody answers, and the bundled engine cannot be started.
    pub(crate) async fn client(&self) -> Result<Client, CliError> {
        let choice = self.engine_choice()?;
        let connected = if self.globals.dry_run {
            Client::connect_for_a_look(choice).await
        } else {
            Client::connect(choice).await
        };
        connected.map_err(CliError::new)
    }

    /// `--progress`, `COMPOSE_PROGRESS`, or what stderr is.
    ///
    /// # Errors
    /// An unknown word.
    pub(crate) fn progress_mode(&self) -> Result<Mode, CliError> {
        let text = self
            .globals
            .progress
            .as_deref()
            .or_else(|| self.variable("COMPOSE_PROGRESS"))
            .unwrap_or("auto");
        Mode::select(text).map_err(CliError::new)
    }

    /// `--parallel`, `COMPOSE_PARALLEL_LIMIT`; −1 and 0 mean no limit.
    ///
    /// # Errors
    /// The variable is no number.
    fn parallel(&self) -> Result<Option<usize>, CliError> {
        let wanted = match (
            self.globals.parallel,
            self.variable("COMPOSE_PARALLEL_LIMIT"),
        ) {
            (Some(number), _) => number,
            (None, Some(text)) => text.parse().map_err(|_| {
                CliError::new(format!(
                    "COMPOSE_PARALLEL_LIMIT must be an integer (found: {text:?})"
                ))
            })?,
            (None, None) => -1,
        };
        Ok(usize::try_from(wanted).ok().filter(|&number| number > 0))
    }

    /// Everything an operation works with.
    ///
    /// # Errors
    /// As [`Session::project`] and [`Session::client`].
    pub(crate) async fn context(&self, need: Need, display: Display) -> Result<Context, CliError> {
        let (loaded, name) = self.project(need)?;
        self.context_of(loaded, name, display).await
    }

    /// The same for a project that is loaded already.
    ///
    /// # Errors
    /// As [`Session::client`].
    pub(crate) async fn context_of(
        &self,
        loaded: Option<Loaded>,
        project_name: String,
        display: Display,
    ) -> Result<Context, CliError> {
        let mode = self.progress_mode()?;
        let client = self.client().await?;
        let compatibility = self.globals.compatibility
            || self.switch("COMPOSE_COMPATIBILITY", loaded.as_ref()) == Some(true);
        let ignore_orphans = self.switch("COMPOSE_IGNORE_ORPHANS", loaded.as_ref()) == Some(true);
        let yes = display.yes;
        Ok(Context {
            client,
            project_name,
            loaded: loaded.map(Arc::new),
            progress: sink(mode, display),
            ask: Arc::new(move |question, default| yes || prompt::confirm(question, default)),
            dry_run: self.globals.dry_run,
            separator: if compatibility { "_" } else { "-" },
            parallel: self.parallel()?,
            env_files: self
                .env_files()
                .iter()
                .map(|path| self.working_dir.join(path).to_string_lossy().into_owned())
                .collect(),
            ignore_orphans,
        })
    }
}

/// A sink that draws as the mode says.
pub(crate) fn sink(mode: Mode, display: Display) -> Sink {
    progress::sink(progress::Options {
        mode: if display.quiet { Mode::Quiet } else { mode },
        hide_starting: display.hide_starting && mode == Mode::Tty,
    })
}

/// Runs a future on a runtime made for it, on this thread.
///
/// # Errors
/// What the future ends with, or that there can be no runtime.
pub(crate) fn block_on<T>(
    future: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(format!("async runtime: {error}")))?;
    let result = runtime.block_on(future);
    // A thread that still reads stdin must not hold the process.
    runtime.shutdown_background();
    result
}
