//! `explain`: where a value comes from, as lines of text or JSON. Prints nothing.

use crate::compose::explain::{Explanation, Layer, explain};
use crate::compose::{LoadErrors, LoadOptions};

/// Explains a variable or a field.
///
/// # Errors
/// What the loader found, or that nothing of this name is there.
pub(crate) fn run(options: &LoadOptions<'_>, name: &str) -> Result<Explanation, LoadErrors> {
    explain(options, name)
}

/// The answer for people: the value, then every layer, strongest first.
pub(crate) fn text(explanation: &Explanation) -> String {
    let mut text = match &explanation.value {
        Some(value) => format!("{} = {value}\n", explanation.name),
        None => format!("{} has no value\n", explanation.name),
    };
    let width = explanation
        .layers
        .iter()
        .map(|layer| place(layer).chars().count())
        .max()
        .unwrap_or(0);
    for layer in explanation.layers.iter().rev() {
        let mark = if layer.wins { '*' } else { ' ' };
        text.push_str(&format!(
            "{mark} {:width$}  {}\n",
            place(layer),
            layer.value
        ));
    }
    text
}

fn place(layer: &Layer) -> String {
    if layer.line == 0 {
        layer.origin.clone()
    } else {
        format!("{}:{}", layer.origin, layer.line)
    }
}

/// The answer for tools.
pub(crate) fn json(explanation: &Explanation) -> String {
    let layers: Vec<serde_json::Value> = explanation
        .layers
        .iter()
        .map(|layer| {
            serde_json::json!({
                "origin": layer.origin,
                "line": layer.line,
                "value": layer.value,
                "wins": layer.wins,
            })
        })
        .collect();
    serde_json::json!({
        "name": explanation.name,
        "value": explanation.value,
        "layers": layers,
    })
    .to_string()
}
