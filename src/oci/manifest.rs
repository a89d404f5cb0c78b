//! Descriptors, manifests and indexes of the OCI image specification and of Docker's schema 2.
//! Parsing checks shape and bounds; it fetches nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Manifests, indexes and configs larger than this are refused.
pub(crate) const DOCUMENT_MAX_BYTES: u64 = 4 << 20;
/// The most layers an image may have, as in dockerd.
pub(crate) const LAYERS_MAX: usize = 127;

/// A typed pointer to content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<DescriptorPlatform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The platform as an index writes it, not normalised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DescriptorPlatform {
    pub(crate) os: String,
    pub(crate) architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) os_version: Option<String>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// Manifests for several platforms (or, in an OCI layout, names).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

/// What a registry or a layout gave for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// Why bytes are neither manifest nor index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("the manifest is larger than {} MiB", DOCUMENT_MAX_BYTES >> 20)]
    TooLarge,
    #[error("the manifest is not valid: {0}")]
    Malformed(String),
    #[error("the manifest claims to be a manifest and an index at once")]
    Both,
    #[error("the manifest has media type {0:?}, its fields say otherwise")]
    MediaType(String),
    #[error("image manifests of schema version {0} are not supported: version 2 is expected")]
    Version(u32),
    #[error("the image has {0} layers, at most {LAYERS_MAX} are supported")]
    Layers(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads `bytes`; what the fields say and what the media type says must agree (CVE-2021-41190).
    pub(crate) fn parse(bytes: &[u8], media_type: &str) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > DOCUMENT_MAX_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let malformed = |error: serde_json::Error| ManifestError::Malformed(error.to_string());
        let shape: Shape = serde_json::from_slice(bytes).map_err(malformed)?;
        if shape.schema_version != 2 || shape.fs_layers.is_some() {
            return Err(ManifestError::Version(shape.schema_version.min(1)));
        }
        let is_manifest = shape.config.is_some() || shape.layers.is_some();
        let is_index = shape.manifests.is_some();
        if is_manifest && is_index {
            return Err(ManifestError::Both);
        }
        for claimed in [shape.media_type.as_str(), media_type] {
            let wrong = match claimed {
                MANIFEST | DOCKER_MANIFEST => is_index,
                INDEX | DOCKER_INDEX => is_manifest,
                _ => false,
            };
            if wrong {
                return Err(ManifestError::MediaType(claimed.to_owned()));
            }
        }
        if is_index {
            return Ok(Document::Index(
                serde_json::from_slice(bytes).map_err(malformed)?,
            ));
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(malformed)?;
        if manifest.layers.len() > LAYERS_MAX {
            return Err(ManifestError::Layers(manifest.layers.len()));
        }
        Ok(Document::Manifest(manifest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_is_also_an_index_is_refused() {
        let both = r#"{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}"#;
        assert_eq!(
            Document::parse(both.as_bytes(), ""),
            Err(ManifestError::Both)
        );
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(
            Document::parse(index, MANIFEST),
            Err(ManifestError::MediaType(_))
        ));
        assert!(matches!(
            Document::parse(index, INDEX),
            Ok(Document::Index(_))
        ));
    }

    #[test]
    fn too_large_too_deep_and_too_many_layers_are_refused() {
        let large = vec![b' '; DOCUMENT_MAX_BYTES as usize + 1];
        assert_eq!(Document::parse(&large, ""), Err(ManifestError::TooLarge));
        let deep = format!("{{\"schemaVersion\":2,\"x\":{}", "[".repeat(100_000));
        assert!(matches!(
            Document::parse(deep.as_bytes(), ""),
            Err(ManifestError::Malformed(_))
        ));
        let layer =
            serde_json::json!({"mediaType": LAYER, "size": 1, "digest": Digest::of(b"").as_str()});
        let many = serde_json::json!({"schemaVersion": 2, "config": layer, "layers": vec![layer.clone(); 128]});
        assert_eq!(
            Document::parse(many.to_string().as_bytes(), ""),
            Err(ManifestError::Layers(128))
        );
    }
}
