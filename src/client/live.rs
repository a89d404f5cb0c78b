//! What only hoist's own engine does: new labels and a new healthcheck for a running container,
//! through its extra endpoint. bollard knows no such path, so the request is written here.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::container_body::{self, BodyOptions};
use super::error::ClientError;
use super::{Client, EngineChoice};
use crate::compose::model::Service;
use crate::plan::Desired;

/// Longest answer that is read: the answer is empty or an error message.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

impl Client {
    /// Gives a container the labels and the healthcheck that a new one would have.
    ///
    /// # Errors
    /// When the engine refuses, or is not hoist's own.
    pub(crate) async fn update_live(
        &self,
        desired: &Desired,
        service: &Service,
        id: &str,
        options: &BodyOptions,
    ) -> Result<(), ClientError> {
        let EngineChoice::Bundled(roots) = self.choice() else {
            return Err(ClientError::Unsupported(
                "this engine changes no healthcheck of a running container".to_owned(),
            ));
        };
        let mut body = json!({ "Labels": container_body::labels(desired, service, options) });
        if let Some(check) = container_body::healthcheck(service)? {
            body["Healthcheck"] =
                serde_json::to_value(check).map_err(|e| ClientError::Protocol(e.to_string()))?;
        }
        let text = body.to_string();
        let request = format!(
            "POST /hoist/containers/{id}/update HTTP/1.1\r\nHost: hoist\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        let broken = |e: std::io::Error| ClientError::Broken(e.to_string());
        let mut stream = UnixStream::connect(roots.socket()).await.map_err(broken)?;
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut answer = Vec::new();
        stream
            .take(MAX_ANSWER_BYTES)
            .read_to_end(&mut answer)
            .await
            .map_err(broken)?;
        result_of(&String::from_utf8_lossy(&answer))
    }
}

/// `HTTP/1.1 204 No Content`, or a status and a message.
fn result_of(answer: &str) -> Result<(), ClientError> {
    let status: u16 = answer
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| ClientError::Protocol("no HTTP answer".to_owned()))?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let message = serde_json::from_str::<Value>(body.trim())
        .ok()
        .and_then(|v| v.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| body.trim().to_owned());
    Err(ClientError::Engine { status, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_message_are_read() {
        assert!(result_of("HTTP/1.1 204 No Content\r\n\r\n").is_ok());
        let error = result_of(
            "HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n{\"message\":\"No such container: x\"}",
        );
        assert!(error.unwrap_err().is_not_found());
        assert!(result_of("").is_err());
    }
}
