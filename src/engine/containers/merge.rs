//! A container's config joined with its image's: what was not asked for comes from the image. Pure.

use crate::engine::base::{Error, Result};
use crate::engine::containers::config::Config;
use crate::oci::RunConfig;
use crate::oci::image_config::Healthcheck;

/// Fills `config` from the image's.
pub(crate) fn merge(config: &mut Config, image: &RunConfig) -> Result<()> {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    for (port, empty) in &image.exposed_ports {
        config.exposed_ports.entry(port.clone()).or_insert(*empty);
    }
    merge_env(&mut config.env, &image.env);
    for (key, value) in &image.labels {
        config
            .labels
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    // An own entrypoint makes the image's command meaningless.
    let own_entrypoint = config
        .entrypoint
        .as_ref()
        .is_some_and(|entrypoint| !entrypoint.is_empty());
    if !own_entrypoint {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
            config.args_escaped = config.args_escaped.or(image.args_escaped);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // `[""]` asks for no entrypoint at all.
    if config
        .entrypoint
        .as_ref()
        .is_some_and(|entrypoint| entrypoint.len() == 1 && entrypoint[0].is_empty())
    {
        config.entrypoint = None;
    }
    merge_healthcheck(config, image);
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    for (target, empty) in &image.volumes {
        config.volumes.entry(target.clone()).or_insert(*empty);
    }
    if config.stop_signal.as_ref().is_none_or(String::is_empty) {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    let is_empty = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    if is_empty(&config.cmd) && is_empty(&config.entrypoint) {
        return Err(Error::invalid("no command specified"));
    }
    Ok(())
}

/// The image's variables first, in their places; the container's win.
fn merge_env(env: &mut Vec<String>, image: &[String]) {
    let key = |entry: &str| entry.split('=').next().unwrap_or("").to_owned();
    for inherited in image {
        let inherited_key = key(inherited);
        if !env.iter().any(|own| key(own) == inherited_key) {
            env.push(inherited.clone());
        }
    }
}

fn merge_healthcheck(config: &mut Config, image: &RunConfig) {
    let Some(inherited) = &image.healthcheck else {
        return;
    };
    let Some(own) = &mut config.healthcheck else {
        config.healthcheck = Some(inherited.clone());
        return;
    };
    if own.test.is_empty() {
        own.test.clone_from(&inherited.test);
    }
    for (field, value) in [
        (&mut own.interval, inherited.interval),
        (&mut own.timeout, inherited.timeout),
        (&mut own.start_period, inherited.start_period),
        (&mut own.start_interval, inherited.start_interval),
        (&mut own.retries, inherited.retries),
    ] {
        if *field == 0 {
            *field = value;
        }
    }
}

/// Durations below a millisecond are a client's mistake (seconds taken for nanoseconds).
pub(crate) fn check_healthcheck(healthcheck: &Healthcheck) -> Result<()> {
    for (name, value) in [
        ("Interval", healthcheck.interval),
        ("Timeout", healthcheck.timeout),
        ("StartPeriod", healthcheck.start_period),
        ("StartInterval", healthcheck.start_interval),
    ] {
        if value != 0 && value < 1_000_000 {
            return Err(Error::invalid(format!(
                "{name} in Healthcheck cannot be less than 1ms"
            )));
        }
    }
    if healthcheck.retries < 0 {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|word| (*word).to_owned()).collect())
    }

    fn image() -> RunConfig {
        RunConfig {
            entrypoint: words(&["/entry"]),
            cmd: words(&["serve"]),
            env: vec!["PATH=/bin".to_owned(), "A=image".to_owned()],
            ..RunConfig::default()
        }
    }

    #[test]
    fn commands_follow_docker() {
        let cases = [
            (None, None, vec!["/entry", "serve"]),
            (None, words(&["x"]), vec!["/entry", "x"]),
            (words(&["/own"]), None, vec!["/own"]),
            (words(&["/own"]), words(&["x"]), vec!["/own", "x"]),
            (words(&[""]), words(&["x"]), vec!["x"]),
        ];
        for (entrypoint, cmd, expected) in cases {
            let mut config = Config {
                entrypoint,
                cmd,
                ..Config::default()
            };
            merge(&mut config, &image()).unwrap();
            let mut args = config.entrypoint.unwrap_or_default();
            args.extend(config.cmd.unwrap_or_default());
            assert_eq!(args, expected);
        }
        let nothing = merge(&mut Config::default(), &RunConfig::default()).unwrap_err();
        assert_eq!(nothing.message, "no command specified");
    }

    #[test]
    fn own_variables_win_over_the_images() {
        let mut config = Config {
            env: vec!["A=own".to_owned()],
            ..Config::default()
        };
        merge(&mut config, &image()).unwrap();
        assert_eq!(config.env, ["A=own", "PATH=/bin"]);
    }
}
