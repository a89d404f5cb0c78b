//! `graph`: what depends on what, with conditions, networks, ports and live state; as text,
//! mermaid, dot or svg. It changes nothing, and draws nothing on a terminal itself.

use std::fmt::Write as _;

use crate::client::observe::ObserveScope;
use crate::compose::Dependencies;
use crate::graph::Graph;
use crate::ops::selection;
use crate::ops::{Context, OpError};
use crate::plan::{Health, ObservedContainer};

/// The forms of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Mermaid,
    Dot,
    Svg,
}

impl Format {
    /// # Errors
    /// When the word names no form.
    pub(crate) fn parse(text: &str) -> Result<Format, OpError> {
        match text {
            "text" => Ok(Format::Text),
            "mermaid" => Ok(Format::Mermaid),
            "dot" => Ok(Format::Dot),
            "svg" => Ok(Format::Svg),
            other => Err(OpError::failed(format!(
                "unknown format \"{other}\": use text, mermaid, dot or svg"
            ))),
        }
    }
}

/// What is drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) project: String,
    /// Services in rounds: each needs only earlier ones.
    pub(crate) levels: Vec<Vec<ServiceBox>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServiceBox {
    pub(crate) name: String,
    /// `running 2/2 (healthy)`; `not created`.
    pub(crate) state: String,
    pub(crate) image: String,
    pub(crate) networks: Vec<String>,
    /// `8080→80`
    pub(crate) ports: Vec<String>,
    /// Dependency and condition: `db`, `healthy`.
    pub(crate) needs: Vec<(String, String)>,
}

/// Looks at the project and its containers, and draws.
///
/// # Errors
/// When a name is no service, or the services depend on each other in a circle.
pub(crate) async fn run(
    ctx: &Context,
    services: &[String],
    format: Format,
) -> Result<String, OpError> {
    let project = selection::select(ctx.project()?, services, Dependencies::Include)?;
    let observed = ctx
        .client
        .observe(&ctx.project_name, &ObserveScope::containers())
        .await?;
    let mut graph = Graph::new();
    for (name, service) in &project.services {
        graph.add(name.clone());
        for dependency in service
            .depends_on
            .keys()
            .filter(|d| project.services.contains_key(*d))
        {
            graph.depend(name.clone(), dependency.clone());
        }
    }
    let levels = graph.levels().map_err(|cycle| {
        OpError::failed(format!("dependency cycle detected: {}", cycle.join(" -> ")))
    })?;
    let boxes = |names: Vec<String>| -> Vec<ServiceBox> {
        names
            .into_iter()
            .map(|name| {
                let service = &project.services[&name];
                let live: Vec<&ObservedContainer> = observed
                    .containers
                    .iter()
                    .filter(|c| c.service == name && !c.one_off)
                    .collect();
                ServiceBox {
                    state: state(&live, service.wanted_scale()),
                    image: crate::plan::desired::image_name(&project.name, service, ctx.separator),
                    networks: service.networks.keys().cloned().collect(),
                    ports: ports(&live, service),
                    needs: service
                        .depends_on
                        .iter()
                        .filter(|(d, _)| project.services.contains_key(*d))
                        .map(|(d, how)| {
                            let word = how
                                .condition
                                .trim_start_matches("service_")
                                .replace("completed_successfully", "completed");
                            (
                                d.clone(),
                                if how.required {
                                    word
                                } else {
                                    format!("{word}, optional")
                                },
                            )
                        })
                        .collect(),
                    name,
                }
            })
            .collect()
    };
    let picture = Picture {
        project: project.name.clone(),
        levels: levels.into_iter().map(boxes).collect(),
    };
    Ok(draw(&picture, format))
}

fn state(live: &[&ObservedContainer], wanted: i64) -> String {
    if live.is_empty() {
        return "not created".to_owned();
    }
    let running = live.iter().filter(|c| c.is_running()).count();
    let mut text = match (running, live.len()) {
        (0, 1) => live[0].state.as_str().to_owned(),
        (running, 1) if wanted == 1 && running == 1 => "running".to_owned(),
        (running, _) => format!("running {running}/{}", wanted.max(0)),
    };
    let any = |health: Health| live.iter().any(|c| c.health == health);
    let health = [
        (Health::Unhealthy, "unhealthy"),
        (Health::Starting, "starting"),
        (Health::Healthy, "healthy"),
    ]
    .into_iter()
    .find(|(health, _)| any(*health));
    if let Some((_, word)) = health {
        let _ = write!(text, " ({word})");
    }
    if let Some(code) = live
        .iter()
        .find(|c| !c.state.is_alive())
        .and_then(|c| c.exit_code())
        .filter(|_| running == 0)
    {
        let _ = write!(text, " ({code})");
    }
    text
}

/// Live ports where there are any, else the ones of the file.
fn ports(live: &[&ObservedContainer], service: &crate::compose::model::Service) -> Vec<String> {
    let mut found: Vec<String> = live
        .iter()
        .flat_map(|c| &c.ports)
        .filter_map(|p| {
            let suffix = if p.protocol == "tcp" {
                String::new()
            } else {
                format!("/{}", p.protocol)
            };
            Some(format!("{}→{}{suffix}", p.published?, p.target))
        })
        .collect();
    if found.is_empty() {
        found = service
            .ports
            .iter()
            .map(|p| {
                let published = if p.published.is_empty() {
                    "any"
                } else {
                    &p.published
                };
                let suffix = if p.protocol.is_empty() || p.protocol == "tcp" {
                    String::new()
                } else {
                    format!("/{}", p.protocol)
                };
                format!("{published}→{}{suffix}", p.target)
            })
            .collect();
    }
    found.sort();
    found.dedup();
    found
}

/// The picture in one of its forms.
pub(crate) fn draw(picture: &Picture, format: Format) -> String {
    match format {
        Format::Text => text(picture),
        Format::Mermaid => mermaid(picture),
        Format::Dot => dot(picture),
        Format::Svg => svg(picture),
    }
}

fn all(picture: &Picture) -> impl Iterator<Item = &ServiceBox> {
    picture.levels.iter().flatten()
}

fn text(picture: &Picture) -> String {
    let width = all(picture)
        .map(|s| s.name.chars().count())
        .max()
        .unwrap_or(0);
    let states = all(picture)
        .map(|s| s.state.chars().count())
        .max()
        .unwrap_or(0);
    let mut out = format!("{}\n", picture.project);
    let last = all(picture).count();
    for (index, service) in all(picture).enumerate() {
        let is_last = index + 1 == last;
        let (branch, bar) = if is_last {
            ("└─", "  ")
        } else {
            ("├─", "│ ")
        };
        let mut line = format!(
            "{branch} {:width$}  {:states$}",
            service.name, service.state
        );
        if !service.ports.is_empty() {
            let _ = write!(line, "  {}", service.ports.join(", "));
        }
        if !service.networks.is_empty() {
            let _ = write!(line, "  [{}]", service.networks.join(", "));
        }
        let _ = writeln!(out, "{}", line.trim_end());
        for (position, (dependency, condition)) in service.needs.iter().enumerate() {
            let branch = if position + 1 == service.needs.len() {
                "└→"
            } else {
                "├→"
            };
            let _ = writeln!(out, "{bar}    {branch} {dependency} ({condition})");
        }
    }
    out
}

fn mermaid(picture: &Picture) -> String {
    let mut out = String::from("flowchart LR\n");
    let id = |name: &str| -> String {
        name.chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect()
    };
    let quoted = |text: &str| text.replace('"', "#quot;");
    for service in all(picture) {
        let mut label = format!("<b>{}</b><br/>{}", service.name, service.state);
        for port in &service.ports {
            let _ = write!(label, "<br/>{port}");
        }
        let _ = writeln!(out, "    {}[\"{}\"]", id(&service.name), quoted(&label));
    }
    for service in all(picture) {
        for (dependency, condition) in &service.needs {
            let _ = writeln!(
                out,
                "    {} -->|{condition}| {}",
                id(&service.name),
                id(dependency)
            );
        }
    }
    let mut networks: Vec<&String> = all(picture).flat_map(|s| &s.networks).collect();
    networks.sort();
    networks.dedup();
    for network in networks {
        let _ = writeln!(
            out,
            "    net_{}([\"network {}\"])",
            id(network),
            quoted(network)
        );
        for service in all(picture).filter(|s| s.networks.contains(network)) {
            let _ = writeln!(out, "    {} -.- net_{}", id(&service.name), id(network));
        }
    }
    out
}

fn dot(picture: &Picture) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = format!(
        "digraph {} {{\n  rankdir=LR;\n  node [shape=box, style=rounded];\n",
        quoted(&picture.project)
    );
    for service in all(picture) {
        let mut lines = vec![service.name.clone(), service.state.clone()];
        lines.extend(service.ports.iter().cloned());
        if !service.networks.is_empty() {
            lines.push(format!("[{}]", service.networks.join(", ")));
        }
        let label = lines
            .iter()
            .map(|l| l.replace('\\', "\\\\").replace('"', "\\\""))
            .collect::<Vec<_>>()
            .join("\\n");
        let _ = writeln!(out, "  {} [label=\"{label}\"];", quoted(&service.name));
    }
    for service in all(picture) {
        for (dependency, condition) in &service.needs {
            let _ = writeln!(
                out,
                "  {} -> {} [label={}];",
                quoted(&service.name),
                quoted(dependency),
                quoted(condition)
            );
        }
    }
    out.push_str("}\n");
    out
}

const BOX_WIDTH: usize = 210;
const BOX_HEIGHT: usize = 74;
const COLUMN: usize = 330;
const ROW: usize = 104;
const MARGIN: usize = 24;

fn svg(picture: &Picture) -> String {
    let columns = picture.levels.len().max(1);
    let rows = picture
        .levels
        .iter()
        .map(Vec::len)
        .max()
        .unwrap_or(1)
        .max(1);
    let width = MARGIN * 2 + (columns - 1) * COLUMN + BOX_WIDTH;
    let height = MARGIN * 2 + 30 + (rows - 1) * ROW + BOX_HEIGHT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L10 5L0 10z\" fill=\"#666\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"{MARGIN}\" y=\"{}\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
        MARGIN + 4,
        escaped(&picture.project)
    );
    let place = |name: &str| -> Option<(usize, usize)> {
        picture
            .levels
            .iter()
            .enumerate()
            .find_map(|(column, level)| {
                let row = level.iter().position(|s| s.name == name)?;
                Some((MARGIN + column * COLUMN, MARGIN + 30 + row * ROW))
            })
    };
    for service in all(picture) {
        let Some((x, y)) = place(&service.name) else {
            continue;
        };
        for (dependency, condition) in &service.needs {
            let Some((to_x, to_y)) = place(dependency) else {
                continue;
            };
            let (from, to) = (
                (x, y + BOX_HEIGHT / 2),
                (to_x + BOX_WIDTH, to_y + BOX_HEIGHT / 2),
            );
            let _ = writeln!(
                out,
                "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"#666\" marker-end=\"url(#arrow)\"/>\n<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\" font-size=\"10\">{}</text>",
                from.0,
                from.1,
                to.0,
                to.1,
                usize::midpoint(from.0, to.0),
                usize::midpoint(from.1, to.1).saturating_sub(4),
                escaped(condition)
            );
        }
    }
    for service in all(picture) {
        let Some((x, y)) = place(&service.name) else {
            continue;
        };
        let colour = match &service.state {
            s if s.contains("unhealthy") => "#f8d7da",
            s if s.starts_with("running") => "#d4edda",
            s if s == "not created" => "#f4f4f4",
            _ => "#fff3cd",
        };
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"8\" fill=\"{colour}\" stroke=\"#888\"/>\n<text x=\"{0}\" y=\"{1}\" font-weight=\"bold\">{2}</text>",
            x + 10,
            y + 19,
            escaped(&service.name)
        );
        let details = [
            service.state.clone(),
            service.ports.join(", "),
            service.networks.join(", "),
        ];
        for (line, detail) in details.iter().filter(|d| !d.is_empty()).enumerate() {
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\" font-size=\"11\">{}</text>",
                x + 10,
                y + 36 + line * 15,
                escaped(detail)
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        let service = |name: &str, needs: &[(&str, &str)]| ServiceBox {
            name: name.to_owned(),
            state: "running".to_owned(),
            networks: vec!["default".to_owned()],
            needs: needs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect(),
            ..ServiceBox::default()
        };
        let mut web = service("web", &[("cache", "started"), ("db", "healthy")]);
        web.ports = vec!["8080→80".to_owned()];
        Picture {
            project: "demo".to_owned(),
            levels: vec![vec![service("cache", &[]), service("db", &[])], vec![web]],
        }
    }

    #[test]
    fn text_shows_needs_below_the_service() {
        assert_eq!(
            draw(&picture(), Format::Text),
            "demo\n\
             ├─ cache  running  [default]\n\
             ├─ db     running  [default]\n\
             └─ web    running  8080→80  [default]\n      \
                   ├→ cache (started)\n      \
                   └→ db (healthy)\n"
        );
    }

    #[test]
    fn the_other_forms_name_every_edge() {
        assert!(draw(&picture(), Format::Mermaid).contains("web -->|healthy| db"));
        assert!(draw(&picture(), Format::Dot).contains("\"web\" -> \"db\" [label=\"healthy\"];"));
        let svg = draw(&picture(), Format::Svg);
        assert_eq!(svg.matches("<line").count(), 2);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
