//! The shim: one small process a container, which outlives the engine. It makes the container through `runtime`, holds its
//! streams, writes its log, waits for its end and says how it was.
//!
//! ```text
//! engine ──fork request──▶ zygote ──fork──▶ shim ──clone3──▶ init ──exec──▶ the user's process
//!    └────────── control connection (frames of JSON) ──────▶ shim
//!    └────────── attach and exec connections (raw) ────────▶ shim
//! ```
//!
//! `client` is the engine's side and async; everything else runs in the shim, which has one thread and no async runtime.

mod backlog;
pub(crate) mod client;
mod connection;
mod container;
mod leftovers;
mod log_file;
pub(crate) mod protocol;
mod requests;
mod server;
mod streams;
#[cfg(test)]
pub(crate) mod test_container;
#[cfg(test)]
mod tests;
pub(crate) mod zygote;

/// Whether this process was started to be a zygote: by its name.
pub(crate) fn is_asked_for(arguments: &[std::ffi::OsString]) -> bool {
    arguments.first().is_some_and(|name| name == zygote::ROLE)
}
