//! Images: pull, push, tag, remove, load, commit, and the credentials of registries. When an image is
//! pulled is decided in `ops`.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::auth::DockerCredentials;
use bollard::models::{ContainerConfig, CreateImageInfo, PushImageInfo};
use bollard::query_parameters::{
    CommitContainerOptions, CreateImageOptions, ImportImageOptions, PushImageOptions,
    RemoveImageOptions, TagImageOptions,
};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use futures_util::StreamExt as _;

use crate::client::files::TarStream;
use crate::client::{Client, ClientError};
use crate::progress::{Event, Resource, Sink, Status};

/// The key of Docker Hub in docker's configuration.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// How a commit is recorded.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommitOptions {
    /// `REPOSITORY[:TAG]`; empty: the image has no name.
    pub(crate) reference: String,
    pub(crate) author: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) changes: Vec<String>,
    pub(crate) pause: bool,
}

/// `name[:tag][@digest]` → the name, and the tag or digest (`latest` when there is none).
pub(crate) fn split_reference(reference: &str) -> (String, String) {
    if let Some((name, digest)) = reference.split_once('@') {
        // The digest decides; a tag beside it is for people.
        let (name, _) = split_tag(name);
        return (name.to_owned(), digest.to_owned());
    }
    let (name, tag) = split_tag(reference);
    (name.to_owned(), tag.unwrap_or("latest").to_owned())
}

/// A colon is a tag's only behind the last slash: `host:5000/name` has none.
fn split_tag(reference: &str) -> (&str, Option<&str>) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (reference, None),
    }
}

/// The registry's host in a reference; Docker Hub's key where none is named.
fn registry_key(reference: &str) -> String {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => {
            if host == "docker.io" || host == "index.docker.io" {
                HUB_KEY.to_owned()
            } else {
                host.to_owned()
            }
        }
        _ => HUB_KEY.to_owned(),
    }
}

/// What docker's configuration and its helpers know about the registry of `reference`.
fn credentials(reference: &str) -> Result<Option<DockerCredentials>, ClientError> {
    let key = registry_key(reference);
    let found = docker_credential::get_credential(&key);
    let mut credentials = DockerCredentials {
        serveraddress: Some(key),
        ..DockerCredentials::default()
    };
    match found {
        Ok(DockerCredential::IdentityToken(token)) => credentials.identitytoken = Some(token),
        Ok(DockerCredential::UsernamePassword(name, password)) => {
            credentials.username = Some(name);
            credentials.password = Some(password);
        }
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound,
        ) => return Ok(None),
        // A helper says so when it simply has nothing for this registry.
        Err(CredentialRetrievalError::HelperFailure { stdout, .. })
            if stdout.contains("credentials not found") =>
        {
            return Ok(None);
        }
        // The crate says the same of a file that is missing and of one that is broken.
        Err(CredentialRetrievalError::ConfigReadError) if !config_exists() => return Ok(None),
        Err(error) => {
            return Err(ClientError::Invalid(format!(
                "credentials for {reference}: {error}"
            )));
        }
    }
    Ok(Some(credentials))
}

/// Whether docker's configuration file is there: `$DOCKER_CONFIG` or `~/.docker`.
fn config_exists() -> bool {
    std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".docker")))
        .is_some_and(|folder| folder.join("config.json").exists())
}

/// The credentials of every registry in docker's configuration, for a build's FROM lines.
pub(super) fn all_credentials(
    references: &[String],
) -> Result<HashMap<String, DockerCredentials>, ClientError> {
    let mut all = HashMap::new();
    for reference in references {
        if let Some(found) = credentials(reference)? {
            all.insert(registry_key(reference), found);
        }
    }
    Ok(all)
}

impl Client {
    /// Pulls an image. Layers are reported as parts of the image.
    pub(crate) async fn pull_image(
        &self,
        reference: &str,
        platform: &str,
        sink: Option<&Sink>,
    ) -> Result<(), ClientError> {
        let (name, tag) = split_reference(reference);
        let options = CreateImageOptions {
            from_image: Some(name),
            tag: Some(tag),
            platform: platform.to_owned(),
            ..CreateImageOptions::default()
        };
        let credentials = blocking_credentials(reference).await?;
        let mut answers =
            std::pin::pin!(self.docker().create_image(Some(options), None, credentials));
        while let Some(answer) = answers.next().await {
            let answer = answer?;
            if let Some(sink) = sink
                && let Some(event) = pull_event(reference, &answer)
            {
                sink.send(event);
            }
        }
        Ok(())
    }

    /// Pushes a tagged image.
    pub(crate) async fn push_image(
        &self,
        reference: &str,
        sink: Option<&Sink>,
    ) -> Result<(), ClientError> {
        let (name, tag) = split_reference(reference);
        let options = PushImageOptions {
            tag: Some(tag),
            platform: None,
        };
        let credentials = blocking_credentials(reference).await?;
        let mut answers =
            std::pin::pin!(self.docker().push_image(&name, Some(options), credentials));
        while let Some(answer) = answers.next().await {
            let answer = answer?;
            if let Some(sink) = sink
                && let Some(event) = push_event(reference, &answer)
            {
                sink.send(event);
            }
        }
        Ok(())
    }

    /// Gives an image another name.
    pub(crate) async fn tag_image(&self, image: &str, reference: &str) -> Result<(), ClientError> {
        let (name, tag) = split_reference(reference);
        let options = TagImageOptions {
            repo: Some(name),
            tag: Some(tag),
        };
        self.docker().tag_image(image, Some(options)).await?;
        Ok(())
    }

    /// Removes a name of an image, and the image with its last name.
    pub(crate) async fn untag_image(
        &self,
        reference: &str,
        force: bool,
    ) -> Result<(), ClientError> {
        let options = RemoveImageOptions {
            force,
            ..RemoveImageOptions::default()
        };
        self.docker()
            .remove_image(reference, Some(options), None)
            .await?;
        Ok(())
    }

    /// Makes an image of a container as it is now; returns the image's id.
    pub(crate) async fn commit_container(
        &self,
        id: &str,
        options: &CommitOptions,
    ) -> Result<String, ClientError> {
        let (repo, tag) = if options.reference.is_empty() {
            (None, None)
        } else {
            let (repo, tag) = split_reference(&options.reference);
            (Some(repo), Some(tag))
        };
        let query = CommitContainerOptions {
            container: Some(id.to_owned()),
            repo,
            tag,
            comment: options.message.clone(),
            author: options.author.clone(),
            pause: options.pause,
            changes: (!options.changes.is_empty()).then(|| options.changes.join("\n")),
        };
        let answer = self
            .docker()
            .commit_container(query, ContainerConfig::default())
            .await?;
        Ok(answer.id)
    }

    /// Loads images from an archive; returns what the engine said, line by line.
    pub(crate) async fn load_images(&self, archive: TarStream) -> Result<Vec<String>, ClientError> {
        let options = ImportImageOptions::default();
        let mut answers = std::pin::pin!(self.docker().import_image_stream(options, archive, None));
        let mut lines = Vec::new();
        while let Some(answer) = answers.next().await {
            let answer = answer?;
            lines.extend(
                answer
                    .stream
                    .unwrap_or_default()
                    .lines()
                    .map(str::to_owned)
                    .filter(|line| !line.is_empty()),
            );
        }
        Ok(lines)
    }
}

/// Helpers are programs: they may take their time.
async fn blocking_credentials(reference: &str) -> Result<Option<DockerCredentials>, ClientError> {
    let reference = reference.to_owned();
    tokio::task::spawn_blocking(move || credentials(&reference))
        .await
        .map_err(|error| ClientError::Protocol(error.to_string()))?
}

fn amounts(detail: Option<&bollard::models::ProgressDetail>) -> (u64, u64) {
    let number = |value: Option<i64>| u64::try_from(value.unwrap_or(0)).unwrap_or(0);
    detail.map_or((0, 0), |detail| {
        (number(detail.current), number(detail.total))
    })
}

fn pull_event(reference: &str, answer: &CreateImageInfo) -> Option<Event> {
    let text = answer.status.clone()?;
    let id = answer.id.clone()?;
    // `Pulling from library/redis` carries the tag as its id.
    if text.starts_with("Pulling from") {
        return None;
    }
    let (current, total) = amounts(answer.progress_detail.as_ref());
    let status = match text.as_str() {
        "Pull complete" | "Already exists" | "Download complete" => Status::Done,
        _ => Status::Working,
    };
    // Unpacking counts the same bytes again: a bar must not run backwards.
    let (current, total) = if text == "Extracting" {
        (total, total)
    } else {
        (current, total)
    };
    Some(
        Event::new(Resource::image(reference), status, text)
            .part(id)
            .amount(current, total),
    )
}

fn push_event(reference: &str, answer: &PushImageInfo) -> Option<Event> {
    let text = answer.status.clone()?;
    let (current, total) = amounts(answer.progress_detail.as_ref());
    if total == 0 {
        return None;
    }
    Some(
        Event::working(Resource::image(reference), "Pushing")
            .detail(text)
            .amount(current, total),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_split_where_docker_splits_it() {
        for (reference, name, tag) in [
            ("redis", "redis", "latest"),
            ("redis:7", "redis", "7"),
            ("localhost:5000/a/b", "localhost:5000/a/b", "latest"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b", "1"),
            ("a@sha256:00", "a", "sha256:00"),
            ("a:1@sha256:00", "a", "sha256:00"),
        ] {
            assert_eq!(
                split_reference(reference),
                (name.to_owned(), tag.to_owned()),
                "{reference}"
            );
        }
    }

    #[test]
    fn credentials_are_looked_up_by_the_registrys_host() {
        assert_eq!(registry_key("redis"), HUB_KEY);
        assert_eq!(registry_key("library/redis"), HUB_KEY);
        assert_eq!(registry_key("docker.io/a/b"), HUB_KEY);
        assert_eq!(registry_key("localhost:5000/a"), "localhost:5000");
        assert_eq!(registry_key("ghcr.io/a/b"), "ghcr.io");
    }
}
