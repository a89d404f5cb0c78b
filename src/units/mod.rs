//! Byte sizes and durations as Compose files and Docker write them. Not for general number formatting.

mod duration;
mod size;

pub(crate) use duration::{Duration, ParseDurationError};
pub(crate) use size::{ParseSizeError, human_size, parse_bytes, parse_bytes_decimal};
