//! What comes with a request: query parameters as Docker reads them, JSON bodies, image names in paths.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use http::request::Parts;
use http::{Method, header};
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;

use crate::engine::api::respond::{ApiError, header as header_text};
use crate::engine::base::{Error, Filters, Result};

/// A JSON body larger than this is refused (a create body of a large project is a few KiB).
const MAX_JSON_BYTES: usize = 8 << 20;

/// The query of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// The first value of a parameter; empty when absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.optional(name).unwrap_or("")
    }

    /// The first value, if the parameter is there and not empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.optional(name).filter(|value| !value.is_empty())
    }

    /// The first value, if the parameter is there.
    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.pairs
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Docker's booleans: empty, `0`, `no`, `false`, `none` are false, all else is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        !matches!(
            self.text(name).trim().to_ascii_lowercase().as_str(),
            "" | "0" | "no" | "false" | "none"
        )
    }

    /// As [`Params::flag`], with a default for an absent parameter.
    pub(crate) fn flag_or(&self, name: &str, default: bool) -> bool {
        match self.optional(name) {
            None => default,
            Some(_) => self.flag(name),
        }
    }

    /// An integer; absent or empty is `None`.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>> {
        match self.given(name) {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| Error::invalid(format!("invalid {name}: {text:?} is not a number"))),
        }
    }

    /// The `filters` parameter.
    pub(crate) fn filters(&self) -> Result<Filters> {
        Filters::parse(self.text("filters"))
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Error::invalid(format!("invalid query: {error}")))?;
        Ok(Params { pairs })
    }
}

/// A JSON body. The content type must say so; an empty body is an error.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let content_type = header_text(request.headers(), "content-type").to_owned();
        let bytes = read_limited(request.into_body()).await?;
        check_content_type(&content_type, bytes.is_empty())?;
        if bytes.is_empty() {
            return Err(Error::invalid("invalid JSON: got EOF while reading request body").into());
        }
        Ok(JsonBody(decode(&bytes)?))
    }
}

/// A JSON body that may be missing or `null`.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub(crate) Option<T>);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let content_type = header_text(request.headers(), "content-type").to_owned();
        let bytes = read_limited(request.into_body()).await?;
        if bytes.is_empty() {
            return Ok(OptionalJson(None));
        }
        check_content_type(&content_type, false)?;
        Ok(OptionalJson(decode(&bytes)?))
    }
}

fn check_content_type(content_type: &str, empty: bool) -> Result<()> {
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") || (essence.is_empty() && empty) {
        return Ok(());
    }
    if essence.is_empty() {
        return Err(Error::invalid(
            "malformed Content-Type header (): mime: no media type",
        ));
    }
    Err(Error::invalid(format!(
        "unsupported Content-Type header ({content_type}): must be 'application/json'"
    )))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<T>();
    let first = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(error)) => return Err(Error::invalid(format!("invalid JSON: {error}"))),
        None => {
            return Err(Error::invalid(
                "invalid JSON: got EOF while reading request body",
            ));
        }
    };
    let rest = &bytes[values.byte_offset()..];
    if !rest.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::invalid("unexpected content after JSON"));
    }
    Ok(first)
}

/// What of a body is still taken after the answer is known.
const DRAIN_MAX_BYTES: u64 = 64 << 20;

/// Reads what is left of a request's body: a client that still writes when the connection closes sees a broken pipe
/// and not the answer.
pub(crate) fn drain(body: &mut impl std::io::Read) {
    use std::io::Read as _;
    // A client that is gone needs no answer.
    let _ = std::io::copy(&mut body.take(DRAIN_MAX_BYTES), &mut std::io::sink());
}

async fn read_limited(body: Body) -> Result<Vec<u8>> {
    let collected = Limited::new(body, MAX_JSON_BYTES)
        .collect()
        .await
        .map_err(|error| Error::invalid(format!("read the request body: {error}")))?;
    Ok(collected.to_bytes().into())
}

/// What a path below `/images/` asks for, when image names are written as they are, slashes and all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImagePath<'a> {
    pub(crate) name: &'a str,
    /// The fixed last part (`json`, `history`, `push`, `tag`, `get`), or empty for the image itself.
    pub(crate) action: &'a str,
}

/// Splits what follows `/images/`: a greedy name and, for methods that have one, a fixed last part.
/// `DELETE` has none: there the whole path is the name.
pub(crate) fn split_image_path<'a>(method: &Method, path: &'a str) -> Option<ImagePath<'a>> {
    let path = path.trim_start_matches('/');
    if *method == Method::DELETE {
        return (!path.is_empty()).then_some(ImagePath {
            name: path,
            action: "",
        });
    }
    let (name, action) = path.rsplit_once('/')?;
    let known = if *method == Method::POST {
        matches!(action, "push" | "tag")
    } else {
        matches!(action, "json" | "history" | "get" | "attestations")
    };
    (known && !name.is_empty()).then_some(ImagePath { name, action })
}

/// Whether a request asks to switch protocols (`Connection: Upgrade`).
pub(crate) fn wants_upgrade(parts: &Parts) -> bool {
    parts.headers.contains_key(header::UPGRADE)
        && parts
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| {
                value
                    .split(',')
                    .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params {
            pairs: pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn booleans_are_dockers() {
        let params = params(&[
            ("a", "1"),
            ("b", "none"),
            ("c", ""),
            ("d", "False"),
            ("e", "x"),
        ]);
        assert!(params.flag("a") && params.flag("e"));
        assert!(!params.flag("b") && !params.flag("c") && !params.flag("d") && !params.flag("z"));
        assert!(params.flag_or("z", true));
        assert!(params.integer("e").is_err());
    }

    #[test]
    fn image_names_are_greedy() {
        let get = split_image_path(&Method::GET, "127.0.0.1:5000/a/b:1/json").unwrap();
        assert_eq!((get.name, get.action), ("127.0.0.1:5000/a/b:1", "json"));
        let delete = split_image_path(&Method::DELETE, "a/json").unwrap();
        assert_eq!((delete.name, delete.action), ("a/json", ""));
        assert_eq!(split_image_path(&Method::GET, "json"), None);
        assert_eq!(split_image_path(&Method::GET, "a/push"), None);
    }

    #[test]
    fn content_after_the_body_is_refused() {
        assert!(decode::<u32>(b"1 2").is_err());
        assert_eq!(decode::<u32>(b"1 \n").unwrap(), 1);
        assert!(decode::<u32>(b"").is_err());
    }
}
