//! Platforms: `os/architecture/variant`, their other spellings, and which one a machine can run best.
//! Rules as in containerd's `platforms` package.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A normalised platform.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlatformError {
    #[error("{0:?} is an invalid platform: os[/architecture[/variant]] is expected")]
    Format(String),
    #[error("{0:?}: unknown operating system or architecture")]
    Unknown(String),
}

const SYSTEMS: [&str; 8] = [
    "linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "wasi", "android",
];
const ARCHITECTURES: [&str; 13] = [
    "amd64", "386", "arm", "arm64", "ppc64le", "ppc64", "s390x", "riscv64", "mips64le", "mips64",
    "loong64", "wasm", "mipsle",
];

impl Platform {
    pub(crate) fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, variant) = normalise(architecture, variant.filter(|v| !v.is_empty()));
        Platform {
            os: match os.to_ascii_lowercase().as_str() {
                "macos" => "darwin".to_owned(),
                "" => "linux".to_owned(),
                other => other.to_owned(),
            },
            architecture,
            variant,
        }
    }

    /// What this machine runs natively.
    pub(crate) fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// Parses `linux`, `arm64`, `linux/arm64`, `linux/arm/v7`.
    pub(crate) fn parse(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let component = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        if parts.len() > 3 || !parts.iter().all(component) {
            return Err(PlatformError::Format(text.to_owned()));
        }
        let lower = parts[0].to_ascii_lowercase();
        let platform = match parts.as_slice() {
            [_] if SYSTEMS.contains(&lower.as_str()) => {
                let host = Self::host();
                Self::new(&lower, &host.architecture, host.variant.as_deref())
            }
            [architecture] => Self::new("linux", architecture, None),
            [os, architecture] => Self::new(os, architecture, None),
            [os, architecture, variant] => Self::new(os, architecture, Some(variant)),
            _ => return Err(PlatformError::Format(text.to_owned())),
        };
        if parts.len() == 1 && !ARCHITECTURES.contains(&platform.architecture.as_str()) {
            return Err(PlatformError::Unknown(text.to_owned()));
        }
        Ok(platform)
    }

    /// How well `self` serves one who wants `wanted`: 0 is exact, `None` not at all.
    pub(crate) fn rank_for(&self, wanted: &Platform) -> Option<u32> {
        if self.os != wanted.os {
            return None;
        }
        if self.architecture == wanted.architecture {
            let (have, want) = (self.level(), wanted.level());
            return (have <= want).then(|| want - have);
        }
        match (wanted.architecture.as_str(), self.architecture.as_str()) {
            ("amd64", "386") => Some(100),
            ("arm64", "arm") => Some(100 + 8u32.saturating_sub(self.level())),
            _ => None,
        }
    }

    fn level(&self) -> u32 {
        let default = match self.architecture.as_str() {
            "arm64" => 8,
            "arm" => 7,
            _ => 1,
        };
        self.variant
            .as_deref()
            .and_then(|variant| {
                variant
                    .trim_start_matches('v')
                    .split('.')
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or(default)
    }
}

fn normalise(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.map(str::to_ascii_lowercase);
    let (name, variant) = match (architecture.as_str(), variant.as_deref()) {
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", None),
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64" | "amd64", other) => ("amd64", other),
        ("aarch64" | "arm64", None | Some("8" | "v8" | "v8.0")) => ("arm64", None),
        ("aarch64" | "arm64", other) => ("arm64", other),
        ("armhf", _) => ("arm", Some("v7")),
        ("armel", _) => ("arm", Some("v6")),
        ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        ("powerpc64le", other) => ("ppc64le", other),
        (name, other) => (name, other),
    };
    (name.to_owned(), variant.map(str::to_owned))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_become_one() {
        for (text, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("armhf", "linux/arm/v7"),
            ("Linux/ARM64", "linux/arm64"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), normal);
        }
        assert!(Platform::parse("a/b/c/d").is_err());
        assert!(Platform::parse("").is_err());
        assert!(Platform::parse("linux/").is_err());
    }

    #[test]
    fn the_nearest_platform_that_runs_ranks_first() {
        let platform = |text| Platform::parse(text).unwrap();
        let wanted = platform("linux/amd64");
        assert_eq!(platform("linux/amd64").rank_for(&wanted), Some(0));
        assert_eq!(platform("linux/386").rank_for(&wanted), Some(100));
        assert_eq!(platform("linux/arm64").rank_for(&wanted), None);
        assert_eq!(platform("windows/amd64").rank_for(&wanted), None);
        assert_eq!(platform("linux/amd64/v3").rank_for(&wanted), None);
        assert!(
            platform("linux/arm/v6").rank_for(&platform("linux/arm/v7"))
                > platform("linux/arm/v7").rank_for(&platform("linux/arm/v7"))
        );
    }
}
