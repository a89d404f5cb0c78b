//! The event bus: what happened, to whom, when. It keeps a bounded history for `since` and drops the
//! oldest for a reader that does not keep up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;

use crate::engine::base::sync::lock;

/// Events that `since` can still see, as many as dockerd keeps.
const HISTORY_EVENTS: usize = 256;
const CHANNEL_EVENTS: usize = 4096;

/// One event, in the terms of `GET /events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// `container`, `image`, `network`, `volume`, `builder`, `daemon`.
    pub(crate) kind: &'static str,
    pub(crate) action: String,
    pub(crate) actor_id: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Nanoseconds since the epoch.
    pub(crate) time_nano: i64,
}

impl Event {
    /// An event of now.
    pub(crate) fn now(
        kind: &'static str,
        action: impl Into<String>,
        actor_id: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Event {
            kind,
            action: action.into(),
            actor_id: actor_id.into(),
            attributes,
            time_nano: i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX),
        }
    }
}

/// Where services publish and `GET /events` listens. A clone is the same bus.
#[derive(Debug, Clone)]
pub(crate) struct EventBus {
    history: Arc<Mutex<VecDeque<Event>>>,
    sender: broadcast::Sender<Event>,
}

impl EventBus {
    pub(crate) fn new() -> Self {
        EventBus {
            history: Arc::new(Mutex::new(VecDeque::new())),
            sender: broadcast::channel(CHANNEL_EVENTS).0,
        }
    }

    pub(crate) fn publish(&self, event: Event) {
        let mut history = lock(&self.history);
        if history.len() == HISTORY_EVENTS {
            history.pop_front();
        }
        history.push_back(event.clone());
        // No listener is no error.
        let _ = self.sender.send(event);
    }

    /// What is remembered and what comes, with no gap and no event twice.
    pub(crate) fn subscribe(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let history = lock(&self.history);
        (history.iter().cloned().collect(), self.sender.subscribe())
    }
}
