//! `!reset` and `!override`: finds them in a raw document, takes the reset nodes out and replaces aliases
//! on the way. What the found paths do to the merged files is `compose::reset`'s business.

use std::collections::HashMap;

use crate::compose::yaml::parse::{Arena, Index, Kind};
use crate::compose::yaml::{MAX_ALIAS_NODES, MAX_DEPTH, YamlError};

/// The keys from the root to a tagged node; items of lists are their numbers.
pub(crate) type ResetPath = Vec<String>;

/// Collects the tagged paths of a document and rewrites it: aliases become what they point to,
/// `!reset` nodes vanish.
pub(super) fn resolve(arena: &mut Arena<'_>) -> Result<Vec<ResetPath>, Box<YamlError>> {
    if !arena.has_aliases && !arena.has_reset_tags {
        return Ok(Vec::new());
    }
    let Some(root) = arena.root else {
        return Ok(Vec::new());
    };
    let budget = arena.nodes.len() + MAX_ALIAS_NODES;
    let mut walk = Walk {
        arena,
        found: Vec::new(),
        path: Vec::new(),
        visited: HashMap::new(),
        budget,
        depth: 0,
    };
    let resolved = walk.node(root)?;
    let found = walk.found;
    arena.root = resolved;
    Ok(found)
}

struct Walk<'w, 'a> {
    arena: &'w mut Arena<'a>,
    found: Vec<ResetPath>,
    path: Vec<String>,
    /// Where each aliased node was seen.
    visited: HashMap<Index, Vec<String>>,
    budget: usize,
    depth: usize,
}

impl Walk<'_, '_> {
    /// The node that takes this one's place, or `None` when it was reset.
    fn node(&mut self, index: Index) -> Result<Option<Index>, Box<YamlError>> {
        let raw = self.arena.get(index);
        let span = raw.span;
        if self.budget == 0 {
            return Err(YamlError::new("document contains excessive aliasing", span));
        }
        self.budget -= 1;
        if self.depth > MAX_DEPTH {
            return Err(YamlError::new("nested too deeply", span));
        }
        if let Kind::Alias(target) = raw.kind {
            self.check_cycle(target, index)?;
            self.depth += 1;
            let resolved = self.node(target);
            self.depth -= 1;
            return resolved;
        }
        match raw.tag.as_deref() {
            Some("!reset") => {
                self.found.push(self.clean_path());
                return Ok(None);
            }
            Some("!override") => {
                self.found.push(self.clean_path());
                return Ok(Some(index));
            }
            _ => {}
        }
        self.depth += 1;
        match &raw.kind {
            Kind::Seq(items) => {
                let items = items.clone();
                let kept = self.sequence(&items)?;
                self.arena.nodes[index as usize].kind = Kind::Seq(kept);
            }
            Kind::Map(items) => {
                let items = items.clone();
                let kept = self.mapping(&items)?;
                self.arena.nodes[index as usize].kind = Kind::Map(kept);
            }
            Kind::Scalar { .. } | Kind::Alias(_) => {}
        }
        self.depth -= 1;
        Ok(Some(index))
    }

    fn sequence(&mut self, items: &[Index]) -> Result<Vec<Index>, Box<YamlError>> {
        let mut kept = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            self.path.push(n.to_string());
            let resolved = self.node(*item)?;
            self.path.pop();
            kept.extend(resolved);
        }
        Ok(kept)
    }

    fn mapping(&mut self, items: &[Index]) -> Result<Vec<Index>, Box<YamlError>> {
        let mut kept = Vec::with_capacity(items.len());
        let mut seen: HashMap<String, Index> = HashMap::with_capacity(items.len() / 2);
        for pair in items.chunks_exact(2) {
            let key = self.key_text(pair[0]);
            if let Some(first) = seen.insert(key.clone(), pair[0]) {
                return Err(duplicate(self.arena, &key, first, pair[0]));
            }
            self.path.push(key);
            let resolved = self.node(pair[1])?;
            self.path.pop();
            if let Some(value) = resolved {
                kept.extend([pair[0], value]);
            }
        }
        Ok(kept)
    }

    fn key_text(&self, index: Index) -> String {
        match &self.arena.get(index).kind {
            Kind::Scalar { text, .. } => text.clone().into_owned(),
            _ => String::new(),
        }
    }

    /// The path without merge keys: what they bring in stands where they stand.
    fn clean_path(&self) -> ResetPath {
        self.path
            .iter()
            .enumerate()
            .filter(|(n, part)| *n == 0 || *part != "<<")
            .map(|(_, part)| part.clone())
            .collect()
    }

    fn check_cycle(&mut self, target: Index, alias: Index) -> Result<(), Box<YamlError>> {
        let here = self.path.join(".");
        let seen = self.visited.entry(target).or_default();
        for before in seen.iter() {
            if *before == here || before.contains("<<") || here.contains("<<") {
                continue;
            }
            let inside =
                |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('.'));
            if (inside(&here, before) || inside(before, &here))
                && !in_different_services(&here, before)
            {
                return Err(YamlError::new(
                    format!("cycle detected: node at path {here} references node at path {before}"),
                    self.arena.get(alias).span,
                ));
            }
        }
        if seen.last() != Some(&here) {
            seen.push(here);
        }
        Ok(())
    }
}

fn in_different_services(a: &str, b: &str) -> bool {
    let a: Vec<&str> = a.split('.').collect();
    let b: Vec<&str> = b.split('.').collect();
    for n in 0..a.len().min(b.len()) {
        if a[n] == "services" && b[n] == "services" && n + 1 < a.len() && n + 1 < b.len() {
            return a[n + 1] != b[n + 1];
        }
    }
    false
}

/// The error of a key that stands twice in a mapping.
pub(super) fn duplicate(
    arena: &Arena<'_>,
    key: &str,
    first: Index,
    second: Index,
) -> Box<YamlError> {
    let mut error = YamlError::new(
        format!("mapping key {key:?} already defined"),
        arena.get(second).span,
    );
    error.other = Some((arena.get(first).span, "first defined here"));
    error
}
