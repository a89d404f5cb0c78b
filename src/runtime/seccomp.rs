//! Seccomp profiles in Docker's JSON form, for one set of capabilities and this kernel, as rules for `sys::seccomp`.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use serde::Deserialize;

use crate::oci::capabilities::Capabilities;
use crate::oci::runtime_spec::Seccomp;
use crate::sys::seccomp::{self, Action, ArchitectureRules, Compare, Condition, Verdict};

/// Moby's profile of June 2026.
const DEFAULT_PROFILE: &str = include_str!("data/seccomp-default.json");
/// From the kernel's headers; numbers above 450 are the same everywhere.
const SYSCALLS: &str = include_str!("data/syscalls.tsv");

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
/// Set in the numbers of the x32 ABI.
const X32_BIT: u32 = 0x4000_0000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// One architecture's syscalls by name.
struct Architecture {
    audit_architecture: u32,
    ignored_bits: u32,
    /// Nearly always one; x32 has second numbers for some.
    numbers: HashMap<&'static str, Vec<u32>>,
}

/// Read once: a zygote does it before its shims need it.
fn architectures() -> &'static [Architecture] {
    static READ: OnceLock<Vec<Architecture>> = OnceLock::new();
    READ.get_or_init(|| {
        let columns: &[(usize, u32, u32)] = if cfg!(target_arch = "aarch64") {
            &[(2, AUDIT_ARCH_AARCH64, 0)]
        } else {
            &[(0, AUDIT_ARCH_X86_64, X32_BIT), (1, AUDIT_ARCH_I386, 0)]
        };
        let read = |column: usize| {
            let mut numbers: HashMap<&'static str, Vec<u32>> = HashMap::new();
            for line in SYSCALLS.lines().filter(|line| !line.starts_with('#')) {
                let mut words = line.split('\t');
                let name = words.next().unwrap_or_default();
                if let Some(Ok(number)) = words.nth(column).map(str::parse) {
                    numbers.entry(name).or_default().push(number);
                }
            }
            numbers
        };
        columns
            .iter()
            .map(|(column, audit_architecture, ignored_bits)| Architecture {
                audit_architecture: *audit_architecture,
                ignored_bits: *ignored_bits,
                numbers: read(*column),
            })
            .collect()
    })
}

fn default_profile() -> &'static Profile {
    static READ: OnceLock<Profile> = OnceLock::new();
    READ.get_or_init(|| {
        serde_json::from_str(DEFAULT_PROFILE)
            .expect("the profile is part of the program, and tested")
    })
}

/// Reads what every container needs, ahead of the first.
pub(crate) fn warm() {
    architectures();
    default_profile();
}

/// The filter for a process with these capabilities; `None` when it is to have none.
pub(crate) fn program(
    choice: &Seccomp,
    capabilities: Capabilities,
) -> Result<Option<Vec<seccomp::Instruction>>, String> {
    let own;
    let profile = match choice {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Default => default_profile(),
        Seccomp::Profile(text) => {
            own = serde_json::from_str(text)
                .map_err(|error| format!("decoding seccomp profile failed: {error}"))?;
            &own
        }
    };
    compile(profile, capabilities, kernel_version()).map(Some)
}

fn kernel_version() -> (u32, u32) {
    parse_version(&rustix::system::uname().release().to_string_lossy())
}

fn parse_version(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || {
        numbers
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(0)
    };
    (next(), next())
}

fn compile(
    profile: &Profile,
    capabilities: Capabilities,
    kernel: (u32, u32),
) -> Result<Vec<seccomp::Instruction>, String> {
    let default_errno = profile.default_errno_ret.unwrap_or(1);
    let default = action(&profile.default_action, Some(default_errno))?;
    let mut rules = Vec::new();
    for architecture in architectures() {
        let mut calls: BTreeMap<u32, Verdict> = BTreeMap::new();
        for rule in &profile.syscalls {
            if !applies(rule, capabilities, kernel) {
                continue;
            }
            let action = action(&rule.action, rule.errno_ret.or(profile.default_errno_ret))?;
            if action == default {
                continue;
            }
            let conditions = conditions(rule)?;
            for name in rule.names.iter().chain(&rule.name) {
                // A name of another architecture, or of a newer kernel, says nothing about this one.
                for number in architecture
                    .numbers
                    .get(name.as_str())
                    .into_iter()
                    .flatten()
                {
                    add(&mut calls, *number, &conditions, action);
                }
            }
        }
        rules.push(ArchitectureRules {
            audit_architecture: architecture.audit_architecture,
            ignored_bits: architecture.ignored_bits,
            calls,
        });
    }
    Ok(seccomp::compile(&rules, default))
}

/// Rules for one call add up; one without conditions decides alone, and the first of those stays.
fn add(calls: &mut BTreeMap<u32, Verdict>, number: u32, conditions: &[Condition], action: Action) {
    if conditions.is_empty() {
        match calls.get(&number) {
            Some(Verdict::Always(_)) => {}
            _ => drop(calls.insert(number, Verdict::Always(action))),
        }
        return;
    }
    let verdict = calls
        .entry(number)
        .or_insert_with(|| Verdict::When(Vec::new()));
    if let Verdict::When(alternatives) = verdict {
        alternatives.push((conditions.to_vec(), action));
    }
}

fn applies(rule: &Rule, capabilities: Capabilities, kernel: (u32, u32)) -> bool {
    let known = |filter: &Filter| {
        let min = filter.min_kernel.as_deref().map(parse_version);
        (
            filter
                .caps
                .iter()
                .map(|name| capabilities.contains_name(name))
                .collect::<Vec<bool>>(),
            filter.arches.iter().any(|name| is_this_architecture(name)),
            min.is_none_or(|min| kernel >= min),
        )
    };
    if let Some(excludes) = &rule.excludes {
        let (caps, arch, new_enough) = known(excludes);
        if caps.contains(&true) || arch || (excludes.min_kernel.is_some() && new_enough) {
            return false;
        }
    }
    if let Some(includes) = &rule.includes {
        let (caps, arch, new_enough) = known(includes);
        if caps.contains(&false) || (!includes.arches.is_empty() && !arch) || !new_enough {
            return false;
        }
    }
    true
}

/// In the names of the profile, which are Go's.
fn is_this_architecture(name: &str) -> bool {
    match name {
        "amd64" | "x32" | "x86" => cfg!(target_arch = "x86_64"),
        "arm64" | "arm" => cfg!(target_arch = "aarch64"),
        _ => false,
    }
}

fn conditions(rule: &Rule) -> Result<Vec<Condition>, String> {
    let arguments = rule.args.iter().flatten();
    arguments
        .map(|argument| {
            let value = argument.value;
            let compare = match argument.op.as_str() {
                "SCMP_CMP_NE" => Compare::NotEqual(value),
                "SCMP_CMP_LT" => Compare::Less(value),
                "SCMP_CMP_LE" => Compare::LessOrEqual(value),
                "SCMP_CMP_EQ" => Compare::Equal(value),
                "SCMP_CMP_GE" => Compare::GreaterOrEqual(value),
                "SCMP_CMP_GT" => Compare::Greater(value),
                "SCMP_CMP_MASKED_EQ" => Compare::MaskedEqual {
                    mask: value,
                    value: argument.value_two,
                },
                other => return Err(format!("seccomp profile: unknown operator {other}")),
            };
            if argument.index > 5 {
                return Err(format!("seccomp profile: argument {}", argument.index));
            }
            Ok(Condition {
                argument: argument.index,
                compare,
            })
        })
        .collect()
}

fn action(name: &str, errno: Option<u16>) -> Result<Action, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => seccomp::ALLOW,
        "SCMP_ACT_LOG" => seccomp::LOG,
        "SCMP_ACT_ERRNO" => seccomp::errno(errno.unwrap_or(1)),
        "SCMP_ACT_TRACE" => seccomp::trace(errno.unwrap_or(1)),
        "SCMP_ACT_TRAP" => seccomp::TRAP,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => seccomp::KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => seccomp::KILL_PROCESS,
        other => return Err(format!("seccomp profile: action {other} is not supported")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::seccomp::interpreter::run;

    fn default_for(capabilities: Capabilities) -> Vec<seccomp::Instruction> {
        program(&Seccomp::Default, capabilities).unwrap().unwrap()
    }

    fn number(name: &str, column: usize) -> u32 {
        architectures()[column].numbers[name][0]
    }

    #[test]
    fn the_default_profile_is_small_and_answers_as_docker() {
        let program = default_for(Capabilities::docker_default());
        assert!(program.len() < 700, "{}", program.len());
        let eperm = seccomp::errno(1);
        let newuser = 0x1000_0000;
        let cases = [
            ("read", [0; 6], seccomp::ALLOW),
            ("clone3", [0; 6], seccomp::errno(38)),
            ("clone", [17, 0, 0, 0, 0, 0], seccomp::ALLOW),
            ("clone", [newuser, 0, 0, 0, 0, 0], eperm),
            ("unshare", [0; 6], eperm),
            ("mount", [0; 6], eperm),
            ("bpf", [0; 6], eperm),
            ("io_uring_setup", [0; 6], eperm),
            ("socket", [2, 0, 0, 0, 0, 0], seccomp::ALLOW),
            ("socket", [38, 0, 0, 0, 0, 0], eperm),
            ("socket", [40, 0, 0, 0, 0, 0], eperm),
            ("personality", [8, 0, 0, 0, 0, 0], seccomp::ALLOW),
            ("personality", [9, 0, 0, 0, 0, 0], eperm),
            ("ptrace", [0; 6], seccomp::ALLOW),
            ("chroot", [0; 6], seccomp::ALLOW),
            ("reboot", [0; 6], eperm),
        ];
        if cfg!(target_arch = "x86_64") {
            for (name, arguments, expected) in cases {
                for (column, architecture) in [(0, AUDIT_ARCH_X86_64), (1, AUDIT_ARCH_I386)] {
                    let found = run(&program, architecture, number(name, column), arguments);
                    assert_eq!(found, expected, "{name} {arguments:?} {architecture:#x}");
                }
            }
            let x32 = run(
                &program,
                AUDIT_ARCH_X86_64,
                number("mount", 0) | X32_BIT,
                [0; 6],
            );
            assert_eq!(x32, eperm);
            assert_eq!(
                run(&program, AUDIT_ARCH_AARCH64, 0, [0; 6]),
                seccomp::KILL_PROCESS
            );
        }
    }

    #[test]
    fn capabilities_open_what_belongs_to_them() {
        let program = default_for(Capabilities::ALL);
        let architecture = architectures()[0].audit_architecture;
        for name in ["mount", "clone3", "bpf", "reboot", "unshare"] {
            let found = run(
                &program,
                architecture,
                number(name, 0),
                [0x1000_0000, 0, 0, 0, 0, 0],
            );
            assert_eq!(found, seccomp::ALLOW, "{name}");
        }
    }

    #[test]
    fn an_own_profile_is_used_and_a_bad_one_refused() {
        let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":5,"args":[]},
            {"name":"chmod","action":"SCMP_ACT_ERRNO"}]}"#;
        let choice = Seccomp::Profile(profile.to_owned());
        let program = program(&choice, Capabilities::NONE).unwrap().unwrap();
        let architecture = architectures()[0].audit_architecture;
        let verdict = |name| run(&program, architecture, number(name, 0), [0; 6]);
        assert_eq!(verdict("mkdirat"), seccomp::errno(5));
        assert_eq!(verdict("read"), seccomp::ALLOW);
        let bad = Seccomp::Profile("{".to_owned());
        let error = super::program(&bad, Capabilities::NONE).unwrap_err();
        assert!(
            error.starts_with("decoding seccomp profile failed"),
            "{error}"
        );
        let bad = r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#.to_owned();
        assert!(super::program(&Seccomp::Profile(bad), Capabilities::NONE).is_err());
    }
}
