//! Where changes come from: one inotify watch a folder that is not ignored, new folders added as they
//! appear; polling where the system has no more watches. It knows paths, not rules' actions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode};
use notify::{
    Config, ErrorKind, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher,
};
use tokio::sync::mpsc;

use crate::watch::rules::Rule;

const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Clocks of file systems are coarse.
const CLOCK_SLACK: Duration = Duration::from_secs(2);
/// Folders deeper than this are links in a circle.
const DEEPEST: usize = 64;

/// What the system told.
#[derive(Debug)]
pub(crate) enum Change {
    Paths(Vec<PathBuf>),
    /// Changes were lost: look at everything.
    Overflow,
}

/// The running watch.
pub(crate) struct Source {
    watcher: Box<dyn Watcher + Send>,
    change_rx: mpsc::UnboundedReceiver<Change>,
    rules: Vec<Rule>,
    watched: BTreeSet<PathBuf>,
    polling: Option<String>,
    looked: SystemTime,
}

impl Source {
    /// Begins to watch what the rules mean.
    ///
    /// # Errors
    /// Neither inotify nor polling works.
    pub(crate) fn open(rules: &[Rule]) -> notify::Result<Source> {
        let attempt = Source::with(rules, None);
        match attempt {
            Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch | ErrorKind::Io(_)) => {
                Source::with(rules, Some(error.to_string()))
            }
            other => other,
        }
    }

    fn with(rules: &[Rule], polling: Option<String>) -> notify::Result<Source> {
        let (change_tx, change_rx) = mpsc::unbounded_channel();
        let told = move |event: notify::Result<notify::Event>| {
            let change = match event {
                Ok(event) if event.need_rescan() => Change::Overflow,
                Ok(event) if is_change(&event.kind) => Change::Paths(event.paths),
                Ok(_) => return,
                Err(_) => Change::Overflow,
            };
            // The watch is over when nobody receives.
            let _ = change_tx.send(change);
        };
        let watcher: Box<dyn Watcher + Send> = if polling.is_some() {
            let config = Config::default().with_poll_interval(POLL_INTERVAL);
            Box::new(PollWatcher::new(told, config)?)
        } else {
            Box::new(RecommendedWatcher::new(told, Config::default())?)
        };
        let mut source = Source {
            watcher,
            change_rx,
            rules: rules.to_vec(),
            watched: BTreeSet::new(),
            polling,
            looked: SystemTime::now(),
        };
        for rule in rules {
            source.watch_rule(&rule.path)?;
        }
        Ok(source)
    }

    /// Why it polls, if it does.
    pub(crate) fn polling_because(&self) -> Option<&str> {
        self.polling.as_deref()
    }

    /// The next change; `None`: there will be none.
    pub(crate) async fn next(&mut self) -> Option<Change> {
        self.change_rx.recv().await
    }

    /// A folder with all below it; the folder of a file; the nearest one that exists of a missing path.
    fn watch_rule(&mut self, path: &Path) -> notify::Result<()> {
        if path.is_dir() {
            return self.watch_below(path, 0).map(|_| ());
        }
        let mut folder = path.parent();
        while let Some(candidate) = folder {
            if candidate.is_dir() {
                return self.add(candidate);
            }
            folder = candidate.parent();
        }
        Ok(())
    }

    fn add(&mut self, folder: &Path) -> notify::Result<()> {
        if self.watched.contains(folder) {
            return Ok(());
        }
        match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(folder.to_owned());
                Ok(())
            }
            // A folder that went away or may not be read is not worth ending for.
            Err(error) => match &error.kind {
                ErrorKind::PathNotFound => Ok(()),
                ErrorKind::Io(io)
                    if matches!(
                        io.kind(),
                        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotFound
                    ) =>
                {
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    /// Watches a folder and what is below it; returns the files found there.
    fn watch_below(&mut self, folder: &Path, depth: usize) -> notify::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let on_the_way = |path: &Path| {
            self.rules
                .iter()
                .any(|rule| rule.path.starts_with(path) || rule.may_contain(path))
        };
        if depth > DEEPEST || !on_the_way(folder) {
            return Ok(files);
        }
        self.add(folder)?;
        let Ok(entries) = fs::read_dir(folder) else {
            return Ok(files);
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                files.extend(self.watch_below(&path, depth + 1)?);
            } else {
                files.push(path);
            }
        }
        Ok(files)
    }

    /// The paths that a change means; new folders are watched from now on.
    pub(crate) fn digest(&mut self, change: Change) -> Vec<PathBuf> {
        let since = self.looked;
        self.looked = SystemTime::now();
        match change {
            Change::Paths(paths) => {
                let mut all = Vec::new();
                for path in paths {
                    if path.is_dir() {
                        // Files may have been written before the watch was there.
                        if !self.watched.contains(&path)
                            && let Ok(files) = self.watch_below(&path, 0)
                        {
                            all.extend(files);
                        }
                    } else {
                        if self.watched.remove(&path) {
                            // It was a folder; a missing watch is already gone.
                            let _ = self.watcher.unwatch(&path);
                        }
                        all.push(path);
                    }
                }
                all
            }
            Change::Overflow => {
                let since = since
                    .checked_sub(CLOCK_SLACK)
                    .unwrap_or(SystemTime::UNIX_EPOCH);
                let rules = self.rules.clone();
                let mut all = Vec::new();
                for rule in &rules {
                    // New folders are found on the way; without a watch they are seen at the next overflow.
                    let _ = self.watch_rule(&rule.path);
                    all.extend(
                        files_below(&rule.path, &|path| rule.may_contain(path))
                            .into_iter()
                            .filter(|file| {
                                fs::metadata(file)
                                    .and_then(|found| found.modified())
                                    .is_ok_and(|time| time >= since)
                            }),
                    );
                }
                all
            }
        }
    }
}

/// Opening and reading changes nothing; of writing, the end is what counts, but a program that keeps its
/// file open never ends.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

/// All files at or below a path, without the folders that `enter` refuses.
pub(crate) fn files_below(path: &Path, enter: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = Vec::new();
    if path.is_dir() {
        folders.push((path.to_owned(), 0));
    } else if path.exists() {
        files.push(path.to_owned());
    }
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if depth < DEEPEST && enter(&path) {
                    folders.push((path, depth + 1));
                }
            } else {
                files.push(path);
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_folders_are_not_entered() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/b", "node_modules/c"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("f"), "").unwrap();
        }
        let files = files_below(folder.path(), &|path| !path.ends_with("node_modules"));
        assert_eq!(files, [folder.path().join("a/b/f")]);
    }
}
