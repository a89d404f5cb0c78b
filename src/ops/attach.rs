//! `attach`: the stdio of a service's main process. The user's terminal is `cli`'s.

use crate::client::reads::{ContainerDetail, ContainerRow};
use crate::client::streams::{AttachOptions, Attached};
use crate::ops::{Context, OpError, replicas};

/// A connection to a running container.
pub(crate) struct AttachedContainer {
    pub(crate) container: ContainerRow,
    pub(crate) detail: ContainerDetail,
    pub(crate) attached: Attached,
}

/// Connects to number `index` of a service, or its lowest.
///
/// # Errors
/// The engine, or none runs.
pub(crate) async fn run(
    ctx: &Context,
    service: &str,
    index: u32,
    options: &AttachOptions,
) -> Result<AttachedContainer, OpError> {
    let container = replicas::running_one(ctx, service, index).await?;
    let detail = ctx.client.container_detail(&container.id).await?;
    let stdin = options.stdin && detail.open_stdin;
    let attached = ctx
        .client
        .attach(
            &container.id,
            &AttachOptions {
                stdin,
                ..options.clone()
            },
        )
        .await?;
    Ok(AttachedContainer {
        container,
        detail,
        attached,
    })
}
