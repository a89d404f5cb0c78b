//! Binds, volumes, tmpfs and image mounts of a container, from the several ways the API has to ask for
//! them to one list of mount points. Pure; volumes are made by `create`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::base::{Error, Result};
use crate::engine::containers::config::{BindOptions, Config, HostConfig, Mount, TmpfsOptions};

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MountPoint {
    pub(crate) source: MountSource,
    /// Absolute and clean.
    pub(crate) destination: String,
    pub(crate) read_only: bool,
    /// The options as the user wrote them (`ro,z`), for inspect.
    pub(crate) mode: String,
    /// Empty, or a propagation of mount(8).
    pub(crate) propagation: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MountSource {
    Bind {
        path: String,
        /// Make a missing directory, as `-v` does and `--mount` does not.
        create: bool,
        non_recursive: bool,
        read_only_top_only: bool,
        read_only_must_be_recursive: bool,
    },
    Volume {
        /// Empty until `create` has made an anonymous one.
        name: String,
        driver: String,
        driver_opts: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
        subpath: String,
        /// Fill an empty volume with what the image has there.
        copy: bool,
        anonymous: bool,
    },
    Tmpfs {
        size_bytes: Option<u64>,
        mode: Option<u32>,
        options: Vec<String>,
    },
    Image {
        reference: String,
        subpath: String,
    },
}

impl MountSource {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            MountSource::Bind { .. } => "bind",
            MountSource::Volume { .. } => "volume",
            MountSource::Tmpfs { .. } => "tmpfs",
            MountSource::Image { .. } => "image",
        }
    }
}

impl MountPoint {
    pub(crate) fn volume_name(&self) -> Option<&str> {
        match &self.source {
            MountSource::Volume { name, .. } => Some(name),
            _ => None,
        }
    }
}

/// Everything the request and the image ask for, without `VolumesFrom`. A later way of asking replaces an
/// earlier one for the same destination only where Docker lets it; two of one way are an error.
pub(crate) fn collect(config: &Config, host: &HostConfig) -> Result<Vec<MountPoint>> {
    let mut points: Vec<MountPoint> = Vec::new();
    for text in host.binds.iter().flatten() {
        push(&mut points, parse_bind(text, &host.volume_driver)?)?;
    }
    for mount in &host.mounts {
        push(&mut points, parse_mount(mount, &host.volume_driver)?)?;
    }
    for (destination, options) in &host.tmpfs {
        push(&mut points, parse_tmpfs(destination, options)?)?;
    }
    for target in config.volumes.keys() {
        // Some clients put "source:target" here; Docker takes it for a bind spec and refuses.
        let destination = clean(target)?;
        if points.iter().all(|point| point.destination != destination) {
            points.push(MountPoint {
                source: anonymous_volume(&host.volume_driver),
                destination,
                read_only: false,
                mode: String::new(),
                propagation: String::new(),
            });
        }
    }
    Ok(points)
}

fn push(points: &mut Vec<MountPoint>, point: MountPoint) -> Result<()> {
    if points
        .iter()
        .any(|other| other.destination == point.destination)
    {
        return Err(Error::invalid(format!(
            "Duplicate mount point: {}",
            point.destination
        )));
    }
    points.push(point);
    Ok(())
}

fn anonymous_volume(driver: &str) -> MountSource {
    MountSource::Volume {
        name: String::new(),
        driver: driver.to_owned(),
        driver_opts: BTreeMap::new(),
        labels: BTreeMap::new(),
        subpath: String::new(),
        copy: true,
        anonymous: true,
    }
}

/// An absolute path without `.`, `..` and doubled slashes; not `/`.
pub(crate) fn clean(path: &str) -> Result<String> {
    if !path.starts_with('/') {
        return Err(Error::invalid(format!(
            "invalid mount config: invalid mount path: '{path}' mount path must be absolute"
        )));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(Error::invalid(
            "invalid specification: destination can't be '/'",
        ));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// `source:target[:options]`: a path is a bind, a name is a volume; `target` alone is an anonymous volume.
fn parse_bind(text: &str, volume_driver: &str) -> Result<MountPoint> {
    let bad = || Error::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(bad()),
    };
    if target.is_empty() || (parts.len() > 1 && source.is_empty()) {
        return Err(bad());
    }
    let destination = clean(target).map_err(|error| error.context(format!("{text:?}")))?;
    let options =
        parse_mode(mode).ok_or_else(|| Error::invalid(format!("invalid mode: {mode}")))?;
    let source = if source.starts_with('/') {
        MountSource::Bind {
            path: source.to_owned(),
            create: true,
            non_recursive: false,
            read_only_top_only: false,
            read_only_must_be_recursive: false,
        }
    } else if source.is_empty() {
        anonymous_volume(volume_driver)
    } else {
        check_volume_name(source)?;
        MountSource::Volume {
            name: source.to_owned(),
            driver: volume_driver.to_owned(),
            driver_opts: BTreeMap::new(),
            labels: BTreeMap::new(),
            subpath: String::new(),
            copy: options.copy,
            anonymous: false,
        }
    };
    if matches!(source, MountSource::Volume { .. }) && !options.propagation.is_empty() {
        return Err(Error::invalid(format!("invalid mode: {mode}")));
    }
    Ok(MountPoint {
        source,
        destination,
        read_only: options.read_only,
        mode: mode.to_owned(),
        propagation: options.propagation,
    })
}

struct Mode {
    read_only: bool,
    copy: bool,
    propagation: String,
}

/// The comma separated options of a bind. SELinux labels are taken and mean nothing without SELinux.
fn parse_mode(mode: &str) -> Option<Mode> {
    let mut parsed = Mode {
        read_only: false,
        copy: true,
        propagation: String::new(),
    };
    for option in mode.split(',').filter(|option| !option.is_empty()) {
        match option {
            "rw" => parsed.read_only = false,
            "ro" => parsed.read_only = true,
            "nocopy" => parsed.copy = false,
            "z" | "Z" | "copy" | "cached" | "delegated" | "consistent" | "default" => {}
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                option.clone_into(&mut parsed.propagation);
            }
            _ => return None,
        }
    }
    Some(parsed)
}

fn check_volume_name(name: &str) -> Result<()> {
    let mut characters = name.chars();
    let good = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() > 1
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if good {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

fn parse_mount(mount: &Mount, volume_driver: &str) -> Result<MountPoint> {
    let bad = |text: String| {
        Error::invalid(format!(
            "invalid mount config for type \"{}\": {text}",
            mount.kind
        ))
    };
    if mount.target.is_empty() {
        return Err(bad("field Target must not be empty".to_owned()));
    }
    let destination = clean(&mount.target)?;
    let mut propagation = String::new();
    let source = match mount.kind.as_str() {
        "bind" => {
            if mount.source.is_empty() {
                return Err(bad("field Source must not be empty".to_owned()));
            }
            if !mount.source.starts_with('/') {
                return Err(bad(format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    mount.source
                )));
            }
            let options = mount.bind_options.clone().unwrap_or_default();
            propagation.clone_from(&options.propagation);
            check_bind_options(mount, &options).map_err(bad)?;
            MountSource::Bind {
                path: mount.source.clone(),
                create: options.create_mountpoint,
                non_recursive: options.non_recursive,
                read_only_top_only: options.read_only_non_recursive,
                read_only_must_be_recursive: options.read_only_force_recursive,
            }
        }
        "volume" => volume_source(mount, volume_driver).map_err(bad)?,
        "tmpfs" => {
            if !mount.source.is_empty() {
                return Err(bad("field Source must not be specified".to_owned()));
            }
            tmpfs_source(mount.tmpfs_options.as_ref()).map_err(bad)?
        }
        "image" => {
            if mount.source.is_empty() {
                return Err(bad("field Source must not be empty".to_owned()));
            }
            MountSource::Image {
                reference: mount.source.clone(),
                subpath: mount
                    .image_options
                    .as_ref()
                    .map(|options| options.subpath.clone())
                    .unwrap_or_default(),
            }
        }
        other => {
            return Err(Error::invalid(format!(
                "invalid mount config: mount type unknown: {other:?}"
            )));
        }
    };
    Ok(MountPoint {
        read_only: mount.read_only || matches!(source, MountSource::Image { .. }),
        source,
        destination,
        mode: String::new(),
        propagation,
    })
}

fn check_bind_options(mount: &Mount, options: &BindOptions) -> Result<(), String> {
    if mount.volume_options.is_some() || mount.tmpfs_options.is_some() {
        return Err("field VolumeOptions or TmpfsOptions must not be specified".to_owned());
    }
    match options.propagation.as_str() {
        "" | "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => Ok(()),
        other => Err(format!("invalid propagation mode: {other}")),
    }
}

fn volume_source(mount: &Mount, volume_driver: &str) -> Result<MountSource, String> {
    if mount.bind_options.is_some() {
        return Err("field BindOptions must not be specified".to_owned());
    }
    let options = mount.volume_options.clone().unwrap_or_default();
    let subpath = &options.subpath;
    if subpath.starts_with('/') || subpath.split('/').any(|part| part == "..") {
        return Err(format!(
            "subpath must be a relative path within the volume: {subpath:?}"
        ));
    }
    if !mount.source.is_empty() {
        check_volume_name(&mount.source).map_err(|error| error.message)?;
    }
    let driver = options.driver_config.unwrap_or_default();
    Ok(MountSource::Volume {
        anonymous: mount.source.is_empty(),
        name: mount.source.clone(),
        driver: if driver.name.is_empty() {
            volume_driver.to_owned()
        } else {
            driver.name
        },
        driver_opts: driver.options,
        labels: options.labels,
        subpath: options.subpath,
        copy: !options.no_copy,
    })
}

fn tmpfs_source(options: Option<&TmpfsOptions>) -> Result<MountSource, String> {
    let Some(options) = options else {
        return Ok(MountSource::Tmpfs {
            size_bytes: None,
            mode: None,
            options: Vec::new(),
        });
    };
    let size_bytes = match options.size_bytes {
        0 => None,
        size => Some(u64::try_from(size).map_err(|_| "size cannot be negative".to_owned())?),
    };
    let further = options
        .options
        .iter()
        .flatten()
        .map(|words| match words.as_slice() {
            [key] => Ok(key.clone()),
            [key, value] => Ok(format!("{key}={value}")),
            other => Err(format!("invalid tmpfs option: {other:?}")),
        })
        .collect::<Result<_, _>>()?;
    Ok(MountSource::Tmpfs {
        size_bytes,
        mode: (options.mode != 0).then_some(options.mode),
        options: further,
    })
}

/// `--tmpfs target:size=64m,mode=1777,noexec`.
fn parse_tmpfs(destination: &str, options: &str) -> Result<MountPoint> {
    let destination = clean(destination)?;
    let mut size_bytes = None;
    let mut mode = None;
    let mut further = Vec::new();
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let bad = || Error::invalid(format!("invalid tmpfs option {option:?}"));
        match option.split_once('=') {
            Some(("size", text)) => match parse_size(text) {
                Some(size) => size_bytes = Some(size),
                // A share of the memory (`50%`) is the kernel's to work out.
                None if text.ends_with('%') => further.push(option.to_owned()),
                None => return Err(bad()),
            },
            Some(("mode", text)) => {
                mode = Some(u32::from_str_radix(text, 8).map_err(|_| bad())?);
            }
            Some(("uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol" | "huge", _)) => {
                further.push(option.to_owned());
            }
            Some(_) => return Err(bad()),
            None => match option {
                "ro" => read_only = true,
                "rw" => read_only = false,
                "exec" | "noexec" | "suid" | "nosuid" | "dev" | "nodev" | "noatime" | "atime"
                | "relatime" | "norelatime" | "strictatime" | "sync" | "async" | "diratime"
                | "nodiratime" | "private" | "rprivate" | "shared" | "rshared" | "slave"
                | "rslave" | "defaults" => further.push(option.to_owned()),
                _ => return Err(bad()),
            },
        }
    }
    Ok(MountPoint {
        source: MountSource::Tmpfs {
            size_bytes,
            mode,
            options: further,
        },
        destination,
        read_only,
        mode: options.to_owned(),
        propagation: String::new(),
    })
}

/// Bytes, or a number with k, m or g.
fn parse_size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower[digits.len()..].trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Result<MountPoint> {
        parse_bind(text, "")
    }

    #[test]
    fn binds_are_read_as_docker_reads_them() {
        let point = bind("/a:/b/../c:ro,z").unwrap();
        assert_eq!(point.destination, "/c");
        assert!(point.read_only && point.source.kind() == "bind");
        let point = bind("data:/var/lib/x:nocopy").unwrap();
        assert_eq!(point.volume_name(), Some("data"));
        assert!(matches!(
            point.source,
            MountSource::Volume {
                copy: false,
                anonymous: false,
                ..
            }
        ));
        assert!(matches!(
            bind("/only").unwrap().source,
            MountSource::Volume {
                anonymous: true,
                ..
            }
        ));
        for wrong in [
            "a:b",
            "/a:/b:nope",
            "/a:/",
            ":/x",
            "/a:/b:ro:x",
            "x!:/y",
            "../a:/b",
        ] {
            assert!(bind(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_same_destination_twice_is_an_error_but_the_images_volume_gives_way() {
        let mut host = HostConfig {
            binds: Some(vec!["a0:/data".to_owned()]),
            ..HostConfig::default()
        };
        let mut config = Config::default();
        config
            .volumes
            .insert("/data/".to_owned(), Default::default());
        assert_eq!(collect(&config, &host).unwrap().len(), 1);
        host.tmpfs
            .insert("/data".to_owned(), "size=1m,mode=700".to_owned());
        assert!(
            collect(&config, &host)
                .unwrap_err()
                .message
                .contains("Duplicate mount point: /data")
        );
    }

    #[test]
    fn tmpfs_options() {
        let point = parse_tmpfs("/run", "size=64m,mode=755,noexec,uid=5").unwrap();
        let MountSource::Tmpfs {
            size_bytes,
            mode,
            options,
        } = point.source
        else {
            panic!("not a tmpfs")
        };
        assert_eq!((size_bytes, mode), (Some(64 << 20), Some(0o755)));
        assert_eq!(options, ["noexec", "uid=5"]);
        assert!(parse_tmpfs("/run", "nonsense").is_err());
        assert!(parse_tmpfs("/run", "size=99999999999999g").is_err());
    }
}
