//! `ADD` of a URL: a file over HTTP, checked against a digest when one is given.

use std::path::Path;

use rustix::fs::{Mode, Timespec, Timestamps};
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use crate::engine::base::{Error, Result};
use crate::engine::images::registry::{http_client, next_chunk};
use crate::oci::Digest;
use crate::oci::digest::Hasher;

/// The name of a file from a URL that ends with a slash.
const NAMELESS: &str = "index.html";

/// Fetches `url` into `folder`; the name of the file there.
pub(crate) async fn download(
    url: &str,
    checksum: Option<&str>,
    destination: &str,
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<String> {
    let fail = |error: String| Error::invalid(format!("ADD failed: {url}: {error}"));
    let expected = match checksum {
        Some(text) => Some(Digest::parse(text).map_err(|error| fail(error.to_string()))?),
        None => None,
    };
    let parsed = reqwest::Url::parse(url).map_err(|error| fail(error.to_string()))?;
    let last = parsed.path().rsplit('/').next().unwrap_or("");
    if last.is_empty() && destination.ends_with('/') {
        return Err(fail("cannot determine filename from url".to_owned()));
    }
    let name = match last {
        "" | "." | ".." => NAMELESS.to_owned(),
        name => name.to_owned(),
    };
    let request = http_client(false)?.get(parsed).send();
    let mut response = tokio::select! {
        response = request => response.map_err(|error| fail(error.to_string()))?,
        () = cancel.cancelled() => return Err(Error::system("the build was cancelled")),
    };
    if !response.status().is_success() {
        return Err(fail(format!("the server answered {}", response.status())));
    }
    let modified = response
        .headers()
        .get(http::header::LAST_MODIFIED)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
        .map_or(0, |time| time.timestamp().as_second());
    let path = folder.join(&name);
    let mut file = tokio::fs::File::create_new(&path).await?;
    let mut hasher = Hasher::new();
    loop {
        let chunk = tokio::select! {
            chunk = next_chunk(&mut response) => chunk.map_err(|error| fail(error.message))?,
            () = cancel.cancelled() => return Err(Error::system("the build was cancelled")),
        };
        let Some(chunk) = chunk else {
            break;
        };
        hasher.update(&chunk);
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    let found = hasher.finish();
    if let Some(expected) = expected
        && expected != found
    {
        return Err(fail(format!(
            "digest mismatch: {found}, {expected} was expected"
        )));
    }
    let file = file.into_std().await;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600)).map_err(std::io::Error::from)?;
    let time = Timespec {
        tv_sec: modified,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::futimens(&file, &times).map_err(std::io::Error::from)?;
    Ok(name)
}
