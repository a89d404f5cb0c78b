//! `ls`: which projects there are on the engine, by the labels of their containers.

use std::collections::BTreeMap;

use crate::client::Client;
use crate::labels;
use crate::ops::OpError;

/// A project on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProjectRow {
    pub(crate) name: String,
    /// `running(2), exited(1)`.
    pub(crate) status: String,
    pub(crate) config_files: String,
}

/// Projects by name.
///
/// # Errors
/// The engine.
pub(crate) async fn run(client: &Client, all: bool) -> Result<Vec<ProjectRow>, OpError> {
    let rows = client.container_rows(None, all).await?;
    let mut projects: BTreeMap<String, (BTreeMap<&str, usize>, Vec<String>)> = BTreeMap::new();
    for row in &rows {
        let project = projects.entry(row.project().to_owned()).or_default();
        *project.0.entry(row.state.as_str()).or_default() += 1;
        let files = row.label(labels::CONFIG_FILES);
        if !files.is_empty() && !project.1.iter().any(|known| known == files) {
            project.1.push(files.to_owned());
        }
    }
    Ok(projects
        .into_iter()
        .map(|(name, (states, files))| ProjectRow {
            name,
            status: states
                .iter()
                .map(|(state, count)| format!("{state}({count})"))
                .collect::<Vec<_>>()
                .join(", "),
            config_files: if files.is_empty() {
                "N/A".to_owned()
            } else {
                files.join(",")
            },
        })
        .collect())
}
