//! Variables in the values of a tree, and the types that some fields take afterwards. Keys are never touched.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::compose::error::{Faults, Finding};
use crate::compose::model::Mapping;
use crate::compose::node::{Node, Path, Value};
use crate::compose::template::{Lookup, TemplateError, substitute};

/// Values from the environment; remembers what was asked for in vain.
pub(crate) struct Environment<'a> {
    values: &'a Mapping,
    unset: RefCell<BTreeSet<String>>,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(values: &'a Mapping) -> Self {
        Self {
            values,
            unset: RefCell::default(),
        }
    }

    /// The variables that had neither a value nor a default.
    pub(crate) fn into_unset(self) -> BTreeSet<String> {
        self.unset.into_inner()
    }
}

impl Lookup for Environment<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn unset(&self, name: &str) {
        self.unset.borrow_mut().insert(name.to_owned());
    }
}

/// What a field's text becomes after its variables are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cast {
    Int,
    Float,
    Float32,
    Bool,
}

/// Replaces the variables of every value below `node`.
///
/// # Errors
/// Every malformed or missing variable, and every text that is not of its field's type.
pub(crate) fn interpolate(
    node: &mut Node,
    environment: &Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), Faults> {
    let mut walk = Walk {
        environment,
        warnings,
        findings: Vec::new(),
    };
    walk.node(node, &Path::ROOT);
    Faults::check(walk.findings)
}

struct Walk<'a, 'e> {
    environment: &'a Environment<'e>,
    warnings: &'a mut Vec<String>,
    findings: Vec<Finding>,
}

impl Walk<'_, '_> {
    fn node(&mut self, node: &mut Node, path: &Path<'_>) {
        match &mut node.value {
            Value::Map(map) => {
                for (key, value) in map.iter_mut() {
                    self.node(value, &path.key(key));
                }
            }
            Value::Seq(items) => {
                for (n, item) in items.iter_mut().enumerate() {
                    self.node(item, &path.item(n));
                }
            }
            Value::Str(_) => self.string(node, path),
            _ => {}
        }
    }

    fn string(&mut self, node: &mut Node, path: &Path<'_>) {
        let Value::Str(text) = &node.value else {
            return;
        };
        let replaced = match substitute(text, self.environment) {
            Ok(std::borrow::Cow::Borrowed(_)) => None,
            Ok(std::borrow::Cow::Owned(replaced)) => Some(replaced),
            Err(error) => {
                self.findings.push(template_finding(&error, node, path));
                return;
            }
        };
        let cast = if path.depth() >= 3 {
            cast_of(path)
        } else {
            None
        };
        let value = match cast {
            None => match replaced {
                None => return,
                Some(replaced) => Value::Str(replaced.into()),
            },
            Some(cast) => {
                let text = replaced.as_deref().unwrap_or(text);
                match apply(cast, text, self.warnings) {
                    Ok(value) => value,
                    Err(message) => {
                        self.findings.push(
                            Finding::new(format!(
                                "error while interpolating {path}: failed to cast to expected type: {message}"
                            ))
                            .at(node.span)
                            .field(path)
                            .label(wanted(cast)),
                        );
                        return;
                    }
                }
            }
        };
        node.value = value;
    }
}

fn template_finding(error: &TemplateError, node: &Node, path: &Path<'_>) -> Finding {
    match error {
        TemplateError::Invalid(text) => Finding::new(format!(
            "invalid interpolation format for {path}.\nYou may need to escape any $ with another $.\n{text}"
        ))
        .label("malformed variable")
        .help("write $$ for a dollar sign, ${NAME} or ${NAME:-default} for a variable"),
        TemplateError::Required { name, .. } => {
            Finding::new(format!("error while interpolating {path}: {error}"))
                .label("needs a value")
                .help(format!("set {name} in the environment or in .env"))
        }
        TemplateError::TooDeep => {
            Finding::new(format!("error while interpolating {path}: {error}"))
        }
    }
    .at(node.span)
    .field(path)
}

fn wanted(cast: Cast) -> &'static str {
    match cast {
        Cast::Int => "must be an integer",
        Cast::Float | Cast::Float32 => "must be a number",
        Cast::Bool => "must be true or false",
    }
}

fn apply(cast: Cast, text: &str, warnings: &mut Vec<String>) -> Result<Value, String> {
    match cast {
        Cast::Int => parse_int(text).map(Value::Int),
        Cast::Float => parse_float(text).map(Value::Float),
        Cast::Float32 => parse_float(text).map(|value| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the field is a 32-bit number"
            )]
            let narrow = value as f32;
            Value::Float(f64::from(narrow))
        }),
        Cast::Bool => parse_bool(text, warnings).map(Value::Bool),
    }
}

/// A whole number in base 10, as Go's `strconv.Atoi` reads it.
pub(crate) fn parse_int(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<i64>() {
        Ok(value) if plain => Ok(value),
        _ => Err(format!("parsing {text:?}: invalid syntax")),
    }
}

/// A decimal number, `inf` and `nan` included.
pub(crate) fn parse_float(text: &str) -> Result<f64, String> {
    let bad = || format!("parsing {text:?}: invalid syntax");
    let value: f64 = text.parse().map_err(|_| bad())?;
    // Out of range is an error; the words for infinity are not.
    if value.is_infinite() && text.bytes().any(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    Ok(value)
}

/// A boolean word; those of YAML 1.1 are taken with a warning.
pub(crate) fn parse_bool(text: &str, warnings: &mut Vec<String>) -> Result<bool, String> {
    let value = match text.to_lowercase().as_str() {
        "true" => return Ok(true),
        "false" => return Ok(false),
        "y" | "yes" | "on" => true,
        "n" | "no" | "off" => false,
        _ => return Err(format!("invalid boolean: {text}")),
    };
    warnings.push(format!(
        "{text:?} for boolean is not supported by YAML 1.2, please use `{value}`"
    ));
    Ok(value)
}

/// The type that the field at `path` takes.
fn cast_of(path: &Path<'_>) -> Option<Cast> {
    use crate::compose::node::Part;
    let parts = path.parts();
    let key = |n: usize| match parts.get(n) {
        Some(Part::Key(key)) => Some(*key),
        _ => None,
    };
    let item = |n: usize| matches!(parts.get(n), Some(Part::Item(_)));
    if key(0)? != "services" {
        let fits = match (key(0)?, key(2)?) {
            (
                "networks",
                "external" | "internal" | "attachable" | "enable_ipv4" | "enable_ipv6",
            )
            | ("volumes" | "secrets" | "configs", "external") => parts.len() == 3,
            _ => false,
        };
        return fits.then_some(Cast::Bool);
    }
    match (parts.len(), key(2)?) {
        (3, field) => service_cast(field),
        (4, "deploy") => (key(3)? == "replicas").then_some(Cast::Int),
        (4, "healthcheck") => match key(3)? {
            "retries" => Some(Cast::Int),
            "disable" => Some(Cast::Bool),
            _ => None,
        },
        (4, "ulimits") => Some(Cast::Int),
        (5, "ulimits") => matches!(key(4)?, "hard" | "soft").then_some(Cast::Int),
        (5, "ports") if item(3) => (key(4)? == "target").then_some(Cast::Int),
        (5, "volumes") if item(3) => (key(4)? == "read_only").then_some(Cast::Bool),
        (6, "volumes") if item(3) => {
            (key(4)? == "volume" && key(5)? == "nocopy").then_some(Cast::Bool)
        }
        (5, "deploy") => match (key(3)?, key(4)?) {
            ("update_config" | "rollback_config", "parallelism")
            | ("restart_policy", "max_attempts")
            | ("placement", "max_replicas_per_node") => Some(Cast::Int),
            ("update_config" | "rollback_config", "max_failure_ratio") => Some(Cast::Float),
            _ => None,
        },
        _ => None,
    }
}

fn service_cast(field: &str) -> Option<Cast> {
    Some(match field {
        "cpu_count" | "cpu_period" | "cpu_quota" | "cpu_rt_period" | "cpu_rt_runtime"
        | "cpu_shares" | "oom_score_adj" | "pids_limit" | "scale" => Cast::Int,
        "cpu_percent" => Cast::Float,
        "cpus" => Cast::Float32,
        "init" | "oom_kill_disable" | "privileged" | "read_only" | "stdin_open" | "tty" => {
            Cast::Bool
        }
        _ => return None,
    })
}
