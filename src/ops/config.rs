//! `config`: loads the project and gives the text of one of its views. Prints nothing.

use crate::compose::model::{Project, Service, service_json};
use crate::compose::{
    Dependencies, LoadOptions, Loaded, Warning, check_container_names, load, load_tree, render,
};
use crate::ops::OpError;

/// What to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Whole(Format),
    Services,
    Volumes,
    Networks,
    Models,
    /// `*` or a comma list of services.
    Hash(String),
    Profiles,
    Images,
    Variables(VariablesFormat),
    Environment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Yaml,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VariablesFormat {
    Table,
    Yaml,
    Json,
}

/// What to load and how to show it.
pub(crate) struct ConfigOptions<'a> {
    pub(crate) load: LoadOptions<'a>,
    pub(crate) view: View,
    /// Names of services to narrow the project to.
    pub(crate) services: Vec<String>,
    /// Keep networks, volumes and the like that no service uses.
    pub(crate) all_resources: bool,
    /// Check only: the text is not wanted.
    pub(crate) quiet: bool,
    /// Between the project's name and a service's in names of images.
    pub(crate) separator: &'static str,
}

/// The text of a view, and what there is to warn of.
pub(crate) struct Shown {
    pub(crate) text: String,
    pub(crate) warnings: Vec<Warning>,
}

/// Loads and renders.
///
/// # Errors
/// What the loader found, or a service that is not there.
pub(crate) fn run(mut options: ConfigOptions<'_>) -> Result<Shown, OpError> {
    match &options.view {
        View::Variables(_) => options.load.interpolate = false,
        View::Whole(_) | View::Environment => {}
        _ => options.load.resolve_environment = false,
    }
    let raw = match &options.view {
        View::Variables(_) => true,
        View::Whole(_) | View::Services => !options.load.interpolate,
        _ => false,
    };
    if raw {
        return raw_view(&options);
    }
    let mut loaded = load(&options.load)?;
    select(&mut loaded, &options)?;
    let text = match &options.view {
        View::Whole(format) => {
            if options.load.check_consistency {
                check_container_names(&loaded)?;
            }
            match format {
                _ if options.quiet => String::new(),
                Format::Yaml => render::yaml(&loaded.project),
                Format::Json => render::strict_json(&loaded.project).map_err(OpError::failed)?,
            }
        }
        view => list_view(&mut loaded.project, view, options.separator)?,
    };
    let warnings = std::mem::take(&mut loaded.warnings);
    // The process ends after this: giving a large tree back piece by piece would only take time.
    std::mem::forget(loaded);
    Ok(Shown { text, warnings })
}

fn select(loaded: &mut Loaded, options: &ConfigOptions<'_>) -> Result<(), OpError> {
    let narrowed = matches!(
        options.view,
        View::Whole(_) | View::Profiles | View::Images | View::Environment
    );
    if narrowed {
        loaded
            .project
            .select(&options.services, Dependencies::Include)
            .map_err(|error| OpError::failed(error.to_string()))?;
    }
    if !options.all_resources {
        loaded.project.drop_unused();
    }
    Ok(())
}

fn raw_view(options: &ConfigOptions<'_>) -> Result<Shown, OpError> {
    let tree = load_tree(&options.load)?;
    let text = match &options.view {
        View::Services => lines(tree.service_names()),
        View::Variables(VariablesFormat::Json) => {
            let mut text = render::variables_json(&tree.variables());
            text.push('\n');
            text
        }
        View::Variables(VariablesFormat::Yaml) => render::variables_yaml(&tree.variables()),
        View::Variables(VariablesFormat::Table) => variables_table(&tree),
        View::Whole(Format::Json) => tree.json().map_err(OpError::failed)?,
        _ => tree.yaml(),
    };
    Ok(Shown {
        text,
        warnings: tree.warnings,
    })
}

fn lines<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        text.push_str(item.as_ref());
        text.push('\n');
    }
    text
}

fn list_view(project: &mut Project, view: &View, separator: &str) -> Result<String, OpError> {
    Ok(match view {
        View::Services => lines(services_in_order(project)),
        View::Volumes => lines(sorted(project.volumes.keys())),
        View::Networks => lines(sorted(project.networks.keys())),
        View::Models => lines(
            project
                .models
                .values()
                .map(|model| &model.model)
                .filter(|model| !model.is_empty()),
        ),
        View::Hash(services) => hashes(project, services)?,
        View::Profiles => {
            let mut profiles: Vec<&String> = project
                .all_services()
                .flat_map(|(_, service)| &service.profiles)
                .collect();
            profiles.sort_unstable();
            profiles.dedup();
            lines(profiles)
        }
        View::Images => lines(
            project
                .services
                .values()
                .map(|service| image_name(service, &project.name, separator)),
        ),
        View::Environment => {
            let mut values: Vec<String> = project
                .environment
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            values.sort_unstable();
            lines(values)
        }
        View::Whole(_) | View::Variables(_) => String::new(),
    })
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut names: Vec<&String> = names.collect();
    names.sort_unstable();
    names
}

/// Dependencies stand before the services that need them.
fn services_in_order(project: &Project) -> Vec<&str> {
    fn visit<'a>(project: &'a Project, name: &'a str, order: &mut Vec<&'a str>, depth: usize) {
        if order.contains(&name) || depth > project.services.len() {
            return;
        }
        let Some(service) = project.services.get(name) else {
            return;
        };
        let mut others: Vec<&String> = service.depends_on.keys().collect();
        others.sort_unstable();
        for other in others {
            visit(project, other, order, depth + 1);
        }
        if !order.contains(&name) {
            order.push(name);
        }
    }
    let mut order = Vec::new();
    for name in project.service_names() {
        visit(project, name, &mut order, 0);
    }
    order
}

fn image_name(service: &Service, project: &str, separator: &str) -> String {
    if service.image.is_empty() {
        format!("{project}{separator}{}", service.name)
    } else {
        service.image.clone()
    }
}

fn hashes(project: &mut Project, services: &str) -> Result<String, OpError> {
    apply_platforms(project)?;
    let mut names: Vec<String> = if services == "*" {
        project.services.keys().cloned().collect()
    } else {
        services.split(',').map(str::to_owned).collect()
    };
    names.sort_unstable();
    let mut text = String::new();
    for name in names {
        let Some(service) = project.services.get(&name) else {
            let state = if project.disabled_services.contains_key(&name) {
                "disabled"
            } else {
                "not found"
            };
            return Err(OpError::failed(format!("no such service: {name}: {state}")));
        };
        text.push_str(&format!("{name} {}\n", service_hash(service)));
    }
    Ok(text)
}

/// What decides whether containers of a service are replaced: everything but how the image is made
/// and how many containers there are.
fn service_hash(service: &Service) -> String {
    use sha2::Digest as _;
    let mut hashed = service.clone();
    hashed.build = None;
    hashed.pull_policy.clear();
    hashed.scale = None;
    if let Some(deploy) = &mut hashed.deploy {
        deploy.replicas = None;
    }
    hashed.depends_on.clear();
    hashed.profiles.clear();
    let digest = sha2::Sha256::digest(service_json(&hashed).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `DOCKER_DEFAULT_PLATFORM` goes to services that are built and name no platform.
fn apply_platforms(project: &mut Project) -> Result<(), OpError> {
    let default = project
        .environment
        .get("DOCKER_DEFAULT_PLATFORM")
        .cloned()
        .unwrap_or_default();
    for (name, service) in &mut project.services {
        let Some(build) = &service.build else {
            continue;
        };
        let supported =
            |platform: &String| build.platforms.is_empty() || build.platforms.contains(platform);
        if !default.is_empty() && service.platform.is_empty() {
            if !supported(&default) {
                return Err(OpError::failed(format!(
                    "service {name:?} build.platforms does not support value set by DOCKER_DEFAULT_PLATFORM: {default}"
                )));
            }
            service.platform.clone_from(&default);
        }
        if !service.platform.is_empty() && !supported(&service.platform) {
            return Err(OpError::failed(format!(
                "service {name:?} build configuration does not support platform: {}",
                service.platform
            )));
        }
    }
    Ok(())
}

fn variables_table(tree: &crate::compose::Tree) -> String {
    let rows: Vec<[String; 4]> = tree
        .variables()
        .into_iter()
        .map(|v| {
            [
                v.name,
                v.required.to_string(),
                v.default_value,
                v.presence_value,
            ]
        })
        .collect();
    let head = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned);
    let width = |column: usize| {
        rows.iter()
            .chain(std::iter::once(&head))
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
            + 4
    };
    let widths = [width(0), width(1), width(2)];
    lines(std::iter::once(&head).chain(&rows).map(|row| {
        let [a, b, c, d] = row;
        format!(
            "{a:w0$}{b:w1$}{c:w2$}{d}",
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2]
        )
        .trim_end()
        .to_owned()
    }))
}
