//! What `up -d` says at its end on a terminal: each service, its state, how long it took, where to reach it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::client::reads::ContainerRow;
use crate::ops::Context;
use crate::plan::observed::Health;
use crate::progress::{Report, ResourceKind, Sink, Status};
use crate::ui::output;

/// When each container began to move and when it was ready.
#[derive(Debug, Clone)]
pub(crate) struct Times(Arc<Mutex<HashMap<String, (Instant, Instant)>>>);

impl Default for Times {
    fn default() -> Self {
        Times(Arc::new(Mutex::new(HashMap::new())))
    }
}

impl Times {
    /// A sink that passes everything on and notes the times.
    pub(crate) fn listen(&self, inner: Sink) -> Sink {
        let times = Arc::clone(&self.0);
        Sink::new(move |report| {
            if let Report::Event(event) = &report
                && event.resource.kind == ResourceKind::Container
                && (event.status != Status::Done || event.text != "Running")
            {
                let now = Instant::now();
                times
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(event.resource.name.clone())
                    .or_insert((now, now))
                    .1 = now;
            }
            inner.report(report);
        })
    }

    fn of(&self, container: &str) -> Option<Duration> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times
            .get(container)
            .map(|(began, ended)| ended.duration_since(*began))
    }
}

/// Prints a line for each container that is worth one.
pub(crate) async fn print(ctx: &Context, services: &[String], times: &Times) {
    // The containers are up; not to be able to list them is no failure of the command.
    let Ok(rows) = ctx
        .client
        .container_rows(Some(&ctx.project_name), true)
        .await
    else {
        return;
    };
    let rows: Vec<&ContainerRow> = rows
        .iter()
        .filter(|row| !row.is_one_off())
        .filter(|row| services.is_empty() || services.iter().any(|name| name == row.service()))
        .filter(|row| !urls(row).is_empty() || times.of(&row.name).is_some())
        .collect();
    let width = rows
        .iter()
        .map(|row| row.short_name().len())
        .max()
        .unwrap_or(0);
    for row in rows {
        output::error_line(line(row, width, times.of(&row.name)));
    }
}

fn line(row: &ContainerRow, width: usize, took: Option<Duration>) -> String {
    let (symbol, colour, state) = match (row.is_running(), row.health) {
        (true, Health::Healthy) => ("✔", "32", "healthy"),
        (true, Health::Starting) => ("✔", "32", "starting"),
        (true, Health::Unhealthy) => ("✘", "31", "unhealthy"),
        (true, Health::None) => ("✔", "32", "running"),
        (false, _) if row.exit_code() == 0 => ("✔", "32", row.state.as_str()),
        (false, _) => ("✘", "31", row.state.as_str()),
    };
    let symbol = if output::stderr_is_coloured() {
        format!("\u{1b}[{colour}m{symbol}\u{1b}[0m")
    } else {
        symbol.to_owned()
    };
    let took = took.map_or(String::new(), |took| format!("{:.1} s", took.as_secs_f64()));
    format!(
        " {symbol} {:<width$}  {state:<9}  {took:<6}  {}",
        row.short_name(),
        urls(row).join(" ")
    )
    .trim_end()
    .to_owned()
}

/// `http://localhost:8080` for each published TCP port; an address of its own stays.
fn urls(row: &ContainerRow) -> Vec<String> {
    let mut urls = Vec::new();
    for port in &row.ports {
        let Some(published) = port.published else {
            continue;
        };
        if port.protocol != "tcp" {
            continue;
        }
        let host = match port.host_ip.as_str() {
            "" | "0.0.0.0" | "::" | "127.0.0.1" | "::1" => "localhost".to_owned(),
            address if address.contains(':') => format!("[{address}]"),
            address => address.to_owned(),
        };
        let scheme = if port.target == 443 || port.target == 8443 {
            "https"
        } else {
            "http"
        };
        let url = format!("{scheme}://{host}:{published}");
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}
