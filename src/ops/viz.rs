//! `viz`: the dependencies of services as a Graphviz digraph, in docker compose's form.

use crate::compose::model::{Project, Service};

/// What the nodes show, and how lines are indented.
#[derive(Debug, Clone)]
pub(crate) struct VizOptions {
    pub(crate) image: bool,
    pub(crate) networks: bool,
    pub(crate) ports: bool,
    pub(crate) indentation: String,
}

/// The text of the graph.
pub(crate) fn run(project: &Project, options: &VizOptions) -> String {
    let indent = &options.indentation;
    let mut text = format!("digraph {:?} {{\n{indent}layout=dot;\n", project.name);
    for (name, service) in &project.services {
        text.push_str(&format!(
            "{indent}{name:?} [style=\"filled\" label=<<font point-size=\"15\">{}</font>{}>];\n",
            escaped(name),
            details(service, options)
        ));
    }
    for (name, service) in &project.services {
        for dependency in service.depends_on.keys() {
            text.push_str(&format!("{indent}{name:?} -> {dependency:?};\n"));
        }
    }
    text.push_str("}\n");
    text
}

fn details(service: &Service, options: &VizOptions) -> String {
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if lines.is_empty() {
            return;
        }
        let lines: String = lines
            .iter()
            .map(|line| format!("<br/>{}", escaped(line)))
            .collect();
        text.push_str(&format!(
            "<font point-size=\"10\"><br/><br/><b>{title}:</b>{lines}</font>"
        ));
    };
    if options.networks {
        let networks = service.networks_by_priority();
        section(
            "Networks",
            networks.into_iter().map(str::to_owned).collect(),
        );
    }
    if options.ports {
        let ports = service.ports.iter().map(|port| {
            let host = if port.host_ip.is_empty() {
                String::new()
            } else {
                format!("{}:", port.host_ip)
            };
            format!(
                "{host}{}:{} ({}, {})",
                port.published, port.target, port.protocol, port.mode
            )
        });
        section("Ports", ports.collect());
    }
    if options.image && !service.image.is_empty() {
        section("Image", vec![service.image.clone()]);
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
