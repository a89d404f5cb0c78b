//! Go templates for `--format`: the part of text/template that docker users write. Fields, pipelines,
//! `if`, `range`, `with`, variables, docker's functions. No `define`, no `template`.

mod eval;
mod functions;
mod parse;

use serde_json::Value;

/// A parsed template.
#[derive(Debug, Clone)]
pub(crate) struct Template(Vec<parse::Node>);

/// Why a template cannot be read or carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template parsing error: {0}")]
pub(crate) struct TemplateError(pub(crate) String);

impl Template {
    /// Parses `text`, in which `\t` and `\n` may be written out.
    ///
    /// # Errors
    /// The text is no template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        parse::template(&text).map(Template)
    }

    /// Carries the template out on `data`.
    ///
    /// # Errors
    /// A field that `data` does not have, a function used wrongly.
    pub(crate) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        eval::render(&self.0, data)
    }

    /// The template's own table header: each field replaced by its column's name.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub(crate) fn header(&self, columns: &Value) -> Result<String, TemplateError> {
        eval::render_header(&self.0, columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str, data: &Value) -> String {
        match Template::parse(template).and_then(|template| template.render(data)) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_docker_users_write_works() {
        let data = json!({
            "Name": "web-1", "ID": "abcdef0123456789", "ExitCode": 0,
            "Labels": "a=1,b=2",
            "Publishers": [{"URL": "0.0.0.0", "TargetPort": 80}, {"URL": "::", "TargetPort": 81}],
        });
        for (template, wanted) in [
            ("{{.Name}}", "web-1"),
            ("{{.Name}}\\t{{.ID}}", "web-1\tabcdef0123456789"),
            ("{{json .Name}}", "\"web-1\""),
            ("{{ .Name | upper }}", "WEB-1"),
            ("{{ printf \"%s:%d\" .Name .ExitCode }}", "web-1:0"),
            (
                "{{range .Publishers}}{{.URL}}:{{.TargetPort}} {{end}}",
                "0.0.0.0:80 :::81 ",
            ),
            (
                "{{range $i, $p := .Publishers}}{{if $i}}, {{end}}{{$p.TargetPort}}{{end}}",
                "80, 81",
            ),
            ("{{if eq .ExitCode 0}}ok{{else}}bad{{end}}", "ok"),
            ("{{if and .Name (ne .Name \"x\")}}y{{end}}", "y"),
            ("{{len .Publishers}}", "2"),
            ("{{(index .Publishers 1).URL}}", "::"),
            ("{{.Label \"b\"}}", "2"),
            ("{{slice .ID 0 4}}|{{truncate .ID 3}}", "abcd|abc"),
            ("a {{- \" b \" -}} c", "a b c"),
            (
                "{{with .Nothing}}x{{else}}none{{end}}",
                "template parsing error: can't evaluate field Nothing",
            ),
            ("{{.Name", "template parsing error: unclosed action"),
            ("{{/* nothing */}}x", "x"),
            ("{{join (split .Labels \",\") \";\"}}", "a=1;b=2"),
        ] {
            assert_eq!(render(template, &data), wanted, "{template}");
        }
    }

    #[test]
    fn a_header_has_the_names_of_the_columns() {
        let template = Template::parse("{{.Name}}\\t{{upper .ID}}\\t{{.Label \"b\"}}").unwrap();
        let columns = json!({"Name": "NAME", "ID": "CONTAINER ID"});
        assert_eq!(template.header(&columns).unwrap(), "NAME\tCONTAINER ID\tb");
    }

    #[test]
    fn hostile_templates_end() {
        let deep = format!("{}{}", "{{if .}}".repeat(5000), "{{end}}".repeat(5000));
        assert!(Template::parse(&deep).is_err());
        let nested = format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000));
        assert!(Template::parse(&nested).is_err());
    }
}
