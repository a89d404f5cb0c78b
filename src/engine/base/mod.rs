//! What every part of the engine stands on: errors, paths, durable records, events, locks.
//! It knows nothing of containers, images or networks.

pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod filters;
pub(crate) mod paths;
pub(crate) mod records;
pub(crate) mod sync;

pub(crate) use error::{Error, ErrorKind, Result};
pub(crate) use events::{Event, EventBus};
pub(crate) use filters::Filters;
pub(crate) use paths::Paths;
