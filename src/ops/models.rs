//! Models of a project: had ready by the Docker CLI's `model` plugin, and told to services as
//! variables. Without the plugin a project with models cannot come up, and that is said.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;

use crate::client::context;
use crate::compose::model::{Model, Project};
use crate::ops::{Context, OpError};
use crate::progress::{Event, Resource};

#[derive(Deserialize, Default)]
struct RunnerStatus {
    #[serde(default)]
    endpoint: String,
}

#[derive(Deserialize)]
struct LocalModel {
    #[serde(default)]
    tags: Vec<String>,
}

/// Pulls and configures the models that the services use, and sets the variables of the services.
///
/// # Errors
/// When the plugin is not there or fails.
pub(crate) async fn ensure(ctx: &Context, project: &mut Project) -> Result<(), OpError> {
    if !project.services.values().any(|s| !s.models.is_empty()) {
        return Ok(());
    }
    let plugin = plugin(project)
        .ok_or_else(|| OpError::failed("'models' support requires Docker Model plugin"))?;
    let status: RunnerStatus = parsed(&plugin, &["status", "--json"]).await?;
    if !ctx.dry_run {
        let local: Vec<LocalModel> = parsed(&plugin, &["ls", "--json"]).await?;
        for (name, model) in &project.models {
            let is_local = local
                .iter()
                .flat_map(|m| &m.tags)
                .any(|tag| *tag == model.model || *tag == format!("{}:latest", model.model));
            prepare(ctx, &plugin, name, model, is_local).await?;
        }
    }
    set_variables(project, &status.endpoint);
    Ok(())
}

fn plugin(project: &Project) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = context::project_config_dir(&project.environment)
        .map(|dir| dir.join("cli-plugins"))
        .into_iter()
        .collect();
    folders.extend(context::PLUGIN_FOLDERS.map(PathBuf::from));
    folders
        .into_iter()
        .map(|f| f.join("docker-model"))
        .find(|p| p.is_file())
}

async fn prepare(
    ctx: &Context,
    plugin: &Path,
    name: &str,
    model: &Model,
    is_local: bool,
) -> Result<(), OpError> {
    let resource = Resource::service(name);
    if !is_local {
        ctx.progress
            .send(Event::working(resource.clone(), "Pulling"));
        output(plugin, &["pull".to_owned(), model.model.clone()]).await?;
        ctx.progress.send(Event::done(resource.clone(), "Pulled"));
    }
    let mut arguments = vec!["configure".to_owned()];
    if model.context_size > 0 {
        arguments.extend(["--context-size".to_owned(), model.context_size.to_string()]);
    }
    arguments.push(model.model.clone());
    if !model.runtime_flags.is_empty() {
        arguments.push("--".to_owned());
        arguments.extend(model.runtime_flags.iter().cloned());
    }
    ctx.progress
        .send(Event::working(resource.clone(), "Configuring"));
    output(plugin, &arguments).await?;
    ctx.progress.send(Event::done(resource, "Configured"));
    Ok(())
}

/// `<REF>_MODEL` and `<REF>_URL`, or the names that the service asks for.
fn set_variables(project: &mut Project, endpoint: &str) {
    for service in project.services.values_mut() {
        for (reference, use_of) in &service.models {
            let Some(model) = project.models.get(reference) else {
                continue;
            };
            let prefix = reference.to_uppercase().replace('-', "_");
            let named = |given: Option<&String>, suffix: &str| match given {
                Some(name) if !name.is_empty() => name.clone(),
                _ => format!("{prefix}_{suffix}"),
            };
            let model_variable = named(use_of.as_ref().map(|u| &u.model_var), "MODEL");
            let endpoint_variable = named(use_of.as_ref().map(|u| &u.endpoint_var), "URL");
            service
                .environment
                .insert(model_variable, Some(model.model.clone()));
            service
                .environment
                .insert(endpoint_variable, Some(endpoint.to_owned()));
        }
    }
}

async fn parsed<T: serde::de::DeserializeOwned>(
    plugin: &Path,
    arguments: &[&str],
) -> Result<T, OpError> {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    let text = output(plugin, &arguments).await?;
    serde_json::from_slice(&text)
        .map_err(|e| OpError::failed(format!("docker model {}: {e}", arguments.join(" "))))
}

async fn output(plugin: &Path, arguments: &[String]) -> Result<Vec<u8>, OpError> {
    let failed =
        |why: String| OpError::failed(format!("docker model {}: {why}", arguments.join(" ")));
    let output = Command::new(plugin)
        .arg("model")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|e| failed(e.to_string()))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::model::{Service, ServiceModel};

    #[test]
    fn services_are_told_model_and_address() {
        let mut project = Project::default();
        let model = Model {
            model: "ai/small".to_owned(),
            ..Model::default()
        };
        project.models.insert("my-llm".to_owned(), model);
        let mut service = Service::default();
        service.models.insert("my-llm".to_owned(), None);
        project.services.insert("plain".to_owned(), service.clone());
        let named = ServiceModel {
            endpoint_var: "WHERE".to_owned(),
            ..ServiceModel::default()
        };
        service.models.insert("my-llm".to_owned(), Some(named));
        project.services.insert("named".to_owned(), service);
        set_variables(&mut project, "http://runner/v1");
        let value =
            |service: &str, key: &str| project.services[service].environment[key].clone().unwrap();
        assert_eq!(value("plain", "MY_LLM_MODEL"), "ai/small");
        assert_eq!(value("plain", "MY_LLM_URL"), "http://runner/v1");
        assert_eq!(value("named", "WHERE"), "http://runner/v1");
    }
}
