//! The `filters` of list, prune and events requests: a key with the values any of which may match.
//! It knows no object: each service says which keys it has and what matching means.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::engine::base::{Error, Result};

/// Parsed filters. Absent keys match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    values: BTreeMap<String, Vec<String>>,
}

impl Filters {
    /// Parses the JSON of the query: `{"label":{"a=b":true}}` (Go) or `{"label":["a=b"]}` (the others).
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Filters::default());
        }
        let parsed: Value =
            serde_json::from_str(text).map_err(|_| Error::invalid("invalid filter"))?;
        let mut values = BTreeMap::new();
        match parsed {
            Value::Null => {}
            Value::Object(fields) => {
                for (key, value) in fields {
                    values.insert(key, filter_values(value)?);
                }
            }
            _ => return Err(Error::invalid("invalid filter")),
        }
        Ok(Filters { values })
    }

    /// Refuses keys that the object does not have, with Docker's text.
    pub(crate) fn check(&self, known: &[&str]) -> Result<()> {
        for key in self.values.keys() {
            if !known.contains(&key.as_str()) {
                return Err(Error::invalid(format!("invalid filter '{key}'")));
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether the key was given with at least one value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values
            .get(key)
            .is_some_and(|values| !values.is_empty())
    }

    /// The values of a key; empty when it was not given.
    pub(crate) fn get(&self, key: &str) -> &[String] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }

    /// True when the key was not given, or when one of its values satisfies `matches`.
    pub(crate) fn any(&self, key: &str, matches: impl Fn(&str) -> bool) -> bool {
        let values = self.get(key);
        values.is_empty() || values.iter().any(|value| matches(value))
    }

    /// The one boolean of a key: `true`, `1`, `false`, `0`; both at once means no choice.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        let mut found = None;
        for value in self.get(key) {
            let parsed = match value.as_str() {
                "1" | "true" | "True" | "TRUE" | "t" | "T" => true,
                "0" | "false" | "False" | "FALSE" | "f" | "F" => false,
                _ => {
                    return Err(Error::invalid(format!(
                        "invalid filter '{key}={}'",
                        self.get(key).join(" ")
                    )));
                }
            };
            if found.is_some_and(|earlier| earlier != parsed) {
                return Ok(None);
            }
            found = Some(parsed);
        }
        Ok(found)
    }

    /// Whether `label` (all of them must be there) and `label!` (none may be) accept these labels.
    pub(crate) fn match_labels<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => label(key) == Some(value),
            None => label(wanted).is_some(),
        };
        self.get("label").iter().all(has) && !self.get("label!").iter().any(has)
    }
}

fn filter_values(value: Value) -> Result<Vec<String>> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(one) => Ok(vec![one]),
        Value::Bool(one) => Ok(vec![one.to_string()]),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                Value::Bool(flag) => Ok(flag.to_string()),
                Value::Number(number) => Ok(number.to_string()),
                _ => Err(Error::invalid("invalid filter")),
            })
            .collect(),
        Value::Object(fields) => Ok(fields
            .into_iter()
            .filter(|(_, set)| set.as_bool().unwrap_or(true))
            .map(|(key, _)| key)
            .collect()),
        Value::Number(_) => Err(Error::invalid("invalid filter")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_wire_forms_mean_the_same() {
        let go = Filters::parse(r#"{"label":{"a=b":true,"c":true}}"#).unwrap();
        let py = Filters::parse(r#"{"label":["a=b","c"]}"#).unwrap();
        assert_eq!(go, py);
        let labels = [("a", "b"), ("c", "")];
        let label = |key: &str| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        assert!(go.match_labels(label));
        assert!(
            !Filters::parse(r#"{"label!":["c"]}"#)
                .unwrap()
                .match_labels(label)
        );
    }

    #[test]
    fn unknown_keys_and_bad_booleans_are_named() {
        let filters = Filters::parse(r#"{"nope":["x"],"dangling":["maybe"]}"#).unwrap();
        assert_eq!(
            filters.check(&["dangling"]).unwrap_err().message,
            "invalid filter 'nope'"
        );
        assert_eq!(
            filters.boolean("dangling").unwrap_err().message,
            "invalid filter 'dangling=maybe'"
        );
        assert!(Filters::parse("[1]").is_err());
    }
}
