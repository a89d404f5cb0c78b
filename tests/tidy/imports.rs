//! Who may import whom: the layers of the crate and the fences of outside crates, as two tables.
//! Tests inside a source may import what they like.

use crate::lexer::{self, inline_modules, is_word, line_of};
use crate::{Finding, Source};

const LEAVES: &[&str] = &["oci", "graph", "units", "labels", "progress", "sys"];

/// A layer (its longest match counts) and what it may import beside itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("graph", &[]),
    ("units", &[]),
    ("labels", &[]),
    ("progress", &[]),
    ("sys", &[]),
    ("compose", &["oci", "graph", "units"]),
    ("plan", &["compose::model", "oci", "graph", "labels"]),
    (
        "client",
        &[
            "plan",
            "compose::model",
            "oci",
            "labels",
            "units",
            "progress",
        ],
    ),
    (
        "apply",
        &["plan", "client", "progress", "compose::model", "labels"],
    ),
    (
        "ops",
        &[
            "compose", "plan", "client", "apply", "progress", "oci", "graph", "units", "labels",
        ],
    ),
    (
        "watch",
        &[
            "ops",
            "client",
            "compose::model",
            "oci",
            "progress",
            "labels",
            "units",
        ],
    ),
    ("ui", &["progress", "units", "sys"]),
    (
        "cli",
        &[
            "ops", "watch", "ui", "compose", "plan", "client", "progress", "oci", "graph", "units",
            "labels",
        ],
    ),
    ("engine::base", &["oci", "graph", "units", "labels", "sys"]),
    (
        "engine::images",
        &["oci", "graph", "units", "labels", "sys", "engine::base"],
    ),
    (
        "engine::networks",
        &["oci", "graph", "units", "labels", "sys", "engine::base"],
    ),
    (
        "engine::volumes",
        &["oci", "graph", "units", "labels", "sys", "engine::base"],
    ),
    ("engine::containers", ENGINE_USERS),
    ("engine::build", ENGINE_USERS),
    ("engine::api", &["engine", "oci", "units", "labels"]),
    (
        "engine::daemon",
        &["engine", "shim::client", "oci", "units", "labels", "sys"],
    ),
    ("engine", &["oci", "units", "labels", "sys"]),
    ("shim", &["runtime", "sys", "oci"]),
    ("runtime", &["sys", "oci"]),
];

const ENGINE_USERS: &[&str] = &[
    "oci",
    "graph",
    "units",
    "labels",
    "sys",
    "engine::base",
    "engine::images",
    "engine::networks",
    "engine::volumes",
    "shim::client",
];

const KERNEL: &[&str] = &[
    "sys",
    "runtime",
    "shim",
    "engine::base",
    "engine::containers",
    "engine::images",
    "engine::networks",
    "engine::build",
    "engine::volumes",
    "engine::daemon",
];

/// An outside crate and where it may be named. A crate that is not listed is free.
const FENCES: &[(&str, &[&str])] = &[
    ("bollard", &["client", "engine::api"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("hyper", &["engine::api", "engine::daemon"]),
    ("axum", &["engine::api", "engine::daemon"]),
    ("tower", &["engine::api", "engine::daemon"]),
    ("notify", &["watch"]),
    ("indicatif", &["ui"]),
    ("petgraph", &["graph", "plan", "apply"]),
    ("libc", KERNEL),
    ("nix", KERNEL),
    ("rustix", KERNEL),
    ("netlink_packet_core", &["sys"]),
    ("netlink_packet_route", &["sys"]),
    ("netlink_sys", &["sys"]),
    ("hickory_proto", &["engine::networks"]),
    ("oci_client", &["engine::images", "client"]),
];

/// Layers that wait for nothing and so know no tokio.
const SYNCHRONOUS: &[&str] = &[
    "compose", "plan", "oci", "runtime", "shim", "graph", "units", "labels", "sys",
];
const ASYNCHRONOUS: &[&str] = &["sys::nft_monitor", "shim::client"];

/// Only tests read it: `tests.rs`, a `tests/` folder, `…_tests.rs`, or no part of the crate at all.
pub(crate) fn is_test_file(path: &str) -> bool {
    let stem = path.trim_end_matches(".rs");
    !path.starts_with("src/")
        || path.contains("/tests/")
        || ["/tests", "/testing", "/golden", "_test", "_tests"]
            .iter()
            .any(|end| stem.ends_with(end))
}

/// `src/engine/api/mod.rs` → `engine::api`; none for the crate's root files.
fn module_path(path: &str) -> Option<String> {
    let inside = path
        .strip_prefix("src/")?
        .trim_end_matches(".rs")
        .trim_end_matches("/mod");
    if inside == "lib" || inside == "main" {
        None
    } else {
        Some(inside.replace('/', "::"))
    }
}

fn within(module: &str, layer: &str) -> bool {
    module == layer
        || module
            .strip_prefix(layer)
            .is_some_and(|rest| rest.starts_with("::"))
}

fn layer_of(module: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    LAYERS
        .iter()
        .filter(|(layer, _)| within(module, layer))
        .max_by_key(|(layer, _)| layer.len())
}

struct Import {
    at: usize,
    /// Without the leading `crate::`.
    path: String,
}

/// The offsets that belong to tests: inline modules called `tests`, or of a test's nature.
fn test_spans(code: &str) -> Vec<(usize, usize)> {
    let named = inline_modules(code)
        .into_iter()
        .filter(|m| m.name.starts_with("test") || m.name.ends_with("tests"));
    named.map(|module| (module.start, module.end)).collect()
}

/// Every path that begins at `prefix`, its groups taken apart: `{a::b, c}` are two.
fn paths_after(code: &str, prefix: &str) -> Vec<Import> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = at.checked_sub(1).map(|index| code.as_bytes()[index]);
        if before.is_some_and(|byte| is_word(byte) || byte == b':') {
            continue;
        }
        expand(&code[at + prefix.len()..], String::new(), at, &mut found);
    }
    found
}

fn expand(rest: &str, base: String, at: usize, found: &mut Vec<Import>) {
    let mut path = base;
    let mut rest = rest;
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            for part in split_group(group) {
                expand(part.trim(), path.clone(), at, found);
            }
            return;
        }
        let end = rest
            .bytes()
            .position(|byte| !is_word(byte))
            .unwrap_or(rest.len());
        if end == 0 {
            break;
        }
        if !path.is_empty() {
            path.push_str("::");
        }
        path.push_str(&rest[..end]);
        match rest[end..].strip_prefix("::") {
            Some(more) => rest = more,
            None => break,
        }
    }
    found.push(Import { at, path });
}

/// The parts of a group up to its closing brace, split at its own commas.
fn split_group(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => {
                parts.push(&text[start..offset]);
                return parts
                    .into_iter()
                    .filter(|part| !part.trim().is_empty())
                    .collect();
            }
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&text[start..offset]);
                start = offset + 1;
            }
            _ => {}
        }
    }
    parts
}

/// `super::super::x` seen from its file and the inline modules around it, as a path from the root.
fn super_paths(code: &str, module: &str) -> Vec<Import> {
    let modules = inline_modules(code);
    let mut found = Vec::new();
    for import in paths_after(code, "super::") {
        let mut here: Vec<&str> = module.split("::").collect();
        here.extend(
            modules
                .iter()
                .filter(|m| m.start < import.at && import.at < m.end)
                .map(|m| m.name.as_str()),
        );
        here.pop();
        let mut rest = import.path.as_str();
        while let Some(up) = rest.strip_prefix("super::") {
            here.pop();
            rest = up;
        }
        here.push(rest);
        found.push(Import {
            at: import.at,
            path: here.join("::"),
        });
    }
    found
}

pub(crate) fn check_layers(source: &Source, findings: &mut Vec<Finding>) {
    let Some(module) = module_path(&source.path) else {
        return;
    };
    if is_test_file(&source.path) {
        return;
    }
    let Some((layer, allowed)) = layer_of(&module) else {
        findings.push(Finding::new(
            source,
            1,
            format!("`{module}` belongs to no layer: see tests/tidy/imports.rs"),
        ));
        return;
    };
    let tests = test_spans(&source.code);
    let mut imports = paths_after(&source.code, "crate::");
    imports.extend(super_paths(&source.code, &module));
    for Import { at, path } in imports {
        let Some((target, _)) = layer_of(&path) else {
            continue;
        };
        let in_test = tests
            .iter()
            .any(|(start, end)| (*start..*end).contains(&at));
        let own = target == layer || (*layer == "engine" && within(&path, "engine"));
        if !own && !in_test && !allowed.iter().any(|name| within(&path, name)) {
            let line = line_of(&source.code, at);
            findings.push(Finding::new(
                source,
                line,
                format!("layer {layer} may not import {path} (only {allowed:?})"),
            ));
        }
    }
}

pub(crate) fn check_fences(source: &Source, findings: &mut Vec<Finding>) {
    let Some(module) = module_path(&source.path) else {
        return;
    };
    if is_test_file(&source.path) {
        return;
    }
    let tests = test_spans(&source.code);
    let mut refuse = |name: &str, allowed: String| {
        for Import { at, path } in paths_after(&source.code, &format!("{name}::")) {
            if !tests
                .iter()
                .any(|(start, end)| (*start..*end).contains(&at))
            {
                let line = line_of(&source.code, at);
                findings.push(Finding::new(
                    source,
                    line,
                    format!("{name}::{path} is fenced: {allowed}"),
                ));
            }
        }
    };
    for (name, homes) in FENCES {
        if !homes.iter().any(|home| within(&module, home)) {
            refuse(name, format!("only {homes:?} may name it"));
        }
    }
    let among = |layers: &[&str]| layers.iter().any(|layer| within(&module, layer));
    if among(SYNCHRONOUS) && !among(ASYNCHRONOUS) {
        refuse("tokio", "this layer waits for nothing".to_owned());
    }
}

#[test]
fn a_group_is_taken_apart() {
    let found = paths_after("use crate::{a::{b, c::D}, e};\nx.mycrate::no", "crate::");
    let paths: Vec<&str> = found.iter().map(|import| import.path.as_str()).collect();
    assert_eq!(paths, ["a::b", "a::c::D", "e"]);
}

#[test]
fn super_leads_out_of_inline_modules_first() {
    let code = lexer::blank("use super::super::networks::X;\nmod inner { use super::Y; }");
    let found = super_paths(&code, "engine::images::store");
    let paths: Vec<&str> = found.iter().map(|import| import.path.as_str()).collect();
    assert_eq!(paths, ["engine::networks::X", "engine::images::store::Y"]);
}

#[test]
fn every_leaf_is_a_layer() {
    for leaf in LEAVES {
        assert!(
            layer_of(leaf).is_some_and(|(_, allowed)| allowed.is_empty()),
            "{leaf}"
        );
    }
}
