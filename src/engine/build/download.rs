//! `ADD` of a URL: a file over HTTP, checked against a digest when one is given.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::engine::base::{Error, Result};

/// Fetches `url` into `folder`; the name of the file there.
pub(crate) async fn download(
    url: &str,
    _checksum: Option<&str>,
    _destination: &str,
    _folder: &Path,
    _cancel: &CancellationToken,
) -> Result<String> {
    Err(Error::not_implemented(format!(
        "ADD {url}: sources over HTTP are not supported yet"
    )))
}
