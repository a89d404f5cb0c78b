//! Where a variable's or a field's value comes from: every layer, with its place, and the one that won.

use std::path::Path;

use crate::compose::dotenv;
use crate::compose::error::LoadErrors;
use crate::compose::load::{Tree, load_tree};
use crate::compose::locate::locate;
use crate::compose::merge::go_text;
use crate::compose::model::Mapping;
use crate::compose::node::{Node, Value};
use crate::compose::options::LoadOptions;
use crate::compose::provenance::descend;
use crate::compose::source::{Sources, Span};
use crate::compose::variables;
use crate::compose::yaml;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    pub(crate) name: String,
    /// `None`: it has no value.
    pub(crate) value: Option<String>,
    /// Weakest first.
    pub(crate) layers: Vec<Layer>,
}

/// One place that says something about the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// `shell`, `.env`, a file, `default`.
    pub(crate) origin: String,
    /// 1-based; 0 for none.
    pub(crate) line: usize,
    pub(crate) value: String,
    /// It is the one that counts.
    pub(crate) wins: bool,
}

/// Explains a variable (`NAME`) or a field (`services.web.image`).
///
/// # Errors
/// What the loader found, or that nothing of this name is there.
pub(crate) fn explain(options: &LoadOptions<'_>, name: &str) -> Result<Explanation, LoadErrors> {
    if name.contains('.') {
        field(options, name)
    } else {
        variable(options, name)
    }
}

fn variable(options: &LoadOptions<'_>, name: &str) -> Result<Explanation, LoadErrors> {
    let located = locate(options)?;
    let mut layers = Vec::new();
    let mut raw = options.clone();
    raw.interpolate = false;
    if let Ok(tree) = load_tree(&raw) {
        uses(&tree, name, &mut layers);
    }
    let mut known = options.environment.clone();
    for file in &located.env_files {
        layers.extend(env_file_layer(file, name, &mut known));
    }
    if let Some(value) = options.environment.get(name) {
        layers.push(Layer {
            origin: "shell".to_owned(),
            line: 0,
            value: value.clone(),
            wins: false,
        });
    }
    let value = located.environment.get(name).cloned();
    if value.is_none() && layers.is_empty() {
        return Err(LoadErrors::message(format!(
            "the variable {name} is neither set nor used"
        )));
    }
    if value.is_some()
        && let Some(last) = layers.last_mut()
    {
        last.wins = true;
    }
    Ok(Explanation {
        name: name.to_owned(),
        value,
        layers,
    })
}

fn env_file_layer(file: &Path, name: &str, known: &mut Mapping) -> Option<Layer> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut values = Mapping::new();
    let current = known.clone();
    dotenv::parse_with(&text, &mut values, &|name| current.get(name).cloned()).ok()?;
    let value = values.get(name).cloned();
    for (key, value) in values {
        known.entry(key).or_insert(value);
    }
    let line = text
        .lines()
        .enumerate()
        .filter(|(_, line)| {
            let line = line.trim_start();
            let line = line.strip_prefix("export ").map_or(line, str::trim_start);
            line.strip_prefix(name)
                .is_some_and(|rest| rest.trim_start().starts_with(['=', ':']))
        })
        .last()
        .map(|(n, _)| n);
    Some(Layer {
        origin: file.display().to_string(),
        line: line.map_or(0, |n| n + 1),
        value: value?,
        wins: false,
    })
}

/// Each place that uses the variable, with the default it gives.
fn uses(tree: &Tree, name: &str, layers: &mut Vec<Layer>) {
    fn walk(node: &Node, visit: &mut dyn FnMut(&Node)) {
        match &node.value {
            Value::Str(text) if text.contains('$') => visit(node),
            Value::Seq(items) => items.iter().for_each(|item| walk(item, visit)),
            Value::Map(map) => map.values().for_each(|value| walk(value, visit)),
            _ => {}
        }
    }
    walk(&tree.root, &mut |node| {
        let Some(variable) = variables::extract(node).remove(name) else {
            return;
        };
        let value = if variable.required {
            "required".to_owned()
        } else if variable.default_value.is_empty() {
            "no default".to_owned()
        } else {
            format!("default {:?}", variable.default_value)
        };
        let at = tree.sources.locate(node.span);
        layers.push(Layer {
            origin: at
                .as_ref()
                .map_or_else(|| "used".to_owned(), |at| format!("used in {}", at.file)),
            line: at.map_or(0, |at| at.line),
            value,
            wins: false,
        });
    });
}

fn field(options: &LoadOptions<'_>, name: &str) -> Result<Explanation, LoadErrors> {
    let tree = load_tree(options)?;
    let last = find(&tree.root, name);
    let mut layers = Vec::new();
    let documents = documents(&tree.sources);
    for path in spellings(&documents, name) {
        for root in &documents {
            if let Some(node) = find(root, &path)
                && let Some(at) = tree.sources.locate(node.span)
            {
                layers.push((
                    node.span,
                    Layer {
                        origin: at.file,
                        line: at.line,
                        value: shown(node, name),
                        wins: false,
                    },
                ));
            }
        }
    }
    let Some(node) = last else {
        if layers.is_empty() {
            return Err(LoadErrors::message(format!(
                "the project has no field {name}"
            )));
        }
        return Ok(explanation(name, None, layers, Span::NONE));
    };
    if layers.is_empty() {
        layers.push((
            node.span,
            Layer {
                origin: "default".to_owned(),
                line: 0,
                value: shown(node, name),
                wins: true,
            },
        ));
    }
    let value = shown(node, name);
    Ok(explanation(name, Some(value), layers, node.span))
}

/// The value as people read it: of a `KEY=VALUE` entry, what follows the key.
fn shown(node: &Node, field: &str) -> String {
    let text = go_text(node);
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && field.ends_with(key) => value.to_owned(),
        _ => text,
    }
}

fn explanation(
    name: &str,
    value: Option<String>,
    layers: Vec<(Span, Layer)>,
    winner: Span,
) -> Explanation {
    let layers = layers
        .into_iter()
        .map(|(span, mut layer)| {
            layer.wins |= span == winner;
            layer
        })
        .collect();
    Explanation {
        name: name.to_owned(),
        value,
        layers,
    }
}

fn documents(sources: &Sources) -> Vec<Node> {
    let mut roots = Vec::new();
    for file in sources.ids() {
        if let Ok(documents) = yaml::load(sources.text(file), file) {
            roots.extend(documents.into_iter().filter_map(|document| document.root));
        }
    }
    roots
}

/// The field under the names of all services that its service extends, bases first.
fn spellings(documents: &[Node], name: &str) -> Vec<String> {
    let Some(rest) = name.strip_prefix("services.") else {
        return vec![name.to_owned()];
    };
    let services = documents.iter().filter_map(|root| root.get("services"));
    let Some((service, below)) = services
        .clone()
        .filter_map(|services| {
            let (_, below) = descend(services, rest)?;
            let end = rest.len() - below.len();
            Some((rest[..end].trim_end_matches('.'), below))
        })
        .next()
    else {
        return vec![name.to_owned()];
    };
    let mut names = vec![service.to_owned()];
    let mut at = 0;
    while at < names.len() && names.len() < 32 {
        for services in services.clone() {
            let Some(extends) = services.get(&names[at]).and_then(|s| s.get("extends")) else {
                continue;
            };
            let base = extends
                .as_str()
                .or_else(|| extends.get("service").and_then(Node::as_str));
            if let Some(base) = base
                && !names.iter().any(|name| name == base)
            {
                names.push(base.to_owned());
            }
        }
        at += 1;
    }
    names.reverse();
    names
        .into_iter()
        .map(|service| format!("services.{service}.{below}"))
        .collect()
}

fn find<'n>(root: &'n Node, field: &str) -> Option<&'n Node> {
    let mut node = root;
    let mut rest = field.trim_end_matches('.');
    while !rest.is_empty() {
        (node, rest) = descend(node, rest)?;
    }
    Some(node)
}
