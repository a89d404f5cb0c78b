//! What a service asks for that no engine here does: said once, when its containers are made, so
//! that nothing is ignored in silence.

use std::collections::BTreeSet;

use crate::compose::model::{Project, Service};
use crate::plan::{Operation, Plan};

/// One sentence for each service that the plan makes containers of.
pub(crate) fn warnings(project: &Project, plan: &Plan) -> Vec<String> {
    let made: BTreeSet<&str> = plan
        .nodes()
        .filter_map(|(_, node)| match &node.operation {
            Operation::CreateContainer(create) => Some(create.service.as_str()),
            _ => None,
        })
        .collect();
    let mut all = Vec::new();
    for service in made
        .into_iter()
        .filter_map(|name| project.services.get(name))
    {
        let fields = fields(project, service);
        if !fields.is_empty() {
            all.push(format!(
                "service \"{}\": no effect on this engine: {}",
                service.name,
                fields.join(", ")
            ));
        }
    }
    all
}

fn fields(project: &Project, service: &Service) -> Vec<&'static str> {
    let mut fields = Vec::new();
    if service.credential_spec.is_some() {
        fields.push("credential_spec");
    }
    if let Some(deploy) = &service.deploy {
        let placement = &deploy.placement;
        let reserved = deploy.resources.reservations.as_ref();
        let policy = deploy.restart_policy.as_ref();
        let checks = [
            (deploy.mode.starts_with("global"), "deploy.mode"),
            (!deploy.endpoint_mode.is_empty(), "deploy.endpoint_mode"),
            (
                !placement.constraints.is_empty()
                    || !placement.preferences.is_empty()
                    || placement.max_replicas_per_node != 0,
                "deploy.placement",
            ),
            (deploy.update_config.is_some(), "deploy.update_config"),
            (deploy.rollback_config.is_some(), "deploy.rollback_config"),
            (
                reserved.is_some_and(|r| r.cpus != 0.0),
                "deploy.resources.reservations.cpus",
            ),
            (
                reserved.is_some_and(|r| !r.generic_resources.is_empty()),
                "deploy.resources.reservations.generic_resources",
            ),
            (
                policy.is_some_and(|p| p.delay.is_some()),
                "deploy.restart_policy.delay",
            ),
            (
                policy.is_some_and(|p| p.window.is_some()),
                "deploy.restart_policy.window",
            ),
        ];
        fields.extend(
            checks
                .into_iter()
                .filter(|(is_set, _)| *is_set)
                .map(|(_, name)| name),
        );
    }
    let owned = |reference: &crate::compose::model::FileReference| {
        !reference.uid.is_empty() || !reference.gid.is_empty() || reference.mode.is_some()
    };
    let from_file = |object: Option<&crate::compose::model::FileObject>| {
        object.is_some_and(|o| !o.file.is_empty())
    };
    if service
        .secrets
        .iter()
        .any(|r| owned(r) && from_file(project.secrets.get(&r.source)))
    {
        fields.push("uid, gid and mode of a secret from a file");
    }
    if service
        .configs
        .iter()
        .any(|r| owned(r) && from_file(project.configs.get(&r.source)))
    {
        fields.push("uid, gid and mode of a config from a file");
    }
    fields
}
