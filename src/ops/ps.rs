//! `ps`: which containers of the project there are. How they are shown is `cli`'s.

use crate::client::reads::ContainerRow;
use crate::ops::{Context, OpError, replicas};

/// Which containers to list.
#[derive(Debug, Clone)]
pub(crate) struct PsOptions {
    pub(crate) services: Vec<String>,
    /// Stopped ones and one-offs too.
    pub(crate) all: bool,
    /// Only these states; empty: any.
    pub(crate) states: Vec<String>,
    /// Containers of services that the project does not declare too.
    pub(crate) orphans: bool,
}

/// Containers by name.
///
/// # Errors
/// The engine, or an unknown service.
pub(crate) async fn run(ctx: &Context, options: PsOptions) -> Result<Vec<ContainerRow>, OpError> {
    let all = options.all || !options.states.is_empty();
    let mut rows = replicas::of_services(ctx, &options.services, all, options.all).await?;
    if let Some(project) = replicas::loaded(ctx)
        && !options.orphans
        && options.services.is_empty()
    {
        rows.retain(|row| project.services.contains_key(row.service()));
    }
    if !options.states.is_empty() {
        rows.retain(|row| {
            options
                .states
                .iter()
                .any(|state| state == row.state.as_str())
        });
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}
