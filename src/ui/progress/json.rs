//! One JSON object a line: `id`, `parent_id`, `status` (Working, Done, Warning, Error), `text`, `details`,
//! `current`, `total`, `percent`; fields without a value are left out.

use serde_json::{Map, Value, json};

use super::Renderer;
use crate::progress::{Event, Report, Status};
use crate::ui::output;

pub(super) struct JsonProgress;

impl Renderer for JsonProgress {
    fn report(&mut self, report: Report) {
        let object = match report {
            Report::Event(event) => line(&event),
            Report::Output { resource, text } => json!({
                "id": resource.to_string(), "status": "Working", "text": "Output", "details": text,
            }),
            Report::Notice(text) => json!({"level": "info", "msg": text}),
            Report::Warning(text) => json!({"level": "warning", "msg": text}),
            Report::Begin { .. } | Report::End { .. } => return,
        };
        output::error_line(object.to_string());
    }
}

fn line(event: &Event) -> Value {
    let mut object = Map::new();
    match &event.part {
        Some(part) => {
            object.insert("id".to_owned(), json!(part));
            object.insert("parent_id".to_owned(), json!(event.resource.to_string()));
        }
        None => {
            object.insert("id".to_owned(), json!(event.resource.to_string()));
        }
    }
    let status = match event.status {
        Status::Working => "Working",
        Status::Done => "Done",
        Status::Warning => "Warning",
        Status::Error => "Error",
    };
    object.insert("status".to_owned(), json!(status));
    object.insert("text".to_owned(), json!(event.text));
    if !event.detail.is_empty() {
        object.insert("details".to_owned(), json!(event.detail));
    }
    if event.current > 0 {
        object.insert("current".to_owned(), json!(event.current));
    }
    if event.total > 0 {
        object.insert("total".to_owned(), json!(event.total));
        let percent = event.current.saturating_mul(100) / event.total;
        object.insert("percent".to_owned(), json!(percent.min(100)));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Resource;

    #[test]
    fn a_line_has_the_documented_fields() {
        let event = Event::working(Resource::container("p-a-1"), "Creating");
        assert_eq!(
            line(&event).to_string(),
            r#"{"id":"Container p-a-1","status":"Working","text":"Creating"}"#
        );
        let event = Event::working(Resource::image("redis"), "Downloading")
            .part("abc")
            .amount(5, 10);
        assert_eq!(
            line(&event).to_string(),
            r#"{"id":"abc","parent_id":"Image redis","status":"Working","text":"Downloading","current":5,"total":10,"percent":50}"#
        );
    }
}
