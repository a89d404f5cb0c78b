//! How this process was called: as `hoist`, as `docker-compose`, or by the docker CLI as its plugin.
//! It only rewrites the command line into hoist's own; it runs nothing.

use std::ffi::OsString;
use std::path::Path;

/// The first word by which the docker CLI asks a plugin who it is.
pub(crate) const PLUGIN_METADATA: &str = "docker-cli-plugin-metadata";

/// Root flags of docker and compose that take a value in the next word.
const VALUE_FLAGS: &[&str] = &[
    "--ansi",
    "--config",
    "--context",
    "-c",
    "--engine",
    "--env-file",
    "--file",
    "-f",
    "--host",
    "-H",
    "--insecure-registry",
    "--log-level",
    "-l",
    "--parallel",
    "--profile",
    "--progress",
    "--project-directory",
    "--project-name",
    "-p",
    "--tlscacert",
    "--tlscert",
    "--tlskey",
    "--workdir",
];

/// A command line without the words that only say how hoist was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) arguments: Vec<OsString>,
    /// The name in messages: `hoist`, or `docker compose` for those who typed that.
    pub(crate) name: &'static str,
}

/// Drops the word `compose` that `docker compose …` and its plugin protocol put in front of the command.
pub(crate) fn read(arguments: Vec<OsString>) -> Invocation {
    let called_as = arguments
        .first()
        .and_then(|first| Path::new(first).file_stem())
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let is_docker_compose = called_as == "docker-compose";
    let mut arguments = arguments;
    if let Some(at) = first_word(&arguments)
        && arguments[at] == "compose"
    {
        arguments.remove(at);
    }
    Invocation {
        arguments,
        name: if is_docker_compose {
            "docker compose"
        } else {
            "hoist"
        },
    }
}

/// Where the first word that is neither a root flag nor its value stands.
fn first_word(arguments: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        let text = argument.to_string_lossy();
        if !text.starts_with('-') || text == "-" {
            return Some(at);
        }
        at += if VALUE_FLAGS.contains(&text.as_ref()) {
            2
        } else {
            1
        };
    }
    None
}

/// The answer to `docker-cli-plugin-metadata`.
pub(crate) fn plugin_metadata() -> String {
    serde_json::json!({
        "SchemaVersion": "0.1.0",
        "Vendor": "hoist",
        "Version": env!("CARGO_PKG_VERSION"),
        "ShortDescription": "Compose with hoist",
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_word_compose_is_dropped_wherever_docker_puts_it() {
        for (given, wanted) in [
            (
                "docker-compose compose -f a.yaml ps",
                "docker-compose -f a.yaml ps",
            ),
            (
                "docker-compose --context x compose ps",
                "docker-compose --context x ps",
            ),
            ("hoist ps compose", "hoist ps compose"),
            ("hoist -p compose up", "hoist -p compose up"),
            ("hoist run compose compose", "hoist run compose compose"),
        ] {
            assert_eq!(read(words(given)).arguments, words(wanted), "{given}");
        }
    }
}
