//! `GET /distribution/<name>/json`: what a registry has under a name, without pulling it.

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::engine::api::ApiState;
use crate::engine::api::images::registry_auth;
use crate::engine::api::respond::{self, ApiError, ApiResult};
use crate::engine::base::Error;
use crate::engine::images::pull::tag_or_digest;
use crate::engine::images::registry::{Access, Registry};
use crate::oci::Reference;
use crate::oci::manifest::{DescriptorPlatform, Document};

pub(crate) fn routes() -> Router<ApiState> {
    Router::new().route("/distribution/{*path}", get(inspect))
}

fn platform_view(platform: &DescriptorPlatform) -> Value {
    let mut view = json!({"architecture": platform.architecture, "os": platform.os});
    if let Some(variant) = &platform.variant {
        view["variant"] = json!(variant);
    }
    view
}

async fn inspect(Path(path): Path<String>, headers: HeaderMap) -> ApiResult {
    let Some(name) = path.strip_suffix("/json") else {
        return Err(ApiError(Error::not_found("page not found")));
    };
    let reference = Reference::parse(name)
        .map_err(|error| Error::invalid(error.to_string()))?
        .or_latest();
    let auth = registry_auth(&headers)?;
    let registry = Registry::connect(&reference, &auth, Access::Pull).await?;
    let fetched = registry.manifest(&tag_or_digest(&reference)).await?;
    let platforms: Vec<Value> = match &fetched.document {
        Document::Index(index) => index
            .manifests
            .iter()
            .filter_map(|descriptor| descriptor.platform.as_ref())
            .map(platform_view)
            .collect(),
        Document::Manifest(manifest) => {
            let mut response = registry.blob(&manifest.config.digest, 0).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) =
                crate::engine::images::registry::next_chunk(&mut response).await?
            {
                bytes.extend_from_slice(&chunk);
                if bytes.len() as u64 > crate::oci::manifest::DOCUMENT_MAX_BYTES {
                    return Err(ApiError(Error::system(
                        "the image config is larger than 4 MiB",
                    )));
                }
            }
            match serde_json::from_slice::<crate::oci::ImageConfig>(&bytes) {
                Ok(config) => vec![json!({"architecture": config.architecture, "os": config.os})],
                Err(_) => Vec::new(),
            }
        }
    };
    Ok(respond::ok(&json!({
        "Descriptor": {
            "mediaType": fetched.media_type,
            "digest": fetched.digest.as_str(),
            "size": fetched.bytes.len(),
        },
        "Platforms": platforms,
    })))
}
