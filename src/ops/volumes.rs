//! `volumes`: the project's volumes, or those that running containers of some services mount.

use crate::client::reads::VolumeRow;
use crate::ops::{Context, OpError, replicas};

/// By name.
///
/// # Errors
/// The engine, or an unknown service.
pub(crate) async fn run(ctx: &Context, services: &[String]) -> Result<Vec<VolumeRow>, OpError> {
    let mut volumes = ctx.client.volume_rows(&ctx.project_name).await?;
    if !services.is_empty() {
        let containers = replicas::of_services(ctx, services, false, true).await?;
        volumes.retain(|volume| {
            containers
                .iter()
                .any(|container| container.mounts.contains(&volume.name))
        });
    }
    Ok(volumes)
}
