//! Batch × rules → what to do, in which order. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::compose::model::Hook;
use crate::watch::rules::{Action, Rule};

/// What a batch asks for. Rebuilds come first, then copies, then restarts, then execs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Actions {
    pub(crate) rebuild: BTreeSet<String>,
    /// By service: path in the container → path here.
    pub(crate) sync: BTreeMap<String, BTreeMap<String, PathBuf>>,
    pub(crate) restart: BTreeSet<String>,
    /// By service, each rule's command once.
    pub(crate) exec: BTreeMap<String, Vec<Hook>>,
}

impl Actions {
    pub(crate) fn is_empty(&self) -> bool {
        self.rebuild.is_empty()
            && self.sync.is_empty()
            && self.restart.is_empty()
            && self.exec.is_empty()
    }

    /// Whether it is worth waiting for more changes first.
    pub(crate) fn is_heavy(&self) -> bool {
        !self.rebuild.is_empty() || !self.restart.is_empty()
    }
}

/// Every rule that means a path gets its way.
pub(crate) fn decide(batch: &BTreeSet<PathBuf>, rules: &[Rule]) -> Actions {
    let mut actions = Actions::default();
    for rule in rules {
        let mut met = false;
        for path in batch {
            let Some(below) = rule.matches(path) else {
                continue;
            };
            met = true;
            if !matches!(rule.action, Action::Rebuild | Action::Restart) {
                actions
                    .sync
                    .entry(rule.service.clone())
                    .or_default()
                    .insert(rule.in_container(below), path.clone());
            }
        }
        if !met {
            continue;
        }
        match rule.action {
            Action::Sync => {}
            Action::Rebuild => {
                actions.rebuild.insert(rule.service.clone());
            }
            Action::Restart | Action::SyncRestart => {
                actions.restart.insert(rule.service.clone());
            }
            Action::SyncExec => {
                let hooks = actions.exec.entry(rule.service.clone()).or_default();
                if !hooks.contains(&rule.exec) {
                    hooks.push(rule.exec.clone());
                }
            }
        }
    }
    // A rebuilt service gets new containers: they need no copies of what was built in, and no restart.
    for service in &actions.rebuild {
        actions.restart.remove(service);
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::rules::tests::rule;

    fn batch(paths: &[&str]) -> BTreeSet<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn a_change_is_copied_and_what_the_rule_adds_is_done_once() {
        let rules = [
            rule("sync+exec", &[], &[]),
            rule("sync+restart", &[], &["*.conf"]),
        ];
        let actions = decide(&batch(&["/src/a", "/src/b.conf", "/elsewhere"]), &rules);
        let sync = &actions.sync["web"];
        assert_eq!(sync.keys().collect::<Vec<_>>(), ["/app/a", "/app/b.conf"]);
        assert_eq!(actions.exec["web"].len(), 1);
        assert!(actions.restart.contains("web") && actions.is_heavy());
    }

    #[test]
    fn a_rebuild_makes_a_restart_needless() {
        let rules = [rule("rebuild", &[], &["*.lock"]), rule("restart", &[], &[])];
        let actions = decide(&batch(&["/src/a.lock"]), &rules);
        assert!(actions.rebuild.contains("web") && actions.restart.is_empty());
        assert!(decide(&batch(&["/x"]), &rules).is_empty());
    }
}
