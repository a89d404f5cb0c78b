//! `deploy` of a service, and device requests.

use crate::compose::decode::{Decoder, Fields};
use crate::compose::model::{
    Deploy, DeviceRequest, GenericResource, Placement, ResourceLimits, Resources, RestartPolicy,
    UpdateConfig,
};
use crate::compose::node::Value;

pub(super) fn deploy(d: &mut Decoder<'_>, f: &Fields<'_>) -> Deploy {
    Deploy {
        mode: d.text(f, "mode"),
        replicas: d.optional_integer(f, "replicas"),
        labels: d.mapping(f, "labels"),
        update_config: d.section(f, "update_config", update_config).map(Box::new),
        rollback_config: d.section(f, "rollback_config", update_config).map(Box::new),
        resources: d
            .section(f, "resources", |d, f| Resources {
                limits: d.section(f, "limits", limits).map(Box::new),
                reservations: d.section(f, "reservations", limits).map(Box::new),
                extensions: d.extensions(f),
            })
            .unwrap_or_default(),
        restart_policy: d.section(f, "restart_policy", |d, f| RestartPolicy {
            condition: d.text(f, "condition"),
            delay: d.duration(f, "delay"),
            max_attempts: d.unsigned(f, "max_attempts"),
            window: d.duration(f, "window"),
            extensions: d.extensions(f),
        }),
        placement: d.section(f, "placement", placement).unwrap_or_default(),
        endpoint_mode: d.text(f, "endpoint_mode"),
        extensions: d.extensions(f),
    }
}

fn update_config(d: &mut Decoder<'_>, f: &Fields<'_>) -> UpdateConfig {
    UpdateConfig {
        parallelism: d.unsigned(f, "parallelism"),
        delay: d.duration(f, "delay").unwrap_or_default(),
        failure_action: d.text(f, "failure_action"),
        monitor: d.duration(f, "monitor").unwrap_or_default(),
        max_failure_ratio: d.float(f, "max_failure_ratio"),
        order: d.text(f, "order"),
        extensions: d.extensions(f),
    }
}

fn limits(d: &mut Decoder<'_>, f: &Fields<'_>) -> ResourceLimits {
    ResourceLimits {
        cpus: d.float(f, "cpus"),
        memory: d.bytes(f, "memory"),
        pids: d.integer(f, "pids"),
        devices: d.list(f, "devices", device_request),
        generic_resources: d.list(f, "generic_resources", |d, f| {
            let mut resource = GenericResource {
                extensions: d.extensions(f),
                ..GenericResource::default()
            };
            if let Some((kind, value, extensions)) =
                d.section(f, "discrete_resource_spec", |d, f| {
                    (d.text(f, "kind"), d.integer(f, "value"), d.extensions(f))
                })
            {
                resource.has_spec = true;
                resource.kind = kind;
                resource.value = value;
                resource.spec_extensions = extensions;
            }
            resource
        }),
        extensions: d.extensions(f),
    }
}

fn placement(d: &mut Decoder<'_>, f: &Fields<'_>) -> Placement {
    Placement {
        constraints: d.texts(f, "constraints"),
        preferences: d.list(f, "preferences", |d, f| {
            (d.text(f, "spread"), d.extensions(f))
        }),
        max_replicas_per_node: d.unsigned(f, "max_replicas_per_node").unwrap_or(0),
        extensions: d.extensions(f),
    }
}

pub(super) fn device_request(d: &mut Decoder<'_>, f: &Fields<'_>) -> DeviceRequest {
    DeviceRequest {
        capabilities: d.texts(f, "capabilities"),
        driver: d.text(f, "driver"),
        count: device_count(d, f),
        device_ids: d.texts(f, "device_ids"),
        options: d.mapping(f, "options"),
    }
}

fn device_count(d: &mut Decoder<'_>, f: &Fields<'_>) -> i64 {
    let Some(node) = f.get("count") else {
        return 0;
    };
    match &node.value {
        Value::Int(count) => *count,
        Value::Str(text) if text.eq_ignore_ascii_case("all") => -1,
        Value::Str(text) => crate::compose::interpolate::parse_int(text).unwrap_or_else(|_| {
            let what =
                format!("invalid value {text:?}, the only value allowed is 'all' or a number");
            d.refuse(node, &f.path.key("count"), what);
            0
        }),
        _ => {
            d.unexpected(node, &f.path.key("count"), "number or 'all'");
            0
        }
    }
}
