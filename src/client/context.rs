//! The docker context: which endpoint the docker CLI would talk to. Reads the CLI's files, never
//! writes them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::ClientError;

/// Where the docker CLI's plugins are, besides the user's own folder.
pub(crate) const PLUGIN_FOLDERS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// The folder of the docker CLI's configuration, by the variables that `get` knows.
pub(crate) fn config_dir_by(get: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| get(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")))
}

/// The folder of the docker CLI's configuration.
pub(crate) fn config_dir(environment: &HashMap<String, String>) -> Option<PathBuf> {
    config_dir_by(|name| environment.get(name).map(OsString::from))
}

/// Endpoint of the context named by `DOCKER_CONTEXT` or by `currentContext` of config.json; None
/// when that is the default one or none is selected.
pub(super) fn selected_endpoint(
    environment: &HashMap<String, String>,
) -> Result<Option<String>, ClientError> {
    let dir = config_dir(environment);
    let named = environment
        .get("DOCKER_CONTEXT")
        .filter(|v| !v.is_empty())
        .cloned();
    let name = match (named, &dir) {
        (Some(name), _) => name,
        (None, Some(dir)) => match current_context(dir)? {
            Some(name) => name,
            None => return Ok(None),
        },
        (None, None) => return Ok(None),
    };
    if name == "default" {
        return Ok(None);
    }
    let Some(dir) = dir else {
        return Err(ClientError::Choice(format!(
            "context \"{name}\": neither DOCKER_CONFIG nor HOME is set"
        )));
    };
    endpoint_of(&dir, &name).map(Some)
}

fn current_context(dir: &Path) -> Result<Option<String>, ClientError> {
    let path = dir.join("config.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(ClientError::io(
                format!("reading {}", path.display()),
                error,
            ));
        }
    };
    let config: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| ClientError::Choice(format!("{}: {e}", path.display())))?;
    Ok(config
        .get("currentContext")
        .and_then(|v| v.as_str())
        .filter(|v| !v.is_empty())
        .map(str::to_owned))
}

fn endpoint_of(dir: &Path, name: &str) -> Result<String, ClientError> {
    let digest: String = Sha256::digest(name.as_bytes())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let path = dir.join("contexts/meta").join(digest).join("meta.json");
    let text = std::fs::read_to_string(&path).map_err(|_| {
        ClientError::Choice(format!(
            "docker context \"{name}\" not found: {} is not there",
            path.display()
        ))
    })?;
    let meta: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| ClientError::Choice(format!("{}: {e}", path.display())))?;
    meta.pointer("/Endpoints/docker/Host")
        .and_then(|v| v.as_str())
        .map(str::to_owned)
        .ok_or_else(|| {
            ClientError::Choice(format!("docker context \"{name}\" has no docker endpoint"))
        })
}

/// The folder of the docker CLI's configuration, by the environment of a project.
pub(crate) fn project_config_dir(environment: &crate::compose::model::Mapping) -> Option<PathBuf> {
    config_dir_by(|name| environment.get(name).map(OsString::from))
}

/// The proxy variables that the docker CLI's configuration gives to every container.
pub(crate) fn proxy_variables(
    environment: &crate::compose::model::Mapping,
    address: &str,
) -> Vec<(String, String)> {
    const KEYS: [(&str, &str); 5] = [
        ("httpProxy", "HTTP_PROXY"),
        ("httpsProxy", "HTTPS_PROXY"),
        ("noProxy", "NO_PROXY"),
        ("ftpProxy", "FTP_PROXY"),
        ("allProxy", "ALL_PROXY"),
    ];
    let config = project_config_dir(environment)
        .and_then(|dir| std::fs::read_to_string(dir.join("config.json")).ok())
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let Some(proxies) = config.as_ref().and_then(|c| c.get("proxies")) else {
        return Vec::new();
    };
    let Some(proxy) = proxies.get(address).or_else(|| proxies.get("default")) else {
        return Vec::new();
    };
    KEYS.iter()
        .filter_map(|(key, name)| {
            let value = proxy.get(key)?.as_str().filter(|v| !v.is_empty())?;
            Some([
                ((*name).to_owned(), value.to_owned()),
                (name.to_lowercase(), value.to_owned()),
            ])
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_selected_context() {
        let dir = tempfile::tempdir().unwrap();
        let env = HashMap::from([("DOCKER_CONFIG".to_owned(), dir.path().display().to_string())]);
        assert_eq!(selected_endpoint(&env).unwrap(), None);
        std::fs::write(
            dir.path().join("config.json"),
            r#"{"currentContext":"far"}"#,
        )
        .unwrap();
        assert!(
            selected_endpoint(&env)
                .unwrap_err()
                .to_string()
                .contains("far")
        );
        let digest: String = Sha256::digest(b"far")
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let meta = dir.path().join("contexts/meta").join(digest);
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Endpoints":{"docker":{"Host":"tcp://far:2375"}}}"#,
        )
        .unwrap();
        assert_eq!(
            selected_endpoint(&env).unwrap().as_deref(),
            Some("tcp://far:2375")
        );
    }
}
