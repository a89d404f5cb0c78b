//! Compose files: text → [`model::Project`]. Knows nothing of engines; no async, no printing.

pub(crate) mod error;
pub(crate) mod model;
mod options;

pub(crate) use error::{LoadErrors, Warning};
pub(crate) use options::{FetchError, LoadOptions, Loaded, RemoteFetcher};

/// Loads the project that `options` describe.
///
/// # Errors
/// Every finding of the files at once, each with its place.
pub(crate) fn load(_options: &LoadOptions<'_>) -> Result<Loaded, LoadErrors> {
    Err(LoadErrors::message(
        "loading of Compose files is not built in yet",
    ))
}
