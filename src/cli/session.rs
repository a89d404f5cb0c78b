//! One run of the command line: its global flags, the environment, the folder it was started in, and what
//! is made of them on demand.

use std::path::PathBuf;

use crate::cli::error::CliError;
use crate::cli::globals::Globals;
use crate::compose::model::Mapping;
use crate::compose::{LoadOptions, Loaded, load};
use crate::ui::output;

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) globals: Globals,
    pub(crate) environment: Mapping,
    pub(crate) working_dir: PathBuf,
    /// The name to use in messages.
    pub(crate) program: &'static str,
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
        options.env_files.clone_from(&globals.env_file);
        if options.env_files.is_empty()
            && let Some(list) = self.variable("COMPOSE_ENV_FILES")
        {
            options.env_files = list.split(',').map(PathBuf::from).collect();
        }
        if options.files.iter().any(|file| file == "-") {
            options.stdin = Some(
                std::io::read_to_string(std::io::stdin())
                    .map_err(|error| CliError::new(format!("read stdin: {error}")))?,
            );
        }
        Ok(options)
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
}
