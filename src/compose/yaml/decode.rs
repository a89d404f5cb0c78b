//! Raw document → [`Node`] tree: scalars get their types, merge keys are applied, keys must be strings.

use std::collections::HashMap;

use crate::compose::node::{Map, Node, Value};
use crate::compose::source::Span;
use crate::compose::yaml::parse::{Arena, Index, Kind, Raw};
use crate::compose::yaml::reset::duplicate;
use crate::compose::yaml::scalar::resolve;
use crate::compose::yaml::{MAX_ALIAS_NODES, MAX_DEPTH, YamlError};

pub(super) fn decode(arena: &Arena<'_>) -> Result<Option<Node>, Box<YamlError>> {
    let Some(root) = arena.root else {
        return Ok(None);
    };
    let mut decoder = Decoder {
        arena,
        depth: 0,
        budget: arena.nodes.len() + MAX_ALIAS_NODES,
        seen: HashMap::new(),
    };
    let node = decoder.node(root)?;
    Ok(if node.is_null() { None } else { Some(node) })
}

struct Decoder<'a> {
    arena: &'a Arena<'a>,
    depth: usize,
    budget: usize,
    /// Reused for the check of large mappings for repeated keys.
    seen: HashMap<&'a str, Index>,
}

/// How many keys are compared one by one before a table pays.
const SMALL_MAPPING: usize = 8;

impl<'a> Decoder<'a> {
    fn node(&mut self, index: Index) -> Result<Node, Box<YamlError>> {
        let arena: &'a Arena<'a> = self.arena;
        let raw = arena.get(index);
        if self.budget == 0 {
            return Err(YamlError::new(
                "document contains excessive aliasing",
                raw.span,
            ));
        }
        self.budget -= 1;
        if self.depth > MAX_DEPTH {
            return Err(YamlError::new("nested too deeply", raw.span));
        }
        match &raw.kind {
            Kind::Scalar { text, quoted } => {
                let value = resolve(raw.tag.as_deref(), text, *quoted)
                    .map_err(|message| YamlError::new(message, raw.span))?;
                Ok(Node::new(value, raw.span))
            }
            Kind::Seq(items) => {
                self.depth += 1;
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.node(*item)?);
                }
                self.depth -= 1;
                Ok(Node::new(Value::Seq(values), raw.span))
            }
            Kind::Map(items) => {
                self.depth += 1;
                let mut map = Map::with_capacity(items.len() / 2);
                self.mapping(items, &mut map)?;
                self.depth -= 1;
                Ok(Node::map(map, raw.span))
            }
            Kind::Alias(target) => {
                self.depth += 1;
                let node = self.node(*target);
                self.depth -= 1;
                node
            }
        }
    }

    /// Adds the pairs to `map`, but never over a key that it has: that is how merge keys work.
    fn mapping(&mut self, items: &'a [Index], map: &mut Map) -> Result<(), Box<YamlError>> {
        self.check_unique(items)?;
        let mut merge = None;
        for pair in items.chunks_exact(2) {
            let key = self.arena.get(pair[0]);
            if is_merge(key) {
                merge = Some(pair[1]);
                continue;
            }
            let (text, span) = self.key(pair[0])?;
            if map.contains_key(text) {
                continue;
            }
            let text = text.into();
            let mut value = self.node(pair[1])?;
            value.key = span;
            map.insert(text, value);
        }
        match merge {
            Some(source) => self.merge(source, map),
            None => Ok(()),
        }
    }

    fn merge(&mut self, source: Index, map: &mut Map) -> Result<(), Box<YamlError>> {
        let raw = self.arena.get(self.target(source));
        let refused = || {
            YamlError::new(
                "map merge requires map or sequence of maps as the value",
                raw.span,
            )
        };
        self.depth += 1;
        match &raw.kind {
            Kind::Map(items) => self.mapping(items, map)?,
            Kind::Seq(sources) => {
                for source in sources {
                    match &self.arena.get(self.target(*source)).kind {
                        Kind::Map(items) => self.mapping(items, map)?,
                        _ => return Err(refused()),
                    }
                }
            }
            _ => return Err(refused()),
        }
        self.depth -= 1;
        Ok(())
    }

    /// The node itself, or what an alias stands for.
    fn target(&self, index: Index) -> Index {
        match self.arena.get(index).kind {
            Kind::Alias(target) => target,
            _ => index,
        }
    }

    fn key(&self, index: Index) -> Result<(&'a str, Span), Box<YamlError>> {
        let arena: &'a Arena<'a> = self.arena;
        let raw = arena.get(self.target(index));
        let Kind::Scalar { text, quoted } = &raw.kind else {
            return Err(YamlError::new("invalid map key", raw.span));
        };
        if *quoted && raw.tag.is_none() {
            return Ok((text, raw.span));
        }
        match resolve(raw.tag.as_deref(), text, *quoted) {
            Ok(Value::Str(_)) => Ok((text, raw.span)),
            Ok(_) => Err(YamlError::new(
                format!("non-string key {text:?}: write it in quotes"),
                raw.span,
            )),
            Err(message) => Err(YamlError::new(message, raw.span)),
        }
    }

    fn check_unique(&mut self, items: &'a [Index]) -> Result<(), Box<YamlError>> {
        let arena: &'a Arena<'a> = self.arena;
        let text = |index: Index| match &arena.get(index).kind {
            Kind::Scalar { text, .. } => Some(text.as_ref()),
            _ => None,
        };
        let keys = || items.iter().step_by(2).copied();
        if items.len() <= SMALL_MAPPING * 2 {
            for (n, key) in keys().enumerate() {
                let Some(this) = text(key) else { continue };
                if let Some(first) = keys().take(n).find(|k| text(*k) == Some(this)) {
                    return Err(duplicate(arena, this, first, key));
                }
            }
            return Ok(());
        }
        self.seen.clear();
        for key in keys() {
            let Some(this) = text(key) else { continue };
            if let Some(first) = self.seen.insert(this, key) {
                return Err(duplicate(arena, this, first, key));
            }
        }
        Ok(())
    }
}

/// Whether a key is the merge key: a plain `<<`.
fn is_merge(raw: &Raw<'_>) -> bool {
    match &raw.kind {
        Kind::Scalar { text, quoted } => {
            text == "<<"
                && match raw.tag.as_deref() {
                    None => !quoted,
                    Some(tag) => tag == "!!merge",
                }
        }
        _ => false,
    }
}
