//! The plan as a whole, before anything starts: ports that are taken and by whom, files that are
//! not there, images that are missing. So that a stack is not left half up.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::client::{ClientError, EngineChoice};
use crate::compose::model::{PortConfig, Project, Service};
use crate::labels;
use crate::ops::{Context, OpError};
use crate::plan::{Desired, Observed, ObservedContainer, Operation, Plan};

/// A host port that a container of the plan will ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WantedPort {
    service: String,
    host_ip: String,
    port: u16,
    protocol: String,
}

/// Looks for what would make the plan fail half-way.
///
/// # Errors
/// Everything that was found, one finding a line.
pub(crate) async fn check(
    ctx: &Context,
    desired: &Desired,
    observed: &Observed,
    plan: &Plan,
) -> Result<(), OpError> {
    let mut findings = Vec::new();
    let starting = starting_services(plan);
    if starting.is_empty() {
        return Ok(());
    }
    unset_variables(&desired.project, &starting, &mut findings);
    if is_local(ctx.client.choice()) {
        missing_files(&desired.project, &starting, &mut findings);
    }
    missing_images(desired, observed, plan, &mut findings);
    let wanted = wanted_ports(&desired.project, &starting);
    if !wanted.is_empty() {
        taken_ports(ctx, plan, &wanted, &mut findings).await?;
    }
    findings.dedup();
    if findings.is_empty() {
        Ok(())
    } else {
        Err(OpError::failed(findings.join("\n")))
    }
}

/// Configs and secrets whose content is a variable that nobody has set.
fn unset_variables(
    project: &Project,
    starting: &BTreeMap<String, usize>,
    findings: &mut Vec<String>,
) {
    for service in starting.keys().filter_map(|n| project.services.get(n)) {
        let configs = service
            .configs
            .iter()
            .map(|r| ("config", project.configs.get(&r.source)));
        let secrets = service
            .secrets
            .iter()
            .map(|r| ("secret", project.secrets.get(&r.source)));
        for (what, object) in configs.chain(secrets) {
            let Some(object) = object.filter(|o| !o.environment.is_empty()) else {
                continue;
            };
            if !project.environment.contains_key(&object.environment) {
                findings.push(format!(
                    "environment variable \"{}\" required by {what} \"{}\" is not set",
                    object.environment, object.name
                ));
            }
        }
    }
}

/// How many containers of each service the plan starts.
fn starting_services(plan: &Plan) -> BTreeMap<String, usize> {
    let mut services = BTreeMap::new();
    for (_, node) in plan.nodes() {
        if let Operation::StartContainer { service, .. } = &node.operation {
            *services.entry(service.clone()).or_insert(0) += 1;
        }
    }
    services
}

fn is_local(choice: &EngineChoice) -> bool {
    choice.address().starts_with("unix://")
}

fn missing_files(
    project: &Project,
    starting: &BTreeMap<String, usize>,
    findings: &mut Vec<String>,
) {
    for service in starting
        .keys()
        .filter_map(|name| project.services.get(name))
    {
        for volume in service.volumes.iter().filter(|v| v.kind == "bind") {
            let must_exist = volume.bind.as_ref().is_some_and(|b| !b.create_host_path);
            if must_exist && !project.working_dir.join(&volume.source).exists() {
                findings.push(format!(
                    "service \"{}\": bind source path does not exist: {} (mounted at {}, and create_host_path is false)",
                    service.name, volume.source, volume.target
                ));
            }
        }
        for reference in &service.secrets {
            missing_file(
                project
                    .secrets
                    .get(&reference.source)
                    .map(|o| o.file.as_str()),
                "secret",
                &reference.source,
                service,
                findings,
            );
        }
        for reference in &service.configs {
            missing_file(
                project
                    .configs
                    .get(&reference.source)
                    .map(|o| o.file.as_str()),
                "config",
                &reference.source,
                service,
                findings,
            );
        }
    }
}

fn missing_file(
    file: Option<&str>,
    what: &str,
    name: &str,
    service: &Service,
    findings: &mut Vec<String>,
) {
    if let Some(file) = file.filter(|f| !f.is_empty())
        && !Path::new(file).exists()
    {
        findings.push(format!(
            "service \"{}\": {what} \"{name}\": bind source path does not exist: {file}",
            service.name
        ));
    }
}

fn missing_images(desired: &Desired, observed: &Observed, plan: &Plan, findings: &mut Vec<String>) {
    for (_, node) in plan.nodes() {
        let Operation::CreateContainer(create) = &node.operation else {
            continue;
        };
        let service = &desired.project.services[&create.service];
        let image = desired.image_name(service);
        let is_coming = plan.nodes().any(|(_, n)| match &n.operation {
            Operation::PullImage { image: coming, .. }
            | Operation::BuildImage { image: coming, .. } => *coming == image,
            _ => false,
        });
        if !observed.images.contains_key(&image) && !is_coming {
            findings.push(format!(
                "service \"{}\": No such image: {image}",
                create.service
            ));
        }
    }
}

/// Single host ports; of a range the engine picks a free one.
fn wanted_ports(project: &Project, starting: &BTreeMap<String, usize>) -> Vec<(WantedPort, usize)> {
    let mut wanted = Vec::new();
    for (name, count) in starting {
        let Some(service) = project.services.get(name) else {
            continue;
        };
        for port in &service.ports {
            if let Some(port) = wanted_port(name, port) {
                wanted.push((port, *count));
            }
        }
    }
    wanted
}

fn wanted_port(service: &str, port: &PortConfig) -> Option<WantedPort> {
    let number: u16 = port.published.parse().ok().filter(|p| *p != 0)?;
    Some(WantedPort {
        service: service.to_owned(),
        host_ip: port.host_ip.clone(),
        port: number,
        protocol: if port.protocol.is_empty() {
            "tcp".to_owned()
        } else {
            port.protocol.clone()
        },
    })
}

/// Whether two addresses to listen on exclude each other.
fn overlaps(a: &str, b: &str) -> bool {
    let any = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::" | "[::]");
    let six = |ip: &str| ip.contains(':');
    if any(a) && any(b) {
        // `0.0.0.0` and `::` are two sockets.
        return a.is_empty() || b.is_empty() || six(a) == six(b);
    }
    if any(a) || any(b) {
        let (open, fixed) = if any(a) { (a, b) } else { (b, a) };
        return open.is_empty() || six(open) == six(fixed);
    }
    a.trim_matches(['[', ']']) == b.trim_matches(['[', ']'])
}

async fn taken_ports(
    ctx: &Context,
    plan: &Plan,
    wanted: &[(WantedPort, usize)],
    findings: &mut Vec<String>,
) -> Result<(), ClientError> {
    for (index, (port, count)) in wanted.iter().enumerate() {
        let spec = format!("{}/{}", port.port, port.protocol);
        if *count > 1 {
            findings.push(format!(
                "service \"{}\": {count} replicas cannot share host port {spec}: publish a range of ports, or none",
                port.service
            ));
        }
        let other = wanted[..index].iter().find(|(o, _)| {
            o.port == port.port
                && o.protocol == port.protocol
                && overlaps(&o.host_ip, &port.host_ip)
        });
        if let Some((other, _)) = other.filter(|(o, _)| o.service != port.service) {
            findings.push(format!(
                "services \"{}\" and \"{}\" both publish port {spec}",
                other.service, port.service
            ));
        }
    }
    let released = released_containers(plan);
    let running = ctx.client.running_containers().await?;
    let holders: Vec<&ObservedContainer> = running
        .iter()
        .filter(|c| !released.contains(&c.id))
        .collect();
    let ours: Vec<&ObservedContainer> = running
        .iter()
        .filter(|c| released.contains(&c.id))
        .collect();
    let listeners = if is_local(ctx.client.choice()) {
        Some(Listeners::read())
    } else {
        None
    };
    for (port, _) in wanted {
        let holds = |c: &&&ObservedContainer| {
            c.ports.iter().any(|p| {
                p.published == Some(port.port)
                    && p.protocol == port.protocol
                    && overlaps(&p.host_ip, &port.host_ip)
            })
        };
        let spec = format!("{}/{}", port.port, port.protocol);
        if let Some(holder) = holders.iter().find(holds) {
            let project = holder
                .label(labels::PROJECT)
                .map(|p| format!(" of project {p}"))
                .unwrap_or_default();
            findings.push(format!(
                "service \"{}\": port {spec} is already in use by container {}{project}",
                port.service, holder.name
            ));
        } else if ours.iter().any(|c| holds(&c)) {
            // The engine's proxy of a container that will be stopped first.
        } else if let Some(inode) = listeners.as_ref().and_then(|l| l.holder(port)) {
            let holder = process_of_socket(inode).map_or_else(
                || "another program".to_owned(),
                |(name, pid)| format!("{name} (process {pid})"),
            );
            findings.push(format!(
                "service \"{}\": port {spec} is already in use by {holder}",
                port.service
            ));
        }
    }
    Ok(())
}

/// Containers that the plan stops or removes, and those that it starts again.
fn released_containers(plan: &Plan) -> HashSet<String> {
    plan.nodes()
        .filter_map(|(_, node)| match &node.operation {
            Operation::StopContainer { container, .. }
            | Operation::RemoveContainer { container, .. }
            | Operation::StartContainer { container, .. } => container.id.clone(),
            _ => None,
        })
        .collect()
}

/// The sockets of this machine that listen: address, port, protocol, inode.
struct Listeners(Vec<(String, u16, &'static str, u64)>);

impl Listeners {
    fn read() -> Listeners {
        let mut all = Vec::new();
        // TCP state 0A listens; UDP state 07 is bound and not connected.
        for (file, protocol, state) in [
            ("tcp", "tcp", "0A"),
            ("tcp6", "tcp", "0A"),
            ("udp", "udp", "07"),
            ("udp6", "udp", "07"),
        ] {
            let text = std::fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
            for line in text.lines().skip(1) {
                let words: Vec<&str> = line.split_whitespace().collect();
                if words.len() < 10 || words[3] != state {
                    continue;
                }
                let Some((address, port)) = words[1].split_once(':') else {
                    continue;
                };
                let (Ok(port), Ok(inode)) = (u16::from_str_radix(port, 16), words[9].parse())
                else {
                    continue;
                };
                if let Some(address) = parse_address(address) {
                    all.push((address, port, protocol, inode));
                }
            }
        }
        Listeners(all)
    }

    fn holder(&self, wanted: &WantedPort) -> Option<u64> {
        self.0
            .iter()
            .find(|(address, port, protocol, _)| {
                *port == wanted.port
                    && *protocol == wanted.protocol
                    && overlaps(address, &wanted.host_ip)
            })
            .map(|(.., inode)| *inode)
    }
}

/// The kernel writes addresses as hexadecimal words in the byte order of the machine.
fn parse_address(hex: &str) -> Option<String> {
    let words: Option<Vec<u32>> = (0..hex.len() / 8)
        .map(|i| u32::from_str_radix(&hex[i * 8..i * 8 + 8], 16).ok())
        .collect();
    let bytes: Vec<u8> = words?.iter().flat_map(|w| w.to_ne_bytes()).collect();
    match bytes.len() {
        4 => {
            let bytes: [u8; 4] = bytes.try_into().ok()?;
            Some(std::net::Ipv4Addr::from(bytes).to_string())
        }
        16 => {
            let bytes: [u8; 16] = bytes.try_into().ok()?;
            Some(std::net::Ipv6Addr::from(bytes).to_string())
        }
        _ => None,
    }
}

/// The program that has a socket open, as far as this user may see it.
fn process_of_socket(inode: u64) -> Option<(String, u32)> {
    let link = format!("socket:[{inode}]");
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(entry.path().join("fd")) else {
            continue;
        };
        if descriptors.flatten().any(|fd| {
            std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == link.as_str())
        }) {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some((name.trim().to_owned(), pid));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_when_one_socket_excludes_the_other() {
        for (a, b, expected) in [
            ("", "0.0.0.0", true),
            ("", "127.0.0.1", true),
            ("", "::1", true),
            ("0.0.0.0", "127.0.0.1", true),
            ("0.0.0.0", "::1", false),
            ("0.0.0.0", "::", false),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("[::1]", "::1", true),
        ] {
            assert_eq!(overlaps(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_listening_socket_is_found_with_its_program() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = WantedPort {
            service: "web".to_owned(),
            host_ip: String::new(),
            port: listener.local_addr().unwrap().port(),
            protocol: "tcp".to_owned(),
        };
        let inode = Listeners::read().holder(&port).unwrap();
        assert_eq!(process_of_socket(inode).unwrap().1, std::process::id());
    }
}
