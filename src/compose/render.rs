//! What `config` prints: a project or its tree as YAML or JSON text. `$` is doubled where the text is
//! meant to be read back.

use crate::compose::load::Tree;
use crate::compose::model::{self, Project};
use crate::compose::node::{Node, Path, Value};
use crate::compose::out::{Flavor, Out, to_json_pretty};
use crate::compose::unique::is_keyed;
use crate::compose::variables::{Variable, extract};
use crate::compose::yaml::to_yaml;

/// The project as YAML that loads to the same project.
pub(crate) fn yaml(project: &Project) -> String {
    escape(to_yaml(&model::project_view(project, Flavor::Yaml)))
}

/// The project as JSON, without a line break at the end. Numbers that JSON cannot hold are null.
pub(crate) fn json(project: &Project) -> String {
    escape(to_json_pretty(&model::project_view(project, Flavor::Json)))
}

/// As [`json`], but refuses what JSON cannot hold.
///
/// # Errors
/// The number.
pub(crate) fn strict_json(project: &Project) -> Result<String, String> {
    checked_json(&model::project_view(project, Flavor::Json)).map(escape)
}

fn checked_json(value: &Out) -> Result<String, String> {
    match value.not_in_json() {
        Some(number) => Err(format!("json: unsupported value: {number}")),
        None => Ok(to_json_pretty(value)),
    }
}

/// Dollar signs are for variables: each stands for itself when it is doubled.
fn escape(text: String) -> String {
    if text.contains('$') {
        text.replace('$', "$$")
    } else {
        text
    }
}

impl Tree {
    /// The tree as YAML, variables as they were written.
    pub(crate) fn yaml(&self) -> String {
        to_yaml(&view(&self.root, &Path::ROOT, Flavor::Yaml))
    }

    /// The tree as JSON, variables as they were written.
    ///
    /// # Errors
    /// A number that JSON cannot hold.
    pub(crate) fn json(&self) -> Result<String, String> {
        checked_json(&view(&self.root, &Path::ROOT, Flavor::Json))
    }

    /// Names of the services, sorted.
    pub(crate) fn service_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .root
            .get("services")
            .and_then(Node::as_map)
            .into_iter()
            .flat_map(|services| services.keys())
            .map(ToString::to_string)
            .collect();
        names.sort_unstable();
        names
    }

    /// The variables that the files mention, by name.
    pub(crate) fn variables(&self) -> Vec<Variable> {
        extract(&self.root).into_values().collect()
    }
}

fn view(node: &Node, path: &Path<'_>, flavor: Flavor) -> Out {
    match &node.value {
        Value::Null => Out::Null,
        Value::Bool(b) => Out::Bool(*b),
        Value::Int(n) => Out::Int(*n),
        Value::Uint(n) => Out::Uint(*n),
        Value::Float(f) => Out::Float(*f),
        Value::Time(time) => Out::Time(time.rfc3339()),
        Value::Str(text) => Out::Str(text.to_string()),
        Value::Seq(items) if items.is_empty() && !is_keyed(path) => Out::NoList,
        Value::Seq(items) => Out::List(
            items
                .iter()
                .enumerate()
                .map(|(n, item)| view(item, &path.item(n), flavor))
                .collect(),
        ),
        Value::Map(map) => {
            let mut entries: Vec<(String, Out)> = map
                .iter()
                .map(|(key, value)| (key.to_string(), view(value, &path.key(key), flavor)))
                .collect();
            flavor.sort(&mut entries);
            Out::Map(entries)
        }
    }
}

/// The variables as the JSON object that `config --variables --format json` prints.
pub(crate) fn variables_json(variables: &[Variable]) -> String {
    let entries = variables
        .iter()
        .map(|v| {
            (
                v.name.clone(),
                variable_view(v, ["Name", "DefaultValue", "PresenceValue", "Required"]),
            )
        })
        .collect();
    crate::compose::out::to_json(&Out::Map(entries))
}

/// The variables as YAML.
pub(crate) fn variables_yaml(variables: &[Variable]) -> String {
    let mut entries: Vec<(String, Out)> = variables
        .iter()
        .map(|v| {
            (
                v.name.clone(),
                variable_view(v, ["name", "defaultvalue", "presencevalue", "required"]),
            )
        })
        .collect();
    Flavor::Yaml.sort(&mut entries);
    to_yaml(&Out::Map(entries))
}

fn variable_view(variable: &Variable, names: [&str; 4]) -> Out {
    let [name, default, presence, required] = names.map(str::to_owned);
    Out::Map(vec![
        (name, Out::Str(variable.name.clone())),
        (default, Out::Str(variable.default_value.clone())),
        (presence, Out::Str(variable.presence_value.clone())),
        (required, Out::Bool(variable.required)),
    ])
}
