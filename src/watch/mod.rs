//! The dev loop: changed files → batch → rules → sync, rebuild, restart, exec. It decides nothing about
//! containers that `ops` decides, and prints nothing: notes go to the caller.
//!
//! ```text
//! source (inotify, polling) → batch of paths → decide (pure) → act: rebuild, sync, restart, exec → again
//! ```

mod act;
mod decide;
mod rules;
mod source;
mod sync;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::ops::{Context, OpError};
use crate::watch::decide::decide;
use crate::watch::rules::Rule;
use crate::watch::source::{Change, Source};

/// No change for this long ends a batch that is only copied: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(3);
/// The same for a batch that builds or restarts something: that is worth doing once.
const LONG_QUIET: Duration = Duration::from_millis(100);
/// A batch that never gets quiet is handled after this long.
const LONGEST_BATCH: Duration = Duration::from_millis(500);

/// Who is told what the watch does: a line at a time.
pub(crate) type Note = Arc<dyn Fn(&str) + Send + Sync>;

/// What to watch.
#[derive(Debug, Clone)]
pub(crate) struct WatchOptions {
    /// Empty: every service with rules.
    pub(crate) services: Vec<String>,
    /// Remove images of the project that a rebuild left without a name.
    pub(crate) prune: bool,
    /// Leave the builder's own words out.
    pub(crate) quiet: bool,
}

/// Watches until the future is dropped.
///
/// # Errors
/// No service has rules, a rule that makes no sense, or nothing can be watched.
pub(crate) async fn run(ctx: &Context, options: &WatchOptions, note: Note) -> Result<(), OpError> {
    let project = ctx.project()?;
    let rules = rules::of_project(project, &options.services, &note)?;
    if rules.is_empty() {
        return Err(OpError::failed(
            "none of the selected services is configured for watch, consider setting a 'develop' section",
        ));
    }
    let mut source =
        Source::open(&rules).map_err(|error| OpError::failed(format!("watch: {error}")))?;
    if let Some(why) = source.polling_because() {
        note(&format!("Watching by polling: {why}"));
    }
    note("Watch enabled");
    let initial = initial(&rules);
    if !initial.is_empty() {
        act::act(ctx, options, decide(&initial, &rules), &note).await;
    }
    loop {
        let Some(batch) = next_batch(&mut source, &rules).await else {
            return Err(OpError::failed("watch: the source of changes has ended"));
        };
        let actions = decide(&batch, &rules);
        if !actions.is_empty() {
            act::act(ctx, options, actions, &note).await;
        }
    }
}

/// Whether a service of the project has rules.
pub(crate) fn is_configured(ctx: &Context, services: &[String]) -> bool {
    ctx.project().is_ok_and(|project| {
        project.services.values().any(|service| {
            (services.is_empty() || services.contains(&service.name))
                && service
                    .develop
                    .as_ref()
                    .is_some_and(|develop| !develop.watch.is_empty())
        })
    })
}

/// Files of the rules that are copied once at the start.
fn initial(rules: &[Rule]) -> BTreeSet<PathBuf> {
    rules
        .iter()
        .filter(|rule| rule.initial_sync)
        .flat_map(|rule| source::files_below(&rule.path, &|path| rule.may_contain(path)))
        .collect()
}

async fn next_batch(source: &mut Source, rules: &[Rule]) -> Option<BTreeSet<PathBuf>> {
    let mut paths = BTreeSet::new();
    while paths.is_empty() {
        let change = source.next().await?;
        collect(source, change, rules, &mut paths);
    }
    let began = Instant::now();
    loop {
        let quiet = if decide(&paths, rules).is_heavy() {
            LONG_QUIET
        } else {
            QUIET
        };
        let until = (Instant::now() + quiet).min(began + LONGEST_BATCH);
        match timeout_at(until, source.next()).await {
            Ok(Some(change)) => collect(source, change, rules, &mut paths),
            Ok(None) | Err(_) => return Some(paths),
        }
        if began.elapsed() >= LONGEST_BATCH {
            return Some(paths);
        }
    }
}

fn collect(source: &mut Source, change: Change, rules: &[Rule], paths: &mut BTreeSet<PathBuf>) {
    for path in source.digest(change) {
        if rules.iter().any(|rule| rule.matches(&path).is_some()) {
            paths.insert(path);
        }
    }
}
