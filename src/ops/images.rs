//! `images`: the images that the project's containers were made from.

use std::collections::BTreeMap;

use crate::client::images::split_reference;
use crate::client::reads::ImageDetail;
use crate::ops::{Context, OpError, replicas};

/// The image of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageUse {
    pub(crate) container: String,
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) image: ImageDetail,
}

/// By container name.
///
/// # Errors
/// The engine, or an unknown service.
pub(crate) async fn run(ctx: &Context, services: &[String]) -> Result<Vec<ImageUse>, OpError> {
    let rows = replicas::of_services(ctx, services, true, true).await?;
    let mut details: BTreeMap<String, ImageDetail> = BTreeMap::new();
    let mut uses = Vec::new();
    for row in rows {
        if !details.contains_key(&row.image_id) {
            let found = ctx.client.image_detail(&row.image_id).await?;
            // An image that is gone still has its id.
            details.insert(
                row.image_id.clone(),
                found.unwrap_or_else(|| ImageDetail {
                    id: row.image_id.clone(),
                    ..ImageDetail::default()
                }),
            );
        }
        let Some(image) = details.get(&row.image_id) else {
            continue;
        };
        let name = image
            .tags
            .iter()
            .find(|tag| **tag == row.image)
            .or_else(|| image.tags.first());
        let (repository, tag) = match name {
            Some(name) => split_reference(name),
            None => ("<none>".to_owned(), "<none>".to_owned()),
        };
        uses.push(ImageUse {
            container: row.name,
            repository,
            tag,
            image: image.clone(),
        });
    }
    uses.sort_by(|a, b| a.container.cmp(&b.container));
    Ok(uses)
}
