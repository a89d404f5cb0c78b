//! Answers: JSON bodies, streams of JSON lines, and the one map from an error's kind to a status.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::engine::base::{Error, ErrorKind};

/// A failed request. Its body is `{"message": …}`.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Error);

/// What a handler returns.
pub(crate) type ApiResult<T = Response> = Result<T, ApiError>;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        ApiError(error)
    }
}

/// The status of a kind of error.
pub(crate) fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::System => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = status_of(self.0.kind);
        if status == StatusCode::NOT_MODIFIED {
            return empty(status);
        }
        json(
            status,
            &ErrorBody {
                message: &self.0.message,
            },
        )
    }
}

/// A JSON answer, ended by a newline as dockerd's are.
pub(crate) fn json<T: Serialize + ?Sized>(status: StatusCode, body: &T) -> Response {
    let mut bytes = match serde_json::to_vec(body) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = serde_json::json!({ "message": format!("encode the answer: {error}") });
            return with_type(
                StatusCode::INTERNAL_SERVER_ERROR,
                "application/json",
                message.to_string().into(),
            );
        }
    };
    bytes.push(b'\n');
    with_type(status, "application/json", bytes.into())
}

/// `200` and JSON.
pub(crate) fn ok<T: Serialize + ?Sized>(body: &T) -> Response {
    json(StatusCode::OK, body)
}

/// A status without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// `204`.
pub(crate) fn no_content() -> Response {
    empty(StatusCode::NO_CONTENT)
}

/// A status, a content type, a body.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// `200` with a body that is sent as it comes. The headers go out at once.
pub(crate) fn stream<S>(content_type: &'static str, chunks: S) -> Response
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
{
    with_type(StatusCode::OK, content_type, Body::from_stream(chunks))
}

/// One JSON value and the newline that ends it.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Bytes {
    let mut bytes = serde_json::to_vec(value)
        .unwrap_or_else(|error| format!("{{\"error\":\"encode: {error}\"}}").into_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes.into()
}

/// The text of a header, empty when it is absent or not text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
}
