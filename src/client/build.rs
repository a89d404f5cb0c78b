//! Builds an image through the engine's own builder (`POST /build`). What is built, and when, is decided
//! in `ops`.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::models::BuildInfo;
use bollard::query_parameters::BuildImageOptions;
use futures_util::StreamExt as _;

use super::context_tar;
pub(crate) use super::context_tar::Dockerfile;
use super::images;
use crate::client::{Client, ClientError};
use crate::progress::{Resource, Sink};

/// Where the files of a build come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Context {
    Folder(PathBuf),
    /// A git repository or an archive that the engine fetches itself.
    Remote(String),
}

/// One build.
#[derive(Debug, Clone)]
pub(crate) struct BuildRequest {
    pub(crate) context: Context,
    pub(crate) dockerfile: Dockerfile,
    pub(crate) arguments: HashMap<String, String>,
    pub(crate) labels: HashMap<String, String>,
    /// The first one names the image in messages.
    pub(crate) tags: Vec<String>,
    pub(crate) target: String,
    pub(crate) platform: String,
    pub(crate) network: String,
    /// `host:address`.
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) cache_from: Vec<String>,
    pub(crate) no_cache: bool,
    pub(crate) pull: bool,
    /// Bytes; 0: no limit.
    pub(crate) memory: i64,
    /// Bytes; 0: the engine's default.
    pub(crate) shm_size: i64,
}

impl Client {
    /// Builds an image and returns its id. What the builder says goes to `sink` as output of `resource`.
    pub(crate) async fn build_image(
        &self,
        request: BuildRequest,
        resource: &Resource,
        sink: &Sink,
    ) -> Result<String, ClientError> {
        let (first_tag, more_tags) = match request.tags.split_first() {
            Some((first, more)) => (Some(first.clone()), more.to_vec()),
            None => (None, Vec::new()),
        };
        let mut options = BuildImageOptions {
            t: first_tag.clone(),
            nocache: request.no_cache,
            pull: request.pull.then(|| "1".to_owned()),
            rm: true,
            forcerm: true,
            buildargs: Some(request.arguments),
            labels: Some(request.labels),
            target: request.target,
            platform: request.platform,
            networkmode: (!request.network.is_empty()).then_some(request.network),
            extrahosts: (!request.extra_hosts.is_empty()).then(|| request.extra_hosts.join(",")),
            cachefrom: (!request.cache_from.is_empty()).then_some(request.cache_from),
            memory: limit(request.memory, "memory limit")?,
            shmsize: limit(request.shm_size, "shm_size")?,
            ..BuildImageOptions::default()
        };
        let body = match request.context {
            Context::Remote(address) => {
                options.remote = Some(address);
                if let Dockerfile::Path(path) = &request.dockerfile {
                    options.dockerfile = path.to_string_lossy().into_owned();
                }
                bollard::body_full(bytes::Bytes::new())
            }
            Context::Folder(folder) => {
                let context = context_tar::open(&folder, &request.dockerfile)?;
                options.dockerfile = context.dockerfile;
                bollard::body_try_stream(context.archive)
            }
        };
        let credentials = images::all_credentials(&request.tags)?;
        let mut answers = std::pin::pin!(self.docker().build_image(
            options,
            Some(credentials),
            Some(body)
        ));
        let mut image = String::new();
        let mut line = String::new();
        while let Some(answer) = answers.next().await {
            take(answer?, &mut image, &mut line, |text| {
                sink.output(resource, text);
            });
        }
        if !line.is_empty() {
            sink.output(resource, line);
        }
        if image.is_empty() {
            let Some(tag) = &first_tag else {
                return Err(ClientError::Protocol(
                    "the build ended without an image".to_owned(),
                ));
            };
            image = match self.image_detail(tag).await? {
                Some(detail) => detail.id,
                None => {
                    return Err(ClientError::Protocol(
                        "the build ended without an image".to_owned(),
                    ));
                }
            };
        }
        for tag in &more_tags {
            self.tag_image(&image, tag).await?;
        }
        Ok(image)
    }
}

/// The engine's client library has 32 bits for these.
fn limit(bytes: i64, what: &str) -> Result<Option<i32>, ClientError> {
    if bytes == 0 {
        return Ok(None);
    }
    i32::try_from(bytes).map(Some).map_err(|_| {
        ClientError::Unsupported(format!("a build {what} of 2 GiB or more is not supported"))
    })
}

/// Takes one message of the builder: the image's id, or text, of which only whole lines are passed on.
fn take(answer: BuildInfo, image: &mut String, line: &mut String, mut output: impl FnMut(String)) {
    if let Some(id) = answer.aux.and_then(|aux| aux.id) {
        *image = id;
    }
    let mut text = answer.stream.unwrap_or_default();
    if let Some(status) = answer.status {
        let detail = answer.progress_detail.unwrap_or_default();
        // A pull inside the build: its bars would be a line each.
        if detail.total.unwrap_or(0) == 0 {
            text.push_str(&match answer.id {
                Some(id) => format!("{id}: {status}\n"),
                None => format!("{status}\n"),
            });
        }
    }
    line.push_str(&text);
    while let Some(end) = line.find('\n') {
        let rest = line.split_off(end + 1);
        let whole = std::mem::replace(line, rest);
        let whole = whole.trim_end();
        if !whole.is_empty() {
            output(whole.to_owned());
        }
    }
}
