//! Untyped values, kept for `x-…` extensions. Not the YAML tree (that is `compose::document`).

use std::collections::BTreeMap;

/// The `x-…` keys of a mapping, by name.
pub(crate) type Extensions = BTreeMap<String, Value>;

/// A YAML value after resolution of tags, anchors and variables.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// Integers above `i64::MAX`.
    Uint(u64),
    Float(f64),
    String(String),
    /// A date or time, in RFC 3339.
    Time(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}
