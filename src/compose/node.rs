//! The untyped tree of a Compose file between YAML and the model, and paths through it.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::compose::number;
use crate::compose::source::Span;
use crate::compose::yaml::Timestamp;

/// Shared text: keys and scalars are cloned often and changed never.
pub(crate) type Text = Arc<str>;

/// A mapping, in the order of the file.
pub(crate) type Map = IndexMap<Text, Node>;

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
    /// Place of the key, for the value of a mapping; else the same as `span`.
    pub(crate) key: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// Above `i64::MAX`.
    Uint(u64),
    Float(f64),
    Time(Box<Timestamp>),
    Str(Text),
    Seq(Vec<Node>),
    Map(Box<Map>),
}

impl Node {
    pub(crate) fn new(value: Value, span: Span) -> Self {
        Self {
            value,
            span,
            key: span,
        }
    }

    /// The same place with another value.
    pub(crate) fn with(&self, value: Value) -> Self {
        Self {
            value,
            span: self.span,
            key: self.key,
        }
    }

    pub(crate) fn string(text: impl Into<Text>, span: Span) -> Self {
        Self::new(Value::Str(text.into()), span)
    }

    pub(crate) fn map(map: Map, span: Span) -> Self {
        Self::new(Value::Map(Box::new(map)), span)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Seq(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn as_seq_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.value {
            Value::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The entry of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    /// What kind of value it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) | Value::Uint(_) => "integer",
            Value::Float(_) => "number",
            Value::Time(_) => "timestamp",
            Value::Str(_) => "string",
            Value::Seq(_) => "list",
            Value::Map(_) => "mapping",
        }
    }

    /// The text of a scalar as Go's `%v` writes it; `None` for collections.
    pub(crate) fn scalar_text(&self) -> Option<Text> {
        Some(match &self.value {
            Value::Null => "<nil>".into(),
            Value::Bool(b) => if *b { "true" } else { "false" }.into(),
            Value::Int(n) => n.to_string().into(),
            Value::Uint(n) => n.to_string().into(),
            Value::Float(f) => number::general(*f).into(),
            Value::Time(t) => t.go_text().into(),
            Value::Str(text) => text.clone(),
            Value::Seq(_) | Value::Map(_) => return None,
        })
    }
}

/// Equality of content, wherever it was written.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Uint(a), Value::Uint(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Time(a), Value::Time(b)) => a == b,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::Seq(a), Value::Seq(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a == b,
            _ => false,
        }
    }
}

/// A way from the root to a node, as a list on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
    depth: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Key(&'a str),
    Item(usize),
}

impl<'a> Path<'a> {
    pub(crate) const ROOT: Path<'static> = Path {
        parent: None,
        part: Part::Item(0),
        depth: 0,
    };

    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path {
            parent: Some(self),
            part: Part::Key(key),
            depth: self.depth + 1,
        }
    }

    pub(crate) fn item(&'a self, index: usize) -> Path<'a> {
        Path {
            parent: Some(self),
            part: Part::Item(index),
            depth: self.depth + 1,
        }
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Whether the parts are those of `pattern`: `*` is any part, `[]` any item of a list.
    pub(crate) fn matches(&self, pattern: &[&str]) -> bool {
        if self.depth != pattern.len() {
            return false;
        }
        let mut at = *self;
        for wanted in pattern.iter().rev() {
            let same = match at.part {
                _ if *wanted == "*" => true,
                Part::Key(key) => key == *wanted,
                Part::Item(_) => *wanted == "[]",
            };
            if !same {
                return false;
            }
            match at.parent {
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        true
    }

    /// The parts from the root.
    pub(crate) fn parts(&self) -> Vec<Part<'a>> {
        let mut parts = Vec::with_capacity(self.depth);
        let mut at = *self;
        while let Some(parent) = at.parent {
            parts.push(at.part);
            at = *parent;
        }
        parts.reverse();
        parts
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, part) in self.parts().into_iter().enumerate() {
            match part {
                Part::Key(key) if n == 0 => f.write_str(key)?,
                Part::Key(key) => write!(f, ".{key}")?,
                Part::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_patterns_and_print() {
        let root = Path::ROOT;
        let services = root.key("services");
        let web = services.key("we.b");
        let ports = web.key("ports");
        let first = ports.item(0);
        assert!(first.matches(&["services", "*", "ports", "[]"]));
        assert!(first.matches(&["services", "*", "ports", "*"]));
        assert!(!ports.matches(&["services", "*", "ports", "*"]));
        assert_eq!(first.to_string(), "services.we.b.ports[0]");
        assert_eq!(std::mem::size_of::<Value>(), 24);
    }
}
