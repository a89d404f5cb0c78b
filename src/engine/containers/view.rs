//! A container as others see it: what was asked, how it runs, where it is in the networks. Published by the
//! actor after every change, whole; readers never see half of one.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::containers::health::Health;
use crate::engine::containers::record::{Record, RunState};
use crate::engine::networks::{Endpoint, PortBinding};
use crate::shim::client::Shim;

/// One published state.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) record: Arc<Record>,
    pub(crate) run: RunState,
    /// There while it has a healthcheck and runs, and after.
    pub(crate) health: Option<Health>,
    /// Grows with every end of a run, also of one that failed to start.
    pub(crate) exits: u64,
    /// Gone for good; the last view of all.
    pub(crate) removed: bool,
    /// While there is a process.
    pub(crate) shim: Option<Shim>,
    pub(crate) network: Arc<NetworkView>,
}

/// A container's place in the networks while it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NetworkView {
    pub(crate) netns_path: Option<PathBuf>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) ports: Vec<PortBinding>,
}

impl View {
    pub(crate) fn id(&self) -> &str {
        &self.record.id
    }
}
