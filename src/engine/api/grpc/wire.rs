//! gRPC over HTTP/2: five bytes before each message, a status in the trailers. Both sides: serving calls and making
//! them. It knows no service.

use axum::body::Body;
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use crate::engine::base::{Error, ErrorKind, Result};

/// gRPC messages larger than this are refused.
const MESSAGE_MAX_BYTES: usize = 16 << 20;
const HEADER_BYTES: usize = 5;
const UNKNOWN: i32 = 2;
const UNIMPLEMENTED: i32 = 12;

/// A message with its frame.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(HEADER_BYTES + message.len());
    frame.push(0);
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}

/// Messages of a body, one after the other.
pub(crate) struct Messages<B> {
    body: B,
    buffer: BytesMut,
}

impl<B> Messages<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    pub(crate) fn new(body: B) -> Self {
        Messages {
            body,
            buffer: BytesMut::new(),
        }
    }

    /// The next message; a status in the trailers that says failure is an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() {
                let length =
                    u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
                if header[0] != 0 || length > MESSAGE_MAX_BYTES {
                    return Err(Error::invalid(
                        "a gRPC message is compressed or larger than 16 MiB",
                    ));
                }
                if self.buffer.len() >= HEADER_BYTES + length {
                    self.buffer.advance(HEADER_BYTES);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(Error::system(format!("read from the client: {error}")));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            check_status(&trailers)?;
                        }
                    }
                },
            }
        }
    }
}

/// Whether headers or trailers say that a call failed.
pub(crate) fn check_status(headers: &HeaderMap) -> Result<()> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    };
    match text("grpc-status") {
        "" | "0" => Ok(()),
        code => {
            let message = percent_decoded(text("grpc-message"));
            match code {
                "5" => Err(Error::not_found(message)),
                _ => Err(Error::system(message)),
            }
        }
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn status_headers(error: Option<&Error>) -> HeaderMap {
    let (code, message) = match error {
        None => (0, String::new()),
        Some(error) if error.kind == ErrorKind::NotImplemented => {
            (UNIMPLEMENTED, error.message.clone())
        }
        Some(error) => (UNKNOWN, error.message.clone()),
    };
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", HeaderValue::from(code));
    if let Ok(value) = HeaderValue::from_str(&percent_encoded(&message))
        && !message.is_empty()
    {
        headers.insert("grpc-message", value);
    }
    headers
}

/// The answer of a call that gives one message.
pub(crate) fn unary(result: Result<Vec<u8>>) -> Response<Body> {
    match result {
        Ok(message) => streaming(stream::once(async move { Ok(framed(&message)) })),
        Err(error) => {
            let mut response = Response::new(Body::empty());
            *response.headers_mut() = status_headers(Some(&error));
            with_content_type(response)
        }
    }
}

/// The answer of a call that gives a stream of frames.
pub(crate) fn streaming(
    messages: impl Stream<Item = Result<Bytes>> + Send + 'static,
) -> Response<Body> {
    let frames = stream::unfold(
        (Box::pin(messages), false),
        |(mut messages, ended)| async move {
            if ended {
                return None;
            }
            let (frame, ended) = match messages.next().await {
                Some(Ok(bytes)) => (Frame::data(bytes), false),
                Some(Err(error)) => (Frame::trailers(status_headers(Some(&error))), true),
                None => (Frame::trailers(status_headers(None)), true),
            };
            Some((Ok::<_, std::convert::Infallible>(frame), (messages, ended)))
        },
    );
    with_content_type(Response::new(Body::new(StreamBody::new(frames))))
}

fn with_content_type(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
}

/// A request body fed by a channel.
pub(crate) fn body_of(receiver: mpsc::Receiver<Bytes>) -> Body {
    Body::from_stream(stream::unfold(receiver, |mut receiver| async {
        receiver
            .recv()
            .await
            .map(|bytes| (Ok::<_, std::convert::Infallible>(bytes), receiver))
    }))
}
