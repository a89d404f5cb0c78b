//! Picks containers of a project: the replicas of services, one of them by its number. It only looks.

use crate::client::reads::ContainerRow;
use crate::compose::model::Project;
use crate::ops::{Context, OpError};

/// Refuses service names that the loaded project does not have; without a project every name is fine.
///
/// # Errors
/// `no such service: x`.
pub(crate) fn check_services(project: Option<&Project>, names: &[String]) -> Result<(), OpError> {
    let Some(project) = project else {
        return Ok(());
    };
    for name in names {
        if !project.services.contains_key(name) && !project.disabled_services.contains_key(name) {
            return Err(OpError::failed(format!("no such service: {name}")));
        }
    }
    Ok(())
}

/// The loaded project, if any.
pub(crate) fn loaded(ctx: &Context) -> Option<&Project> {
    ctx.loaded.as_ref().map(|loaded| &loaded.project)
}

/// Containers of the services named (of all when none is), by service, number, one-offs last.
///
/// # Errors
/// The engine, or an unknown service.
pub(crate) async fn of_services(
    ctx: &Context,
    services: &[String],
    all: bool,
    one_offs: bool,
) -> Result<Vec<ContainerRow>, OpError> {
    check_services(loaded(ctx), services)?;
    let mut rows = ctx
        .client
        .container_rows(Some(&ctx.project_name), all)
        .await?;
    rows.retain(|row| {
        (one_offs || !row.is_one_off())
            && (services.is_empty() || services.iter().any(|name| name == row.service()))
    });
    sort(&mut rows);
    Ok(rows)
}

/// By service, then number; one-offs behind the replicas.
pub(crate) fn sort(rows: &mut [ContainerRow]) {
    rows.sort_by(|a, b| {
        a.service()
            .cmp(b.service())
            .then_with(|| a.is_one_off().cmp(&b.is_one_off()))
            .then_with(|| a.number().cmp(&b.number()))
            .then_with(|| a.name.cmp(&b.name))
    });
}

/// The running container of a service that a command without more words means: number `index`, or the lowest.
///
/// # Errors
/// None runs.
pub(crate) async fn running_one(
    ctx: &Context,
    service: &str,
    index: u32,
) -> Result<ContainerRow, OpError> {
    let services = [service.to_owned()];
    let rows = of_services(ctx, &services, false, true).await?;
    pick(rows, service, index)
}

/// As [`running_one`], but a stopped container will do.
///
/// # Errors
/// There is none.
pub(crate) async fn any_one(
    ctx: &Context,
    service: &str,
    index: u32,
) -> Result<ContainerRow, OpError> {
    let services = [service.to_owned()];
    let rows = of_services(ctx, &services, true, true).await?;
    pick(rows, service, index)
}

fn pick(rows: Vec<ContainerRow>, service: &str, index: u32) -> Result<ContainerRow, OpError> {
    let found = rows
        .into_iter()
        .find(|row| index == 0 || (!row.is_one_off() && row.number() == index));
    found.ok_or_else(|| {
        OpError::failed(if index == 0 {
            format!("service \"{service}\" is not running")
        } else {
            format!("service \"{service}\" is not running container #{index}")
        })
    })
}
