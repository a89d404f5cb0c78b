//! `hoist ps`: the command line of it, and how its rows look.

use serde_json::{Value, json};

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::client::reads::{ContainerRow, PortRow};
use crate::ops::ps::{self, PsOptions};
use crate::plan::observed::Health;
use crate::ui::listing::{self, Column, JsonShape};
use crate::ui::table::ellipsis;
use crate::ui::{human, output};

/// List containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show all stopped containers (including those created by the run command)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Filter services by a property (supported filters: status)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Option<String>,
    /// Format output: table, "table TEMPLATE", json, or a Go template
    #[arg(long, default_value = "table")]
    pub(crate) format: String,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Include orphaned services (not declared by project)
    #[arg(long, default_value = "true")]
    pub(crate) orphans: bool,
    /// Only display IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Display services
    #[arg(long)]
    pub(crate) services: bool,
    /// Filter services by status. Values: [paused | restarting | removing | running | dead | created | exited]
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Vec<String>,
    #[arg(value_name = "SERVICE")]
    pub(crate) service_names: Vec<String>,
}

pub(crate) const STATES: [&str; 7] = [
    "paused",
    "restarting",
    "removing",
    "running",
    "dead",
    "created",
    "exited",
];

const TABLE: &str =
    "{{.Name}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}";

const COMMAND_WIDTH: usize = 20;
const MOUNT_WIDTH: usize = 15;

const fn column(field: &'static str, heading: &'static str) -> Column {
    Column { field, heading }
}

const COLUMNS: &[Column] = &[
    column("ID", "CONTAINER ID"),
    column("Name", "NAME"),
    column("Names", "NAMES"),
    column("Image", "IMAGE"),
    column("Command", "COMMAND"),
    column("Service", "SERVICE"),
    column("Project", "PROJECT"),
    column("CreatedAt", "CREATED AT"),
    column("RunningFor", "CREATED"),
    column("State", "STATE"),
    column("Status", "STATUS"),
    column("Health", "HEALTH"),
    column("ExitCode", "EXIT CODE"),
    column("Ports", "PORTS"),
    column("Publishers", "PUBLISHERS"),
    column("Size", "SIZE"),
    column("Labels", "LABELS"),
    column("LocalVolumes", "LOCAL VOLUMES"),
    column("Mounts", "MOUNTS"),
    column("Networks", "NETWORKS"),
];

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let mut states = args.status.clone();
    if let Some(filter) = &args.filter {
        match filter.split_once('=') {
            Some(("status", state)) => states.push(state.to_owned()),
            Some(("source", _)) => {
                return Err(CliError::not_supported("filter \"source\""));
            }
            Some((key, _)) => return Err(CliError::new(format!("unknown filter {key}"))),
            None => {
                return Err(CliError::new(
                    "arguments to --filter should be in form KEY=VAL",
                ));
            }
        }
    }
    if let Some(unknown) = states
        .iter()
        .find(|state| !STATES.contains(&state.as_str()))
    {
        return Err(CliError::new(format!(
            "unknown status {unknown:?}: use one of {}",
            STATES.join(", ")
        )));
    }
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let rows = ps::run(
        &ctx,
        PsOptions {
            services: args.service_names.clone(),
            all: args.all,
            states,
            orphans: args.orphans,
        },
    )
    .await?;
    if args.quiet {
        for row in &rows {
            output::line(&row.id);
        }
        return Ok(());
    }
    if args.services {
        let mut services: Vec<&str> = rows.iter().map(ContainerRow::service).collect();
        services.dedup();
        let mut seen: Vec<&str> = Vec::new();
        for service in services {
            if !seen.contains(&service) {
                seen.push(service);
                output::line(service);
            }
        }
        return Ok(());
    }
    let rows: Vec<Value> = rows.iter().map(|row| object(row, args.no_trunc)).collect();
    let text = listing::render(&args.format, TABLE, COLUMNS, &rows, JsonShape::Lines)?;
    output::write(text.as_bytes());
    Ok(())
}

fn object(row: &ContainerRow, no_trunc: bool) -> Value {
    let command = if no_trunc {
        row.command.clone()
    } else {
        ellipsis(&row.command, COMMAND_WIDTH)
    };
    let mounts: Vec<String> = row
        .mounts
        .iter()
        .map(|mount| {
            if no_trunc {
                mount.clone()
            } else {
                ellipsis(mount, MOUNT_WIDTH)
            }
        })
        .collect();
    let labels: Vec<String> = row
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let publishers: Vec<Value> = row
        .ports
        .iter()
        .map(|port| {
            json!({
                "URL": port.host_ip,
                "TargetPort": port.target,
                "PublishedPort": port.published.unwrap_or(0),
                "Protocol": port.protocol,
            })
        })
        .collect();
    json!({
        "Command": format!("{command:?}"),
        "CreatedAt": human::local_time(row.created),
        "ExitCode": row.exit_code(),
        "Health": health(row.health),
        "ID": if no_trunc { row.id.clone() } else { human::short_id(&row.id) },
        "Image": row.image,
        "Labels": labels.join(","),
        "LocalVolumes": row.local_volumes.to_string(),
        "Mounts": mounts.join(","),
        "Name": row.name,
        "Names": row.names.join(","),
        "Networks": row.networks.join(","),
        "Ports": ports(&row.ports),
        "Project": row.project(),
        "Publishers": publishers,
        "RunningFor": human::ago(row.created),
        "Service": row.service(),
        "Size": human::decimal_size(u64::try_from(row.size).unwrap_or(0), 3),
        "State": row.state.as_str(),
        "Status": row.status,
    })
}

fn health(health: Health) -> &'static str {
    match health {
        Health::None => "",
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    }
}

/// `0.0.0.0:8000-8002->8000-8002/tcp, 0.0.0.0:80->8080/tcp`: ranges first, then single mappings.
pub(crate) fn ports(ports: &[PortRow]) -> String {
    let mut sorted: Vec<&PortRow> = ports.iter().collect();
    sorted.sort_by_key(|port| {
        (
            port.target,
            port.host_ip.clone(),
            port.published,
            port.protocol.clone(),
        )
    });
    let mut open: Vec<(String, String, u16, u16)> = Vec::new();
    let mut groups = Vec::new();
    let mut mappings = Vec::new();
    for port in sorted {
        let address = if port.host_ip.contains(':') {
            format!("[{}]", port.host_ip)
        } else {
            port.host_ip.clone()
        };
        if !address.is_empty() && port.published != Some(port.target) {
            mappings.push(format!(
                "{address}:{}->{}/{}",
                port.published.unwrap_or(0),
                port.target,
                port.protocol
            ));
            continue;
        }
        match open
            .iter_mut()
            .find(|(ip, protocol, _, _)| *ip == address && *protocol == port.protocol)
        {
            Some(group) if group.3.checked_add(1) == Some(port.target) => group.3 = port.target,
            Some(group) => {
                groups.push(port_group(group));
                group.2 = port.target;
                group.3 = port.target;
            }
            None => open.push((address, port.protocol.clone(), port.target, port.target)),
        }
    }
    groups.extend(open.iter().map(port_group));
    groups.extend(mappings);
    groups.join(", ")
}

fn port_group((address, protocol, first, last): &(String, String, u16, u16)) -> String {
    let range = if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    };
    if address.is_empty() {
        format!("{range}/{protocol}")
    } else {
        format!("{address}:{range}->{range}/{protocol}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: &str, published: Option<u16>, target: u16) -> PortRow {
        PortRow {
            host_ip: host_ip.to_owned(),
            published,
            target,
            protocol: "tcp".to_owned(),
        }
    }

    #[test]
    fn ports_are_grouped_as_docker_groups_them() {
        let given = [
            port("", None, 9000),
            port("0.0.0.0", Some(8000), 8000),
            port("0.0.0.0", Some(8001), 8001),
            port("::", Some(8099), 80),
            port("0.0.0.0", Some(8099), 80),
        ];
        assert_eq!(
            ports(&given),
            "0.0.0.0:8000-8001->8000-8001/tcp, 9000/tcp, 0.0.0.0:8099->80/tcp, [::]:8099->80/tcp"
        );
    }
}
