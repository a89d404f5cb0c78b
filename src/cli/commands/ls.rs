//! `hoist ls`: the command line of it, and how its rows look.

use serde_json::{Value, json};

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::Session;
use crate::ops::ls;
use crate::ui::output;
use crate::ui::table::{self, Style};

/// List running compose projects
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show all stopped Compose projects
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Filter output based on conditions provided
    #[arg(long, value_name = "name=REGEX")]
    pub(crate) filter: Vec<String>,
    /// Format the output. Values: [table | json]
    #[arg(long, default_value = "table")]
    pub(crate) format: String,
    /// Only display project names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let mut names = Vec::new();
    for filter in &args.filter {
        match filter.split_once('=') {
            Some(("name", pattern)) => names.push(
                regex::Regex::new(pattern)
                    .map_err(|error| CliError::new(format!("filter {filter:?}: {error}")))?,
            ),
            Some((key, _)) => return Err(CliError::new(format!("invalid filter '{key}'"))),
            None => {
                return Err(CliError::new(format!(
                    "invalid filter '{filter}': use name=REGEX"
                )));
            }
        }
    }
    if !matches!(args.format.as_str(), "table" | "json" | "pretty" | "") {
        return Err(CliError::new(format!(
            "format value {:?} could not be parsed: parsing failed",
            args.format
        )));
    }
    let client = session.client().await?;
    let mut projects = ls::run(&client, args.all).await?;
    projects.retain(|project| names.iter().all(|pattern| pattern.is_match(&project.name)));
    if args.quiet {
        for project in &projects {
            output::line(&project.name);
        }
        return Ok(());
    }
    if args.format == "json" {
        let rows: Vec<Value> = projects
            .iter()
            .map(|project| {
                json!({
                    "Name": project.name,
                    "Status": project.status,
                    "ConfigFiles": project.config_files,
                })
            })
            .collect();
        output::line(Value::from(rows).to_string());
        return Ok(());
    }
    let mut rows = vec![vec![
        "NAME".to_owned(),
        "STATUS".to_owned(),
        "CONFIG FILES".to_owned(),
    ]];
    rows.extend(
        projects
            .into_iter()
            .map(|project| vec![project.name, project.status, project.config_files]),
    );
    output::write(table::render(&rows, Style::Section).as_bytes());
    Ok(())
}
