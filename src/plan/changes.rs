//! What differs between the configuration a container was made from and the one it should have:
//! field by field, and what that means for the container. Works on canonical JSON.

use serde_json::Value;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Path inside the service: `environment.MODE`, `ports[0].published`.
    pub(crate) path: String,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
}

/// What a change asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Only hoist reads it: the container stays as it is.
    Nothing,
    /// Hoist's own engine can change it while the container runs.
    Live,
    /// Every engine can change it while the container runs.
    Update,
    /// It needs a new container.
    Recreate,
}

/// Longest value that is shown whole, in characters.
const MAX_SHOWN: usize = 60;

/// Fields that only tools read, and what lies below them.
const READ_BY_TOOLS: &[&str] = &[
    "develop",
    "attach",
    "pull_refresh_after",
    "deploy.mode",
    "deploy.labels",
    "deploy.update_config",
    "deploy.rollback_config",
    "deploy.placement",
    "deploy.endpoint_mode",
    "deploy.resources.reservations.cpus",
    "deploy.resources.reservations.generic_resources",
    "post_start",
    "pre_stop",
];

/// Fields that an engine changes in a live container.
const CHANGED_IN_PLACE: &[&str] = &[
    "restart",
    "deploy.restart_policy",
    "deploy.resources.limits.cpus",
    "deploy.resources.limits.memory",
    "deploy.resources.limits.pids",
    "deploy.resources.reservations.memory",
    "cpus",
    "cpu_shares",
    "cpu_period",
    "cpu_quota",
    "cpuset",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "pids_limit",
];

impl Change {
    pub(crate) fn reach(&self) -> Reach {
        let below = |fields: &[&str]| {
            fields.iter().any(|field| {
                self.path
                    .strip_prefix(field)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            })
        };
        if below(READ_BY_TOOLS) {
            Reach::Nothing
        } else if below(&["healthcheck"]) {
            Reach::Live
        } else if below(CHANGED_IN_PLACE) {
            Reach::Update
        } else {
            Reach::Recreate
        }
    }
}

/// All fields that differ, in order of their paths. None when one of the texts is no JSON.
pub(crate) fn between(old: &str, new: &str) -> Option<Vec<Change>> {
    let old: Value = serde_json::from_str(old).ok()?;
    let new: Value = serde_json::from_str(new).ok()?;
    let mut changes = Vec::new();
    compare(&mut String::new(), Some(&old), Some(&new), &mut changes);
    Some(changes)
}

fn compare(path: &mut String, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    let empty = serde_json::Map::new();
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            compare_objects(path, old, new, changes)
        }
        // A section that comes or goes is told by its fields.
        (None | Some(Value::Null), Some(Value::Object(new))) if is_section(path) => {
            compare_objects(path, &empty, new, changes)
        }
        (Some(Value::Object(old)), None | Some(Value::Null)) if is_section(path) => {
            compare_objects(path, old, &empty, changes)
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            let length = path.len();
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                path.push_str(&format!("[{index}]"));
                compare(path, Some(old), Some(new), changes);
                path.truncate(length);
            }
        }
        (old, new) => changes.push(Change {
            path: path.clone(),
            old: shown(path, old),
            new: shown(path, new),
        }),
    }
}

fn is_section(path: &str) -> bool {
    path.is_empty()
        || path == "deploy"
        || path.starts_with("deploy.resources")
        || matches!(path, "environment" | "labels" | "sysctls")
}

fn compare_objects(
    path: &mut String,
    old: &serde_json::Map<String, Value>,
    new: &serde_json::Map<String, Value>,
    changes: &mut Vec<Change>,
) {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let length = path.len();
    for key in keys {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
        compare(path, old.get(key), new.get(key), changes);
        path.truncate(length);
    }
}

/// A value as one short line. What looks like a password is not shown.
fn shown(path: &str, value: Option<&Value>) -> Option<String> {
    let value = value?;
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            format!("[{}]", words.join(", "))
        }
        other => other.to_string(),
    };
    if is_secret(path) && !text.is_empty() {
        return Some("***".to_owned());
    }
    let text = text.replace('\n', "\\n");
    if text.chars().count() > MAX_SHOWN {
        let head: String = text.chars().take(MAX_SHOWN - 1).collect();
        return Some(format!("{head}…"));
    }
    Some(text)
}

fn is_secret(path: &str) -> bool {
    let Some(name) = path.strip_prefix("environment.") else {
        return false;
    };
    let name = name.to_ascii_uppercase();
    [
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "TOKEN",
        "APIKEY",
        "API_KEY",
        "PRIVATE_KEY",
        "CREDENTIAL",
    ]
    .iter()
    .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(old: &str, new: &str) -> Vec<String> {
        between(old, new)
            .unwrap()
            .iter()
            .map(|c| {
                format!(
                    "{} {:?} {:?} {:?}",
                    c.path,
                    c.old.as_deref().unwrap_or("-"),
                    c.new.as_deref().unwrap_or("-"),
                    c.reach()
                )
            })
            .collect()
    }

    #[test]
    fn names_the_field_and_what_it_asks_for() {
        assert_eq!(
            texts(
                r#"{"image":"a:1","environment":{"A":"1","DB_PASSWORD":"x"},"restart":"no","ports":[{"target":80,"published":"1"}]}"#,
                r#"{"image":"a:2","environment":{"A":"2","DB_PASSWORD":"y","B":null},"restart":"always","ports":[{"target":80,"published":"2"}],"develop":{"watch":[]}}"#
            ),
            [
                r#"develop "-" "{\"watch\":[]}" Nothing"#,
                r#"environment.A "1" "2" Recreate"#,
                r#"environment.B "-" "-" Recreate"#,
                r#"environment.DB_PASSWORD "***" "***" Recreate"#,
                r#"image "a:1" "a:2" Recreate"#,
                r#"ports[0].published "1" "2" Recreate"#,
                r#"restart "no" "always" Update"#,
            ]
        );
    }

    #[test]
    fn a_limit_that_appears_is_an_update() {
        assert_eq!(
            texts(
                r#"{"image":"a"}"#,
                r#"{"image":"a","deploy":{"resources":{"limits":{"memory":"1024"}}}}"#
            ),
            [r#"deploy.resources.limits.memory "-" "1024" Update"#]
        );
        assert_eq!(
            texts(
                r#"{"image":"a","command":["a","b"]}"#,
                r#"{"image":"a","command":["a"]}"#
            ),
            [r#"command "[a, b]" "[a]" Recreate"#]
        );
    }
}
