//! What a terminal shows of the reports: an ordered list of resources, and its lines for a size and a
//! moment. Pure: it neither reads the clock nor writes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use unicode_width::UnicodeWidthStr as _;

use crate::progress::{Event, Resource, ResourceKind, Status};
use crate::ui::table::ellipsis;
use crate::units;

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// One turn of the spinner's symbol.
const SPINNER_STEP: Duration = Duration::from_millis(100);
/// A bar of a pull is as many layers wide, and never wider than this.
const WIDEST_BAR: usize = 20;
const FILL: [char; 9] = ['⠀', '⡀', '⣀', '⣄', '⣤', '⣦', '⣶', '⣷', '⣿'];

#[derive(Debug)]
struct Line {
    resource: Resource,
    status: Status,
    text: String,
    detail: String,
    current: u64,
    total: u64,
    parts: Vec<Part>,
    started: Instant,
    ended: Option<Instant>,
}

#[derive(Debug)]
struct Part {
    name: String,
    text: String,
    current: u64,
    total: u64,
    done: bool,
}

/// Everything that was reported since the operation began.
#[derive(Debug)]
pub(super) struct State {
    operation: String,
    lines: Vec<Line>,
    index: HashMap<Resource, usize>,
    hide_starting: bool,
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    began: Instant,
}

impl State {
    pub(super) fn new(operation: String, hide_starting: bool, now: Instant) -> Self {
        State {
            operation,
            lines: Vec::new(),
            index: HashMap::new(),
            hide_starting,
            began: now,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn event(&mut self, event: Event, now: Instant) {
        if self.hide_starting
            && event.resource.kind == ResourceKind::Container
            && matches!(event.text.as_ref(), "Starting" | "Started")
        {
            return;
        }
        let at = match self.index.get(&event.resource) {
            Some(&at) => at,
            None => {
                self.lines.push(Line {
                    resource: event.resource.clone(),
                    status: Status::Working,
                    text: String::new(),
                    detail: String::new(),
                    current: 0,
                    total: 0,
                    parts: Vec::new(),
                    started: now,
                    ended: None,
                });
                self.index
                    .insert(event.resource.clone(), self.lines.len() - 1);
                self.lines.len() - 1
            }
        };
        let line = &mut self.lines[at];
        if let Some(name) = event.part {
            line.part(name, &event.text, event.current, event.total, event.status);
            return;
        }
        line.status = event.status;
        line.text = event.text.into_owned();
        line.detail = event.detail;
        line.current = event.current;
        line.total = event.total;
        line.ended = (event.status != Status::Working).then_some(now);
        if event.status == Status::Working && line.parts.iter().all(|part| part.done) {
            line.parts.clear();
        }
    }

    /// The lines at this moment, the first one the header, never more than `height`.
    pub(super) fn render(
        &self,
        width: usize,
        height: usize,
        now: Instant,
        colour: bool,
    ) -> Vec<String> {
        if self.lines.is_empty() {
            return Vec::new();
        }
        let done = self
            .lines
            .iter()
            .filter(|line| line.status != Status::Working)
            .count();
        let header = format!("[+] {} {done}/{}", self.operation, self.lines.len());
        let mut rendered = vec![paint(&ellipsis(&header, width), "1", colour)];
        let room = height.saturating_sub(2).max(1);
        let mut shown: Vec<&Line> = self.lines.iter().collect();
        let mut left_out = 0;
        if shown.len() > room {
            // What is still moving, or went wrong, is worth more than what is done.
            let mut picked: Vec<usize> = (0..shown.len())
                .filter(|&at| matches!(shown[at].status, Status::Working | Status::Error))
                .collect();
            picked.truncate(room - 1);
            let mut at = shown.len();
            while picked.len() < room - 1 && at > 0 {
                at -= 1;
                if !picked.contains(&at) {
                    picked.push(at);
                }
            }
            picked.sort_unstable();
            left_out = shown.len() - picked.len();
            shown = picked.into_iter().map(|at| shown[at]).collect();
        }
        let names = shown
            .iter()
            .map(|line| line.resource.to_string().width())
            .max()
            .unwrap_or(0)
            .min(width.saturating_sub(24).max(12));
        for line in shown {
            rendered.push(line.render(names, width, now, colour));
        }
        if left_out > 0 {
            rendered.push(format!(" ... {left_out} more"));
        }
        rendered
    }
}

impl Line {
    fn part(&mut self, name: String, text: &str, current: u64, total: u64, status: Status) {
        let done = status == Status::Done;
        let at = match self.parts.iter().position(|part| part.name == name) {
            Some(at) => at,
            None => {
                self.parts.push(Part {
                    name,
                    text: String::new(),
                    current: 0,
                    total: 0,
                    done: false,
                });
                self.parts.len() - 1
            }
        };
        let part = &mut self.parts[at];
        text.clone_into(&mut part.text);
        if total > 0 {
            part.current = current;
            part.total = total;
        }
        part.done = done;
        if done {
            part.current = part.total;
        }
    }

    fn render(&self, names: usize, width: usize, now: Instant, colour: bool) -> String {
        let elapsed = self
            .ended
            .unwrap_or(now)
            .saturating_duration_since(self.started);
        let (symbol, paint_code) = match self.status {
            Status::Working => {
                let turn = elapsed.as_millis() / SPINNER_STEP.as_millis();
                let at = usize::try_from(turn).unwrap_or(0) % SPINNER.len();
                (SPINNER[at], "36")
            }
            Status::Done => ("✔", "32"),
            Status::Warning => ("!", "33"),
            Status::Error => ("✘", "31"),
        };
        let name = ellipsis(&self.resource.to_string(), names);
        let pad = " ".repeat(names.saturating_sub(name.width()));
        let time = format!("{:.1}s", elapsed.as_secs_f64());
        let mut text = self.text.clone();
        if self.status == Status::Working {
            let bar = self.bar();
            if !bar.is_empty() {
                text = format!("{text} {bar}");
            }
        }
        if !self.detail.is_empty() {
            let first = self.detail.lines().next().unwrap_or_default();
            text = format!("{text} {first}");
        }
        let room = width.saturating_sub(names + time.width() + 6);
        let text = ellipsis(&text, room);
        let gap = " ".repeat(room.saturating_sub(text.width()));
        format!(
            " {} {name}{pad}  {}{gap} {}",
            paint(symbol, paint_code, colour),
            paint(&text, paint_code, colour),
            paint(&time, "34", colour)
        )
    }

    /// `[⣿⣿⠀] 5.1MB / 20MB`, one symbol a layer.
    fn bar(&self) -> String {
        let (current, total) = self
            .parts
            .iter()
            .fold((self.current, self.total), |sum, part| {
                (sum.0 + part.current, sum.1 + part.total)
            });
        if self.parts.is_empty() && total == 0 {
            return String::new();
        }
        let step = self.parts.len().div_ceil(WIDEST_BAR).max(1);
        let bar: String = self
            .parts
            .chunks(step)
            .map(|parts| {
                let current: u64 = parts.iter().map(|part| part.current).sum();
                let total: u64 = parts.iter().map(|part| part.total).sum();
                let full = if parts.iter().all(|part| part.done) {
                    8
                } else {
                    current
                        .saturating_mul(8)
                        .checked_div(total)
                        .unwrap_or(0)
                        .min(8)
                };
                FILL[usize::try_from(full).unwrap_or(0)]
            })
            .collect();
        let bar = if bar.is_empty() {
            String::new()
        } else {
            format!("[{bar}]")
        };
        if total == 0 {
            return bar;
        }
        format!("{bar} {} / {}", human(current), human(total))
            .trim_start()
            .to_owned()
    }
}

fn human(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let bytes = bytes as f64;
    units::human_size(bytes, 3)
}

fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(now: Instant) -> State {
        State::new("up".to_owned(), true, now)
    }

    #[test]
    fn the_list_shows_what_is_done_and_what_is_not() {
        let now = Instant::now();
        let mut state = state(now);
        state.event(Event::done(Resource::network("p_default"), "Created"), now);
        state.event(
            Event::working(Resource::container("p-a-1"), "Creating"),
            now,
        );
        state.event(
            Event::working(Resource::container("p-a-1"), "Starting"),
            now,
        );
        let lines = state.render(60, 20, now, false);
        assert_eq!(
            lines,
            [
                "[+] up 1/2",
                " ✔ Network p_default  Created                           0.0s",
                " ⠋ Container p-a-1    Creating                          0.0s",
            ]
        );
    }

    #[test]
    fn a_small_terminal_shows_what_moves_and_counts_the_rest() {
        let now = Instant::now();
        let mut state = state(now);
        for number in 0..200 {
            let resource = Resource::container(format!("p-a-{number}"));
            let event = if number == 7 {
                Event::working(resource, "Creating")
            } else {
                Event::done(resource, "Created")
            };
            state.event(event, now);
        }
        let lines = state.render(40, 10, now, false);
        assert_eq!(lines.len(), 9);
        assert!(lines[1].contains("p-a-7 "), "{lines:?}");
        assert_eq!(lines[8], " ... 193 more");
        assert!(lines.iter().all(|line| line.width() <= 40), "{lines:?}");
    }

    #[test]
    fn a_pull_has_one_bar_of_all_its_layers() {
        let now = Instant::now();
        let mut state = state(now);
        let image = Resource::image("redis");
        state.event(Event::working(image.clone(), "Pulling"), now);
        state.event(
            Event::working(image.clone(), "Downloading")
                .part("a")
                .amount(5_000_000, 10_000_000),
            now,
        );
        state.event(
            Event::done(image, "Pull complete").part("b").amount(0, 0),
            now,
        );
        let lines = state.render(70, 10, now, false);
        assert!(lines[1].contains("Pulling [⣤⣿] 5MB / 10MB"), "{lines:?}");
    }
}
