//! Top-level networks, volumes, configs, secrets and models.

use crate::compose::decode::{Decoder, Fields};
use crate::compose::model::{FileObject, IpamConfig, IpamPool, Model, Network, Volume};
use crate::compose::normalize::SECRET_VALUE;

pub(super) fn network(d: &mut Decoder<'_>, f: &Fields<'_>, _name: &str) -> Network {
    Network {
        name: d.text(f, "name"),
        driver: d.text(f, "driver"),
        driver_opts: d.mapping(f, "driver_opts"),
        ipam: d
            .section(f, "ipam", |d, f| IpamConfig {
                driver: d.text(f, "driver"),
                config: d.list(f, "config", |d, f| IpamPool {
                    subnet: d.text(f, "subnet"),
                    gateway: d.text(f, "gateway"),
                    ip_range: d.text(f, "ip_range"),
                    aux_addresses: d.mapping(f, "aux_addresses"),
                    extensions: d.extensions(f),
                }),
                extensions: d.extensions(f),
            })
            .unwrap_or_default(),
        external: d.boolean(f, "external"),
        internal: d.boolean(f, "internal"),
        attachable: d.boolean(f, "attachable"),
        labels: d.mapping(f, "labels"),
        enable_ipv4: d.optional_boolean(f, "enable_ipv4"),
        enable_ipv6: d.optional_boolean(f, "enable_ipv6"),
        extensions: d.extensions(f),
    }
}

pub(super) fn volume(d: &mut Decoder<'_>, f: &Fields<'_>, _name: &str) -> Volume {
    Volume {
        name: d.text(f, "name"),
        driver: d.text(f, "driver"),
        driver_opts: d.mapping(f, "driver_opts"),
        external: d.boolean(f, "external"),
        labels: d.mapping(f, "labels"),
        extensions: d.extensions(f),
    }
}

pub(super) fn file_object(d: &mut Decoder<'_>, f: &Fields<'_>, _name: &str) -> FileObject {
    let mut object = FileObject {
        name: d.text(f, "name"),
        file: d.text(f, "file"),
        environment: d.text(f, "environment"),
        content: d.text(f, "content"),
        external: d.boolean(f, "external"),
        labels: d.mapping(f, "labels"),
        driver: d.text(f, "driver"),
        driver_opts: d.strict_mapping(f, "driver_opts"),
        template_driver: d.text(f, "template_driver"),
        extensions: d.extensions(f),
    };
    if let Some(value) = f.get(SECRET_VALUE) {
        object.extensions.remove(SECRET_VALUE);
        object.content = value.as_str().unwrap_or_default().to_owned();
    }
    object
}

pub(super) fn model(d: &mut Decoder<'_>, f: &Fields<'_>, _name: &str) -> Model {
    Model {
        name: d.text(f, "name"),
        model: d.text(f, "model"),
        context_size: d.integer(f, "context_size"),
        runtime_flags: d.texts(f, "runtime_flags"),
        extensions: d.extensions(f),
    }
}
