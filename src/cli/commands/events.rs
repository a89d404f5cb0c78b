//! `hoist events`: the command line of it.

use serde_json::json;

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::client::streams::EngineEvent;
use crate::labels;
use crate::ops::{events, timestamps};
use crate::ui::output;

/// Receive real time events from containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Output events as a stream of json objects
    #[arg(long)]
    pub(crate) json: bool,
    /// Show all events created since timestamp
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Labels of the project's own bookkeeping are left out of the attributes.
const OWN_PREFIX: &str = "com.docker.compose.";

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let time = |text: &Option<String>| {
        text.as_deref()
            .filter(|text| !text.is_empty())
            .map(timestamps::for_engine)
            .transpose()
    };
    let (since, until) = (time(&args.since)?, time(&args.until)?);
    let json = args.json;
    events::run(&ctx, &args.services, since, until, |event| {
        output::line(if json {
            json_line(&event)
        } else {
            plain(&event)
        });
        !output::stdout_is_broken()
    })
    .await?;
    Ok(())
}

fn attributes(event: &EngineEvent) -> Vec<(&String, &String)> {
    event
        .attributes
        .iter()
        .filter(|(key, _)| !key.starts_with(OWN_PREFIX) && !key.starts_with("dev.hoist."))
        .collect()
}

fn json_line(event: &EngineEvent) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(event.time_nano))
        .map(|time| time.to_string())
        .unwrap_or_default();
    let attributes: serde_json::Map<String, serde_json::Value> = attributes(event)
        .into_iter()
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    json!({
        "action": event.action,
        "attributes": attributes,
        "id": event.id,
        "service": event.attributes.get(labels::SERVICE),
        "time": time,
        "type": event.kind,
    })
    .to_string()
}

/// `2006-01-02 15:04:05.000000 container start ID (k=v, …)`, and an empty line.
fn plain(event: &EngineEvent) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(event.time_nano))
        .map(|time| {
            time.to_zoned(jiff::tz::TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S.%6f")
                .to_string()
        })
        .unwrap_or_default();
    let attributes: Vec<String> = attributes(event)
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!(
        "{time} {} {} {} ({})\n",
        event.kind,
        event.action,
        event.id,
        attributes.join(", ")
    )
}
