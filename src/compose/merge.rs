//! One tree laid over another, by the rules of the specification: a table by path, else mappings
//! are merged, lists appended and scalars replaced. No validation, no repeated entries (`compose::unique`).

use crate::compose::error::Finding;
use crate::compose::node::{Map, Node, Part, Path, Value};

/// How the values at a path are merged when it is not the default way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// The later value takes the place of the earlier.
    Replace,
    /// Both become lists (`KEY=VALUE`), one after the other.
    Append,
    /// As `Append`, but texts that are there already are left out.
    AppendNew,
    /// A list of names becomes a mapping, then mappings are merged.
    Named(NamedDefault),
    Build,
    Logging,
    IpamPools,
    Ulimit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NamedDefault {
    Null,
    Dependency,
}

/// The rule of a path, where there is one.
fn rule(path: &Path<'_>) -> Option<Rule> {
    if path.depth() < 3 {
        return None;
    }
    let parts = path.parts();
    let key = |n: usize| match parts.get(n) {
        Some(Part::Key(key)) => *key,
        _ => "",
    };
    match (key(0), parts.len(), key(2)) {
        ("services", 3, field) => service_rule(field),
        ("services", 4, "build") => match key(3) {
            "args" | "additional_contexts" | "labels" => Some(Rule::Append),
            "extra_hosts" => Some(Rule::AppendNew),
            _ => None,
        },
        ("services", 4, "deploy") => (key(3) == "labels").then_some(Rule::Append),
        ("services", 4, "healthcheck") => (key(3) == "test").then_some(Rule::Replace),
        ("services", 4, "ulimits") => Some(Rule::Ulimit),
        ("networks" | "volumes", 3, "labels") => Some(Rule::Append),
        ("networks", 4, "ipam") => (key(3) == "config").then_some(Rule::IpamPools),
        _ => None,
    }
}

fn service_rule(field: &str) -> Option<Rule> {
    Some(match field {
        "annotations" | "dns" | "dns_opt" | "dns_search" | "env_file" | "label_file"
        | "environment" | "labels" | "sysctls" | "tmpfs" => Rule::Append,
        "extra_hosts" => Rule::AppendNew,
        "command" | "entrypoint" => Rule::Replace,
        "build" => Rule::Build,
        "depends_on" => Rule::Named(NamedDefault::Dependency),
        "models" | "networks" => Rule::Named(NamedDefault::Null),
        "logging" => Rule::Logging,
        _ => return None,
    })
}

/// Lays `over` upon `base`.
///
/// # Errors
/// When a mapping meets something else, or a list something else; the base is then half merged.
pub(crate) fn merge(base: &mut Node, over: Node, path: &Path<'_>) -> Result<(), Box<Finding>> {
    if let Some(rule) = rule(path) {
        return apply(rule, base, over, path);
    }
    if over.is_null() {
        return Ok(());
    }
    match &mut base.value {
        Value::Map(mapping) => {
            let span = over.span;
            match over.value {
                Value::Map(other) => merge_mappings(mapping, *other, path)?,
                _ => return Err(clash(base, &over, path)),
            }
            base.span = base.span.or(span);
        }
        Value::Seq(items) => match over.value {
            Value::Seq(mut others) => items.append(&mut others),
            _ => return Err(clash(base, &over, path)),
        },
        _ => *base = over,
    }
    Ok(())
}

fn clash(base: &Node, over: &Node, path: &Path<'_>) -> Box<Finding> {
    Box::new(
        Finding::new(format!("cannot override {path}"))
            .at(over.span)
            .field(path)
            .label(format!("this is a {}", over.kind()))
            .related(base.span, format!("but here it is a {}", base.kind())),
    )
}

/// Merges mappings key by key.
pub(crate) fn merge_mappings(
    base: &mut Map,
    over: Map,
    path: &Path<'_>,
) -> Result<(), Box<Finding>> {
    for (key, value) in over {
        match base.get_mut(&key) {
            None => {
                base.insert(key, value);
            }
            Some(present) => {
                let key_span = value.key;
                merge(present, value, &path.key(&key))?;
                present.key = present.key.or(key_span);
            }
        }
    }
    Ok(())
}

fn apply(rule: Rule, base: &mut Node, over: Node, path: &Path<'_>) -> Result<(), Box<Finding>> {
    match rule {
        Rule::Replace => *base = over,
        Rule::Ulimit => *base = over,
        Rule::Append => {
            let mut items = into_sequence(take(base));
            items.append(&mut into_sequence(over));
            base.value = Value::Seq(items);
        }
        Rule::AppendNew => {
            let mut items = into_sequence(take(base));
            let known = items.len();
            for item in into_sequence(over) {
                if !items[..known].contains(&item) {
                    items.push(item);
                }
            }
            base.value = Value::Seq(items);
        }
        Rule::Named(default) => {
            let mut mapping = into_mapping(take(base), default, path)?;
            let other = into_mapping(over, default, path)?;
            merge_mappings(&mut mapping, other, path)?;
            base.value = Value::Map(Box::new(mapping));
        }
        Rule::Build => {
            let mut mapping = into_build(take(base));
            merge_mappings(&mut mapping, into_build(over), path)?;
            base.value = Value::Map(Box::new(mapping));
        }
        Rule::Logging => merge_logging(base, over, path)?,
        Rule::IpamPools => merge_pools(base, over, path)?,
    }
    Ok(())
}

/// The node itself, leaving null in its place.
fn take(node: &mut Node) -> Node {
    let empty = node.with(Value::Null);
    std::mem::replace(node, empty)
}

/// A mapping as sorted `KEY=VALUE` texts, a text as a list of one.
fn into_sequence(node: Node) -> Vec<Node> {
    match node.value {
        Value::Seq(items) => items,
        Value::Str(_) => vec![node],
        Value::Map(map) => {
            let mut items: Vec<Node> = Vec::with_capacity(map.len());
            for (key, value) in *map {
                let text = |text: String| Node {
                    value: Value::Str(text.into()),
                    span: value.span,
                    key: value.key,
                };
                match &value.value {
                    Value::Null => items.push(text(key.to_string())),
                    Value::Seq(values) => {
                        items.extend(values.iter().map(|v| text(format!("{key}={}", go_text(v)))));
                    }
                    _ => items.push(text(format!("{key}={}", go_text(&value)))),
                }
            }
            items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            items
        }
        _ => Vec::new(),
    }
}

/// Any value as Go's `%v` prints it.
pub(crate) fn go_text(node: &Node) -> String {
    match &node.value {
        Value::Seq(items) => {
            let items: Vec<String> = items.iter().map(go_text).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Map(map) => {
            let mut entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_text(value)))
                .collect();
            entries.sort_unstable();
            format!("map[{}]", entries.join(" "))
        }
        _ => node
            .scalar_text()
            .map_or_else(String::new, |t| t.to_string()),
    }
}

fn into_mapping(node: Node, default: NamedDefault, path: &Path<'_>) -> Result<Map, Box<Finding>> {
    match node.value {
        Value::Map(map) => Ok(*map),
        Value::Seq(items) => {
            let mut map = Map::with_capacity(items.len());
            for item in items {
                let Value::Str(name) = &item.value else {
                    let finding = Finding::new(format!("{path} items must be strings"))
                        .at(item.span)
                        .field(path);
                    return Err(Box::new(finding));
                };
                let name = name.clone();
                let value = match default {
                    NamedDefault::Null => item.with(Value::Null),
                    NamedDefault::Dependency => started(&item),
                };
                map.insert(name, value);
            }
            Ok(map)
        }
        _ => Ok(Map::new()),
    }
}

/// What a dependency given by its name alone means.
pub(crate) fn started(name: &Node) -> Node {
    let mut map = Map::with_capacity(2);
    map.insert(
        "condition".into(),
        name.with(Value::Str("service_started".into())),
    );
    map.insert("required".into(), name.with(Value::Bool(true)));
    name.with(Value::Map(Box::new(map)))
}

fn into_build(node: Node) -> Map {
    match node.value {
        Value::Map(map) => *map,
        Value::Str(_) => {
            let mut map = Map::with_capacity(1);
            map.insert("context".into(), node);
            map
        }
        _ => Map::new(),
    }
}

/// Options of different drivers do not mix.
fn merge_logging(base: &mut Node, over: Node, path: &Path<'_>) -> Result<(), Box<Finding>> {
    if over.is_null() {
        return Ok(());
    }
    let (Some(config), Some(other)) = (base.as_map(), over.as_map()) else {
        return Err(clash(base, &over, path));
    };
    match (config.get("driver"), other.get("driver")) {
        (Some(a), Some(b)) if a != b => {
            *base = over;
            Ok(())
        }
        _ => match (&mut base.value, over.value) {
            (Value::Map(config), Value::Map(other)) => merge_mappings(config, *other, path),
            _ => Ok(()),
        },
    }
}

/// Pools with the same subnet are merged, others are added.
fn merge_pools(base: &mut Node, over: Node, path: &Path<'_>) -> Result<(), Box<Finding>> {
    let (Some(configs), Some(overrides)) = (base.as_seq(), over.as_seq()) else {
        return Err(clash(base, &over, path));
    };
    let subnet = |pool: &Map| pool.get("subnet").cloned();
    let mut pools: Vec<(Node, Map)> = Vec::new();
    for original in configs {
        let mut right = original.as_map().cloned().unwrap_or_default();
        for other in overrides {
            let left = other.as_map().cloned().unwrap_or_default();
            let wanted = subnet(&left);
            if wanted != subnet(&right) && !pools.iter().any(|(_, pool)| subnet(pool) == wanted) {
                pools.push((other.clone(), left));
                continue;
            }
            merge_mappings(&mut right, left, path)?;
            let merged = subnet(&right);
            match pools.iter_mut().find(|(_, pool)| subnet(pool) == merged) {
                Some((_, pool)) => pool.clone_from(&right),
                None => pools.push((original.clone(), right.clone())),
            }
        }
    }
    let items = pools
        .into_iter()
        .map(|(node, pool)| node.with(Value::Map(Box::new(pool))))
        .collect();
    base.value = Value::Seq(items);
    Ok(())
}
