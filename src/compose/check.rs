//! Rules within one part of a merged tree that its structure alone does not say: exclusive fields,
//! addresses. Rules between parts are `compose::consistency`'s.

use std::net::IpAddr;

use crate::compose::error::{Faults, Finding};
use crate::compose::node::{Map, Node, Path, Value};

/// Checks every part of the tree.
///
/// # Errors
/// Every broken rule.
pub(crate) fn check(root: &Map) -> Result<(), Faults> {
    let mut findings = Vec::new();
    section(root, "volumes", |volume, path| {
        external(volume, path, &mut findings);
    });
    section(root, "configs", |config, path| {
        let sources = ["file", "environment", "content"];
        file_object(config, &sources, path, &mut findings);
    });
    section(root, "secrets", |secret, path| {
        file_object(secret, &["file", "environment"], path, &mut findings);
    });
    section(root, "services", |service, path| {
        each(service, "ports", path, |port, at| {
            address(port, at, &mut findings);
        });
        each(service, "gpus", path, |request, at| {
            device_request(request, at, &mut findings);
        });
        if let Some(develop) = service.get("develop") {
            each(develop, "watch", &path.key("develop"), |rule, at| {
                if let Some(watched) = rule.get("path").filter(|p| p.as_str() == Some("")) {
                    let at = at.key("path");
                    findings.push(
                        Finding::new(format!("{at}: value can't be blank"))
                            .at(watched.span)
                            .field(&at),
                    );
                }
            });
        }
        let reservations = service
            .get("deploy")
            .and_then(|deploy| deploy.get("resources"))
            .and_then(|resources| resources.get("reservations"));
        if let Some(reservations) = reservations {
            let at = path.key("deploy");
            let at = at.key("resources");
            each(
                reservations,
                "devices",
                &at.key("reservations"),
                |request, at| {
                    device_request(request, at, &mut findings);
                },
            );
        }
    });
    Faults::check(findings)
}

fn section(root: &Map, name: &str, mut visit: impl FnMut(&Node, &Path<'_>)) {
    let at = Path::ROOT.key(name);
    for (key, node) in root.get(name).and_then(Node::as_map).into_iter().flatten() {
        visit(node, &at.key(key));
    }
}

fn each(node: &Node, field: &str, path: &Path<'_>, mut visit: impl FnMut(&Node, &Path<'_>)) {
    let at = path.key(field);
    let items = node.get(field).and_then(Node::as_seq).unwrap_or_default();
    for (n, item) in items.iter().enumerate() {
        visit(item, &at.item(n));
    }
}

/// What is managed elsewhere takes no options.
fn external(node: &Node, path: &Path<'_>, findings: &mut Vec<Finding>) {
    let Some(map) = node.as_map() else { return };
    let Some(Node {
        value: Value::Bool(true),
        key: external,
        ..
    }) = map.get("external")
    else {
        return;
    };
    for (key, value) in map {
        if !matches!(&**key, "name" | "external") && !key.starts_with("x-") {
            findings.push(
                Finding::new(format!(
                    "{path}: conflicting parameters \"external\" and {key:?} specified"
                ))
                .at(value.key)
                .field(path)
                .related(*external, "external here"),
            );
        }
    }
}

fn file_object(node: &Node, sources: &[&str], path: &Path<'_>, findings: &mut Vec<Finding>) {
    let Some(map) = node.as_map() else { return };
    let given: Vec<&Node> = sources.iter().filter_map(|key| map.get(*key)).collect();
    let finding = match given.as_slice() {
        [first, second, ..] => Finding::new(format!(
            "{path}: {} attributes are mutually exclusive",
            sources.join("|")
        ))
        .at(second.key)
        .related(first.key, "first source here"),
        [] if !map.contains_key("driver") && !map.contains_key("external") => {
            Finding::new(format!("{path}: one of {} must be set", sources.join("|")))
                .at(node.key.or(node.span))
        }
        _ => return,
    };
    findings.push(finding.field(path));
}

fn device_request(node: &Node, path: &Path<'_>, findings: &mut Vec<Finding>) {
    if let (Some(count), Some(ids)) = (node.get("count"), node.get("device_ids")) {
        findings.push(
            Finding::new(format!(
                "{path}: \"count\" and \"device_ids\" attributes are exclusive"
            ))
            .at(count.key)
            .field(path)
            .related(ids.key, "device_ids here"),
        );
    }
}

fn address(node: &Node, path: &Path<'_>, findings: &mut Vec<Finding>) {
    if let Some(ip) = node.get("host_ip")
        && let Some(text) = ip.as_str()
        && text.parse::<IpAddr>().is_err()
    {
        findings.push(
            Finding::new(format!("{path}: invalid ip address: {text}"))
                .at(ip.span)
                .field(path),
        );
    }
}
