//! Compose files that are not on this machine: git repositories (fetched with the `git` program) and
//! OCI artifacts (fetched by who has a registry client). Only where they are kept and what is trusted
//! is decided here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::compose::locate::DEFAULT_FILES;
use crate::compose::model::Mapping;
use crate::compose::options::RemoteFetcher;
use crate::compose::volume_spec::clean_path;

/// Whether the reference names a remote file.
pub(crate) fn is_remote(reference: &str) -> bool {
    reference.starts_with("oci://") || GitReference::parse(reference).is_some()
}

/// `URL[#ref[:folder]]`
#[derive(Clone, Debug, PartialEq, Eq)]
struct GitReference {
    remote: String,
    /// Branch, tag or commit; empty for the default branch.
    revision: String,
    folder: String,
}

impl GitReference {
    fn parse(reference: &str) -> Option<Self> {
        if reference.starts_with("./") || reference.starts_with("../") {
            return None;
        }
        let (url, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let remote = if let Some(rest) = url.strip_prefix("github.com/") {
            format!("https://github.com/{rest}")
        } else if url.starts_with("http://") || url.starts_with("https://") {
            let path = url.split('?').next().unwrap_or(url);
            if !path.ends_with(".git") {
                return None;
            }
            url.to_owned()
        } else if url.starts_with("git://") || url.starts_with("ssh://") || is_scp_like(url) {
            url.to_owned()
        } else {
            return None;
        };
        let (revision, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        Some(Self {
            remote,
            revision: revision.to_owned(),
            folder: folder.to_owned(),
        })
    }
}

/// `user@host:path`
fn is_scp_like(url: &str) -> bool {
    let word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    url.split_once('@').is_some_and(|(user, rest)| {
        word(user)
            && rest
                .split_once(':')
                .is_some_and(|(host, path)| word(host) && !path.is_empty())
    })
}

/// Brings a remote file here and returns the local Compose file.
///
/// # Errors
/// The reference cannot be fetched, leads outside of its repository, or holds no Compose file.
pub(crate) fn fetch(
    reference: &str,
    environment: &Mapping,
    fetcher: Option<&dyn RemoteFetcher>,
) -> Result<PathBuf, String> {
    let cache = cache_folder(environment)?;
    if reference.starts_with("oci://") {
        return match fetcher {
            Some(fetcher) => fetcher
                .fetch(reference, &cache)
                .map_err(|error| error.to_string()),
            None => Err(format!(
                "{reference}: Compose files from a registry cannot be loaded by this command"
            )),
        };
    }
    let Some(git) = GitReference::parse(reference) else {
        return Err(format!("{reference} is no remote reference"));
    };
    if let Some(text) = environment.get("COMPOSE_EXPERIMENTAL_GIT_REMOTE") {
        match text.to_ascii_lowercase().as_str() {
            "" | "1" | "t" | "true" => {}
            "0" | "f" | "false" => {
                return Err(
                    "git remote resource is disabled by \"COMPOSE_EXPERIMENTAL_GIT_REMOTE\"".into(),
                );
            }
            _ => {
                return Err(format!(
                    "COMPOSE_EXPERIMENTAL_GIT_REMOTE environment variable expects boolean value, got {text:?}"
                ));
            }
        }
    }
    fetch_git(reference, &git, &cache)
}

fn cache_folder(environment: &Mapping) -> Result<PathBuf, String> {
    let named = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let base = match (named("XDG_CACHE_HOME"), named("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => Path::new(home).join(".cache"),
        (None, None) => {
            return Err("remote Compose files need a cache: set HOME or XDG_CACHE_HOME".into());
        }
    };
    Ok(base.join("docker-compose"))
}

fn fetch_git(reference: &str, git: &GitReference, cache: &Path) -> Result<PathBuf, String> {
    // The revision goes on git's command line.
    if git.remote.starts_with('-') || git.revision.starts_with('-') {
        return Err(format!("{reference} is no git reference"));
    }
    let commit = resolve_commit(reference, git)?;
    let checkout = cache.join(&commit);
    if !checkout.exists() {
        check_out(git, &commit, &checkout)?;
    }
    let mut local = checkout.clone();
    if !git.folder.is_empty() {
        let folder = clean_path(&git.folder);
        if folder.starts_with('/') || folder == ".." || folder.starts_with("../") {
            return Err(format!(
                "git subdirectory path traversal detected: {}",
                git.folder
            ));
        }
        local.push(folder);
    }
    let real = std::fs::canonicalize(&local)
        .map_err(|error| format!("{reference}: {}: {error}", local.display()))?;
    let inside = std::fs::canonicalize(&checkout).is_ok_and(|base| real.starts_with(base));
    if !inside {
        return Err(format!(
            "git subdirectory escapes base directory: {}",
            git.folder
        ));
    }
    if !real.is_dir() {
        return Ok(local);
    }
    DEFAULT_FILES
        .iter()
        .map(|name| local.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{reference}: no Compose file in {}", local.display()))
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn resolve_commit(reference: &str, git: &GitReference) -> Result<String, String> {
    if is_commit(&git.revision) {
        return Ok(git.revision.clone());
    }
    let revision = if git.revision.is_empty() {
        "HEAD"
    } else {
        &git.revision
    };
    let output = git_command()
        .args(["ls-remote", "--exit-code", "--", &git.remote, revision])
        .output()
        .map_err(|error| format!("{reference}: git cannot be run: {error}"))?;
    if output.status.code() == Some(2) {
        return Err(format!("repository does not contain ref {reference}"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let commit = text.get(..40).unwrap_or_default();
    if !output.status.success() || !is_commit(commit) {
        return Err(format!(
            "failed to access repository at {}:\n {}",
            git.remote,
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(commit.to_owned())
}

/// Into a folder of its own first: an interrupted fetch leaves nothing that looks complete.
fn check_out(git: &GitReference, commit: &str, checkout: &Path) -> Result<(), String> {
    let parent = checkout.parent().unwrap_or(checkout);
    let failed = |what: &str, detail: &str| format!("{}: {what}: {detail}", git.remote);
    std::fs::create_dir_all(parent).map_err(|e| failed("cache", &e.to_string()))?;
    let work = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(parent)
        .map_err(|e| failed("cache", &e.to_string()))?;
    let steps: [&[&str]; 4] = [
        &["init", "--quiet"],
        &["remote", "add", "origin", &git.remote],
        &["fetch", "--quiet", "--depth=1", "origin", commit],
        &["checkout", "--quiet", commit],
    ];
    for step in steps {
        let output = git_command()
            .args(step)
            .current_dir(work.path())
            .output()
            .map_err(|error| failed("git cannot be run", &error.to_string()))?;
        if !output.status.success() {
            let detail = String::from_utf8_lossy(&output.stderr);
            return Err(failed(&format!("git {}", step[0]), detail.trim()));
        }
    }
    let path = work.keep();
    match std::fs::rename(&path, checkout) {
        Ok(()) => Ok(()),
        Err(_) if checkout.exists() => {
            let _ = std::fs::remove_dir_all(&path);
            Ok(())
        }
        Err(error) => {
            let _ = std::fs::remove_dir_all(&path);
            Err(failed("cache", &error.to_string()))
        }
    }
}

/// git that never asks for a password.
fn git_command() -> Command {
    let mut command = Command::new("git");
    command.stdin(Stdio::null());
    if std::env::var_os("GIT_TERMINAL_PROMPT").is_none() {
        command.env("GIT_TERMINAL_PROMPT", "0");
    }
    if std::env::var_os("GIT_SSH").is_none() && std::env::var_os("GIT_SSH_COMMAND").is_none() {
        command.env(
            "GIT_SSH_COMMAND",
            "ssh -o ControlMaster=no -o BatchMode=yes",
        );
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_git_references_from_paths() {
        for text in [
            "https://example.com/a/b.git",
            "https://example.com/a/b.git#main:sub",
            "git@example.com:a/b",
            "ssh://git@example.com/a",
            "github.com/a/b",
            "oci://example.com/a",
        ] {
            assert!(is_remote(text), "{text}");
        }
        for text in [
            "./a.yaml",
            "compose.yaml",
            "https://example.com/a.yaml",
            "a@b/c",
        ] {
            assert!(!is_remote(text), "{text}");
        }
        let git = GitReference::parse("https://e.x/b.git#v1:sub/dir").unwrap();
        assert_eq!(
            (git.revision.as_str(), git.folder.as_str()),
            ("v1", "sub/dir")
        );
    }
}
