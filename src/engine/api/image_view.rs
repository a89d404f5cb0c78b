//! Images as the Engine API shows them: list entry, inspect, history, deletions. Wire types only.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::images::listing::unix_seconds;
use crate::engine::images::{Deleted, HistoryEntry, Image};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageSummary {
    containers: i64,
    created: i64,
    id: String,
    labels: Option<BTreeMap<String, String>>,
    parent_id: String,
    repo_digests: Vec<String>,
    repo_tags: Vec<String>,
    shared_size: i64,
    size: u64,
}

/// An entry of the list; `containers` and `shared_size` are -1 when nobody asked.
pub(crate) fn summary(image: Image, containers: i64, shared_size: i64) -> ImageSummary {
    let labels = image.config.config.labels;
    ImageSummary {
        containers,
        created: unix_seconds(&image.created),
        id: image.id.to_string(),
        labels: (!labels.is_empty()).then_some(labels),
        parent_id: image.parent.map(|id| id.to_string()).unwrap_or_default(),
        repo_digests: image.repo_digests,
        repo_tags: image.repo_tags,
        shared_size,
        size: image.size,
    }
}

/// `lowers` are the directories of the layers, top first.
pub(crate) fn inspect(image: &Image, lowers: &[std::path::PathBuf]) -> Value {
    let config = &image.config;
    let mut run: Value = serde_json::to_value(&config.config).unwrap_or_else(|_| json!({}));
    for key in ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes"] {
        if run.get(key).is_none() {
            run[key] = Value::Null;
        }
    }
    for key in ["User", "WorkingDir"] {
        if run.get(key).is_none() {
            run[key] = json!("");
        }
    }
    let path = |path: &std::path::PathBuf| path.display().to_string();
    let below: Vec<String> = lowers.iter().skip(1).map(path).collect();
    let mut data = json!({
        "MergedDir": "",
        "UpperDir": lowers.first().map(path).unwrap_or_default(),
        "WorkDir": "",
    });
    if !below.is_empty() {
        data["LowerDir"] = json!(below.join(":"));
    }
    let mut view = json!({
        "Id": image.id.as_str(),
        "RepoTags": image.repo_tags,
        "RepoDigests": image.repo_digests,
        "Parent": image.parent.as_ref().map(|id| id.to_string()).unwrap_or_default(),
        "Comment": config.comment,
        "Created": image.created,
        "DockerVersion": config.docker_version,
        "Author": config.author,
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        "GraphDriver": {"Data": data, "Name": "overlay2"},
        "RootFS": {
            "Type": "layers",
            "Layers": config.rootfs.diff_ids.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        },
        "Metadata": {"LastTagTime": image.last_tagged.as_deref().unwrap_or("0001-01-01T00:00:00Z")},
        "Config": run,
    });
    if let Some(variant) = &config.variant {
        view["Variant"] = json!(variant);
    }
    view
}

pub(crate) fn history(entry: &HistoryEntry) -> Value {
    json!({
        "Comment": entry.comment,
        "Created": entry.created,
        "CreatedBy": entry.created_by,
        "Id": entry.id.as_ref().map_or("<missing>", |id| id.as_str()),
        "Size": entry.size,
        "Tags": if entry.tags.is_empty() { None } else { Some(&entry.tags) },
    })
}

pub(crate) fn deletions(done: &[Deleted]) -> Vec<Value> {
    done.iter()
        .map(|deleted| match deleted {
            Deleted::Untagged(name) => json!({"Untagged": name}),
            Deleted::Deleted(id) => json!({"Deleted": id.as_str()}),
        })
        .collect()
}
