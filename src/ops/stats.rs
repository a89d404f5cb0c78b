//! `stats`: the resource use of the project's containers.

use tokio::sync::mpsc;

use futures_util::StreamExt as _;

use crate::client::reads::ContainerRow;
use crate::client::streams::Usage;
use crate::ops::{Context, OpError, replicas};

/// The use of a container at a moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) id: String,
    pub(crate) usage: Usage,
}

const CHANNEL_SAMPLES: usize = 64;

/// The containers that `stats` shows.
///
/// # Errors
/// The engine, or an unknown service.
pub(crate) async fn containers(
    ctx: &Context,
    service: Option<&str>,
    all: bool,
) -> Result<Vec<ContainerRow>, OpError> {
    let services: Vec<String> = service.map(str::to_owned).into_iter().collect();
    replicas::of_services(ctx, &services, all, true).await
}

/// One sample of each container, at once.
///
/// # Errors
/// The engine.
pub(crate) async fn once(ctx: &Context, rows: &[ContainerRow]) -> Result<Vec<Sample>, OpError> {
    let looks = rows.iter().map(|row| async {
        let usage = if row.is_running() {
            let mut samples = ctx.client.stats(&row.id, false);
            samples.next().await.transpose()?.unwrap_or_default()
        } else {
            Usage::default()
        };
        Ok::<_, OpError>(Sample {
            id: row.id.clone(),
            usage,
        })
    });
    futures_util::future::try_join_all(looks).await
}

/// Samples of all containers as they come, until all have stopped.
pub(crate) fn follow(ctx: &Context, rows: &[ContainerRow]) -> mpsc::Receiver<Sample> {
    let (sample_tx, sample_rx) = mpsc::channel(CHANNEL_SAMPLES);
    for row in rows.iter().filter(|row| row.is_running()) {
        let mut samples = ctx.client.stats(&row.id, true);
        let sample_tx = sample_tx.clone();
        let id = row.id.clone();
        tokio::spawn(async move {
            while let Some(Ok(usage)) = samples.next().await {
                let sample = Sample {
                    id: id.clone(),
                    usage,
                };
                if sample_tx.send(sample).await.is_err() {
                    break;
                }
            }
        });
    }
    sample_rx
}
