//! Rows by `--format`: `table`, `table TEMPLATE`, `json`, or a template. A column has a field name (for
//! templates and JSON) and a heading.

use serde_json::{Map, Value};

use crate::ui::go_template::{Template, TemplateError};
use crate::ui::table::{self, Style};

/// A column of a listing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) field: &'static str,
    pub(crate) heading: &'static str,
}

/// What a format asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonShape {
    /// One object a line.
    Lines,
    /// One array.
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    Array,
}

/// Renders rows (objects) as `format` says. `default_table` is the template of a bare `table`.
///
/// # Errors
/// The format is no template.
pub(crate) fn render(
    format: &str,
    default_table: &str,
    columns: &[Column],
    rows: &[Value],
    json: JsonShape,
) -> Result<String, TemplateError> {
    if format == "json" {
        return Ok(match json {
            JsonShape::Lines => rows.iter().map(|row| format!("{row}\n")).collect(),
            JsonShape::Array => format!("{}\n", Value::from(rows.to_vec())),
        });
    }
    let template = match format.strip_prefix("table") {
        Some(rest) if rest.trim().is_empty() => Some(default_table),
        Some(rest) if rest.starts_with(char::is_whitespace) => Some(rest.trim_start()),
        _ => None,
    };
    match template {
        Some(template) => table_of(template, columns, rows),
        None => {
            let template = Template::parse(format)?;
            let mut text = String::new();
            for row in rows {
                text.push_str(&template.render(row)?);
                text.push('\n');
            }
            Ok(text)
        }
    }
}

fn table_of(template: &str, columns: &[Column], rows: &[Value]) -> Result<String, TemplateError> {
    let template = Template::parse(template)?;
    let headings: Map<String, Value> = columns
        .iter()
        .map(|column| (column.field.to_owned(), Value::from(column.heading)))
        .collect();
    let mut lines = vec![cells(&template.header(&Value::Object(headings))?)];
    for row in rows {
        lines.push(cells(&template.render(row)?));
    }
    Ok(table::render(&lines, Style::Docker))
}

fn cells(line: &str) -> Vec<String> {
    line.split('\t').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const COLUMNS: &[Column] = &[
        Column {
            field: "Name",
            heading: "NAME",
        },
        Column {
            field: "State",
            heading: "STATE",
        },
    ];

    #[test]
    fn a_format_is_a_table_json_or_a_template() {
        let rows = [json!({"Name": "a", "State": "running"})];
        let render = |format: &str| {
            render(
                format,
                "{{.Name}}\\t{{.State}}",
                COLUMNS,
                &rows,
                JsonShape::Lines,
            )
        };
        assert_eq!(
            render("table").unwrap(),
            "NAME      STATE\na         running\n"
        );
        assert_eq!(render("table {{.State}}").unwrap(), "STATE\nrunning\n");
        assert_eq!(
            render("json").unwrap(),
            "{\"Name\":\"a\",\"State\":\"running\"}\n"
        );
        assert_eq!(render("{{.Name}}={{.State}}").unwrap(), "a=running\n");
        assert!(render("{{.Nope}}").is_err());
    }
}
