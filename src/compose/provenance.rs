//! Where the fields of a loaded project stand in the files.

use std::sync::Arc;

use crate::compose::node::{Node, Value};
use crate::compose::source::{Location, Sources, Span};

/// The finished tree with its places.
#[derive(Clone, Debug)]
pub(crate) struct Provenance {
    pub(crate) root: Arc<Node>,
    pub(crate) sources: Arc<Sources>,
}

impl Provenance {
    /// The place of a field, as `services.web.environment.MODE`, or of the nearest field above it.
    pub(crate) fn locate(&self, field: &str) -> Option<Location> {
        self.sources.locate(span_of(&self.root, field))
    }
}

/// The place of the node at these keys, or of the nearest one above it.
pub(crate) fn span_at(root: &Node, path: &[&str]) -> Span {
    let mut node = root;
    let mut span = Span::NONE;
    for part in path {
        let Some(next) = child(node, part) else { break };
        span = next.key.or(next.span).or(span);
        node = next;
    }
    span
}

/// Keys as a field is written: `services.web.ports[0]`.
pub(crate) fn field_name(path: &[&str]) -> String {
    let mut name = String::new();
    for part in path {
        if !name.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            name.push_str(&format!("[{part}]"));
        } else {
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(part);
        }
    }
    name
}

/// The place of a dotted field. Keys may hold dots themselves: the longest key that fits is taken.
pub(crate) fn span_of(root: &Node, field: &str) -> Span {
    let mut node = root;
    let mut span = Span::NONE;
    let mut rest = field;
    while !rest.is_empty() {
        let Some((next, remaining)) = descend(node, rest) else {
            break;
        };
        span = next.key.or(next.span).or(span);
        node = next;
        rest = remaining;
    }
    span
}

/// The child that the beginning of `field` names, and what is left of `field`.
pub(crate) fn descend<'n, 'f>(node: &'n Node, field: &'f str) -> Option<(&'n Node, &'f str)> {
    let mut ends: Vec<usize> = field.match_indices(['.', '[']).map(|(at, _)| at).collect();
    ends.push(field.len());
    ends.into_iter()
        .rev()
        .filter(|end| *end > 0)
        .find_map(|end| {
            let key = field[..end].trim_start_matches('[').trim_end_matches(']');
            let next = child(node, key)?;
            Some((next, field[end..].trim_start_matches('.')))
        })
}

fn child<'n>(node: &'n Node, part: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Map(map) => map.get(part),
        Value::Seq(items) => match part.parse::<usize>() {
            Ok(index) => items.get(index),
            // A list of `KEY=VALUE` texts, by key.
            Err(_) => items.iter().find(|item| {
                item.as_str()
                    .is_some_and(|text| text.split('=').next() == Some(part))
            }),
        },
        _ => None,
    }
}
