//! The vocabulary that both halves share: OCI's names for images and containers, as types. No I/O.

pub(crate) mod capabilities;
pub(crate) mod digest;
pub(crate) mod dockerignore;
pub(crate) mod image_config;
pub(crate) mod manifest;
pub(crate) mod platform;
pub(crate) mod reference;
pub(crate) mod runtime_spec;

pub(crate) use digest::Digest;
pub(crate) use image_config::{Healthcheck, ImageConfig, RunConfig};
pub(crate) use platform::Platform;
pub(crate) use reference::Reference;
