//! What is kept of a container on disk: what it was asked to be (`container.json`, written when that
//! changes) and how its last run went (`state.json`, written when it starts and ends).

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::engine::base::records::{self, Durability};
use crate::engine::base::{Paths, Result};
use crate::engine::containers::config::{Config, EndpointSettings, HostConfig};
use crate::engine::containers::mounts::MountPoint;
use crate::engine::containers::state::State;
use crate::oci::Digest;

/// A container as it was asked for, everything resolved that is resolved once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    /// Without the leading slash.
    pub(crate) name: String,
    /// RFC 3339 with nanoseconds.
    pub(crate) created: String,
    pub(crate) image_id: Digest,
    /// Merged with the image's.
    pub(crate) config: Config,
    pub(crate) host: HostConfig,
    pub(crate) mounts: Vec<MountPoint>,
    /// Networks by the name they were asked by, in order.
    pub(crate) networks: IndexMap<String, EndpointSettings>,
    pub(crate) platform: String,
}

impl Record {
    pub(crate) fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// The program and its arguments: entrypoint, then command.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args = self.config.entrypoint.clone().unwrap_or_default();
        args.extend(self.config.cmd.iter().flatten().cloned());
        args
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.config.labels.get(key).map(String::as_str)
    }
}

/// How the container is, or how its last run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunState {
    pub(crate) state: State,
    pub(crate) pid: i32,
    pub(crate) exit_code: i32,
    pub(crate) error: String,
    pub(crate) oom_killed: bool,
    /// RFC 3339, or the API's zero time.
    pub(crate) started_at: String,
    pub(crate) finished_at: String,
    /// Restarts by the policy since the user started it.
    pub(crate) restart_count: u32,
    /// The user ended the last run: no policy starts it again but `always`, with the engine.
    pub(crate) stopped_by_user: bool,
}

/// The API's "never".
pub(crate) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

impl RunState {
    pub(crate) fn created() -> Self {
        RunState {
            state: State::Created,
            pid: 0,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            started_at: ZERO_TIME.to_owned(),
            finished_at: ZERO_TIME.to_owned(),
            restart_count: 0,
            stopped_by_user: false,
        }
    }
}

pub(crate) fn record_path(paths: &Paths, id: &str) -> PathBuf {
    paths.container(id).join("container.json")
}

pub(crate) fn state_path(paths: &Paths, id: &str) -> PathBuf {
    paths.container(id).join("state.json")
}

/// Where the json-file log is.
pub(crate) fn log_path(paths: &Paths, id: &str) -> PathBuf {
    paths.container(id).join(format!("{id}-json.log"))
}

pub(crate) fn save_record(paths: &Paths, record: &Record) -> Result<()> {
    records::save(&record_path(paths, &record.id), record, Durability::Renamed)
}

pub(crate) fn save_state(paths: &Paths, id: &str, run: &RunState) -> Result<()> {
    records::save(&state_path(paths, id), run, Durability::Renamed)
}

/// Now, as the API writes times.
pub(crate) fn now_rfc3339() -> String {
    rfc3339(jiff::Timestamp::now())
}

/// RFC 3339 in UTC with nine decimals.
pub(crate) fn rfc3339(time: jiff::Timestamp) -> String {
    format!("{time:.9}")
}

/// The attributes of a container's events: all its labels, its image and its name.
pub(crate) fn event_attributes(record: &Record) -> BTreeMap<String, String> {
    let mut attributes = record.config.labels.clone();
    attributes.insert("image".to_owned(), record.config.image.clone());
    attributes.insert("name".to_owned(), record.name.clone());
    attributes
}
