//! The vocabulary that both halves share: OCI's names for images and containers, as types. No I/O.

pub(crate) mod capabilities;
pub(crate) mod runtime_spec;
