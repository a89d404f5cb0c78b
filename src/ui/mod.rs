//! The terminal: the only place that prints. It knows progress events, rows and log lines; it knows
//! neither engine nor compose files.

pub(crate) mod go_template;
pub(crate) mod human;
pub(crate) mod listing;
pub(crate) mod log_mux;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod prompt;
pub(crate) mod table;
pub(crate) mod terminal;
