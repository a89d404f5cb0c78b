//! The build context: a tar from the client, unpacked into a directory of its own, less what `.dockerignore`
//! leaves out; and the Dockerfile in it. Nothing outside that directory is ever reached.

use std::io::Read;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{FileType, Mode};
use tokio_util::sync::CancellationToken;

use crate::engine::base::{Error, Result};
use crate::engine::images::compression;
use crate::engine::images::tar_reader::TarReader;
use crate::engine::images::unpack::{self, Unpack, Whiteouts};
use crate::oci::dockerignore::{self, PatternSet};
use crate::sys::rooted::{self, Root};

const DOCKERFILE_MAX_BYTES: u64 = 4 << 20;
const IGNORE_FILE: &str = ".dockerignore";

/// Unpacks a context (a tar, compressed or not) into the empty directory `folder`. Everything belongs to root.
pub(crate) fn unpack_context(
    archive: impl Read,
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<()> {
    let fail = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull => Error::system,
            _ => Error::invalid,
        };
        kind(format!("error reading the build context: {error}"))
    };
    let root = Root::open(folder)?;
    rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755)).map_err(std::io::Error::from)?;
    let (_, plain) = compression::decompress(archive).map_err(fail)?;
    let mut reader = TarReader::new(plain);
    let options = Unpack {
        root: &root,
        whiteouts: Whiteouts::Literal,
        lowers: &[],
        keep_directories: false,
        owner: Some((0, 0)),
        cancel,
    };
    unpack::unpack(&mut reader, &options).map_err(fail)?;
    reader.finish().map_err(fail)?;
    Ok(())
}

/// Reads the Dockerfile at `name` (default `Dockerfile`) below `folder`.
pub(crate) fn read_dockerfile(folder: &Path, name: &str) -> Result<String> {
    let root = Root::open(folder)?;
    let wanted = if name.is_empty() { "Dockerfile" } else { name };
    let found = [wanted, "dockerfile"]
        .into_iter()
        .take(if name.is_empty() || name == "Dockerfile" {
            2
        } else {
            1
        })
        .find_map(|path| root.open_file(path.as_bytes()).ok());
    let Some(file) = found else {
        return Err(Error::invalid(format!(
            "Cannot locate specified Dockerfile: {wanted}"
        )));
    };
    let mut bytes = Vec::new();
    file.take(DOCKERFILE_MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > DOCKERFILE_MAX_BYTES {
        return Err(Error::invalid(format!("{wanted} is larger than 4 MiB")));
    }
    if bytes.is_empty() {
        return Err(Error::invalid(format!(
            "the Dockerfile ({wanted}) cannot be empty"
        )));
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid(format!("{wanted} is not UTF-8")))
}

/// Removes what `.dockerignore` (or `<Dockerfile>.dockerignore`) leaves out. The client has done so mostly; this is
/// for those that send everything.
pub(crate) fn apply_ignore_file(folder: &Path, dockerfile: &str) -> Result<()> {
    let root = Root::open(folder)?;
    let own = format!(
        "{}{IGNORE_FILE}",
        if dockerfile.is_empty() {
            "Dockerfile"
        } else {
            dockerfile
        }
    );
    let Some(file) = [own.as_str(), IGNORE_FILE]
        .into_iter()
        .find_map(|name| root.open_file(name.as_bytes()).ok())
    else {
        return Ok(());
    };
    let mut bytes = Vec::new();
    file.take(DOCKERFILE_MAX_BYTES).read_to_end(&mut bytes)?;
    let patterns = dockerignore::parse(&String::from_utf8_lossy(&bytes));
    let set = PatternSet::new(&patterns)
        .map_err(|error| Error::invalid(format!("error parsing .dockerignore: {error}")))?;
    if set.is_empty() {
        return Ok(());
    }
    prune(&root, &set, &mut Vec::new())?;
    Ok(())
}

fn prune(root: &Root, set: &PatternSet, path: &mut Vec<u8>) -> Result<()> {
    let dir = root.open_dir(path)?;
    for name in rooted::names(dir.as_fd())? {
        let length = path.len();
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        let text = String::from_utf8_lossy(path).into_owned();
        let is_dir = rooted::stat_at(dir.as_fd(), name.to_bytes())?
            .is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        let ignored = set.matches(&text);
        if is_dir && (!ignored || set.may_match_below(&text)) {
            prune(root, set, path)?;
            if ignored {
                // Only what an exception brought back stays in it.
                let child = rooted::open_dir_at(dir.as_fd(), name.to_bytes())?;
                if rooted::names(child.as_fd())?.is_empty() {
                    rooted::remove_at(dir.as_fd(), name.to_bytes())?;
                }
            }
        } else if ignored {
            rooted::remove_at(dir.as_fd(), name.to_bytes())?;
        }
        path.truncate(length);
    }
    Ok(())
}
