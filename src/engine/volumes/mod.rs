//! Volumes: named directories that outlive containers. The `local` driver keeps them below the data root, or
//! mounts what its options name. It does not know what is in them.
//!
//! ```text
//! volumes/<name>/_data/        what containers see
//!                volume.json   the volume; a directory without it is no volume
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::engine::base::records::{self, Durability};
use crate::engine::base::sync::lock;
use crate::engine::base::{Error, ErrorKind, Event, EventBus, Paths, Result};
use crate::sys::rooted::{self, Root};

mod copy_up;
mod local;

const DATA: &str = "_data";
const RECORD: &str = "volume.json";
const LOCAL: &str = "local";
const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";
const NAME_MAX_CHARS: usize = 255;

/// What a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VolumeConfig {
    /// `None` or empty: an anonymous volume with 64 hex digits.
    pub(crate) name: Option<String>,
    /// Empty is `local`.
    pub(crate) driver: String,
    pub(crate) driver_opts: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A volume as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) driver_opts: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// Made without a name: prune may take it.
    pub(crate) anonymous: bool,
    /// The directory to bind into containers.
    pub(crate) mountpoint: PathBuf,
}

/// Which volumes `list` and `prune` see. Empty lists do not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VolumeFilters {
    /// Substrings.
    pub(crate) names: Vec<String>,
    pub(crate) drivers: Vec<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) labels_not: Vec<String>,
    pub(crate) dangling: Option<bool>,
}

#[derive(Default)]
struct Known {
    /// Containers that refer to the volume.
    holders: BTreeSet<String>,
    /// Containers that run with it.
    mounted_by: BTreeSet<String>,
    volume: Option<Volume>,
    /// Why the record could not be read.
    damage: Option<String>,
}

/// The volume service.
pub(crate) struct Volumes {
    folder: PathBuf,
    known: Mutex<HashMap<String, Known>>,
    events: Arc<EventBus>,
}

fn no_such_volume(name: &str) -> Error {
    Error::not_found(format!("get {name}: no such volume"))
}

impl std::fmt::Debug for Volumes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volumes").finish_non_exhaustive()
    }
}

impl Volumes {
    pub(crate) fn open(paths: &Paths, events: Arc<EventBus>) -> Result<Arc<Self>> {
        let folder = paths.volumes();
        fs::create_dir_all(&folder)?;
        let mut known = HashMap::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let loaded = match records::load::<Volume>(&entry.path().join(RECORD)) {
                Ok(volume) => Known {
                    volume: Some(volume),
                    ..Known::default()
                },
                // Creation or removal was cut short: there is no volume.
                Err(error) if error.kind == ErrorKind::NotFound => {
                    local::unmount(&entry.path().join(DATA))?;
                    rooted::remove_tree(&entry.path())?;
                    continue;
                }
                Err(error) => Known {
                    damage: Some(error.message),
                    ..Known::default()
                },
            };
            known.insert(name, loaded);
        }
        Ok(Arc::new(Volumes {
            folder,
            known: Mutex::new(known),
            events,
        }))
    }

    /// Makes a volume, or gives the one of that name (another driver is a conflict).
    pub(crate) fn create(&self, config: VolumeConfig) -> Result<Volume> {
        let driver = match config.driver.as_str() {
            "" => LOCAL.to_owned(),
            other => other.to_owned(),
        };
        if driver != LOCAL {
            return Err(Error::not_found(format!(
                "error looking up volume plugin {driver}: plugin \"{driver}\" not found"
            )));
        }
        let given = config.name.filter(|name| !name.is_empty());
        let anonymous = given.is_none();
        let name = match given {
            Some(name) => {
                check_name(&name)?;
                name
            }
            None => random_name()?,
        };
        local::check_options(&config.driver_opts)
            .map_err(|error| error.context(format!("create {name}")))?;
        let mut known = lock(&self.known);
        if let Some(existing) = known.get(&name) {
            return existing.get(&name);
        }
        let mut labels = config.labels;
        if anonymous {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
        }
        let path = self.folder.join(&name);
        let volume = Volume {
            mountpoint: path.join(DATA),
            driver,
            driver_opts: config.driver_opts,
            labels,
            created_at: now(),
            anonymous,
            name: name.clone(),
        };
        let made = make(&path, &volume);
        if let Err(error) = made {
            rooted::remove_tree(&path)?;
            return Err(error.context(format!("create {name}")));
        }
        known.insert(
            name.clone(),
            Known {
                volume: Some(volume.clone()),
                ..Known::default()
            },
        );
        drop(known);
        self.publish("create", &name, &[]);
        Ok(volume)
    }

    pub(crate) fn get(&self, name: &str) -> Result<Volume> {
        lock(&self.known)
            .get(name)
            .ok_or_else(|| no_such_volume(name))?
            .get(name)
    }

    /// Sorted by name.
    pub(crate) fn list(&self, filters: &VolumeFilters) -> Result<Vec<Volume>> {
        let known = lock(&self.known);
        let mut found: Vec<Volume> = known
            .values()
            .filter_map(|known| Some((known, known.volume.as_ref()?)))
            .filter(|(known, volume)| filters.match_volume(volume, known.holders.is_empty()))
            .map(|(_, volume)| volume.clone())
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    pub(crate) fn remove(&self, name: &str, force: bool) -> Result<()> {
        let mut known = lock(&self.known);
        let Some(entry) = known.get(name) else {
            return match force {
                true => Ok(()),
                false => Err(no_such_volume(name)),
            };
        };
        if !entry.holders.is_empty() {
            let holders: Vec<&str> = entry.holders.iter().map(String::as_str).collect();
            return Err(Error::conflict(format!(
                "remove {name}: volume is in use - [{}]",
                holders.join(", ")
            )));
        }
        let path = self.folder.join(name);
        local::unmount(&path.join(DATA))
            .map_err(|error| error.context(format!("remove {name}")))?;
        // Without its record it is no volume, whatever happens next.
        records::remove(&path.join(RECORD))?;
        known.remove(name);
        let removed = rooted::remove_tree(&path);
        drop(known);
        removed.map_err(|error| Error::from(error).context(format!("remove {name}")))?;
        self.publish("destroy", name, &[]);
        Ok(())
    }

    /// Names removed and bytes freed. Without `all` only anonymous ones.
    pub(crate) fn prune(&self, filters: &VolumeFilters, all: bool) -> Result<(Vec<String>, u64)> {
        let unused = VolumeFilters {
            dangling: Some(true),
            ..filters.clone()
        };
        let mut removed = Vec::new();
        let mut freed = 0;
        for volume in self.list(&unused)? {
            if !all && !volume.anonymous && !volume.labels.contains_key(ANONYMOUS_LABEL) {
                continue;
            }
            let size = if volume.driver_opts.is_empty() {
                size_of(&volume)?
            } else {
                0
            };
            match self.remove(&volume.name, false) {
                Ok(()) => {
                    freed += size;
                    removed.push(volume.name);
                }
                // Someone took it meanwhile.
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Ok((removed, freed))
    }

    /// The container refers to the volume from now on (create): removing it is a conflict.
    pub(crate) fn hold(&self, name: &str, container_id: &str) -> Result<Volume> {
        let mut known = lock(&self.known);
        let entry = known.get_mut(name).ok_or_else(|| no_such_volume(name))?;
        let volume = entry.get(name)?;
        entry.holders.insert(container_id.to_owned());
        Ok(volume)
    }

    /// The container starts: what the driver's options name is mounted. Implies `hold`.
    pub(crate) fn acquire(&self, name: &str, container_id: &str) -> Result<Volume> {
        let volume = self.hold(name, container_id)?;
        let mut known = lock(&self.known);
        if let Some(entry) = known.get_mut(name) {
            if entry.mounted_by.is_empty() {
                local::mount(&volume)?;
            }
            entry.mounted_by.insert(container_id.to_owned());
        }
        drop(known);
        self.publish("mount", name, &[("container", container_id)]);
        Ok(volume)
    }

    /// The container stopped: mounts nobody else uses go.
    pub(crate) fn unmount(&self, container_id: &str) -> Result<()> {
        let mut unmounted = Vec::new();
        {
            let mut known = lock(&self.known);
            for (name, entry) in known.iter_mut() {
                if !entry.mounted_by.remove(container_id) {
                    continue;
                }
                unmounted.push(name.clone());
                if let Some(volume) = &entry.volume
                    && entry.mounted_by.is_empty()
                    && !volume.driver_opts.is_empty()
                {
                    local::unmount(&volume.mountpoint)?;
                }
            }
        }
        for name in unmounted {
            self.publish("unmount", &name, &[("container", container_id)]);
        }
        Ok(())
    }

    /// The container is gone: nothing of it holds a volume.
    pub(crate) fn release(&self, container_id: &str) -> Result<()> {
        self.unmount(container_id)?;
        for entry in lock(&self.known).values_mut() {
            entry.holders.remove(container_id);
        }
        Ok(())
    }

    /// Containers that refer to the volume.
    pub(crate) fn users(&self, name: &str) -> Vec<String> {
        match lock(&self.known).get(name) {
            Some(entry) => entry.holders.iter().cloned().collect(),
            None => Vec::new(),
        }
    }

    /// Copies what the image has at the target (`source`, a directory opened beneath the rootfs) into an empty
    /// volume, with its owner and mode. Done once a volume.
    pub(crate) fn copy_up(&self, volume: &Volume, source: BorrowedFd<'_>) -> Result<()> {
        let target = Root::open(&volume.mountpoint)?;
        copy_up::copy_if_empty(source, target.as_fd()).map_err(|error| {
            Error::from(error).context(format!("fill volume {} from the image", volume.name))
        })
    }

    fn publish(&self, action: &str, name: &str, more: &[(&str, &str)]) {
        let mut attributes: BTreeMap<String, String> = more
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        attributes.insert("driver".to_owned(), LOCAL.to_owned());
        self.events
            .publish(Event::now("volume", action, name, attributes));
    }
}

impl Known {
    fn get(&self, name: &str) -> Result<Volume> {
        self.volume.clone().ok_or_else(|| {
            let damage = self.damage.as_deref().unwrap_or("its record is missing");
            Error::system(format!("volume {name} is broken: {damage}"))
        })
    }
}

impl VolumeFilters {
    fn match_volume(&self, volume: &Volume, is_unused: bool) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => volume.labels.get(key).is_some_and(|have| have == value),
            None => volume.labels.contains_key(wanted),
        };
        (self.names.is_empty()
            || self
                .names
                .iter()
                .any(|name| volume.name.contains(name.as_str())))
            && (self.drivers.is_empty() || self.drivers.contains(&volume.driver))
            && self.labels.iter().all(has)
            && !self.labels_not.iter().any(has)
            && self.dangling.is_none_or(|wanted| wanted == is_unused)
    }
}

/// Bytes in the volume's files.
pub(crate) fn size_of(volume: &Volume) -> Result<u64> {
    Ok(rooted::tree_size(&volume.mountpoint)?)
}

fn make(path: &std::path::Path, volume: &Volume) -> Result<()> {
    fs::create_dir(path)?;
    fs::create_dir(&volume.mountpoint)?;
    let root = Root::open(&volume.mountpoint)?;
    rustix::fs::fchmod(&root, rustix::fs::Mode::from_raw_mode(0o755))
        .map_err(std::io::Error::from)?;
    records::save(&path.join(RECORD), volume, Durability::Synced)
}

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`
fn check_name(name: &str) -> Result<()> {
    if name.len() == 1 {
        return Err(Error::invalid(
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    let good = name.len() <= NAME_MAX_CHARS
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if good {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(Error::invalid(format!(
        "create {shown}: {shown:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

fn random_name() -> Result<String> {
    let mut bytes = [0; 32];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn now() -> String {
    jiff::Timestamp::now()
        .round(jiff::Unit::Second)
        .map_or_else(|_| String::new(), |time| time.to_string())
}

#[cfg(test)]
#[path = "volumes_tests.rs"]
mod tests;
