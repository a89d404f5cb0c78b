//! `hoist stats`: the command line of it, and how its rows look.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::client::reads::ContainerRow;
use crate::client::streams::Usage;
use crate::ops::stats::{self, Sample};
use crate::ui::listing::{self, Column, JsonShape};
use crate::ui::{human, output, terminal};

/// Display a live stream of container(s) resource usage statistics
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Format output: table, "table TEMPLATE", json, or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Vec<String>,
}

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// Up and to the left, then clear what is below.
const REDRAW: &str = "\u{1b}[H\u{1b}[J";

const fn column(field: &'static str, heading: &'static str) -> Column {
    Column { field, heading }
}

const COLUMNS: &[Column] = &[
    column("BlockIO", "BLOCK I/O"),
    column("CPUPerc", "CPU %"),
    column("Container", "CONTAINER"),
    column("ID", "CONTAINER ID"),
    column("MemPerc", "MEM %"),
    column("MemUsage", "MEM USAGE / LIMIT"),
    column("Name", "NAME"),
    column("NetIO", "NET I/O"),
    column("PIDs", "PIDS"),
];

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    if args.service.len() > 1 {
        return Err(CliError::new(format!(
            "'{} stats' accepts at most 1 argument",
            session.program
        )));
    }
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let service = args.service.first().map(String::as_str);
    let rows = stats::containers(&ctx, service, args.all).await?;
    let format = args.format.clone().unwrap_or_else(|| "table".to_owned());
    let mut latest: HashMap<String, Usage> = HashMap::new();
    if args.no_stream {
        for Sample { id, usage } in stats::once(&ctx, &rows).await? {
            latest.insert(id, usage);
        }
        return draw(&format, &rows, &latest, args.no_trunc, false);
    }
    let live = terminal::stdout_is_terminal() && format.starts_with("table");
    let mut samples = stats::follow(&ctx, &rows);
    while let Some(Sample { id, usage }) = samples.recv().await {
        latest.insert(id, usage);
        let complete = rows
            .iter()
            .filter(|row| row.is_running())
            .all(|row| latest.contains_key(&row.id));
        if !complete {
            continue;
        }
        draw(&format, &rows, &latest, args.no_trunc, live)?;
        if !live {
            latest.clear();
        }
        if output::stdout_is_broken() {
            break;
        }
    }
    Ok(())
}

fn draw(
    format: &str,
    rows: &[ContainerRow],
    latest: &HashMap<String, Usage>,
    no_trunc: bool,
    live: bool,
) -> Outcome {
    let objects: Vec<Value> = rows
        .iter()
        .map(|row| object(row, latest.get(&row.id), no_trunc))
        .collect();
    let mut text = listing::render(format, TABLE, COLUMNS, &objects, JsonShape::Lines)?;
    if live {
        text = format!("{REDRAW}{text}");
    }
    output::write(text.as_bytes());
    Ok(())
}

fn object(row: &ContainerRow, usage: Option<&Usage>, no_trunc: bool) -> Value {
    let id = if no_trunc {
        row.id.clone()
    } else {
        human::short_id(&row.id)
    };
    let Some(usage) = usage else {
        return json!({
            "BlockIO": "-- / --", "CPUPerc": "--", "Container": id, "ID": id, "MemPerc": "--",
            "MemUsage": "-- / --", "Name": row.name, "NetIO": "-- / --", "PIDs": "--",
        });
    };
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let share = if usage.memory_limit == 0 {
        0.0
    } else {
        usage.memory as f64 / usage.memory_limit as f64 * 100.0
    };
    let pair = |a: u64, b: u64| {
        format!(
            "{} / {}",
            human::decimal_size(a, 3),
            human::decimal_size(b, 3)
        )
    };
    json!({
        "BlockIO": pair(usage.read, usage.written),
        "CPUPerc": format!("{:.2}%", usage.cpu_percent),
        "Container": id,
        "ID": id,
        "MemPerc": format!("{share:.2}%"),
        "MemUsage": format!(
            "{} / {}",
            human::binary_size(usage.memory),
            human::binary_size(usage.memory_limit)
        ),
        "Name": row.name,
        "NetIO": pair(usage.received, usage.sent),
        "PIDs": usage.pids.to_string(),
    })
}
