//! The mounts of a container's spec, in order: the system's, then what the user asked for with parents
//! before children, with the etc files among them. Pure.

use crate::engine::base::{Error, Result};
use crate::engine::containers::config::{SharedWith, shared_with};
use crate::engine::containers::mounts::{MountPoint, MountSource};
use crate::engine::containers::record::Record;
use crate::engine::containers::spec::{EtcFiles, Inputs};
use crate::oci::runtime_spec::{
    BindMount, MountFlags, MountKind, MountSpec, Propagation, ReadonlyBind, TmpfsMount,
    default_mounts,
};

pub(crate) fn build(record: &Record, inputs: &Inputs) -> Result<Vec<MountSpec>> {
    let mut mounts = system_mounts(record, inputs);
    let mut own: Vec<MountSpec> = Vec::new();
    if let Some(etc) = &inputs.etc {
        own.extend(etc_mounts(etc, record.host.readonly_rootfs));
    }
    for point in &record.mounts {
        own.retain(|mount| mount.destination != point.destination);
        own.push(MountSpec {
            destination: point.destination.clone(),
            kind: mount_kind(point, inputs)?,
        });
    }
    // What the user mounts on a place of the system takes that place, and what would be below it.
    mounts.retain(|system| {
        !own.iter()
            .any(|mount| covers(&mount.destination, &system.destination))
    });
    own.sort_by_key(|mount| depth(&mount.destination));
    mounts.extend(own);
    Ok(mounts)
}

fn depth(path: &str) -> usize {
    path.bytes().filter(|byte| *byte == b'/').count()
}

fn covers(outer: &str, inner: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn system_mounts(record: &Record, inputs: &Inputs) -> Vec<MountSpec> {
    let host = &record.host;
    let own_shm = matches!(host.ipc_mode.as_str(), "" | "private" | "shareable");
    let shm_bytes = own_shm.then(|| u64::try_from(host.shm_size).unwrap_or(0));
    let mut mounts = default_mounts(host.privileged, shm_bytes);
    let shm = match (shared_with(&host.ipc_mode), inputs.ipc_of) {
        (SharedWith::Host, _) => Some(MountKind::Bind(BindMount::new(
            "/dev/shm",
            ReadonlyBind::No,
        ))),
        (SharedWith::Container(_), Some(pid)) => Some(MountKind::ShmOf { pid }),
        _ => None,
    };
    if let Some(kind) = shm {
        mounts.push(MountSpec {
            destination: "/dev/shm".to_owned(),
            kind,
        });
    }
    mounts
}

/// Read-only when the root is, as in Docker.
fn etc_mounts(etc: &EtcFiles, readonly_rootfs: bool) -> Vec<MountSpec> {
    let readonly = if readonly_rootfs {
        ReadonlyBind::TopOnly
    } else {
        ReadonlyBind::No
    };
    [
        ("/etc/resolv.conf", &etc.resolv_conf),
        ("/etc/hostname", &etc.hostname),
        ("/etc/hosts", &etc.hosts),
    ]
    .into_iter()
    .map(|(destination, source)| MountSpec {
        destination: destination.to_owned(),
        kind: MountKind::Bind(BindMount::new(source, readonly)),
    })
    .collect()
}

fn mount_kind(point: &MountPoint, inputs: &Inputs) -> Result<MountKind> {
    let readonly = |read_only: bool, otherwise: ReadonlyBind| {
        if read_only {
            otherwise
        } else {
            ReadonlyBind::No
        }
    };
    match &point.source {
        MountSource::Bind {
            path,
            non_recursive,
            read_only_top_only,
            read_only_must_be_recursive,
            ..
        } => {
            let how = match (read_only_top_only, read_only_must_be_recursive) {
                (true, _) => ReadonlyBind::TopOnly,
                (false, true) => ReadonlyBind::RecursiveOrFail,
                (false, false) => ReadonlyBind::Recursive,
            };
            let mut bind = BindMount::new(path, readonly(point.read_only, how));
            bind.recursive = !non_recursive;
            bind.propagation = propagation(&point.propagation);
            Ok(MountKind::Bind(bind))
        }
        MountSource::Volume { name, subpath, .. } => {
            let source = inputs
                .volumes
                .get(name)
                .ok_or_else(|| Error::not_found(format!("get {name}: no such volume")))?;
            let how = readonly(point.read_only, ReadonlyBind::Recursive);
            let mut bind = BindMount::new(source, how);
            bind.subpath = (!subpath.is_empty()).then(|| subpath.clone());
            Ok(MountKind::Bind(bind))
        }
        MountSource::Image { subpath, reference } => {
            let source = inputs
                .images
                .get(&point.destination)
                .ok_or_else(|| Error::not_found(format!("No such image: {reference}")))?;
            let mut bind = BindMount::new(source, ReadonlyBind::Recursive);
            bind.subpath = (!subpath.is_empty()).then(|| subpath.clone());
            Ok(MountKind::Bind(bind))
        }
        MountSource::Tmpfs {
            size_bytes,
            mode,
            options,
        } => Ok(MountKind::Tmpfs(tmpfs(
            *size_bytes,
            *mode,
            options,
            point.read_only,
        ))),
    }
}

fn propagation(text: &str) -> Propagation {
    match text {
        "private" => Propagation::Private,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::Rslave,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::Rshared,
        _ => Propagation::Rprivate,
    }
}

/// Docker's tmpfs is noexec, nosuid and nodev until an option says otherwise.
fn tmpfs(
    size_bytes: Option<u64>,
    mode: Option<u32>,
    options: &[String],
    read_only: bool,
) -> TmpfsMount {
    let mut tmpfs = TmpfsMount {
        size_bytes,
        mode,
        uid: None,
        gid: None,
        flags: MountFlags {
            readonly: read_only,
            nosuid: true,
            nodev: true,
            noexec: true,
            noatime: false,
        },
        extra: Vec::new(),
    };
    for option in options {
        match option.as_str() {
            "exec" => tmpfs.flags.noexec = false,
            "noexec" => tmpfs.flags.noexec = true,
            "suid" => tmpfs.flags.nosuid = false,
            "nosuid" => tmpfs.flags.nosuid = true,
            "dev" => tmpfs.flags.nodev = false,
            "nodev" => tmpfs.flags.nodev = true,
            "noatime" => tmpfs.flags.noatime = true,
            other => match other.split_once('=') {
                Some(("uid", id)) => tmpfs.uid = id.parse().ok(),
                Some(("gid", id)) => tmpfs.gid = id.parse().ok(),
                Some(_) => tmpfs.extra.push(other.to_owned()),
                // The rest (`rw`, `relatime`, `rprivate`, …) is what a tmpfs is anyway.
                None => {}
            },
        }
    }
    tmpfs
}

#[cfg(test)]
mod tests {
    use crate::engine::containers::config::{Config, HostConfig};
    use crate::engine::containers::spec::tests::{inputs, record};

    use super::*;

    fn destinations(binds: &[&str]) -> Vec<String> {
        let host = HostConfig {
            binds: Some(binds.iter().map(|bind| (*bind).to_owned()).collect()),
            ..HostConfig::default()
        };
        let config = Config {
            cmd: Some(vec!["x".to_owned()]),
            ..Config::default()
        };
        build(&record(config, host), &inputs())
            .unwrap()
            .into_iter()
            .map(|mount| mount.destination)
            .collect()
    }

    #[test]
    fn parents_come_before_children_and_the_users_dev_is_whole() {
        let found = destinations(&["/a:/x/y/z", "/b:/x", "/h:/etc/hosts"]);
        let at = |path: &str| found.iter().position(|one| one == path).unwrap();
        assert!(at("/x") < at("/x/y/z"));
        assert_eq!(found.iter().filter(|one| *one == "/etc/hosts").count(), 1);
        let found = destinations(&["/dev:/dev"]);
        assert!(
            !found.iter().any(|one| one.starts_with("/dev/")),
            "{found:?}"
        );
        assert!(found.contains(&"/proc".to_owned()));
    }
}
