//! Byte sizes and durations as Compose files and Docker write them. Not for general number formatting.

mod duration;
mod size;

pub(crate) use duration::Duration;
pub(crate) use size::{human_size, parse_bytes};
