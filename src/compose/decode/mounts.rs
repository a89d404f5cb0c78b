//! Volumes of a service, and its uses of configs and secrets.

use crate::compose::decode::{Decoder, Fields};
use crate::compose::model::{
    BindOptions, FileReference, ImageOptions, ServiceVolume, TmpfsOptions, VolumeOptions,
};
use crate::compose::node::Value;

pub(super) fn service_volume(d: &mut Decoder<'_>, f: &Fields<'_>) -> ServiceVolume {
    ServiceVolume {
        kind: d.text(f, "type"),
        source: d.text(f, "source"),
        target: d.text(f, "target"),
        read_only: d.boolean(f, "read_only"),
        consistency: d.text(f, "consistency"),
        bind: d
            .section(f, "bind", |d, f| BindOptions {
                selinux: d.text(f, "selinux"),
                propagation: d.text(f, "propagation"),
                create_host_path: d.boolean(f, "create_host_path"),
                recursive: d.text(f, "recursive"),
                extensions: d.extensions(f),
            })
            .map(Box::new),
        volume: d
            .section(f, "volume", |d, f| VolumeOptions {
                labels: d.mapping(f, "labels"),
                nocopy: d.boolean(f, "nocopy"),
                subpath: d.text(f, "subpath"),
                extensions: d.extensions(f),
            })
            .map(Box::new),
        tmpfs: d
            .section(f, "tmpfs", |d, f| TmpfsOptions {
                size: d.bytes(f, "size"),
                mode: tmpfs_mode(d, f),
                extensions: d.extensions(f),
            })
            .map(Box::new),
        image: d
            .section(f, "image", |d, f| ImageOptions {
                subpath: d.text(f, "subpath"),
                extensions: d.extensions(f),
            })
            .map(Box::new),
        extensions: d.extensions(f),
    }
}

fn tmpfs_mode(d: &mut Decoder<'_>, f: &Fields<'_>) -> u32 {
    let mode = d.unsigned(f, "mode").unwrap_or(0);
    u32::try_from(mode).unwrap_or_else(|_| {
        if let Some(node) = f.get("mode") {
            d.refuse(node, &f.path.key("mode"), "no file mode");
        }
        0
    })
}

pub(super) fn file_reference(d: &mut Decoder<'_>, f: &Fields<'_>) -> FileReference {
    FileReference {
        source: d.text(f, "source"),
        target: d.text(f, "target"),
        uid: d.text(f, "uid"),
        gid: d.text(f, "gid"),
        mode: file_mode(d, f),
        extensions: d.extensions(f),
    }
}

/// A number, or octal digits in a text.
fn file_mode(d: &mut Decoder<'_>, f: &Fields<'_>) -> Option<i64> {
    let node = f.get("mode")?;
    match &node.value {
        Value::Int(mode) => Some(*mode),
        Value::Str(text) => match i64::from_str_radix(text, 8) {
            Ok(mode) => Some(mode),
            Err(_) => {
                let what = format!("{text:?} is no octal file mode");
                d.refuse(node, &f.path.key("mode"), what);
                None
            }
        },
        _ => {
            d.unexpected(node, &f.path.key("mode"), "file mode");
            None
        }
    }
}
