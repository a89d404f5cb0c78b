//! The terminal: the only place that prints. It knows progress events, rows and log lines; it knows
//! neither engine nor compose files.

pub(crate) mod output;
