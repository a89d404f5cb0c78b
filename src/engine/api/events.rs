//! `GET /events`: the bus as a stream of JSON objects, from `since` to `until`, filtered.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::engine::api::query::Params;
use crate::engine::api::respond::{self, ApiResult};
use crate::engine::api::{ApiState, ApiVersion};
use crate::engine::base::{Error, Event, Filters, Result};

const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

pub(crate) fn routes() -> Router<ApiState> {
    Router::new().route("/events", get(events))
}

#[derive(Serialize)]
struct EventView<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    from: &'a str,
    #[serde(rename = "Type")]
    kind: &'a str,
    #[serde(rename = "Action")]
    action: &'a str,
    #[serde(rename = "Actor")]
    actor: ActorView<'a>,
    scope: &'a str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

#[derive(Serialize)]
struct ActorView<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Attributes")]
    attributes: &'a BTreeMap<String, String>,
}

/// One line of the stream.
fn event_line(event: &Event) -> Bytes {
    // Until API 1.52, containers and images also have the fields of the first events API.
    let legacy = matches!(event.kind, "container" | "image");
    let image = event.attributes.get("image").map_or("", String::as_str);
    let view = EventView {
        status: if legacy { &event.action } else { "" },
        id: if legacy { &event.actor_id } else { "" },
        from: if event.kind == "container" { image } else { "" },
        kind: event.kind,
        action: &event.action,
        actor: ActorView {
            id: &event.actor_id,
            attributes: &event.attributes,
        },
        scope: "local",
        time: event.time_nano / 1_000_000_000,
        time_nano: event.time_nano,
    };
    let mut line = serde_json::to_vec(&view).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

async fn events(
    State(state): State<ApiState>,
    axum::Extension(_version): axum::Extension<ApiVersion>,
    params: Params,
) -> ApiResult {
    let filters = params.filters()?;
    filters.check(&FILTERS)?;
    let since = params.given("since").map(parse_time).transpose()?;
    let until = params.given("until").map(parse_time).transpose()?;
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(Error::invalid("`since` time must be before `until` time").into());
    }
    let (history, receiver) = state.events.subscribe();
    let mut past: Vec<Bytes> = Vec::new();
    if since.is_some() || until.is_some() {
        past.extend(
            history
                .iter()
                .filter(|event| since.is_some_and(|since| event.time_nano >= since))
                .filter(|event| until.is_none_or(|until| event.time_nano <= until))
                .filter(|event| matches(&filters, event))
                .map(event_line),
        );
    }
    Ok(event_stream(past, receiver, filters, until))
}

fn event_stream(
    past: Vec<Bytes>,
    receiver: Receiver<Event>,
    filters: Filters,
    until: Option<i64>,
) -> Response {
    let deadline = until.map(|until| {
        let left = u64::try_from(until.saturating_sub(now_nano())).unwrap_or(0);
        Instant::now() + Duration::from_nanos(left)
    });
    let start = (past.into_iter(), receiver, filters);
    let lines = stream::unfold(start, move |(mut past, mut receiver, filters)| async move {
        if let Some(line) = past.next() {
            return Some((Ok::<_, std::io::Error>(line), (past, receiver, filters)));
        }
        loop {
            let received = match deadline {
                None => receiver.recv().await,
                Some(deadline) => tokio::time::timeout_at(deadline, receiver.recv())
                    .await
                    .ok()?,
            };
            match received {
                Ok(event) if matches(&filters, &event) => {
                    let line = event_line(&event);
                    return Some((Ok(line), (past, receiver, filters)));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "a reader of /events is too slow");
                }
                Err(RecvError::Closed) => return None,
            }
        }
    });
    respond::with_type(StatusCode::OK, "application/json", Body::from_stream(lines))
}

/// Whether an event passes the filters. Keys are joined by "and", values of a key by "or".
fn matches(filters: &Filters, event: &Event) -> bool {
    if filters.is_empty() {
        return true;
    }
    let named = |value: &str, kind: &str| {
        if event.kind != kind {
            return false;
        }
        let name = event.attributes.get("name").map_or("", String::as_str);
        let image = event.attributes.get("image").map_or("", String::as_str);
        event.actor_id == value
            || name == value.trim_start_matches('/')
            || (!value.is_empty() && kind != "volume" && event.actor_id.starts_with(value))
            || (kind == "image" && (without_tag(image) == value || without_tag(name) == value))
    };
    // `health_status` and `exec_create` match whatever follows their colon.
    let action = |value: &str| {
        event.action == value
            || event
                .action
                .split_once(':')
                .is_some_and(|(head, _)| head == value)
    };
    let image = |value: &str| {
        let used = event.attributes.get("image").map_or("", String::as_str);
        named(value, "image")
            || (event.kind == "container" && (used == value || without_tag(used) == value))
    };
    filters.any("event", action)
        && filters.any("type", |value| event.kind == value)
        && filters.any("scope", |value| value == "local")
        && filters.any("daemon", |value| named(value, "daemon"))
        && filters.any("container", |value| named(value, "container"))
        && filters.any("plugin", |value| named(value, "plugin"))
        && filters.any("volume", |value| named(value, "volume"))
        && filters.any("network", |value| named(value, "network"))
        && filters.any("image", image)
        && ["node", "service", "secret", "config"]
            .iter()
            .all(|kind| filters.any(kind, |value| named(value, kind)))
        && filters.match_labels(|key| event.attributes.get(key).map(String::as_str))
}

fn without_tag(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

/// Unix seconds with up to nine decimals, or an RFC 3339 date, as nanoseconds since the epoch.
pub(crate) fn parse_time(text: &str) -> Result<i64> {
    let bad = || Error::invalid(format!("invalid time: {text:?}"));
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return i64::try_from(timestamp.as_nanosecond()).map_err(|_| bad());
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().map_err(|_| bad())?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos: i64 = digits.parse().map_err(|_| bad())?;
    seconds
        .checked_mul(1_000_000_000)
        .and_then(|whole| whole.checked_add(nanos))
        .ok_or_else(bad)
}

fn now_nano() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &'static str, action: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Event::now(kind, action, "abcdef", attributes)
    }

    #[test]
    fn times_have_fractions() {
        assert_eq!(
            parse_time("1795249924.929452083").unwrap(),
            1_795_249_924_929_452_083
        );
        assert_eq!(parse_time("12").unwrap(), 12_000_000_000);
        assert_eq!(parse_time("1970-01-01T00:00:01Z").unwrap(), 1_000_000_000);
        assert!(parse_time("soon").is_err());
        assert!(parse_time("99999999999999999").is_err());
    }

    #[test]
    fn filters_select_by_name_label_and_action_head() {
        let healthy = event(
            "container",
            "health_status: healthy",
            &[("name", "web"), ("image", "nginx:1"), ("a", "b")],
        );
        for accepted in [
            r#"{"event":["health_status"]}"#,
            r#"{"container":["web"]}"#,
            r#"{"container":["abc"]}"#,
            r#"{"image":["nginx"]}"#,
            r#"{"label":["a=b"],"type":["container","image"]}"#,
        ] {
            assert!(
                matches(&Filters::parse(accepted).unwrap(), &healthy),
                "{accepted}"
            );
        }
        for refused in [
            r#"{"event":["die"]}"#,
            r#"{"network":["web"]}"#,
            r#"{"label":["a=c"]}"#,
        ] {
            assert!(
                !matches(&Filters::parse(refused).unwrap(), &healthy),
                "{refused}"
            );
        }
    }
}
