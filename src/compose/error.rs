//! What is wrong in the files, with its places, and how that reads: for people with the source line
//! underlined, or as JSON. Pure: text comes out, `ui` prints it.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::compose::node::Path;
use crate::compose::source::{FileId, Location, Sources, Span};

/// One thing that is wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Finding {
    pub(crate) message: String,
    /// The field, as `services.web.ports[0]`; empty when it is about no field.
    pub(crate) field: String,
    pub(crate) span: Span,
    /// What the underlined text is.
    pub(crate) label: String,
    /// Other places: the first definition, the include that brought the file in.
    pub(crate) related: Vec<(Span, String)>,
    /// What to do.
    pub(crate) help: Option<String>,
}

impl Finding {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }

    pub(crate) fn at(mut self, span: Span) -> Self {
        self.span = span;
        self
    }

    pub(crate) fn field(mut self, path: &Path<'_>) -> Self {
        self.field = path.to_string();
        self
    }

    pub(crate) fn field_text(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn related(mut self, span: Span, what: impl Into<String>) -> Self {
        if !span.is_none() {
            self.related.push((span, what.into()));
        }
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Findings on their way up, boxed: the good way pays nothing.
#[derive(Debug)]
pub(crate) struct Faults(pub(crate) Vec<Finding>);

impl From<Finding> for Faults {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}

impl From<Box<Finding>> for Faults {
    fn from(finding: Box<Finding>) -> Self {
        Self(vec![*finding])
    }
}

impl Faults {
    /// An error without a place.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Finding::new(text).into()
    }

    /// `Ok` when there is nothing.
    pub(crate) fn check(findings: Vec<Finding>) -> Result<(), Self> {
        if findings.is_empty() {
            Ok(())
        } else {
            Err(Self(findings))
        }
    }

    /// Adds to each finding how its file came in.
    pub(crate) fn through(mut self, span: Span, what: &str) -> Self {
        for finding in &mut self.0 {
            if !span.is_none() {
                finding.related.push((span, what.to_owned()));
            }
        }
        self
    }
}

/// Every finding of one load, with the texts they point into. Never empty.
#[derive(Clone, Debug)]
pub(crate) struct LoadErrors {
    findings: Vec<Finding>,
    sources: Arc<Sources>,
    not_found: bool,
}

impl LoadErrors {
    pub(crate) fn new(faults: Faults, sources: Arc<Sources>) -> Self {
        Self {
            findings: faults.0,
            sources,
            not_found: false,
        }
    }

    /// One finding without a place.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::new(Faults::message(text), Arc::new(Sources::default()))
    }

    /// There is no Compose file at all: commands that need only a name may go on.
    pub(crate) fn no_file() -> Self {
        let mut error = Self::message("no configuration file provided: not found");
        error.not_found = true;
        error
    }

    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The text for a terminal: every finding with its source lines; `color` adds ANSI styles.
    pub(crate) fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        self.findings
            .iter()
            .map(|finding| render_finding(finding, &self.sources, &renderer, Level::ERROR))
            .collect::<Vec<_>>()
            .join("\n\n")
    }

    /// The findings for tools: a JSON array of objects with `message`, `field`, `file`, `line`, `column`, `help`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        self.findings
            .iter()
            .map(|finding| finding_json(finding, &self.sources))
            .collect()
    }
}

/// One finding as a JSON object.
pub(crate) fn finding_json(finding: &Finding, sources: &Sources) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    object.insert("message".into(), finding.message.clone().into());
    if !finding.field.is_empty() {
        object.insert("field".into(), finding.field.clone().into());
    }
    if let Some(at) = sources.locate(finding.span) {
        insert_location(&mut object, at);
    }
    if let Some(help) = &finding.help {
        object.insert("help".into(), help.clone().into());
    }
    let related: Vec<serde_json::Value> = finding
        .related
        .iter()
        .filter_map(|(span, what)| {
            let mut object = serde_json::Map::new();
            object.insert("message".into(), what.clone().into());
            insert_location(&mut object, sources.locate(*span)?);
            Some(serde_json::Value::Object(object))
        })
        .collect();
    if !related.is_empty() {
        object.insert("related".into(), related.into());
    }
    serde_json::Value::Object(object)
}

fn insert_location(object: &mut serde_json::Map<String, serde_json::Value>, at: Location) {
    object.insert("file".into(), at.file.into());
    object.insert("line".into(), at.line.into());
    object.insert("column".into(), at.column.into());
}

/// One finding as text.
pub(crate) fn render_finding(
    finding: &Finding,
    sources: &Sources,
    renderer: &Renderer,
    level: Level<'_>,
) -> String {
    let title = if finding.field.is_empty() || finding.message.contains(&finding.field) {
        finding.message.clone()
    } else {
        format!("{}: {}", finding.field, finding.message)
    };
    type Mark<'m> = (Span, &'m str, AnnotationKind);
    let mut places: Vec<(FileId, Vec<Mark<'_>>)> = Vec::new();
    let primary = (
        finding.span,
        finding.label.as_str(),
        AnnotationKind::Primary,
    );
    let others = finding
        .related
        .iter()
        .map(|(span, what)| (*span, what.as_str(), AnnotationKind::Context));
    for (span, what, kind) in std::iter::once(primary).chain(others) {
        let Some(file) = span.file() else { continue };
        match places.iter_mut().find(|(f, _)| *f == file) {
            Some((_, list)) => list.push((span, what, kind)),
            None => places.push((file, vec![(span, what, kind)])),
        }
    }
    let mut group = if places.is_empty() && finding.help.is_none() {
        Group::with_title(level.primary_title(title.as_str()))
    } else {
        let mut group = Group::with_title(level.primary_title(title.as_str()));
        for (file, marks) in &places {
            let text = sources.text(*file);
            let mut snippet = Snippet::source(text).path(sources.name(*file));
            for (span, what, kind) in marks {
                let mut mark = kind.span(first_line(text, *span));
                if !what.is_empty() {
                    mark = mark.label(*what);
                }
                snippet = snippet.annotation(mark);
            }
            group = group.element(snippet);
        }
        group
    };
    if let Some(help) = &finding.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// The part of a span on its first line, at character borders.
fn first_line(text: &str, span: Span) -> std::ops::Range<usize> {
    let border = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = border(span.range().start);
    let end = border(span.range().end).max(start);
    let line_end = text[start..end].find('\n').map_or(end, |n| start + n);
    let line = text[start..line_end].trim_end();
    start..start + line.len()
}

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.render(false);
        f.write_str(text.strip_prefix("error: ").unwrap_or(&text))
    }
}

impl std::error::Error for LoadErrors {}

/// Something worth telling that does not stop the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) message: String,
}

/// The candidate that `word` was probably meant to be.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != word)
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance where swapping two neighbours is one edit.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, y) in b.iter().enumerate() {
            let change = last[j] + usize::from(x != y);
            row[j + 1] = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near() {
        let keys = ["image", "ports", "environment"];
        assert_eq!(did_you_mean("imgae", keys), Some("image"));
        assert_eq!(did_you_mean("enviroment", keys), Some("environment"));
        assert_eq!(did_you_mean("volumes", keys), None);
    }

    #[test]
    fn shows_both_places() {
        let mut sources = Sources::default();
        let file = sources.add("compose.yaml", "a: 1\nb: 2\na: 3\n".into());
        let finding = Finding::new("duplicate key `a`")
            .at(Span::new(file, 10, 11))
            .label("second definition")
            .related(Span::new(file, 0, 1), "first defined here");
        let errors = LoadErrors::new(finding.into(), Arc::new(sources));
        let text = errors.render(false);
        assert!(text.contains("compose.yaml:3:1"), "{text}");
        assert!(text.contains("first defined here"), "{text}");
        assert_eq!(errors.to_json()[0]["line"], 3);
    }
}
