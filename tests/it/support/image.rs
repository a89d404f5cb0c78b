//! The test image: Debian's static busybox with its applets, as a docker archive made in memory.
//! Its stop signal is SIGKILL, so that a scenario that is not about stopping does not wait for a grace.

use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};

/// The archive, and the name it is loaded under: it holds the content's digest, so nobody else's image is meant.
pub(crate) fn busybox() -> (String, Vec<u8>) {
    let layer = layer();
    let diff_id = hex(&layer);
    let name = format!("hoist-it/busybox:{}", &diff_id[..12]);
    let archive = archive(&name, &layer, &diff_id, &json!({}));
    (name, archive)
}

/// The same file system under another name and with other settings.
pub(crate) fn variant(name: &str, settings: &serde_json::Value) -> Vec<u8> {
    let layer = layer();
    archive(name, &layer, &hex(&layer), settings)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn archive(name: &str, layer: &[u8], diff_id: &str, settings: &serde_json::Value) -> Vec<u8> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut process = json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Cmd": ["sh"],
        "StopSignal": "SIGKILL",
    });
    for (key, value) in settings.as_object().unwrap() {
        process[key] = value.clone();
    }
    let config = json!({
        "architecture": arch, "os": "linux", "created": "2024-01-01T00:00:00Z", "config": process,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "busybox"}],
    })
    .to_string();
    let config_name = format!("{}.json", hex(config.as_bytes()));
    let manifest =
        json!([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).to_string();
    let mut tar = tar::Builder::new(Vec::new());
    for (path, data) in [
        (config_name.as_str(), config.as_bytes()),
        ("layer.tar", layer),
        ("manifest.json", manifest.as_bytes()),
    ] {
        file(&mut tar, path, 0o644, data);
    }
    tar.into_inner().unwrap()
}

fn layer() -> Vec<u8> {
    let program = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let list = Command::new("/bin/busybox").arg("--list").output().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    for (folder, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
        ("data", 0o755),
        ("var", 0o755),
    ] {
        let mut header = header(mode, 0, tar::EntryType::Directory);
        tar.append_data(&mut header, format!("{folder}/"), std::io::empty())
            .unwrap();
    }
    file(&mut tar, "bin/busybox", 0o755, &program);
    for applet in String::from_utf8(list.stdout)
        .unwrap()
        .lines()
        .filter(|applet| *applet != "busybox")
    {
        let mut header = header(0o777, 0, tar::EntryType::Symlink);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    file(
        &mut tar,
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home:/bin/sh\n",
    );
    file(
        &mut tar,
        "etc/group",
        0o644,
        b"root:x:0:\nstaff:x:50:app\napp:x:1000:\n",
    );
    file(&mut tar, "data/seed", 0o644, b"from the image\n");
    tar.into_inner().unwrap()
}

fn header(mode: u32, size: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_704_067_200);
    header
}

fn file(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, data: &[u8]) {
    let mut header = header(mode, data.len() as u64, tar::EntryType::Regular);
    tar.append_data(&mut header, path, data).unwrap();
}
