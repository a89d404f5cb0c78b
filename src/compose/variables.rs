//! Which variables a tree mentions, with their defaults: the data of `config --variables`.

use std::collections::BTreeMap;

use crate::compose::node::{Node, Value};
use crate::compose::template::{Operator, Piece, next_piece, split_body};

/// One use of a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) default_value: String,
    pub(crate) presence_value: String,
    pub(crate) required: bool,
}

/// Every variable of the values below `node`, by name. Of several uses, the last stays.
pub(crate) fn extract(node: &Node) -> BTreeMap<String, Variable> {
    let mut found = BTreeMap::new();
    walk(node, &mut found);
    found
}

fn walk(node: &Node, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Str(text) => scan(text, found),
        Value::Seq(items) => items.iter().for_each(|item| walk(item, found)),
        Value::Map(map) => map.values().for_each(|value| walk(value, found)),
        _ => {}
    }
}

fn scan(text: &str, found: &mut BTreeMap<String, Variable>) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let Some((piece, length)) = next_piece(&rest[at..]) else {
            rest = &rest[at + 1..];
            continue;
        };
        rest = &rest[at + length..];
        match piece {
            Piece::Escaped | Piece::Invalid => {}
            Piece::Named(name) => add(
                Variable {
                    name: name.to_owned(),
                    ..Variable::default()
                },
                found,
            ),
            Piece::Braced(body) => braced(body, found),
        }
    }
}

fn braced(body: &str, found: &mut BTreeMap<String, Variable>) {
    let Some((name, operator, word)) = split_body(body) else {
        return add(
            Variable {
                name: body.to_owned(),
                ..Variable::default()
            },
            found,
        );
    };
    let mut variable = Variable {
        name: name.to_owned(),
        ..Variable::default()
    };
    match operator {
        Operator::RequiredNotEmpty | Operator::Required => variable.required = true,
        Operator::DefaultWhenEmpty | Operator::Default => variable.default_value = word.to_owned(),
        Operator::AlternateWhenNotEmpty | Operator::Alternate => {
            variable.presence_value = word.to_owned();
        }
    }
    let nested = !variable.required;
    add(variable, found);
    if nested {
        scan(word, found);
    }
}

fn add(variable: Variable, found: &mut BTreeMap<String, Variable>) {
    found.insert(variable.name.clone(), variable);
}
