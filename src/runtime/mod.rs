//! Makes a process a container. Sync and for a process of one thread: the shim calls it, nothing else does.

pub(crate) mod limits;
