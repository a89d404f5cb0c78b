//! Capabilities by name and as a set. It grants nothing: `sys::privileges` does.

use std::fmt;

use serde::{Deserialize, Serialize};

/// In the order of their numbers (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Docker's default fourteen.
const DOCKER_DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A set of capabilities, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Capabilities(u64);

/// A name that is no capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownCapability(pub(crate) String);

impl fmt::Display for UnknownCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid capability: \"{}\"", self.0)
    }
}

impl std::error::Error for UnknownCapability {}

impl Capabilities {
    pub(crate) const NONE: Capabilities = Capabilities(0);
    pub(crate) const ALL: Capabilities = Capabilities((1 << NAMES.len()) - 1);

    pub(crate) fn docker_default() -> Self {
        DOCKER_DEFAULT
            .iter()
            .filter_map(|name| number(name))
            .fold(Self::NONE, |set, number| Capabilities(set.0 | 1 << number))
    }

    /// The default set changed by `cap_add` and `cap_drop`, as Docker does it: names with or without `CAP_`, in
    /// any case, `ALL` for every one; a drop wins over an add of the same name, an add wins over `drop: ALL`.
    pub(crate) fn adjusted(
        self,
        add: &[String],
        drop: &[String],
    ) -> Result<Self, UnknownCapability> {
        let (added, dropped) = (parse_list(add)?, parse_list(drop)?);
        let start = match (added.all, dropped.all) {
            (true, _) => Self::ALL,
            (false, true) => Self::NONE,
            (false, false) => self,
        };
        let set = (start.0 | added.named.0) & !dropped.named.0;
        Ok(Capabilities(set))
    }

    pub(crate) fn contains(self, number: u8) -> bool {
        self.0 >> number & 1 == 1
    }

    /// By name, with or without `CAP_`. An unknown name is never contained.
    pub(crate) fn contains_name(self, name: &str) -> bool {
        number(name).is_some_and(|number| self.contains(number))
    }

    /// Bit n is capability n.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

struct Listed {
    all: bool,
    named: Capabilities,
}

fn parse_list(names: &[String]) -> Result<Listed, UnknownCapability> {
    let mut listed = Listed {
        all: false,
        named: Capabilities::NONE,
    };
    for name in names {
        if name.eq_ignore_ascii_case("all") || name.eq_ignore_ascii_case("cap_all") {
            listed.all = true;
            continue;
        }
        let number = number(name).ok_or_else(|| UnknownCapability(name.clone()))?;
        listed.named.0 |= 1 << number;
    }
    Ok(listed)
}

fn number(name: &str) -> Option<u8> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    (0u8..)
        .zip(NAMES)
        .find_map(|(number, known)| (known == bare).then_some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_default_is_dockers() {
        assert_eq!(Capabilities::docker_default().bits(), 0xa804_25fb);
    }

    #[test]
    fn adds_and_drops_follow_docker() {
        let default = Capabilities::docker_default();
        let cases: [(&[&str], &[&str], u64); 5] = [
            (&["net_admin"], &[], 0xa804_25fb | 1 << 12),
            (&[], &["CAP_CHOWN"], 0xa804_25fa),
            (&["NET_ADMIN"], &["ALL"], 1 << 12),
            (
                &["ALL"],
                &["SYS_ADMIN"],
                Capabilities::ALL.bits() & !(1 << 21),
            ),
            (&[], &["all"], 0),
        ];
        for (add, drop, expected) in cases {
            let set = default.adjusted(&names(add), &names(drop)).unwrap();
            assert_eq!(set.bits(), expected, "{add:?} {drop:?}");
        }
        let error = default.adjusted(&names(&["FLY"]), &[]).unwrap_err();
        assert_eq!(error.to_string(), "invalid capability: \"FLY\"");
    }
}
