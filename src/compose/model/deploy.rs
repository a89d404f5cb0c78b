//! The `deploy` section and device requests (`gpus`). Swarm-only keys are kept, not acted on.

use crate::compose::model::{Extensions, Mapping};
use crate::units::Duration;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Deploy {
    pub(crate) mode: String,
    pub(crate) replicas: Option<i64>,
    pub(crate) labels: Mapping,
    pub(crate) update_config: Option<Box<UpdateConfig>>,
    pub(crate) rollback_config: Option<Box<UpdateConfig>>,
    pub(crate) resources: Resources,
    pub(crate) restart_policy: Option<RestartPolicy>,
    pub(crate) placement: Placement,
    pub(crate) endpoint_mode: String,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct UpdateConfig {
    pub(crate) parallelism: Option<u64>,
    pub(crate) delay: Duration,
    pub(crate) failure_action: String,
    pub(crate) monitor: Duration,
    pub(crate) max_failure_ratio: f32,
    pub(crate) order: String,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resources {
    pub(crate) limits: Option<Box<ResourceLimits>>,
    pub(crate) reservations: Option<Box<ResourceLimits>>,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ResourceLimits {
    /// Whole CPUs and fractions of one.
    pub(crate) cpus: f32,
    /// Bytes.
    pub(crate) memory: i64,
    pub(crate) pids: i64,
    pub(crate) devices: Vec<DeviceRequest>,
    pub(crate) generic_resources: Vec<GenericResource>,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DeviceRequest {
    pub(crate) capabilities: Vec<String>,
    pub(crate) driver: String,
    /// −1 for all.
    pub(crate) count: i64,
    pub(crate) device_ids: Vec<String>,
    pub(crate) options: Mapping,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GenericResource {
    pub(crate) kind: String,
    pub(crate) value: i64,
    /// False when the entry holds no `discrete_resource_spec`.
    pub(crate) has_spec: bool,
    pub(crate) spec_extensions: Extensions,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RestartPolicy {
    pub(crate) condition: String,
    pub(crate) delay: Option<Duration>,
    pub(crate) max_attempts: Option<u64>,
    pub(crate) window: Option<Duration>,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Placement {
    pub(crate) constraints: Vec<String>,
    /// The `spread` of each preference.
    pub(crate) preferences: Vec<(String, Extensions)>,
    pub(crate) max_replicas_per_node: u64,
    pub(crate) extensions: Extensions,
}
