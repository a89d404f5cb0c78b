//! Removing and pruning images: which names go, what forbids it, and which layers are then free. The rules and
//! the texts are dockerd's.

use std::collections::HashSet;

use crate::engine::base::records;
use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Result};
use crate::engine::images::{Deleted, ImageFilters, Images, State};
use crate::oci::{Digest, Reference};

/// What an image removal is about to do.
struct Removal {
    id: Digest,
    untag: Vec<Reference>,
    /// The image itself goes as well.
    delete: bool,
}

impl Images {
    /// Removes a name, or the image with all its names; without `noprune` also parents nobody needs.
    pub(crate) fn remove(&self, name: &str, force: bool, noprune: bool) -> Result<Vec<Deleted>> {
        let mut done = Vec::new();
        let mut gone = Vec::new();
        {
            let mut state = lock(&self.state);
            let id = state.find(name)?;
            let removal = state.plan_removal(name, &id, force)?;
            self.apply_removal(&mut state, removal, noprune, &mut done, &mut gone)?;
        }
        self.finish_removal(&mut done, gone)?;
        Ok(done)
    }

    /// Removes images no name needs (with `dangling: Some(false)` all that no container needs); bytes freed.
    pub(crate) fn prune(&self, filters: &ImageFilters) -> Result<(Vec<Deleted>, u64)> {
        let wanted = ImageFilters {
            all: true,
            dangling: filters.dangling.unwrap_or(true).then_some(true),
            ..filters.clone()
        };
        let mut done = Vec::new();
        let mut gone = Vec::new();
        // Removing a child can free its parent: repeat until nothing changes.
        loop {
            let before = gone.len();
            for image in self.list(&wanted)? {
                let mut state = lock(&self.state);
                let id = &image.id;
                let is_needed =
                    state.holds.values().any(|hold| hold.image == *id) || state.has_children(id);
                if is_needed || !state.images.contains_key(id) {
                    continue;
                }
                let removal = Removal {
                    id: id.clone(),
                    untag: state.names.of(id),
                    delete: true,
                };
                self.apply_removal(&mut state, removal, true, &mut done, &mut gone)?;
            }
            if gone.len() == before {
                break;
            }
        }
        let freed = self.finish_removal(&mut done, gone)?;
        Ok((done, freed))
    }

    fn apply_removal(
        &self,
        state: &mut State,
        removal: Removal,
        noprune: bool,
        done: &mut Vec<Deleted>,
        gone: &mut Vec<(String, Digest)>,
    ) -> Result<()> {
        state.names.change(&[], &removal.untag)?;
        for reference in &removal.untag {
            done.push(Deleted::Untagged(reference.familiar()));
            gone.push(("untag".to_owned(), removal.id.clone()));
        }
        if !removal.delete {
            return Ok(());
        }
        let mut next = Some(removal.id);
        while let Some(id) = next {
            records::remove(&self.record_path(&id))?;
            // The record decides; a config without one is only bytes.
            if let Err(error) = std::fs::remove_file(self.folder.join("configs").join(id.hex())) {
                tracing::warn!(%id, %error, "remove an image config");
            }
            let parent = state
                .images
                .remove(&id)
                .and_then(|known| known.record.parent);
            done.push(Deleted::Deleted(id.clone()));
            gone.push(("delete".to_owned(), id));
            next = parent.filter(|parent| {
                !noprune
                    && state.images.contains_key(parent)
                    && state.names.of(parent).is_empty()
                    && !state.has_children(parent)
                    && !state.holds.values().any(|hold| hold.image == *parent)
            });
        }
        Ok(())
    }

    fn finish_removal(&self, done: &mut Vec<Deleted>, gone: Vec<(String, Digest)>) -> Result<u64> {
        let mut freed = 0;
        if gone.iter().any(|(action, _)| action == "delete") {
            for (layer, size) in self.collect()? {
                done.push(Deleted::Deleted(layer));
                freed += size;
            }
        }
        for (action, id) in gone {
            self.publish(&action, &id, id.as_str());
        }
        Ok(freed)
    }
}

impl State {
    fn has_children(&self, id: &Digest) -> bool {
        self.images
            .values()
            .any(|known| known.record.parent.as_ref() == Some(id))
    }

    /// Decides what `name` removes, or why it cannot.
    fn plan_removal(&self, name: &str, id: &Digest, force: bool) -> Result<Removal> {
        let names = self.names.of(id);
        let by_name = Reference::parse(name)
            .ok()
            .filter(|reference| self.names.get(reference) == Some(id))
            .map(Reference::or_latest);
        if let Some(reference) = by_name {
            return self.plan_untag(reference, names, id, force);
        }
        let repositories: HashSet<String> = names.iter().map(Reference::name).collect();
        if repositories.len() > 1 && !force {
            return Err(Error::conflict(format!(
                "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
                id.short()
            )));
        }
        self.check_unused(id, force)?;
        Ok(Removal {
            id: id.clone(),
            untag: names,
            delete: true,
        })
    }

    fn plan_untag(
        &self,
        reference: Reference,
        names: Vec<Reference>,
        id: &Digest,
        force: bool,
    ) -> Result<Removal> {
        let same = |other: &Reference| match &reference.digest {
            Some(digest) => {
                other.name() == reference.name() && other.digest.as_ref() == Some(digest)
            }
            None => *other == reference,
        };
        let others: Vec<&Reference> = names.iter().filter(|other| !same(other)).collect();
        // Digests of the same repository go with its last tag.
        let is_last = others
            .iter()
            .all(|other| other.digest.is_some() && other.name() == reference.name());
        if !is_last {
            return Ok(Removal {
                id: id.clone(),
                untag: vec![reference],
                delete: false,
            });
        }
        if !force
            && let Some((container, _)) = self.holds.iter().find(|(_, hold)| hold.image == *id)
        {
            return Err(Error::conflict(format!(
                "conflict: unable to remove repository reference {:?} (must force) - container {} is using its referenced image {}",
                reference.familiar(),
                short(container),
                id.short()
            )));
        }
        // With force the name goes even where the image has to stay.
        let delete = self.check_unused(id, force).is_ok() && !self.is_held(id);
        Ok(Removal {
            id: id.clone(),
            untag: names,
            delete,
        })
    }

    fn is_held(&self, id: &Digest) -> bool {
        self.holds.values().any(|hold| hold.image == *id)
    }

    fn check_unused(&self, id: &Digest, force: bool) -> Result<()> {
        if self.has_children(id) {
            return Err(Error::conflict(format!(
                "conflict: unable to delete {} (cannot be forced) - image has dependent child images",
                id.short()
            )));
        }
        let holder = |running: bool| {
            self.holds
                .iter()
                .find(|(_, hold)| hold.image == *id && hold.running == running)
        };
        if let Some((container, _)) = holder(true) {
            return Err(Error::conflict(format!(
                "conflict: unable to delete {} (cannot be forced) - image is being used by running container {}",
                id.short(),
                short(container)
            )));
        }
        if let Some((container, _)) = holder(false)
            && !force
        {
            return Err(Error::conflict(format!(
                "conflict: unable to delete {} (must be forced) - image is being used by stopped container {}",
                id.short(),
                short(container)
            )));
        }
        Ok(())
    }
}

fn short(container_id: &str) -> &str {
    container_id.get(..12).unwrap_or(container_id)
}
