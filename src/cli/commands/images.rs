//! `hoist images`: the command line of it, and how its rows look.

use serde_json::{Value, json};

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::ops::images::{self, ImageUse};
use crate::ui::table::{self, Style};
use crate::ui::{human, output};

/// List images used by the created containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format the output. Values: [table | json]
    #[arg(long, default_value = "table")]
    pub(crate) format: String,
    /// Only display IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    if !matches!(args.format.as_str(), "table" | "json" | "pretty" | "") {
        return Err(CliError::new(format!(
            "format value {:?} could not be parsed: parsing failed",
            args.format
        )));
    }
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let uses = images::run(&ctx, &args.services).await?;
    if args.quiet {
        let mut ids: Vec<&str> = Vec::new();
        for one in &uses {
            let id = one
                .image
                .id
                .strip_prefix("sha256:")
                .unwrap_or(&one.image.id);
            if !ids.contains(&id) {
                ids.push(id);
                output::line(id);
            }
        }
        return Ok(());
    }
    if args.format == "json" {
        let rows: Vec<Value> = uses.iter().map(object).collect();
        output::line(Value::from(rows).to_string());
        return Ok(());
    }
    let heading = [
        "CONTAINER",
        "REPOSITORY",
        "TAG",
        "PLATFORM",
        "IMAGE ID",
        "SIZE",
        "CREATED",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(uses.iter().map(row));
    output::write(table::render(&rows, Style::Section).as_bytes());
    Ok(())
}

fn object(one: &ImageUse) -> Value {
    json!({
        "ID": one.image.id,
        "ContainerName": one.container,
        "Repository": one.repository,
        "Tag": one.tag,
        "Platform": one.image.platform,
        "Size": one.image.size,
        "Created": one.image.created,
        "LastTagTime": one.image.last_tagged,
    })
}

fn row(one: &ImageUse) -> Vec<String> {
    let time = [&one.image.last_tagged, &one.image.created]
        .into_iter()
        .find_map(|time| time.parse::<jiff::Timestamp>().ok())
        .filter(|time| time.as_second() > 0);
    vec![
        one.container.clone(),
        one.repository.clone(),
        one.tag.clone(),
        one.image.platform.clone(),
        human::short_id(&one.image.id),
        human::decimal_size(u64::try_from(one.image.size).unwrap_or(0), 3),
        time.map_or_else(|| "N/A".to_owned(), |time| human::ago(time.as_second())),
    ]
}
