//! Names that point to images: tags and manifest digests, in one file that is replaced as a whole. It does not
//! know whether an image exists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::base::records::{self, Durability};
use crate::engine::base::{ErrorKind, Result};
use crate::oci::{Digest, Reference};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Table {
    /// Full reference (with a tag or with a digest) → image id.
    names: BTreeMap<String, Digest>,
}

/// The table and where it is kept. Every change is on the disk when it returns.
pub(crate) struct Names {
    path: PathBuf,
    table: Table,
}

impl Names {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let table = match records::load(path) {
            Ok(table) => table,
            Err(error) if error.kind == ErrorKind::NotFound => Table::default(),
            Err(error) => return Err(error),
        };
        Ok(Names {
            path: path.to_owned(),
            table,
        })
    }

    /// By tag, or by digest when the reference has one.
    pub(crate) fn get(&self, reference: &Reference) -> Option<&Digest> {
        self.table.names.get(&key(reference))
    }

    /// All names of an image: tags first, each sorted.
    pub(crate) fn of(&self, id: &Digest) -> Vec<Reference> {
        let mut found: Vec<Reference> = self
            .table
            .names
            .iter()
            .filter(|(_, target)| *target == id)
            .filter_map(|(name, _)| Reference::parse(name).ok())
            .collect();
        found.sort_by_key(|reference| (reference.digest.is_some(), reference.familiar()));
        found
    }

    /// All tags of a repository (full name) and where they lead.
    pub(crate) fn tags_of(&self, repository: &str) -> Vec<(Reference, Digest)> {
        self.table
            .names
            .iter()
            .filter_map(|(name, id)| Some((Reference::parse(name).ok()?, id.clone())))
            .filter(|(reference, _)| reference.tag.is_some() && reference.name() == repository)
            .collect()
    }

    /// Points names to images and drops others, in one write.
    pub(crate) fn change(&mut self, set: &[(Reference, Digest)], drop: &[Reference]) -> Result<()> {
        let mut table = self.table.clone();
        for reference in drop {
            table.names.remove(&key(reference));
        }
        for (reference, id) in set {
            table.names.insert(key(reference), id.clone());
        }
        if table == self.table {
            return Ok(());
        }
        records::save(&self.path, &table, Durability::Synced)?;
        self.table = table;
        Ok(())
    }

    /// Forgets names of images that are not there, as after damage.
    pub(crate) fn retain(&mut self, exists: impl Fn(&Digest) -> bool) {
        self.table.names.retain(|_, id| exists(id));
    }
}

/// A digest makes the tag beside it meaningless.
fn key(reference: &Reference) -> String {
    match &reference.digest {
        Some(digest) => reference.with_digest(digest.clone()).to_string(),
        None => reference.clone().or_latest().to_string(),
    }
}
