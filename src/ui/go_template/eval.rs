//! Carries a parsed template out on a JSON value.

use serde_json::Value;

use super::TemplateError;
use super::functions;
use super::parse::{Node, Operand, Pipeline, Start};

struct Scope<'a> {
    root: &'a Value,
    variables: Vec<(String, Value)>,
    /// Fields give their own column names instead of failing; functions pass values through.
    header: bool,
}

pub(super) fn render(nodes: &[Node], data: &Value) -> Result<String, TemplateError> {
    carry_out(nodes, data, false)
}

pub(super) fn render_header(nodes: &[Node], columns: &Value) -> Result<String, TemplateError> {
    carry_out(nodes, columns, true)
}

fn carry_out(nodes: &[Node], data: &Value, header: bool) -> Result<String, TemplateError> {
    let mut scope = Scope {
        root: data,
        variables: Vec::new(),
        header,
    };
    let mut text = String::new();
    scope.nodes(nodes, data, &mut text)?;
    Ok(text)
}

impl Scope<'_> {
    fn nodes(
        &mut self,
        nodes: &[Node],
        dot: &Value,
        text: &mut String,
    ) -> Result<(), TemplateError> {
        let outer = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(literal) => text.push_str(literal),
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        text.push_str(&functions::print(&value));
                    }
                }
                Node::If(branches) => {
                    for (condition, body) in branches {
                        let chosen = match condition {
                            Some(condition) => functions::truth(&self.pipeline(condition, dot)?),
                            None => true,
                        };
                        if chosen {
                            self.nodes(body, dot, text)?;
                            break;
                        }
                    }
                }
                Node::With(head, body, otherwise) => {
                    let value = self.pipeline(head, dot)?;
                    if functions::truth(&value) {
                        self.nodes(body, &value, text)?;
                    } else {
                        self.nodes(otherwise, dot, text)?;
                    }
                }
                Node::Range(head, body, otherwise) => {
                    self.range(head, body, otherwise, dot, text)?
                }
            }
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn range(
        &mut self,
        head: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
        text: &mut String,
    ) -> Result<(), TemplateError> {
        let outer = self.variables.len();
        let value = self.pipeline(head, dot)?;
        self.variables.truncate(outer);
        let items: Vec<(Value, Value)> = match value {
            Value::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| (Value::from(at), item))
                .collect(),
            Value::Object(fields) => {
                let mut items: Vec<(Value, Value)> = fields
                    .into_iter()
                    .map(|(key, item)| (Value::from(key), item))
                    .collect();
                items.sort_by_key(|item| functions::print(&item.0));
                items
            }
            Value::Null => Vec::new(),
            other => {
                return Err(TemplateError(format!("range can't iterate over {other}")));
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot, text);
        }
        for (key, item) in items {
            match head.variables.as_slice() {
                [single] => self.variables.push((single.clone(), item.clone())),
                [first, second] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), item.clone()));
                }
                _ => {}
            }
            self.nodes(body, &item, text)?;
            self.variables.truncate(outer);
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut value: Option<Value> = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value, dot)?);
        }
        let value = value.unwrap_or(Value::Null);
        for name in &pipeline.variables {
            self.variables.push((name.clone(), value.clone()));
        }
        Ok(value)
    }

    fn command(
        &mut self,
        command: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, TemplateError> {
        let mut arguments = Vec::new();
        for operand in command.iter().skip(1) {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        match &command[0] {
            Operand::Function(name) if self.header => {
                // `json .ID`, `upper .ID`: the column is the field's.
                Ok(functions::header_argument(name, arguments))
            }
            Operand::Function(name) => functions::call(name, &arguments),
            Operand::Fields(start, fields)
                if !arguments.is_empty() && fields.last().is_some_and(|last| last == "Label") =>
            {
                self.label(start, fields, &arguments, dot)
            }
            operand if arguments.is_empty() => self.operand(operand, dot),
            _ => Err(TemplateError(
                "can't give argument to non-function".to_owned(),
            )),
        }
    }

    /// `.Label "name"`: one of the labels in the field `Labels`.
    fn label(
        &mut self,
        start: &Start,
        fields: &[String],
        arguments: &[Value],
        dot: &Value,
    ) -> Result<Value, TemplateError> {
        let name = functions::print(arguments.first().unwrap_or(&Value::Null));
        if self.header {
            return Ok(Value::from(name));
        }
        let mut path = fields.to_vec();
        if let Some(last) = path.last_mut() {
            "Labels".clone_into(last);
        }
        let labels = self.operand(&Operand::Fields(start.clone(), path), dot)?;
        let found = match &labels {
            Value::Object(labels) => labels.get(&name).map(functions::print),
            other => functions::print(other).split(',').find_map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (key == name).then(|| value.to_owned())
            }),
        };
        Ok(Value::from(found.unwrap_or_default()))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Function(name) if self.header => {
                Ok(functions::header_argument(name, Vec::new()))
            }
            Operand::Function(name) => functions::call(name, &[]),
            Operand::Fields(start, fields) => {
                let mut value = match start {
                    Start::Dot => dot.clone(),
                    Start::Variable(name) if name.is_empty() => self.root.clone(),
                    Start::Variable(name) => self
                        .variables
                        .iter()
                        .rev()
                        .find(|(known, _)| known == name)
                        .map(|(_, value)| value.clone())
                        .ok_or_else(|| TemplateError(format!("undefined variable \"${name}\"")))?,
                    Start::Group(pipeline) => self.pipeline(pipeline, dot)?,
                };
                for field in fields {
                    value = match value {
                        Value::Object(mut object) => match object.remove(field) {
                            Some(value) => value,
                            None if self.header => Value::from(""),
                            None => {
                                return Err(TemplateError(format!("can't evaluate field {field}")));
                            }
                        },
                        _ if self.header => Value::from(""),
                        _ => return Err(TemplateError(format!("can't evaluate field {field}"))),
                    };
                }
                Ok(value)
            }
        }
    }
}
