//! `events`: what happens to the project's containers.

use futures_util::StreamExt as _;

use crate::client::streams::{EngineEvent, EventFilter};
use crate::labels;
use crate::ops::{Context, OpError};

/// Calls `happened` for each event of a container of the services named (of all when none is), until the
/// engine ends the stream or `happened` says `false`.
///
/// # Errors
/// The engine.
pub(crate) async fn run(
    ctx: &Context,
    services: &[String],
    since: Option<String>,
    until: Option<String>,
    mut happened: impl FnMut(EngineEvent) -> bool,
) -> Result<(), OpError> {
    let filter = EventFilter {
        labels: vec![format!("{}={}", labels::PROJECT, ctx.project_name)],
        kinds: vec!["container".to_owned()],
        since,
        until,
    };
    let mut events = ctx.client.events(&filter);
    while let Some(event) = events.next().await {
        let event = event?;
        let attribute = |name: &str| event.attributes.get(name).map_or("", String::as_str);
        if attribute(labels::ONE_OFF).eq_ignore_ascii_case("true") {
            continue;
        }
        let service = attribute(labels::SERVICE);
        if !services.is_empty() && !services.iter().any(|name| name == service) {
            continue;
        }
        if !happened(event) {
            break;
        }
    }
    Ok(())
}
