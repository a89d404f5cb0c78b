//! An archive from a container → local files. The archive is not trusted: nothing is written outside of the
//! destination, and through no link that it brought.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Entry, EntryType};

use crate::client::files::PathStat;
use crate::ops::OpError;

/// Where the archive's entries go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// An existing folder: nothing is written outside of it.
    root: PathBuf,
    /// The first component of every entry is replaced by this; empty: it is dropped.
    name: PathBuf,
}

/// Decides where a source goes. `given` is the destination as the user wrote it.
pub(super) fn plan(
    stat: &PathStat,
    source: &str,
    target: &Path,
    given: &str,
) -> Result<Plan, OpError> {
    let wants_contents = source.ends_with("/.");
    let base = PathBuf::from(if stat.name.is_empty() || stat.name == "/" {
        String::new()
    } else {
        stat.name.clone()
    });
    match fs::metadata(target) {
        Ok(found) if found.is_dir() => Ok(Plan {
            root: target.to_owned(),
            name: if wants_contents { PathBuf::new() } else { base },
        }),
        Ok(_) if stat.is_dir => Err(OpError::failed(format!(
            "cannot copy a directory to the file {given}"
        ))),
        Ok(_) if given.ends_with('/') => {
            Err(OpError::failed(format!("{given} is not a directory")))
        }
        Err(_) if given.ends_with('/') && !stat.is_dir => {
            Err(OpError::failed(format!("no such directory: {given}")))
        }
        _ => {
            let parent = match target.parent() {
                Some(parent) if parent.is_dir() => parent.to_owned(),
                _ => {
                    return Err(OpError::failed(format!(
                        "invalid output path: directory of {given} does not exist"
                    )));
                }
            };
            let name = target.file_name().map(PathBuf::from).unwrap_or_default();
            Ok(Plan { root: parent, name })
        }
    }
}

/// Extracts.
pub(super) fn unpack(archive: File, plan: &Plan, keep_owners: bool) -> Result<(), OpError> {
    let failed = |error: io::Error| OpError::failed(format!("extract: {error}"));
    let mut archive = Archive::new(archive);
    // Folders get their modes last: a read-only one must be filled first.
    let mut folders: Vec<(PathBuf, u32)> = Vec::new();
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let path = entry.path().map_err(failed)?.into_owned();
        let Some(path) = rebased(&path, plan)? else {
            continue;
        };
        let target = plan.root.join(&path);
        refuse_links_above(&plan.root, &path)?;
        let mode = entry.header().mode().map_err(failed)? & 0o7777;
        write(&mut entry, &target, plan)
            .map_err(|error| OpError::failed(format!("extract {}: {error}", target.display())))?;
        match entry.header().entry_type() {
            EntryType::Directory => folders.push((target.clone(), mode)),
            EntryType::Symlink => {}
            _ => fs::set_permissions(&target, fs::Permissions::from_mode(mode)).map_err(failed)?,
        }
        if keep_owners {
            let uid = u32::try_from(entry.header().uid().map_err(failed)?).ok();
            let gid = u32::try_from(entry.header().gid().map_err(failed)?).ok();
            std::os::unix::fs::lchown(&target, uid, gid).map_err(failed)?;
        }
    }
    for (folder, mode) in folders.into_iter().rev() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(())
}

/// An entry's path under the root; `None` for the folder whose contents alone are wanted.
fn rebased(path: &Path, plan: &Plan) -> Result<Option<PathBuf>, OpError> {
    // `/dir/.` and `/` are packed as `./…`: there is no name of their own to replace.
    let is_nameless = path.components().next() == Some(Component::CurDir);
    let mut parts = path.components().filter(|part| *part != Component::CurDir);
    if !is_nameless {
        let _name = parts.next();
    }
    let mut rebased = plan.name.clone();
    for part in parts {
        match part {
            Component::Normal(name) => rebased.push(name),
            _ => {
                return Err(OpError::failed(format!(
                    "the archive has a path that leads outside: {}",
                    path.display()
                )));
            }
        }
    }
    if path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(OpError::failed(format!(
            "the archive has a path that leads outside: {}",
            path.display()
        )));
    }
    Ok((!rebased.as_os_str().is_empty()).then_some(rebased))
}

fn refuse_links_above(root: &Path, path: &Path) -> Result<(), OpError> {
    let mut at = root.to_owned();
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    for part in parent.components() {
        at.push(part);
        if fs::symlink_metadata(&at).is_ok_and(|found| found.is_symlink()) {
            return Err(OpError::failed(format!(
                "{} is a link: refusing to write through it",
                at.display()
            )));
        }
    }
    Ok(())
}

fn write(entry: &mut Entry<'_, File>, target: &Path, plan: &Plan) -> io::Result<()> {
    let existing = fs::symlink_metadata(target);
    match entry.header().entry_type() {
        EntryType::Directory => match existing {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(io::Error::from(io::ErrorKind::NotADirectory)),
            Err(_) => fs::create_dir(target),
        },
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            remove_file(target, existing)?;
            let mut file = File::create_new(target)?;
            io::copy(entry, &mut file)?;
            Ok(())
        }
        EntryType::Symlink => {
            remove_file(target, existing)?;
            let link = entry
                .link_name()?
                .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
            std::os::unix::fs::symlink(link, target)
        }
        EntryType::Link => {
            remove_file(target, existing)?;
            let link = entry
                .link_name()?
                .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
            let source = rebased(&link, plan)
                .and_then(|path| path.ok_or_else(|| OpError::failed("a link to nothing")))
                .and_then(|path| {
                    refuse_links_above(&plan.root, &path)?;
                    Ok(plan.root.join(path))
                })
                .map_err(|error| io::Error::other(error.message))?;
            fs::hard_link(source, target)
        }
        other => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("entries of type {other:?} are not copied"),
        )),
    }
}

fn remove_file(target: &Path, existing: io::Result<fs::Metadata>) -> io::Result<()> {
    match existing {
        Ok(found) if found.is_dir() => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        Ok(_) => fs::remove_file(target),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek as _, Write as _};

    fn archive(entries: &[(&str, EntryType, &str)]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            let raw = name.as_bytes();
            header.as_old_mut().name[..raw.len()].copy_from_slice(raw);
            if *kind == EntryType::Symlink || *kind == EntryType::Link {
                header.set_size(0);
                header.set_link_name(content).unwrap();
                header.set_cksum();
                builder.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                builder.append(&header, content.as_bytes()).unwrap();
            }
        }
        file.write_all(&builder.into_inner().unwrap()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn stat(name: &str, is_dir: bool) -> PathStat {
        PathStat {
            name: name.to_owned(),
            size: 0,
            is_dir,
            is_symlink: false,
            link_target: String::new(),
        }
    }

    #[test]
    fn a_folder_comes_under_its_own_or_its_new_name() {
        let folder = tempfile::tempdir().unwrap();
        let entries = [
            ("etc/", EntryType::Directory, ""),
            ("etc/a", EntryType::Regular, "A"),
            ("etc/l", EntryType::Symlink, "a"),
        ];
        let target = folder.path();
        let into = plan(&stat("etc", true), "/etc", target, ".").unwrap();
        unpack(archive(&entries), &into, false).unwrap();
        assert_eq!(fs::read_to_string(target.join("etc/l")).unwrap(), "A");
        let renamed = plan(&stat("etc", true), "/etc", &target.join("new"), "new").unwrap();
        unpack(archive(&entries), &renamed, false).unwrap();
        assert_eq!(fs::read_to_string(target.join("new/a")).unwrap(), "A");
        let contents = plan(&stat("etc", true), "/etc/.", &target.join("new"), "new").unwrap();
        unpack(archive(&entries), &contents, false).unwrap();
        assert!(!target.join("new/etc").exists());
    }

    #[test]
    fn nothing_is_written_outside_of_the_destination() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("in");
        fs::create_dir(&target).unwrap();
        let into = plan(&stat("x", true), "/x", &target, "in").unwrap();
        for entries in [
            vec![("x/../../evil", EntryType::Regular, "e")],
            vec![
                ("/x/evil", EntryType::Regular, "e"),
                ("x/../evil", EntryType::Regular, "e"),
            ],
            vec![
                ("x/", EntryType::Directory, ""),
                ("x/l", EntryType::Symlink, "../.."),
                ("x/l/evil", EntryType::Regular, "e"),
            ],
            vec![
                ("x/", EntryType::Directory, ""),
                ("x/h", EntryType::Link, "x/../../secret"),
            ],
        ] {
            fs::write(folder.path().join("secret"), "s").unwrap();
            assert!(
                unpack(archive(&entries), &into, false).is_err(),
                "{entries:?}"
            );
            assert!(!folder.path().join("evil").exists());
            fs::remove_dir_all(&target).unwrap();
            fs::create_dir(&target).unwrap();
        }
    }
}
