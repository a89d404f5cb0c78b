//! The kernel: safe wrappers over the system calls that the engine half needs. The only place with `unsafe`.
//! It knows no container, no engine, no protocol.

pub(crate) mod process;
pub(crate) mod terminal;
