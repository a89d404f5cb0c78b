//! The Compose model: plain data of a loaded, canonical project, one file a section.
//! No parsing, no rules, no rendering: only the structs, their lookups, and nothing that does I/O.

mod build;
mod deploy;
mod develop;
mod mount;
mod network;
mod project;
mod resource;
mod service;
mod value;
mod view;

pub(crate) use build::{BuildConfig, SshKey};
pub(crate) use deploy::{
    Deploy, DeviceRequest, GenericResource, Placement, ResourceLimits, Resources, RestartPolicy,
    UpdateConfig,
};
pub(crate) use develop::{Develop, WatchRule};
pub(crate) use mount::{
    BindOptions, FileReference, ImageOptions, ServiceVolume, TmpfsOptions, VolumeOptions,
};
pub(crate) use network::{IpamConfig, IpamPool, Network, ServiceNetwork};
pub(crate) use project::Project;
pub(crate) use resource::{FileObject, Model, Volume};
pub(crate) use service::{
    BlkioConfig, CredentialSpec, Dependency, Device, EnvFile, Extends, Healthcheck, Hook, Logging,
    PortConfig, Provider, Service, ServiceModel, ThrottleDevice, Ulimit, WeightDevice,
};
pub(crate) use value::{Extensions, Value};
pub(crate) use view::{network_json, project as project_view, service_json, volume_json};

use indexmap::IndexMap;

/// String keys to string values, in the order of the file.
pub(crate) type Mapping = IndexMap<String, String>;

/// Keys to values where a key may stand without one (`KEY`, not `KEY=`).
pub(crate) type Environment = IndexMap<String, Option<String>>;

/// Host names to their addresses, as in `extra_hosts`.
pub(crate) type Hosts = IndexMap<String, Vec<String>>;
