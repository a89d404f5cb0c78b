//! Taking a connection over from HTTP: attach, exec start, and the frames ("stdcopy") that carry
//! stdout and stderr of a container without a tty. It knows no container.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, UPGRADE, USER_AGENT};
use http::request::Parts;
use http::{StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::engine::api::query::wants_upgrade;

/// Frames of stdout and stderr.
pub(crate) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// Bytes as they are, or frames for a client older than API 1.42.
pub(crate) const RAW: &str = "application/vnd.docker.raw-stream";
/// How long a slow reader needs to take the head of an answer.
const HEAD_TAKES: Duration = Duration::from_millis(25);
const PLAIN_BUFFER_BYTES: usize = 64 << 10;

/// The client's bytes (its end is the client's half-close).
pub(crate) type Input = Pin<Box<dyn AsyncRead + Send>>;
/// Towards the client.
pub(crate) type Output = Pin<Box<dyn AsyncWrite + Send>>;

/// Answers and hands both directions of the connection to `serve`, which runs until it returns.
/// With `Upgrade:` the answer is 101 and a raw connection; without, the output is the 200's body and
/// the input the rest of the request's body.
pub(crate) fn hijack<F, Fut>(
    parts: &mut Parts,
    body: Option<Body>,
    content_type: &'static str,
    serve: F,
) -> Response
where
    F: FnOnce(Input, Output) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    if wants_upgrade(parts)
        && parts.version == Version::HTTP_11
        && let Some(upgrade) = upgrade
    {
        let protocol = parts
            .headers
            .get(UPGRADE)
            .cloned()
            .unwrap_or(HeaderValue::from_static("tcp"));
        tokio::spawn(async move {
            match upgrade.await {
                Ok(connection) => {
                    let (reader, writer) = tokio::io::split(TokioIo::new(connection));
                    serve(Box::pin(reader), Box::pin(writer)).await;
                }
                Err(error) => tracing::debug!(%error, "the client went away before the upgrade"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        return response;
    }
    let (ours, theirs) = tokio::io::duplex(PLAIN_BUFFER_BYTES);
    let input: Input = match body {
        Some(body) => Box::pin(StreamReader::new(
            body.into_data_stream().map_err(std::io::Error::other),
        )),
        None => Box::pin(tokio::io::empty()),
    };
    tokio::spawn(serve(input, Box::pin(theirs)));
    let mut response = Response::new(Body::from_stream(ReaderStream::new(ours)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(RAW));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The Python SDK reads the answer's head through a buffer and the stream past it: what comes right behind
/// the head is lost in that buffer. It gets a moment to take the head before the first byte follows.
pub(crate) async fn let_head_arrive(parts: &HeaderMap) {
    let agent = parts
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or("");
    if agent.starts_with("docker-sdk-python/") {
        tokio::time::sleep(HEAD_TAKES).await;
    }
}

/// One frame: the stream's number (0 stdin, 1 stdout, 2 stderr), three zeros, the length, the bytes.
pub(crate) fn frame(stream: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(8 + payload.len());
    bytes.put_u8(stream);
    bytes.put_bytes(0, 3);
    bytes.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(payload);
    bytes.freeze()
}

/// Writes everything and says whether the client is still there.
pub(crate) async fn write(output: &mut Output, bytes: &[u8]) -> bool {
    output.write_all(bytes).await.is_ok() && output.flush().await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_eight_bytes_and_the_payload() {
        assert_eq!(&frame(2, b"ab")[..], [2, 0, 0, 0, 0, 0, 0, 2, b'a', b'b']);
    }
}
