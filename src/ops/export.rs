//! `export`: the filesystem of a service's container as a tar archive.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;

use crate::client::reads::ContainerRow;
use crate::client::{Client, ClientError};
use crate::ops::{Context, OpError, replicas};

/// The container that is meant.
///
/// # Errors
/// The engine, or no such container.
pub(crate) async fn container(
    ctx: &Context,
    service: &str,
    index: u32,
) -> Result<ContainerRow, OpError> {
    replicas::any_one(ctx, service, index).await
}

/// The archive, piece by piece.
pub(crate) fn archive<'a>(
    client: &'a Client,
    container: &'a ContainerRow,
) -> Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send + 'a>> {
    client.export_container(&container.id)
}
