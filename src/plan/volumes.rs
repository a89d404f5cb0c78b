//! Volumes of the project: which live one is meant, and what to do when it differs. A volume holds
//! data: it is made anew only with consent.

use super::config_hash;
use super::observed::ObservedVolume;
use super::operation::Operation;
use super::plan::{Consent, NodeId};
use super::reconcile::{PlanError, Planner, ResourcePlan};
use crate::compose::model::{Volume, volume_json};
use crate::labels;

impl Planner<'_> {
    /// Finds the live volume of each declared one.
    pub(super) fn select_volumes(&mut self) -> Result<(), PlanError> {
        for (key, volume) in &self.desired.project.volumes {
            let live = self.observed.volumes.iter().find(|v| v.name == volume.name);
            let plan = match live {
                Some(found) if volume.external => ResourcePlan {
                    live: Some(found.name.clone()),
                    ..ResourcePlan::default()
                },
                None if volume.external => {
                    return Err(PlanError(format!(
                        "external volume \"{}\" not found",
                        volume.name
                    )));
                }
                Some(found) => self.own_volume(key, volume, found),
                None => ResourcePlan {
                    renamed_from: self.renamed_volume(key),
                    ..ResourcePlan::default()
                },
            };
            self.volumes.insert(key.clone(), plan);
        }
        Ok(())
    }

    fn renamed_volume(&self, key: &str) -> Option<String> {
        let project = &self.desired.project.name;
        self.observed
            .volumes
            .iter()
            .filter(|v| {
                v.labels.get(labels::PROJECT) == Some(project)
                    && v.labels.get(labels::VOLUME).is_some_and(|k| k == key)
            })
            .map(|v| v.name.clone())
            .min()
    }

    fn own_volume(&mut self, key: &str, volume: &Volume, found: &ObservedVolume) -> ResourcePlan {
        let live = Some(found.name.clone());
        let owner = found.labels.get(labels::PROJECT);
        if owner != Some(&self.desired.project.name) {
            self.plan.warnings.push(match owner {
                Some(other) => format!(
                    "volume \"{}\" already exists but was created for project \"{other}\" (expected \"{}\"). Use `external: true` to use an existing volume",
                    found.name, self.desired.project.name
                ),
                None => format!(
                    "volume \"{}\" already exists but was not created by Docker Compose. Use `external: true` to use an existing volume",
                    found.name
                ),
            });
            return ResourcePlan {
                live,
                ..ResourcePlan::default()
            };
        }
        let old = found
            .labels
            .get(labels::CONFIG_HASH)
            .map_or("", String::as_str);
        let mut diverged = None;
        if !old.is_empty()
            && old != config_hash::volume_hash(volume)
            && !self.options.volumes_declined.contains(key)
        {
            if self.options.volumes_accepted.contains(key) {
                let mut wanted = volume.clone();
                if wanted.driver.is_empty() {
                    wanted.driver = "local".to_owned();
                }
                diverged = Some(self.drift_cause(
                    "the configuration of the volume changed",
                    &format!("volumes.{key}"),
                    &found.labels,
                    &volume_json(&wanted),
                ));
            } else {
                self.plan.needs_consent.push(Consent {
                    question: format!(
                        "Volume \"{}\" exists but doesn't match configuration in compose file. Recreate (data will be lost)?",
                        found.name
                    ),
                    volume: key.to_owned(),
                });
            }
        }
        ResourcePlan {
            live,
            diverged,
            ..ResourcePlan::default()
        }
    }

    /// Operations for the volumes, before any container is made.
    pub(super) fn plan_volumes(&mut self) {
        let keys: Vec<String> = self.desired.project.volumes.keys().cloned().collect();
        for key in keys {
            let volume = &self.desired.project.volumes[&key];
            let Some(plan) = self.volumes.get(&key).cloned() else {
                continue;
            };
            let ready = match (&plan.live, &plan.diverged) {
                (Some(_), None) => continue,
                (None, _) => {
                    let text = if plan.renamed_from.is_some() {
                        "the volume has another name now"
                    } else {
                        "no such volume yet"
                    };
                    let cause = self.cause(text, format!("volumes.{key}"));
                    let create = Operation::CreateVolume {
                        key: key.clone(),
                        name: volume.name.clone(),
                    };
                    self.plan.add(create, cause, &[])
                }
                (Some(name), Some(cause)) => {
                    let users: Vec<usize> = (0..self.observed.containers.len())
                        .filter(|index| {
                            let container = self.container(*index);
                            container
                                .mounts
                                .iter()
                                .any(|m| m.name.as_deref() == Some(name))
                        })
                        .collect();
                    let removed: Vec<NodeId> = users
                        .into_iter()
                        .map(|index| self.removed(index, cause))
                        .collect();
                    let remove = Operation::RemoveVolume {
                        name: name.clone(),
                        best_effort: false,
                    };
                    let removed = self.plan.add(remove, cause.clone(), &removed);
                    let create = Operation::CreateVolume {
                        key: key.clone(),
                        name: volume.name.clone(),
                    };
                    self.plan.add(create, cause.clone(), &[removed])
                }
            };
            if let Some(plan) = self.volumes.get_mut(&key) {
                plan.ready = Some(ready);
            }
        }
    }
}
