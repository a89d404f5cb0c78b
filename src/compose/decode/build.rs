//! `build`, `develop` and hooks of a service.

use crate::compose::decode::{Decoder, Fields, mounts, service};
use crate::compose::merge::go_text;
use crate::compose::model::{BuildConfig, Develop, Hook, SshKey, WatchRule};

pub(super) fn build(d: &mut Decoder<'_>, f: &Fields<'_>) -> BuildConfig {
    BuildConfig {
        context: d.text(f, "context"),
        dockerfile: d.text(f, "dockerfile"),
        dockerfile_inline: d.text(f, "dockerfile_inline"),
        entitlements: d.texts(f, "entitlements"),
        args: d.environment(f, "args"),
        provenance: d.text(f, "provenance"),
        sbom: d.text(f, "sbom"),
        ssh: ssh(d, f),
        labels: d.mapping(f, "labels"),
        cache_from: d.texts(f, "cache_from"),
        cache_to: d.texts(f, "cache_to"),
        no_cache: d.boolean(f, "no_cache"),
        no_cache_filter: d.texts(f, "no_cache_filter"),
        additional_contexts: d.mapping(f, "additional_contexts"),
        pull: d.boolean(f, "pull"),
        extra_hosts: d.hosts(f, "extra_hosts"),
        isolation: d.text(f, "isolation"),
        network: d.text(f, "network"),
        target: d.text(f, "target"),
        secrets: d.list(f, "secrets", mounts::file_reference),
        shm_size: d.bytes(f, "shm_size"),
        tags: d.texts(f, "tags"),
        ulimits: service::ulimits(d, f, "ulimits"),
        platforms: d.texts(f, "platforms"),
        privileged: d.boolean(f, "privileged"),
        extensions: d.extensions(f),
    }
}

fn ssh(d: &mut Decoder<'_>, f: &Fields<'_>) -> Vec<SshKey> {
    let Some(node) = f.get("ssh") else {
        return Vec::new();
    };
    let Some(map) = node.as_map() else {
        d.unexpected(node, &f.path.key("ssh"), "mapping");
        return Vec::new();
    };
    map.iter()
        .map(|(id, path)| SshKey {
            id: id.to_string(),
            path: if path.is_null() {
                String::new()
            } else {
                go_text(path)
            },
        })
        .collect()
}

pub(super) fn develop(d: &mut Decoder<'_>, f: &Fields<'_>) -> Develop {
    Develop {
        watch: d.list(f, "watch", |d, f| WatchRule {
            path: d.text(f, "path"),
            action: d.text(f, "action"),
            target: d.text(f, "target"),
            exec: d.section(f, "exec", hook).unwrap_or_default(),
            include: d.texts(f, "include"),
            ignore: d.texts(f, "ignore"),
            initial_sync: d.boolean(f, "initial_sync"),
            extensions: d.extensions(f),
        }),
        extensions: d.extensions(f),
    }
}

pub(super) fn hook(d: &mut Decoder<'_>, f: &Fields<'_>) -> Hook {
    Hook {
        command: d.command(f, "command"),
        image: d.text(f, "image"),
        user: d.text(f, "user"),
        privileged: d.boolean(f, "privileged"),
        working_dir: d.text(f, "working_dir"),
        environment: d.environment(f, "environment"),
        per_replica: d.boolean(f, "per_replica"),
        extensions: d.extensions(f),
    }
}
