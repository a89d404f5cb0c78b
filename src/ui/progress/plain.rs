//! One line an event: ` Container p-a-1 Creating `. A line that would say the same again is left out.

use std::collections::HashMap;

use super::Renderer;
use crate::progress::{Event, Report};
use crate::ui::output;

#[derive(Debug, Default)]
pub(super) struct PlainProgress {
    /// The last text of each resource and part.
    last: HashMap<String, String>,
}

impl Renderer for PlainProgress {
    fn report(&mut self, report: Report) {
        match report {
            Report::Event(event) => {
                if let Some(line) = self.line(&event) {
                    output::status_line(line);
                }
            }
            Report::Output { resource, text } => {
                for line in text.lines() {
                    output::status_line(format!("{resource} | {line}"));
                }
            }
            Report::Notice(text) => output::status_line(text),
            Report::Warning(text) => output::warning(text),
            Report::Begin { .. } => self.last.clear(),
            Report::End { .. } => {}
        }
    }
}

impl PlainProgress {
    fn line(&mut self, event: &Event) -> Option<String> {
        let id = match &event.part {
            Some(part) => part.clone(),
            None => event.resource.to_string(),
        };
        let line = format!(" {id} {} {}", event.text, event.detail);
        let before = self.last.insert(id, line.clone());
        (before.as_ref() != Some(&line)).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Resource;

    #[test]
    fn a_line_names_the_resource_and_what_happens() {
        let mut plain = PlainProgress::default();
        let event = Event::working(Resource::container("p-a-1"), "Creating");
        assert_eq!(plain.line(&event).unwrap(), " Container p-a-1 Creating ");
        assert_eq!(plain.line(&event), None);
    }
}
