//! What the image service tells about an image, and the messages of its long calls. Plain data.

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, ImageConfig, Platform};

/// One image, as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// The digest of the config: the id in lists, inspect and build results.
    pub(crate) id: Digest,
    pub(crate) config: ImageConfig,
    /// Familiar names, sorted: `redis:7`.
    pub(crate) repo_tags: Vec<String>,
    /// Familiar names with the manifest's digest: `redis@sha256:…`.
    pub(crate) repo_digests: Vec<String>,
    /// Bytes of all layers unpacked.
    pub(crate) size: u64,
    /// RFC 3339; empty when the config says nothing.
    pub(crate) created: String,
    pub(crate) platform: Platform,
    /// The image of the step before, for a built or committed one.
    pub(crate) parent: Option<Digest>,
    /// RFC 3339, when a tag was last put on it.
    pub(crate) last_tagged: Option<String>,
    /// Identifies the layers below, bottom first; empty for an image without layers.
    pub(crate) chain: Vec<Digest>,
}

/// One line of a pull, push, load or build, in the terms of the API's JSON stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ProgressMessage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<ProgressDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aux: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ProgressDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<u64>,
}

impl ProgressMessage {
    pub(crate) fn stream(text: impl Into<String>) -> Self {
        ProgressMessage {
            stream: Some(text.into()),
            ..Self::default()
        }
    }

    pub(crate) fn status(text: impl Into<String>) -> Self {
        ProgressMessage {
            status: Some(text.into()),
            ..Self::default()
        }
    }

    /// A status of one part (a layer's short digest, a tag).
    pub(crate) fn of(id: impl Into<String>, status: impl Into<String>) -> Self {
        ProgressMessage {
            id: Some(id.into()),
            status: Some(status.into()),
            detail: Some(ProgressDetail::default()),
            ..Self::default()
        }
    }

    pub(crate) fn aux(value: serde_json::Value) -> Self {
        ProgressMessage {
            aux: Some(value),
            ..Self::default()
        }
    }
}

/// What `remove` and `prune` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deleted {
    Untagged(String),
    Deleted(Digest),
}

/// Which images `list` shows. Empty lists do not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ImageFilters {
    /// Also the intermediate images of builds.
    pub(crate) all: bool,
    pub(crate) dangling: Option<bool>,
    /// `key` or `key=value`; all must match.
    pub(crate) labels: Vec<String>,
    /// `key` or `key=value`; none may match.
    pub(crate) labels_not: Vec<String>,
    /// Patterns of familiar names; one must match.
    pub(crate) references: Vec<String>,
    /// Created before these images.
    pub(crate) before: Vec<String>,
    pub(crate) since: Vec<String>,
    /// Seconds since the epoch: created before.
    pub(crate) until: Option<i64>,
}

/// A line of `history`, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HistoryEntry {
    pub(crate) id: Option<Digest>,
    pub(crate) created: i64,
    pub(crate) created_by: String,
    pub(crate) comment: String,
    pub(crate) tags: Vec<String>,
    pub(crate) size: u64,
}

/// Credentials of `X-Registry-Auth`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct RegistryAuth {
    #[serde(deserialize_with = "empty_for_null")]
    pub(crate) username: String,
    #[serde(deserialize_with = "empty_for_null")]
    pub(crate) password: String,
    /// base64 of `user:password`, used when both above are empty.
    #[serde(deserialize_with = "empty_for_null")]
    pub(crate) auth: String,
    #[serde(deserialize_with = "empty_for_null")]
    pub(crate) serveraddress: String,
    #[serde(deserialize_with = "empty_for_null")]
    pub(crate) identitytoken: String,
    #[serde(deserialize_with = "empty_for_null")]
    pub(crate) registrytoken: String,
}

/// Some clients write null for what they do not have.
fn empty_for_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[test]
fn credentials_may_be_null() {
    let auth: RegistryAuth =
        serde_json::from_str(r#"{"username": null, "password": "p"}"#).unwrap();
    assert_eq!((auth.username.as_str(), auth.password.as_str()), ("", "p"));
}

/// What a container's writable layer changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Absolute in the container.
    pub(crate) path: String,
    pub(crate) kind: ChangeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Modified,
    Added,
    Deleted,
}

/// Bytes of a container's file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The writable layer.
    pub(crate) writable: u64,
    /// With the image's layers.
    pub(crate) rootfs: u64,
}

/// How a container becomes an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommitOptions {
    /// The container's image, whose layers and config the new one continues.
    pub(crate) parent: Option<Digest>,
    /// The run config after `changes`, made by the caller; `None` keeps the parent's.
    pub(crate) config: Option<crate::oci::RunConfig>,
    /// Familiar or full, with or without a tag.
    pub(crate) reference: Option<String>,
    pub(crate) author: String,
    pub(crate) comment: String,
    /// What the history says made the layer.
    pub(crate) created_by: String,
}
