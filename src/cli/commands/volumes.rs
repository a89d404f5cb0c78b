//! `hoist volumes`: the command line of it, and how its rows look.

use serde_json::{Value, json};

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::client::reads::VolumeRow;
use crate::ops::volumes;
use crate::ui::listing::{self, Column, JsonShape};
use crate::ui::output;

/// List volumes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format output: table, "table TEMPLATE", json, or a Go template
    #[arg(long, default_value = "table")]
    pub(crate) format: String,
    /// Only display volume names
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

const TABLE: &str = "{{.Driver}}\t{{.Name}}";

const fn column(field: &'static str, heading: &'static str) -> Column {
    Column { field, heading }
}

const COLUMNS: &[Column] = &[
    column("Availability", "AVAILABILITY"),
    column("Driver", "DRIVER"),
    column("Group", "GROUP"),
    column("Labels", "LABELS"),
    column("Links", "LINKS"),
    column("Mountpoint", "MOUNTPOINT"),
    column("Name", "VOLUME NAME"),
    column("Scope", "SCOPE"),
    column("Size", "SIZE"),
    column("Status", "STATUS"),
];

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let rows = volumes::run(&ctx, &args.services).await?;
    if args.quiet {
        for row in &rows {
            output::line(&row.name);
        }
        return Ok(());
    }
    let rows: Vec<Value> = rows.iter().map(object).collect();
    let text = listing::render(&args.format, TABLE, COLUMNS, &rows, JsonShape::Lines)?;
    output::write(text.as_bytes());
    Ok(())
}

fn object(row: &VolumeRow) -> Value {
    let labels: Vec<String> = row
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    json!({
        "Availability": "N/A",
        "Driver": row.driver,
        "Group": "N/A",
        "Labels": labels.join(","),
        "Links": "N/A",
        "Mountpoint": row.mountpoint,
        "Name": row.name,
        "Scope": row.scope,
        "Size": "N/A",
        "Status": "N/A",
    })
}
