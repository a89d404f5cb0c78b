//! `commit`: an image of a service's container as it is now.

use crate::client::images::CommitOptions;
use crate::ops::{Context, OpError, replicas};
use crate::progress::{Event, Resource};

/// Commits number `index` of a service, or its lowest; returns the image's id.
///
/// # Errors
/// The engine, or no such container.
pub(crate) async fn run(
    ctx: &Context,
    service: &str,
    index: u32,
    options: &CommitOptions,
) -> Result<String, OpError> {
    let container = replicas::any_one(ctx, service, index).await?;
    let resource = Resource::container(container.name.clone());
    ctx.progress.begin("commit");
    ctx.progress
        .send(Event::working(resource.clone(), "Committing"));
    if ctx.dry_run {
        ctx.progress.send(Event::done(resource, "Committed"));
        ctx.progress.end(false);
        return Ok(String::new());
    }
    let committed = ctx.client.commit_container(&container.id, options).await;
    ctx.progress.send(match &committed {
        Ok(image) => Event::done(resource, "Committed").detail(format!("(as {image})")),
        Err(error) => Event::error(resource, error.message()),
    });
    ctx.progress.end(committed.is_err());
    Ok(committed?)
}
