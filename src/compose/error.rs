//! What went wrong in a load, with its place in the files. Rendering to text is here; printing is `ui`'s.

use std::fmt;

/// Every finding of one load. Never empty.
#[derive(Clone, Debug)]
pub(crate) struct LoadErrors {
    findings: Vec<String>,
}

impl LoadErrors {
    /// One finding without a place.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self {
            findings: vec![text.into()],
        }
    }
}

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.findings.join("\n"))
    }
}

impl std::error::Error for LoadErrors {}

/// Something worth telling that does not stop the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) message: String,
}
