//! Names and ids of containers: what a name may look like, random ids, names for those who chose none.

use std::fs::File;
use std::io::Read as _;

use crate::engine::base::{Error, Result};

const ADJECTIVES: [&str; 32] = [
    "amber", "blithe", "bold", "brisk", "calm", "clever", "crisp", "deft", "eager", "fair",
    "fleet", "gentle", "glad", "hardy", "keen", "kind", "lively", "lucid", "merry", "mild",
    "nimble", "noble", "patient", "plucky", "quick", "quiet", "ready", "sunny", "swift", "tidy",
    "warm", "witty",
];
const LIFTERS: [&str; 32] = [
    "albatross",
    "antler",
    "balloon",
    "capstan",
    "condor",
    "crane",
    "davit",
    "derrick",
    "eagle",
    "falcon",
    "gantry",
    "glider",
    "halyard",
    "harrier",
    "heron",
    "hoist",
    "jackscrew",
    "kestrel",
    "kite",
    "lever",
    "osprey",
    "pulley",
    "ratchet",
    "rope",
    "sheave",
    "stork",
    "swift",
    "tackle",
    "tern",
    "windlass",
    "winch",
    "yardarm",
];

/// Random bytes of the kernel.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Error::system(format!("read /dev/urandom: {error}")))?;
    Ok(bytes)
}

/// 64 hex digits. An id is never all digits in its short form: it would look like a number to some tools.
pub(crate) fn new_id() -> Result<String> {
    loop {
        let bytes = random_bytes::<32>()?;
        let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if !id[..12].bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

/// A name for a container whose maker gave none: `nimble_crane`, with digits when that is taken.
pub(crate) fn generated(is_taken: impl Fn(&str) -> bool) -> Result<String> {
    for attempt in 0..64 {
        let [first, second, digits] = random_bytes::<3>()?;
        let adjective = ADJECTIVES[usize::from(first) % ADJECTIVES.len()];
        let lifter = LIFTERS[usize::from(second) % LIFTERS.len()];
        let name = if attempt == 0 {
            format!("{adjective}_{lifter}")
        } else {
            format!("{adjective}_{lifter}{digits}")
        };
        if !is_taken(&name) {
            return Ok(name);
        }
    }
    Ok(new_id()?[..16].to_owned())
}

/// Takes the leading slash off and checks the rest.
pub(crate) fn checked(name: &str) -> Result<String> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut characters = bare.chars();
    let good = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && bare.len() > 1
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if good {
        return Ok(bare.to_owned());
    }
    Err(Error::invalid(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_made() {
        assert_eq!(checked("/web-1").unwrap(), "web-1");
        for wrong in ["", "/", "a", "-web", "we b", "a/b", "w\u{e9}b"] {
            assert!(checked(wrong).is_err(), "{wrong:?}");
        }
        let name = generated(|_| false).unwrap();
        assert_eq!(checked(&name).unwrap(), name);
        assert!(generated(|name| !name.ends_with(|c: char| c.is_ascii_digit())).is_ok());
        assert_eq!(new_id().unwrap().len(), 64);
    }
}
