//! Which stages a build needs and how they hang together: names, bases, the target. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::build::expand::{Lexer, Variables};
use crate::engine::build::instruction::{Dockerfile, From, Instruction, Step};
use crate::engine::build::lexer::DockerfileError;
use crate::engine::build::run_mounts::MountOptions;
use crate::oci::Platform;

/// Variables of a proxy: usable without an `ARG`, and never part of history or cache.
pub(crate) const PROXY_ARGUMENTS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Where something comes from: the file system a stage starts with, or what `--from` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Scratch,
    Stage(usize),
    /// An image reference.
    Image(String),
}

/// A stage that is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedStage {
    pub(crate) index: usize,
    /// The name, or `stage-<number>`.
    pub(crate) label: String,
    pub(crate) base: Source,
    pub(crate) platform: Option<Platform>,
    pub(crate) from: From,
    pub(crate) steps: Vec<Step>,
    /// Stages that must be done before.
    pub(crate) needs: BTreeSet<usize>,
}

/// The stages a build needs, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) escape: char,
    pub(crate) stages: BTreeMap<usize, PlannedStage>,
    pub(crate) target: usize,
    /// `ARG`s before the first `FROM`, with their values.
    pub(crate) arguments: BTreeMap<String, String>,
    pub(crate) warnings: Vec<String>,
}

/// What a client sets.
#[derive(Debug, Clone)]
pub(crate) struct PlanOptions<'a> {
    pub(crate) target: &'a str,
    pub(crate) build_args: &'a BTreeMap<String, Option<String>>,
    pub(crate) platform: &'a Platform,
}

/// `--build-arg`s, then values of the file, then what the platform gives.
struct Globals<'a> {
    values: &'a BTreeMap<String, String>,
    platform: &'a BTreeMap<String, String>,
}

impl Variables for Globals<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .or_else(|| self.platform.get(name))
            .map(String::as_str)
    }
}

/// `TARGETPLATFORM` and the like.
pub(crate) fn platform_arguments(target: &Platform) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (prefix, platform) in [("TARGET", target), ("BUILD", &Platform::host())] {
        let mut set =
            |name: &str, value: &str| values.insert(format!("{prefix}{name}"), value.to_owned());
        set("PLATFORM", &platform.to_string());
        set("OS", &platform.os);
        set("ARCH", &platform.architecture);
        set("VARIANT", platform.variant.as_deref().unwrap_or(""));
    }
    values
}

type Result<T> = std::result::Result<T, DockerfileError>;

/// Decides what is built.
pub(crate) fn plan(dockerfile: Dockerfile, options: &PlanOptions<'_>) -> Result<Plan> {
    let platform_values = platform_arguments(options.platform);
    let arguments = global_arguments(&dockerfile, options, &platform_values)?;
    let names: Vec<Option<String>> = dockerfile
        .stages
        .iter()
        .map(|stage| stage.from.name.clone())
        .collect();
    let target = find_target(&names, options.target)?;
    let mut all = BTreeMap::new();
    for (index, stage) in dockerfile.stages.into_iter().enumerate().take(target + 1) {
        let globals = Globals {
            values: &arguments,
            platform: &platform_values,
        };
        let earlier = &names[..index];
        let fail = |message: String| DockerfileError::new(stage.from.span.start, message);
        let lexer = Lexer::dockerfile(dockerfile.escape);
        let base = lexer
            .word(&stage.from.base, &globals)
            .map_err(|error| fail(error.to_string()))?;
        if base.is_empty() {
            return Err(fail(format!(
                "base name ({}) should not be blank",
                stage.from.base
            )));
        }
        let base = source_of(&base, earlier, false);
        let platform = match &stage.from.platform {
            None => None,
            Some(text) => {
                let text = lexer
                    .word(text, &globals)
                    .map_err(|error| fail(error.to_string()))?;
                Some(Platform::parse(&text).map_err(|error| fail(error.to_string()))?)
            }
        };
        let mut needs = BTreeSet::new();
        if let Source::Stage(other) = base {
            needs.insert(other);
        }
        for step in &stage.steps {
            for from in sources_of(step)? {
                if let Source::Stage(other) = source_of(&from, earlier, true) {
                    needs.insert(other);
                }
            }
        }
        let planned = PlannedStage {
            index,
            label: stage
                .from
                .name
                .clone()
                .unwrap_or_else(|| format!("stage-{index}")),
            base,
            platform,
            from: stage.from,
            steps: stage.steps,
            needs,
        };
        all.insert(index, planned);
    }
    let mut needed = BTreeSet::new();
    let mut open = vec![target];
    while let Some(index) = open.pop() {
        if needed.insert(index)
            && let Some(stage) = all.get(&index)
        {
            open.extend(&stage.needs);
        }
    }
    all.retain(|index, _| needed.contains(index));
    let mut warnings = dockerfile.warnings;
    warnings.extend(unused_arguments(
        &all,
        &dockerfile.arguments,
        options.build_args,
    ));
    Ok(Plan {
        escape: dockerfile.escape,
        stages: all,
        target,
        arguments,
        warnings,
    })
}

fn global_arguments(
    dockerfile: &Dockerfile,
    options: &PlanOptions<'_>,
    platform: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    for (name, default) in &dockerfile.arguments {
        let globals = Globals {
            values: &values,
            platform,
        };
        let value = match (options.build_args.get(name), default) {
            (Some(Some(value)), _) => Some(value.clone()),
            (_, Some(default)) => Some(
                Lexer::dockerfile(dockerfile.escape)
                    .word(default, &globals)
                    .map_err(|error| DockerfileError::new(1, format!("ARG {name}: {error}")))?,
            ),
            (_, None) => None,
        };
        if let Some(value) = value {
            values.insert(name.clone(), value);
        }
    }
    Ok(values)
}

fn find_target(names: &[Option<String>], target: &str) -> Result<usize> {
    if target.is_empty() {
        return Ok(names.len() - 1);
    }
    let wanted = target.to_ascii_lowercase();
    let by_name = names
        .iter()
        .rposition(|name| name.as_deref() == Some(&wanted));
    by_name
        .or_else(|| wanted.parse().ok().filter(|index| *index < names.len()))
        .ok_or_else(|| {
            DockerfileError::new(1, format!("target stage {target:?} could not be found"))
        })
}

/// An earlier stage by name (or, for `--from`, number), or an image.
pub(crate) fn source_of(text: &str, earlier: &[Option<String>], by_number: bool) -> Source {
    let lower = text.to_ascii_lowercase();
    if let Some(index) = earlier
        .iter()
        .rposition(|name| name.as_deref() == Some(&lower))
    {
        return Source::Stage(index);
    }
    if by_number
        && let Ok(index) = text.parse::<usize>()
        && index < earlier.len()
    {
        return Source::Stage(index);
    }
    if lower == "scratch" && !by_number {
        return Source::Scratch;
    }
    Source::Image(text.to_owned())
}

/// What a step's `--from` and `--mount=from=` name.
fn sources_of(step: &Step) -> Result<Vec<String>> {
    let fail = |message: String| DockerfileError::new(step.span.start, message);
    let sources: Vec<String> = match &step.instruction {
        Instruction::Copy(copy) => copy.from.iter().cloned().collect(),
        Instruction::Run(run) => run
            .mounts
            .iter()
            .map(|text| MountOptions::parse(text).map_err(&fail))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .filter_map(|mount| mount.from)
            .collect(),
        _ => Vec::new(),
    };
    match sources.iter().find(|text| text.contains('$')) {
        Some(text) => Err(fail(format!(
            "variable expansion is not supported for --from ({text}), define a new stage with FROM using ARG from global scope as a workaround"
        ))),
        None => Ok(sources),
    }
}

fn unused_arguments(
    stages: &BTreeMap<usize, PlannedStage>,
    global: &[(String, Option<String>)],
    build_args: &BTreeMap<String, Option<String>>,
) -> Option<String> {
    let mut declared: BTreeSet<&str> = global.iter().map(|(name, _)| name.as_str()).collect();
    declared.extend(PROXY_ARGUMENTS);
    declared.extend(["SOURCE_DATE_EPOCH"]);
    for stage in stages.values() {
        for step in &stage.steps {
            if let Instruction::Arg(arguments) = &step.instruction {
                declared.extend(arguments.iter().map(|(name, _)| name.as_str()));
            }
        }
    }
    let unused: Vec<&str> = build_args
        .keys()
        .map(String::as_str)
        .filter(|name| !declared.contains(name) && !name.starts_with("BUILDKIT_"))
        .collect();
    (!unused.is_empty()).then(|| {
        format!(
            "[Warning] One or more build-args [{}] were not consumed",
            unused.join(" ")
        )
    })
}
