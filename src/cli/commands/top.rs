//! `hoist top`: the command line of it, and how its rows look.

use crate::cli::error::Outcome;
use crate::cli::session::{Display, Need, Session};
use crate::ops::top::{self, TopOfContainer};
use crate::ui::output;
use crate::ui::table::{self, Style};

/// Display the running processes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// The column that may hold blanks stands last.
const COMMAND: &str = "CMD";

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let tops = top::run(&ctx, &args.services).await?;
    if tops.is_empty() {
        return Ok(());
    }
    output::write(table::render(&rows(&tops), Style::Compact).as_bytes());
    Ok(())
}

fn rows(tops: &[TopOfContainer]) -> Vec<Vec<String>> {
    let mut titles: Vec<String> = Vec::new();
    for top in tops {
        for title in &top.titles {
            if !titles.contains(title) && title != COMMAND {
                titles.push(title.clone());
            }
        }
    }
    titles.push(COMMAND.to_owned());
    let mut heading = vec!["SERVICE".to_owned(), "#".to_owned()];
    heading.extend(titles.iter().cloned());
    let mut rows = vec![heading];
    for top in tops {
        for process in &top.processes {
            let mut row = vec![
                top.container.service().to_owned(),
                top.container.number().to_string(),
            ];
            row.extend(titles.iter().map(|title| {
                top.titles
                    .iter()
                    .position(|known| known == title)
                    .and_then(|at| process.get(at).cloned())
                    .unwrap_or_else(|| "-".to_owned())
            }));
            rows.push(row);
        }
    }
    rows
}
