//! `top`: the processes inside the running containers.

use crate::client::reads::ContainerRow;
use crate::ops::{Context, OpError, replicas};

/// The processes of one container.
#[derive(Debug, Clone)]
pub(crate) struct TopOfContainer {
    pub(crate) container: ContainerRow,
    pub(crate) titles: Vec<String>,
    pub(crate) processes: Vec<Vec<String>>,
}

/// By service and number.
///
/// # Errors
/// The engine, or an unknown service.
pub(crate) async fn run(
    ctx: &Context,
    services: &[String],
) -> Result<Vec<TopOfContainer>, OpError> {
    let rows = replicas::of_services(ctx, services, false, true).await?;
    let looks = rows.into_iter().map(|container| async move {
        let (titles, processes) = ctx.client.top(&container.id).await?;
        Ok::<_, OpError>(TopOfContainer {
            container,
            titles,
            processes,
        })
    });
    futures_util::future::try_join_all(looks).await
}
