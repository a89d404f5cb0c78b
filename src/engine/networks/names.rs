//! Names of kernel objects, derived from ids and from the engine's data root: a restarted engine knows its own
//! objects from a stranger's, also from those of another hoist engine on the same machine.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::engine::base::Result;
use crate::sys::nftables::{Family, Table};

/// Device groups of hoist start here; the lower half is the engine's.
const GROUP_BASE: u32 = 0x6800_0000;
/// An interface name has at most 15 bytes.
const INTERFACE_NAME_BYTES: usize = 15;

/// What the names of one engine have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelNames {
    tag: String,
    number: u64,
}

impl KernelNames {
    pub(crate) fn new(data_root: &Path) -> Self {
        let root = data_root
            .canonicalize()
            .unwrap_or_else(|_| data_root.to_owned());
        let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let number = digest
            .iter()
            .take(8)
            .fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        KernelNames {
            tag: format!("{:04x}", number >> 48),
            number,
        }
    }

    /// `br-` like Docker's, then the engine, then the network.
    pub(crate) fn bridge(&self, network_id: &str) -> String {
        self.interface("br-", network_id)
    }

    /// Every bridge that `bridge` names, as a pattern of nft.
    pub(crate) fn bridge_pattern(&self) -> String {
        format!("br-{}*", self.tag)
    }

    pub(crate) fn veth(&self, endpoint_id: &str) -> String {
        self.interface("veth", endpoint_id)
    }

    /// The parent of a macvlan or ipvlan network that was given none.
    pub(crate) fn own_parent(&self, network_id: &str) -> String {
        self.interface("pr-", network_id)
    }

    fn interface(&self, kind: &str, id: &str) -> String {
        let mut name = format!("{kind}{}{id}", self.tag);
        name.truncate(INTERFACE_NAME_BYTES);
        name
    }

    /// The device group of all links of this engine.
    pub(crate) fn group(&self) -> u32 {
        GROUP_BASE | (u32::from(self.tag_number()) << 1)
    }

    /// Links in this group are about to be deleted.
    pub(crate) fn doomed_group(&self) -> u32 {
        self.group() | 1
    }

    pub(crate) fn table(&self) -> Table {
        Table {
            family: Family::Inet,
            name: format!("hoist-{}", self.tag),
        }
    }

    /// Stands in the comment of every rule put into a chain of somebody else.
    pub(crate) fn mark(&self) -> String {
        format!("hoist-{}", self.tag)
    }

    /// The global id of the engine's unique local IPv6 subnets.
    pub(crate) fn global_id(&self) -> u64 {
        self.number & 0xff_ffff_ffff
    }

    fn tag_number(&self) -> u16 {
        u16::try_from(self.number >> 48).unwrap_or(0)
    }
}

/// 64 random hexadecimal digits.
pub(crate) fn new_id() -> Result<String> {
    let mut bytes = [0u8; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ_between_engines() {
        let one = KernelNames::new(Path::new("/nowhere/one"));
        let two = KernelNames::new(Path::new("/nowhere/two"));
        let id = new_id().unwrap();
        assert_eq!(id.len(), 64);
        for name in [one.bridge(&id), one.veth(&id), one.own_parent(&id)] {
            assert_eq!(name.len(), INTERFACE_NAME_BYTES, "{name}");
        }
        assert_ne!(one.bridge(&id), two.bridge(&id));
        assert_ne!(one.table(), two.table());
        assert_ne!(one.group(), two.group());
        assert_ne!(one.group(), one.doomed_group());
        let pattern = one.bridge_pattern();
        assert!(one.bridge(&id).starts_with(pattern.trim_end_matches('*')));
    }
}
