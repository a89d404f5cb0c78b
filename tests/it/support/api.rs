//! The Docker Engine API over a unix socket, as a scenario needs it: one request a connection, JSON in and out.
//! It is a second opinion: it shares no code with the client under test.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) struct Api {
    socket: PathBuf,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&self.body).unwrap()
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Api {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub(crate) fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> std::io::Result<Reply> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw)?;
        Ok(parse(&raw))
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let reply = self.request("GET", path, "application/json", b"").unwrap();
        assert!(
            reply.status < 300,
            "GET {path}: {} {}",
            reply.status,
            reply.text()
        );
        reply.json()
    }

    /// What is there, or nothing where the engine says 404.
    pub(crate) fn find(&self, path: &str) -> Option<Value> {
        let reply = self.request("GET", path, "application/json", b"").ok()?;
        (reply.status < 300).then(|| reply.json())
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let reply = self
            .request(
                "POST",
                path,
                "application/json",
                body.to_string().as_bytes(),
            )
            .unwrap();
        assert!(
            reply.status < 400,
            "POST {path}: {} {}",
            reply.status,
            reply.text()
        );
        serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
    }

    /// Deletes what may already be gone.
    pub(crate) fn delete(&self, path: &str) -> u16 {
        self.request("DELETE", path, "application/json", b"")
            .map_or(0, |reply| reply.status)
    }

    #[track_caller]
    pub(crate) fn load(&self, archive: &[u8]) {
        let reply = self
            .request("POST", "/images/load?quiet=1", "application/x-tar", archive)
            .unwrap();
        assert!(
            reply.status < 300 && !reply.text().contains("\"error\""),
            "load: {} {}",
            reply.status,
            reply.text()
        );
    }

    /// What carries the project's label; nothing where the engine does not answer, which is no place to fail at.
    fn labelled(&self, path: &str, project: &str) -> Value {
        let label = format!("com.docker.compose.project={project}");
        let filters = escape(&json!({"label": [label]}).to_string());
        let reply = self.request(
            "GET",
            &format!("{path}filters={filters}"),
            "application/json",
            b"",
        );
        reply
            .ok()
            .filter(|reply| reply.status < 300)
            .map(|reply| reply.json())
            .unwrap_or_default()
    }

    pub(crate) fn containers(&self, project: &str) -> Vec<Value> {
        self.labelled("/containers/json?all=1&", project)
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn networks(&self, project: &str) -> Vec<Value> {
        self.labelled("/networks?", project)
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn volumes(&self, project: &str) -> Vec<Value> {
        self.labelled("/volumes?", project)["Volumes"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }
}

/// Percent-encodes all that is not plain.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn parse(raw: &[u8]) -> Reply {
    let split = raw
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or(raw.len());
    let head = String::from_utf8_lossy(&raw[..split]).to_ascii_lowercase();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let body = raw.get(split + 4..).unwrap_or_default();
    let chunked = head
        .lines()
        .any(|line| line.starts_with("transfer-encoding:") && line.contains("chunked"));
    Reply {
        status,
        body: if chunked {
            unchunk(body)
        } else {
            body.to_vec()
        },
    }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = String::from_utf8_lossy(&rest[..end]);
        let size =
            usize::from_str_radix(size.split(';').next().unwrap_or("0").trim(), 16).unwrap_or(0);
        let body = &rest[end + 2..];
        if size == 0 || body.len() < size {
            break;
        }
        out.extend_from_slice(&body[..size]);
        rest = body.get(size + 2..).unwrap_or_default();
    }
    out
}
