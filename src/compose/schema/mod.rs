//! Checks a merged tree against the structure of the specification: types, unknown keys, words, limits.
//! All findings at once, with a suggestion where a key is misspelt. No rules between fields.

mod definitions;
mod table;

use crate::compose::error::{Faults, Finding, did_you_mean};
use crate::compose::node::{Map, Node, Path, Value};

const STR: u8 = 1;
const INT: u8 = 2;
/// Any number, integers included.
const NUM: u8 = 4;
const BOOL: u8 = 8;
const NULL: u8 = 16;
const OBJ: u8 = 32;
const ARR: u8 = 64;

/// What a value may be.
#[derive(Clone, Copy)]
struct Schema {
    /// Allowed types; 0 for any.
    types: u8,
    one_of: &'static [&'static Schema],
    /// Sorted by name.
    properties: &'static [(&'static str, &'static Schema)],
    pattern_properties: Option<(Pattern, &'static Schema)>,
    /// `x-…` keys may stand here.
    extensible: bool,
    /// No other keys.
    closed: bool,
    items: Option<&'static Schema>,
    unique: bool,
    required: &'static [&'static str],
    words: &'static [&'static str],
    pattern: Option<Pattern>,
    minimum: Option<i64>,
    maximum: Option<i64>,
}

/// The patterns that the specification uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    Name,
    AnyText,
    Lower,
    ContainerName,
    PullPolicy,
}

const ANY: Schema = Schema {
    types: 0,
    one_of: &[],
    properties: &[],
    pattern_properties: None,
    extensible: false,
    closed: false,
    items: None,
    unique: false,
    required: &[],
    words: &[],
    pattern: None,
    minimum: None,
    maximum: None,
};

const fn of(types: u8) -> Schema {
    Schema { types, ..ANY }
}

const fn one_of(one_of: &'static [&'static Schema]) -> Schema {
    Schema { one_of, ..ANY }
}

impl Schema {
    const fn properties(self, properties: &'static [(&'static str, &'static Self)]) -> Self {
        Self { properties, ..self }
    }

    const fn pattern_properties(self, pattern: Pattern, schema: &'static Self) -> Self {
        Self {
            pattern_properties: Some((pattern, schema)),
            ..self
        }
    }

    const fn extensible(self) -> Self {
        Self {
            extensible: true,
            ..self
        }
    }

    const fn closed(self) -> Self {
        Self {
            closed: true,
            ..self
        }
    }

    const fn items(self, items: &'static Self) -> Self {
        Self {
            items: Some(items),
            ..self
        }
    }

    const fn unique(self) -> Self {
        Self {
            unique: true,
            ..self
        }
    }

    const fn required(self, required: &'static [&'static str]) -> Self {
        Self { required, ..self }
    }

    const fn words(self, words: &'static [&'static str]) -> Self {
        Self { words, ..self }
    }

    const fn pattern(self, pattern: Pattern) -> Self {
        Self {
            pattern: Some(pattern),
            ..self
        }
    }

    const fn minimum(self, minimum: i64) -> Self {
        Self {
            minimum: Some(minimum),
            ..self
        }
    }

    const fn maximum(self, maximum: i64) -> Self {
        Self {
            maximum: Some(maximum),
            ..self
        }
    }

    fn property(&self, key: &str) -> Option<&'static Self> {
        self.properties
            .binary_search_by_key(&key, |(name, _)| name)
            .ok()
            .map(|at| self.properties[at].1)
    }

    fn admits(&self, node: &Node) -> bool {
        self.types == 0 || self.types & types_of(node) != 0
    }
}

impl Pattern {
    fn matches(self, text: &str) -> bool {
        match self {
            Self::Name => {
                !text.is_empty()
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            }
            Self::AnyText => text.chars().any(|c| c != '\n'),
            Self::Lower => !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase()),
            Self::ContainerName => text.as_bytes().windows(2).any(|pair| {
                pair[0].is_ascii_alphanumeric()
                    && (pair[1].is_ascii_alphanumeric() || matches!(pair[1], b'_' | b'.' | b'-'))
            }),
            Self::PullPolicy => is_pull_policy(text),
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Name => "letters, digits, '.', '_' and '-'",
            Self::AnyText => "one line of text",
            Self::Lower => "lower-case letters",
            Self::ContainerName => "[a-zA-Z0-9][a-zA-Z0-9_.-]+",
            Self::PullPolicy => {
                "always, never, build, missing, if_not_present, refresh, daily, weekly or every_<duration>"
            }
        }
    }
}

/// The pattern of the specification is not anchored: a policy may stand anywhere in the text.
fn is_pull_policy(text: &str) -> bool {
    const POLICIES: [&str; 8] = [
        "always",
        "never",
        "build",
        "if_not_present",
        "missing",
        "refresh",
        "daily",
        "weekly",
    ];
    POLICIES.iter().any(|policy| text.contains(policy))
        || text.match_indices("every_").any(|(at, word)| {
            let rest = &text[at + word.len()..];
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            digits > 0 && rest[digits..].starts_with(['w', 'd', 'h', 'm', 's'])
        })
}

fn types_of(node: &Node) -> u8 {
    match &node.value {
        Value::Null => NULL,
        Value::Bool(_) => BOOL,
        Value::Int(_) | Value::Uint(_) => INT | NUM,
        Value::Float(f) if f.fract() == 0.0 => INT | NUM,
        Value::Float(_) => NUM,
        Value::Str(_) => STR,
        Value::Seq(_) => ARR,
        Value::Map(_) => OBJ,
        Value::Time(_) => 0,
    }
}

/// Checks the whole tree; `file` is named in the messages.
///
/// # Errors
/// Every place that is not as the specification wants it.
pub(crate) fn validate(root: &Node, file: &str) -> Result<(), Faults> {
    let mut check = Check {
        file,
        findings: Vec::new(),
    };
    check.node(root, &table::ROOT, &Path::ROOT);
    Faults::check(check.findings)
}

struct Check<'a> {
    file: &'a str,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn report(&mut self, path: &Path<'_>, what: &str, finding: impl FnOnce(Finding) -> Finding) {
        let message = format!("validating {}: {path} {what}", self.file);
        self.findings
            .push(finding(Finding::new(message).field(path)));
    }

    fn node(&mut self, node: &Node, schema: &'static Schema, path: &Path<'_>) {
        if !schema.one_of.is_empty() {
            return self.choice(node, schema.one_of, path);
        }
        if !schema.admits(node) || matches!(node.value, Value::Time(_)) {
            let wanted = type_names(schema.types);
            return self.report(path, &format!("must be a {wanted}"), |f| {
                f.at(node.span).label(format!("this is a {}", node.kind()))
            });
        }
        match &node.value {
            Value::Map(map) => self.mapping(node, map, schema, path),
            Value::Seq(items) => self.sequence(items, schema, path),
            Value::Str(text) => self.text(node, text, schema, path),
            _ => {}
        }
        self.limits(node, schema, path);
    }

    fn choice(&mut self, node: &Node, options: &'static [&'static Schema], path: &Path<'_>) {
        if let Some(option) = options
            .iter()
            .find(|option| option.one_of.is_empty() && option.admits(node))
        {
            return self.node(node, option, path);
        }
        if let Some(option) = options.iter().find(|option| !option.one_of.is_empty()) {
            return self.node(node, option, path);
        }
        let types = options.iter().fold(0, |types, option| types | option.types);
        self.report(path, &format!("must be a {}", type_names(types)), |f| {
            f.at(node.span).label(format!("this is a {}", node.kind()))
        });
    }

    fn mapping(&mut self, node: &Node, map: &Map, schema: &'static Schema, path: &Path<'_>) {
        for key in schema.required {
            if !map.contains_key(*key) {
                self.report(path, &format!("missing property '{key}'"), |f| {
                    f.at(node.key.or(node.span)).label(format!("needs `{key}`"))
                });
            }
        }
        for (key, value) in map {
            if let Some(property) = schema.property(key) {
                self.node(value, property, &path.key(key));
                continue;
            }
            if let Some((pattern, property)) = schema.pattern_properties
                && pattern.matches(key)
            {
                self.node(value, property, &path.key(key));
                continue;
            }
            if schema.extensible && key.starts_with("x-") {
                continue;
            }
            if schema.closed {
                self.unknown_key(key, value, schema, path);
            }
        }
    }

    fn unknown_key(&mut self, key: &str, value: &Node, schema: &'static Schema, path: &Path<'_>) {
        let what = format!("additional properties '{key}' not allowed");
        let names = schema.properties.iter().map(|(name, _)| *name);
        let help = match did_you_mean(key, names) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None => schema
                .pattern_properties
                .map(|(pattern, _)| format!("a name here is made of {}", pattern.wanted())),
        };
        self.report(path, &what, |mut f| {
            f.help = help;
            f.field(&path.key(key)).at(value.key).label("unknown key")
        });
    }

    fn sequence(&mut self, items: &[Node], schema: &'static Schema, path: &Path<'_>) {
        if let Some(item_schema) = schema.items {
            for (n, item) in items.iter().enumerate() {
                self.node(item, item_schema, &path.item(n));
            }
        }
        if schema.unique
            && let Some((first, second)) = repeated(items)
        {
            let what = format!("items at {first} and {second} are equal");
            self.report(path, &what, |f| {
                f.at(items[second].span)
                    .label("the same again")
                    .related(items[first].span, "first here")
            });
        }
    }

    fn text(&mut self, node: &Node, text: &str, schema: &'static Schema, path: &Path<'_>) {
        if !schema.words.is_empty() && !schema.words.contains(&text) {
            let words: Vec<String> = schema.words.iter().map(|w| format!("'{w}'")).collect();
            let what = format!("value must be one of {}", words.join(", "));
            let near = did_you_mean(text, schema.words.iter().copied());
            self.report(path, &what, |mut f| {
                f.help = near.map(|near| format!("did you mean `{near}`?"));
                f.at(node.span)
            });
        }
        if let Some(pattern) = schema.pattern
            && !pattern.matches(text)
        {
            let what = format!("does not match pattern: {}", pattern.wanted());
            self.report(path, &what, |f| f.at(node.span));
        }
    }

    fn limits(&mut self, node: &Node, schema: &'static Schema, path: &Path<'_>) {
        #[expect(clippy::cast_precision_loss, reason = "limits are small")]
        let below = |limit: i64| match node.value {
            Value::Int(n) => n < limit,
            Value::Float(f) => f < limit as f64,
            _ => false,
        };
        #[expect(clippy::cast_precision_loss, reason = "limits are small")]
        let above = |limit: i64| match node.value {
            Value::Int(n) => n > limit,
            Value::Uint(_) => true,
            Value::Float(f) => f > limit as f64,
            _ => false,
        };
        if let Some(limit) = schema.minimum.filter(|limit| below(*limit)) {
            let what = format!("must be greater than or equal to {limit}");
            self.report(path, &what, |f| f.at(node.span));
        }
        if let Some(limit) = schema.maximum.filter(|limit| above(*limit)) {
            let what = format!("must be less than or equal to {limit}");
            self.report(path, &what, |f| f.at(node.span));
        }
    }
}

/// The places of the first two equal items.
fn repeated(items: &[Node]) -> Option<(usize, usize)> {
    if items.len() > 16 && items.iter().all(|item| item.as_str().is_some()) {
        let mut seen = std::collections::HashMap::with_capacity(items.len());
        return items
            .iter()
            .enumerate()
            .find_map(|(n, item)| seen.insert(item.as_str(), n).map(|first| (first, n)));
    }
    (0..items.len()).find_map(|n| {
        items[..n]
            .iter()
            .position(|before| *before == items[n])
            .map(|first| (first, n))
    })
}

fn type_names(types: u8) -> String {
    let mut names: Vec<&str> = [
        (ARR, "array"),
        (BOOL, "boolean"),
        (INT, "integer"),
        (OBJ, "mapping"),
        (NULL, "null"),
        (NUM, "number"),
        (STR, "string"),
    ]
    .iter()
    .filter(|(bit, _)| types & bit != 0)
    .map(|(_, name)| *name)
    .collect();
    match names.pop() {
        None => "value".to_owned(),
        Some(last) if names.is_empty() => last.to_owned(),
        Some(last) => format!("{} or {last}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
