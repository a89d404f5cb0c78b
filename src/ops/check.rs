//! `check`: loads the project and gives advice on it. Prints nothing.

use crate::compose::advice::{Advice, CODES, advise, render, to_json};
use crate::compose::{LoadErrors, LoadOptions, Loaded, load};
use crate::ops::OpError;

/// The project and the advice on it.
pub(crate) struct Checked {
    loaded: Loaded,
    advice: Vec<Advice>,
}

/// Loads and looks.
///
/// # Errors
/// What the loader found.
pub(crate) fn run(options: &LoadOptions<'_>, ignored: &[String]) -> Result<Checked, LoadErrors> {
    let loaded = load(options)?;
    let advice = advise(&loaded, ignored);
    Ok(Checked { loaded, advice })
}

/// Refuses codes that do not exist.
///
/// # Errors
/// The first unknown code.
pub(crate) fn check_codes(codes: &[String]) -> Result<(), OpError> {
    match codes
        .iter()
        .find(|code| !CODES.iter().any(|(known, _)| known == code))
    {
        None => Ok(()),
        Some(code) => Err(OpError::failed(format!("there is no advice {code:?}"))
            .hint("`hoist check --list` shows the codes")),
    }
}

/// Every code with its meaning.
pub(crate) fn codes() -> &'static [(&'static str, &'static str)] {
    &CODES
}

impl Checked {
    pub(crate) fn is_clean(&self) -> bool {
        self.advice.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.advice.len()
    }

    pub(crate) fn text(&self, color: bool) -> String {
        render(&self.advice, &self.loaded.provenance.sources, color)
    }

    pub(crate) fn json(&self) -> String {
        to_json(&self.advice, &self.loaded.provenance.sources).to_string()
    }
}
