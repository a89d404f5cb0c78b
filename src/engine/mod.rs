//! The engine half: containers, images, networks and volumes behind the Docker Engine API.
//! It knows nothing of Compose files.

pub(crate) mod api;
pub(crate) mod base;
pub(crate) mod build;
pub(crate) mod containers;
pub(crate) mod daemon;
pub(crate) mod images;
pub(crate) mod networks;
pub(crate) mod volumes;
