//! The functions of docker's templates, on JSON values.

use serde_json::Value;

use super::TemplateError;

/// A value as `{{.}}` prints it.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(print).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let mut pairs: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{key}:{}", print(value)))
                .collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

/// Go's idea of a true value: not zero, not empty.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// In a header, a function stands for the column of its argument.
pub(super) fn header_argument(name: &str, arguments: Vec<Value>) -> Value {
    match name {
        "json" | "upper" | "lower" | "title" | "truncate" | "pad" | "slice" | "split" | "join"
        | "print" | "println" | "len" => arguments.into_iter().next().unwrap_or(Value::Null),
        "printf" => arguments
            .into_iter()
            .nth(1)
            .unwrap_or_else(|| Value::from("")),
        _ => Value::Bool(true),
    }
}

pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let argument = |at: usize| {
        arguments
            .get(at)
            .ok_or_else(|| TemplateError(format!("wrong number of args for {name}")))
    };
    let text = |at: usize| argument(at).map(print);
    Ok(match name {
        "json" => Value::from(argument(0)?.to_string()),
        "upper" => Value::from(text(0)?.to_uppercase()),
        "lower" => Value::from(text(0)?.to_lowercase()),
        "title" => Value::from(title(&text(0)?)),
        "split" => text(0)?.split(text(1)?.as_str()).map(Value::from).collect(),
        "join" => match argument(0)? {
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(print).collect();
                Value::from(items.join(&text(1)?))
            }
            _ => return Err(TemplateError("join wants a list".to_owned())),
        },
        "truncate" => {
            let length = number(argument(1)?)?;
            Value::from(text(0)?.chars().take(length).collect::<String>())
        }
        "pad" => {
            let (left, right) = (number(argument(1)?)?, number(argument(2)?)?);
            let (left, right) = (left.min(1000), right.min(1000));
            Value::from(format!(
                "{}{}{}",
                " ".repeat(left),
                text(0)?,
                " ".repeat(right)
            ))
        }
        "print" => Value::from(arguments.iter().map(print).collect::<Vec<_>>().join(" ")),
        "println" => Value::from(format!(
            "{}\n",
            arguments.iter().map(print).collect::<Vec<_>>().join(" ")
        )),
        "printf" => Value::from(printf(&text(0)?, &arguments[1..])?),
        "len" => Value::from(match argument(0)? {
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            Value::String(text) => text.len(),
            _ => return Err(TemplateError("len of a value without length".to_owned())),
        }),
        "index" => index(argument(0)?, &arguments[1..])?,
        "slice" => slice(argument(0)?, &arguments[1..])?,
        "not" => Value::Bool(!truth(argument(0)?)),
        "and" => choose(arguments, false)?,
        "or" => choose(arguments, true)?,
        "eq" => {
            let first = argument(0)?;
            argument(1)?;
            Value::Bool(arguments[1..].iter().any(|other| equal(first, other)))
        }
        "ne" => Value::Bool(!equal(argument(0)?, argument(1)?)),
        "lt" => Value::Bool(compare(argument(0)?, argument(1)?)?.is_lt()),
        "le" => Value::Bool(compare(argument(0)?, argument(1)?)?.is_le()),
        "gt" => Value::Bool(compare(argument(0)?, argument(1)?)?.is_gt()),
        "ge" => Value::Bool(compare(argument(0)?, argument(1)?)?.is_ge()),
        _ => return Err(TemplateError(format!("function {name:?} not defined"))),
    })
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|character| {
            let upper = start && character.is_alphabetic();
            start = character.is_whitespace();
            if upper {
                character.to_uppercase().to_string()
            } else {
                character.to_string()
            }
        })
        .collect()
}

fn number(value: &Value) -> Result<usize, TemplateError> {
    value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| TemplateError(format!("{value} is not a length")))
}

fn choose(arguments: &[Value], wanted: bool) -> Result<Value, TemplateError> {
    arguments
        .iter()
        .find(|value| truth(value) == wanted)
        .or(arguments.last())
        .cloned()
        .ok_or_else(|| TemplateError("wrong number of args".to_owned()))
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn compare(a: &Value, b: &Value) -> Result<std::cmp::Ordering, TemplateError> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        _ => a
            .as_f64()
            .zip(b.as_f64())
            .and_then(|(a, b)| a.partial_cmp(&b))
            .ok_or_else(|| TemplateError("incompatible types for comparison".to_owned())),
    }
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, TemplateError> {
    let mut value = value.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Array(items), key) => items
                .get(number(key)?)
                .cloned()
                .ok_or_else(|| TemplateError(format!("index out of range: {key}")))?,
            (Value::Object(fields), Value::String(key)) => {
                fields.get(key).cloned().unwrap_or_else(|| Value::from(""))
            }
            _ => return Err(TemplateError(format!("can't index {value}"))),
        };
    }
    Ok(value)
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, TemplateError> {
    let from = bounds.first().map_or(Ok(0), number)?;
    let out_of_range = || TemplateError("slice index out of range".to_owned());
    match value {
        Value::String(text) => {
            let to = bounds.get(1).map_or(Ok(text.len()), number)?;
            text.get(from..to).map(Value::from).ok_or_else(out_of_range)
        }
        Value::Array(items) => {
            let to = bounds.get(1).map_or(Ok(items.len()), number)?;
            items
                .get(from..to)
                .map(|items| Value::from(items.to_vec()))
                .ok_or_else(out_of_range)
        }
        _ => Err(TemplateError(format!("can't slice {value}"))),
    }
}

/// `%s %v %d %q %x %%` with a width; other verbs are refused.
fn printf(format: &str, arguments: &[Value]) -> Result<String, TemplateError> {
    let mut text = String::new();
    let mut rest = arguments.iter();
    let mut characters = format.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let mut flags = String::new();
        while let Some(&next) = characters.peek() {
            if next.is_ascii_digit() || matches!(next, '-' | '.' | '+') {
                flags.push(next);
                characters.next();
            } else {
                break;
            }
        }
        let verb = characters.next().unwrap_or('%');
        if verb == '%' {
            text.push('%');
            continue;
        }
        let Some(value) = rest.next() else {
            text.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let printed = match verb {
            's' | 'v' | 'd' => print(value),
            'q' => format!("{:?}", print(value)),
            'f' => format!("{:.6}", value.as_f64().unwrap_or_default()),
            'x' => value
                .as_i64()
                .map_or_else(|| print(value), |number| format!("{number:x}")),
            't' => truth(value).to_string(),
            other => {
                return Err(TemplateError(format!(
                    "printf verb %{other} is not supported"
                )));
            }
        };
        let left = flags.starts_with('-');
        let width: usize = flags
            .trim_start_matches(['-', '+'])
            .split('.')
            .next()
            .and_then(|width| width.parse().ok())
            .unwrap_or(0)
            .min(1000);
        if left {
            text.push_str(&format!("{printed:<width$}"));
        } else {
            text.push_str(&format!("{printed:>width$}"));
        }
    }
    Ok(text)
}
