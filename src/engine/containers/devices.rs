//! What a container takes from this host by number or by mount: device nodes, block devices of limits, and
//! the content of image mounts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};

use crate::engine::base::{Error, Paths, Result};
use crate::engine::containers::create::image_mount_id;
use crate::engine::containers::mounts::MountSource;
use crate::engine::containers::record::Record;
use crate::engine::containers::rootfs::{self, Access};
use crate::engine::containers::spec::HostDevice;
use crate::oci::runtime_spec::{DeviceKind, DeviceSpec, RootfsSpec};

/// Numbers of block devices by path.
pub(crate) type BlockDevices = BTreeMap<String, (u32, u32)>;

/// The devices asked for (every one of the host for a privileged container), and the block devices that
/// limits name.
pub(crate) fn collect(record: &Record) -> Result<(Vec<HostDevice>, BlockDevices)> {
    let mut devices = Vec::new();
    if record.host.privileged {
        walk(Path::new("/dev"), "/dev", "rwm", &mut devices);
    }
    for mapping in record.host.resources.devices.iter().flatten() {
        let source = Path::new(&mapping.path_on_host);
        let target = match mapping.path_in_container.as_str() {
            "" => mapping.path_on_host.as_str(),
            own => own,
        };
        let access = match mapping.cgroup_permissions.as_str() {
            "" => "rwm",
            own => own,
        };
        let before = devices.len();
        match fs::metadata(source) {
            Ok(metadata) if metadata.is_dir() => walk(source, target, access, &mut devices),
            Ok(_) => devices.extend(device(source, target, access)),
            Err(_) => {}
        }
        if devices.len() == before {
            return Err(Error::system(format!(
                "error gathering device information while adding custom device \"{0}\": {0} is not a device node",
                mapping.path_on_host
            )));
        }
    }
    Ok((devices, block_devices(record)))
}

fn block_devices(record: &Record) -> BlockDevices {
    let limits = &record.host.resources;
    let throttled = [
        &limits.blkio_device_read_bps,
        &limits.blkio_device_write_bps,
        &limits.blkio_device_read_iops,
        &limits.blkio_device_write_iops,
    ];
    let paths = throttled
        .into_iter()
        .flatten()
        .flatten()
        .map(|device| &device.path)
        .chain(
            limits
                .blkio_weight_device
                .iter()
                .flatten()
                .map(|device| &device.path),
        );
    let mut found = BTreeMap::new();
    for path in paths {
        if let Ok(metadata) = fs::metadata(path)
            && metadata.file_type().is_block_device()
        {
            found.insert(path.clone(), numbers(metadata.rdev()));
        }
    }
    found
}

fn numbers(device: u64) -> (u32, u32) {
    (rustix::fs::major(device), rustix::fs::minor(device))
}

/// One node, `None` when it is none.
fn device(source: &Path, target: &str, access: &str) -> Option<HostDevice> {
    let metadata = fs::metadata(source).ok()?;
    let kind = if metadata.file_type().is_char_device() {
        DeviceKind::Char
    } else if metadata.file_type().is_block_device() {
        DeviceKind::Block
    } else {
        return None;
    };
    let (major, minor) = numbers(metadata.rdev());
    Some(HostDevice {
        spec: DeviceSpec {
            path: target.to_owned(),
            kind,
            major,
            minor,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
        },
        access: access.to_owned(),
    })
}

/// Every node below a directory. What the container has a fresh one of (`pts`, `shm`, `mqueue`) is left out.
fn walk(folder: &Path, target: &str, access: &str, devices: &mut Vec<HostDevice>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let target = format!("{target}/{name}");
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            if !matches!(
                name.as_str(),
                "pts" | "shm" | "fd" | "mqueue" | ".lxc" | ".lxd-mounts" | ".udev"
            ) {
                walk(&entry.path(), &target, access, devices);
            }
        } else if !matches!(name.as_str(), "console" | "ptmx") && !kind.is_symlink() {
            devices.extend(device(&entry.path(), &target, access));
        }
    }
}

fn image_mount_path(paths: &Paths, id: &str) -> PathBuf {
    paths.run_root().join("image-mounts").join(id)
}

/// Mounts an image's layers, read-only, where a bind can find them.
pub(crate) fn mount_image(paths: &Paths, id: &str, root: &RootfsSpec) -> Result<PathBuf> {
    let path = image_mount_path(paths, id);
    let failed = |error: std::io::Error| {
        Error::system(format!("mount an image at {}: {error}", path.display()))
    };
    unmount_quietly(&path);
    fs::create_dir_all(&path).map_err(failed)?;
    let mounted = rootfs::open(root, Access::Read)?;
    move_mount(
        &mounted,
        c"",
        CWD,
        &path,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .map_err(|error| failed(error.into()))?;
    Ok(path)
}

/// Takes the image mounts of a container away.
pub(crate) fn unmount_images(paths: &Paths, record: &Record) {
    for point in &record.mounts {
        if let MountSource::Image { .. } = &point.source {
            let path = image_mount_path(paths, &image_mount_id(&record.id, &point.destination));
            unmount_quietly(&path);
            if let Err(error) = fs::remove_dir(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, path = %path.display(), "remove an image's mount point");
            }
        }
    }
}

fn unmount_quietly(path: &Path) {
    // Not mounted is fine; in use is not possible for long, so it goes when its users do.
    let _ = unmount(path, UnmountFlags::DETACH);
}
