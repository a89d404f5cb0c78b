//! The distribution protocol: manifests and blobs of one repository, with authentication, retries and bounds. It
//! believes nothing a registry says: sizes are capped, digests are checked by whoever asked for the content.
//!
//! Credentials go to the registry's own origin and to a token server that it names over TLS, nowhere else.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Method, StatusCode};
use reqwest::{Client, Response, redirect};
use serde::Deserialize;

use crate::engine::base::{Error, ErrorKind, Result};
use crate::engine::images::RegistryAuth;
use crate::oci::manifest::{
    DOCKER_INDEX, DOCKER_MANIFEST, DOCUMENT_MAX_BYTES, Document, INDEX, MANIFEST,
};
use crate::oci::{Digest, Reference};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that sends nothing for so long has stalled.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const REDIRECTS_MAX: usize = 10;
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest `Retry-After` that is honoured.
const PAUSE_MAX: Duration = Duration::from_secs(10);
const TOKEN_MAX_BYTES: u64 = 1 << 20;
const ERROR_MAX_BYTES: u64 = 64 << 10;
/// Registries that may be spoken to without TLS, by host, separated by commas.
const INSECURE: &str = "HOIST_INSECURE_REGISTRIES";

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// One repository of one registry.
pub(crate) struct Registry {
    http: Client,
    /// `https://host`.
    base: String,
    repository: String,
    familiar: String,
    access: Access,
    auth: RegistryAuth,
    /// The header that worked last.
    authorization: tokio::sync::Mutex<Option<String>>,
}

/// A manifest or index and what it hashes to.
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) document: Document,
}

#[derive(Deserialize)]
struct TokenBody {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    errors: Vec<ErrorItem>,
}

#[derive(Deserialize)]
struct ErrorItem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// A client for downloads. Redirects never lead from TLS to plain text.
pub(crate) fn http_client(accept_any_certificate: bool) -> Result<Client> {
    let policy = redirect::Policy::custom(|attempt| {
        let downgrades = attempt.url().scheme() != "https"
            && attempt
                .previous()
                .last()
                .is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > REDIRECTS_MAX {
            attempt.error("too many redirects")
        } else if downgrades {
            attempt.error("a redirect leads from https to http")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .user_agent(concat!("hoist/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(IDLE_TIMEOUT)
        .redirect(policy)
        .danger_accept_invalid_certs(accept_any_certificate)
        .build()
        .map_err(|error| Error::system(format!("make an HTTP client: {}", chain(&error))))
}

/// An error with its causes: reqwest's own text says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}

fn is_loopback(domain: &str) -> bool {
    let host = match domain.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => domain.split(':').next().unwrap_or(domain),
    };
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn is_insecure(domain: &str) -> bool {
    let listed = std::env::var(INSECURE).unwrap_or_default();
    is_loopback(domain) || listed.split(',').any(|host| host.trim() == domain)
}

impl Registry {
    /// Finds out how the registry is spoken to; nothing is sent to it but a probe where plain HTTP is possible.
    pub(crate) async fn connect(
        reference: &Reference,
        auth: &RegistryAuth,
        access: Access,
    ) -> Result<Self> {
        let domain = match reference.domain.as_str() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let insecure = is_insecure(domain);
        let http = http_client(insecure)?;
        let scheme = if insecure && speaks_plain_http(&http, domain).await {
            "http"
        } else {
            "https"
        };
        Ok(Registry {
            http,
            base: format!("{scheme}://{domain}"),
            repository: reference.path.clone(),
            familiar: reference.familiar_name(),
            access,
            auth: auth.clone(),
            authorization: tokio::sync::Mutex::new(None),
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.base, self.repository)
    }

    /// Whether the credentials are good, as `docker login` asks.
    pub(crate) async fn check_login(&self) -> Result<()> {
        let url = format!("{}/v2/", self.base);
        let response = self
            .send(Method::GET, &url, &HeaderMap::new(), None)
            .await?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(Error::unauthorized(format!(
                "login attempt to {url} failed with status: {status}"
            ))),
        }
    }

    /// The manifest or index of a tag or digest.
    pub(crate) async fn manifest(&self, tag_or_digest: &str) -> Result<Fetched> {
        let mut headers = HeaderMap::new();
        let accepted = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX].join(", ");
        headers.insert(ACCEPT, header_value(&accepted)?);
        let url = self.url(&format!("manifests/{tag_or_digest}"));
        let response = self.send(Method::GET, &url, &headers, None).await?;
        let response = self.expect_success(response, tag_or_digest).await?;
        let media_type = text_header(response.headers(), &CONTENT_TYPE);
        let announced = text_header(response.headers(), &DOCKER_CONTENT_DIGEST);
        let bytes = read_bounded(response, DOCUMENT_MAX_BYTES)
            .await
            .map_err(|error| error.context(format!("manifest of {}", self.familiar)))?;
        let digest = Digest::of(&bytes);
        let wanted = Digest::parse(tag_or_digest).ok();
        for claimed in [
            wanted.as_ref().map(Digest::to_string),
            (!announced.is_empty()).then_some(announced),
        ]
        .into_iter()
        .flatten()
        {
            if claimed != digest.as_str() {
                return Err(Error::system(format!(
                    "manifest verification failed for digest {claimed}: its content has the digest {digest}"
                )));
            }
        }
        let essence = media_type.split(';').next().unwrap_or("").trim().to_owned();
        let document = Document::parse(&bytes, &essence)
            .map_err(|error| Error::system(format!("{}: {error}", self.familiar)))?;
        Ok(Fetched {
            bytes,
            digest,
            media_type: essence,
            document,
        })
    }

    /// A blob from `offset` on. 200 means that the registry sent it from the start anyway.
    pub(crate) async fn blob(&self, digest: &Digest, offset: u64) -> Result<Response> {
        let mut headers = HeaderMap::new();
        if offset > 0 {
            headers.insert(
                http::header::RANGE,
                header_value(&format!("bytes={offset}-"))?,
            );
        }
        let url = self.url(&format!("blobs/{digest}"));
        let response = self.send(Method::GET, &url, &headers, None).await?;
        self.expect_success(response, digest.as_str()).await
    }

    /// The size of a blob the registry has.
    pub(crate) async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let url = self.url(&format!("blobs/{digest}"));
        let response = self
            .send(Method::HEAD, &url, &HeaderMap::new(), None)
            .await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let length = text_header(response.headers(), &http::header::CONTENT_LENGTH);
                Ok(Some(length.parse().unwrap_or(0)))
            }
            _ => Err(self.failure(response, digest.as_str()).await),
        }
    }

    /// Makes a blob of another repository of the same registry one of this; false when it will not.
    pub(crate) async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool> {
        let url = self.url(&format!("blobs/uploads/?mount={digest}&from={from}"));
        let response = self
            .send(Method::POST, &url, &HeaderMap::new(), None)
            .await?;
        Ok(response.status() == StatusCode::CREATED)
    }

    /// Uploads a blob whose digest and size are known. `body` is called for each try.
    pub(crate) async fn upload_blob(
        &self,
        digest: &Digest,
        size: u64,
        body: &(dyn Fn() -> Result<reqwest::Body> + Sync),
    ) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        for left in (0..TRIES).rev() {
            match self.upload_once(digest, size, body()?).await {
                Err(error) if left > 0 && error.kind == ErrorKind::System => {
                    tracing::debug!(%error, "upload again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                other => return other,
            }
        }
        Err(Error::system("the upload failed"))
    }

    async fn upload_once(&self, digest: &Digest, size: u64, body: reqwest::Body) -> Result<()> {
        let url = self.url("blobs/uploads/");
        let response = self
            .send(Method::POST, &url, &HeaderMap::new(), None)
            .await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.failure(response, digest.as_str()).await);
        }
        let location = self.location(&response)?;
        let separator = if location.contains('?') { '&' } else { '?' };
        let target = format!("{location}{separator}digest={digest}");
        let mut request = self
            .http
            .put(target)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(http::header::CONTENT_LENGTH, size)
            .body(body);
        if let Some(authorization) = self.authorization.lock().await.clone() {
            request = request.header(AUTHORIZATION, authorization);
        }
        let response = request
            .send()
            .await
            .map_err(|error| Error::system(chain(&error)))?;
        match response.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(self.failure(response, digest.as_str()).await),
        }
    }

    /// An upload goes on at the registry itself, wherever it says.
    fn location(&self, response: &Response) -> Result<String> {
        let location = text_header(response.headers(), &LOCATION);
        let absolute = match location.starts_with('/') {
            true => format!("{}{location}", self.base),
            false => location,
        };
        let origin = |url: &str| url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        if origin(&absolute) != origin(&self.base) {
            return Err(Error::system(format!(
                "{} sends an upload to another server, which is not allowed: {absolute}",
                self.base
            )));
        }
        Ok(absolute)
    }

    pub(crate) async fn put_manifest(
        &self,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, header_value(media_type)?);
        let url = self.url(&format!("manifests/{tag}"));
        let response = self.send(Method::PUT, &url, &headers, Some(bytes)).await?;
        self.expect_success(response, tag).await.map(drop)
    }

    async fn expect_success(&self, response: Response, what: &str) -> Result<Response> {
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.failure(response, what).await),
        }
    }

    /// The error a response stands for, in docker's words.
    async fn failure(&self, response: Response, what: &str) -> Error {
        let status = response.status();
        let body = read_bounded(response, ERROR_MAX_BYTES)
            .await
            .unwrap_or_default();
        let said = match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => body
                .errors
                .iter()
                .map(|item| format!("{}: {}", item.code.to_ascii_lowercase(), item.message))
                .collect::<Vec<_>>()
                .join(", "),
            Err(_) => String::new(),
        };
        let said = match said.is_empty() {
            true => format!("{} answered {status}", self.base),
            false => said,
        };
        match status {
            StatusCode::NOT_FOUND if what.starts_with("sha256:") => {
                Error::not_found(format!("{}@{what} not found: {said}", self.familiar))
            }
            StatusCode::NOT_FOUND => Error::not_found(format!(
                "manifest for {}:{what} not found: {said}",
                self.familiar
            )),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.access == Access::Pull => {
                Error::not_found(format!(
                    "pull access denied for {}, repository does not exist or may require 'docker login': {said}",
                    self.familiar
                ))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::unauthorized(said),
            StatusCode::TOO_MANY_REQUESTS => Error::system(format!("toomanyrequests: {said}")),
            _ => Error::system(said),
        }
    }

    /// Sends a request, once more with credentials when they are asked for, and again when the server or the
    /// network is at fault.
    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Result<Response> {
        let mut pause = FIRST_PAUSE;
        let mut challenged = false;
        let mut tries = TRIES;
        loop {
            let mut request = self
                .http
                .request(method.clone(), url)
                .headers(headers.clone());
            if let Some(body) = body {
                request = request.body(body.to_vec());
            } else if matches!(method, Method::POST) {
                request = request.header(http::header::CONTENT_LENGTH, 0);
            }
            if let Some(authorization) = self.authorization.lock().await.clone() {
                request = request.header(AUTHORIZATION, authorization);
            }
            tries -= 1;
            let wait = match request.send().await {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED && !challenged => {
                    challenged = true;
                    let challenge = text_header(response.headers(), &WWW_AUTHENTICATE);
                    let Some(authorization) = self.answer(&challenge).await? else {
                        return Ok(response);
                    };
                    *self.authorization.lock().await = Some(authorization);
                    tries += 1;
                    continue;
                }
                Ok(response) if tries > 0 && is_passing(response.status()) => {
                    let asked = text_header(response.headers(), &RETRY_AFTER);
                    asked.parse().map_or(pause, Duration::from_secs)
                }
                Ok(response) => return Ok(response),
                Err(error) if tries > 0 && !error.is_redirect() && !error.is_builder() => {
                    tracing::debug!(url, error = %chain(&error), "request again");
                    pause
                }
                Err(error) => {
                    return Err(Error::system(format!("{method} {url}: {}", chain(&error))));
                }
            };
            tokio::time::sleep(wait.min(PAUSE_MAX)).await;
            pause *= 2;
        }
    }

    /// The authorization a challenge asks for; none when there is nothing to answer with.
    async fn answer(&self, challenge: &str) -> Result<Option<String>> {
        let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Ok(self.basic());
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        if !self.auth.registrytoken.is_empty() {
            return Ok(Some(format!("Bearer {}", self.auth.registrytoken)));
        }
        let parameters = challenge_parameters(rest);
        let get = |name: &str| {
            parameters
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let realm = get("realm").unwrap_or("");
        self.check_realm(realm)?;
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", self.repository);
        let mut url = reqwest::Url::parse(realm).map_err(|_| {
            Error::system(format!(
                "{}: the token server {realm:?} is no URL",
                self.base
            ))
        })?;
        let service = get("service").unwrap_or("").to_owned();
        let request = if self.auth.identitytoken.is_empty() {
            {
                let mut query = url.query_pairs_mut();
                if !service.is_empty() {
                    query.append_pair("service", &service);
                }
                query.append_pair("scope", &scope);
            }
            match self.basic() {
                Some(basic) => self.http.get(url).header(AUTHORIZATION, basic),
                None => self.http.get(url),
            }
        } else {
            let mut form =
                reqwest::Url::parse("http://form").map_err(|_| Error::system("no form"))?;
            form.query_pairs_mut()
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", &service)
                .append_pair("scope", &scope)
                .append_pair("client_id", "hoist")
                .append_pair("refresh_token", &self.auth.identitytoken);
            self.http
                .post(url)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.query().unwrap_or("").to_owned())
        };
        let response = request.send().await.map_err(|error| {
            Error::system(format!("ask {realm} for a token: {}", chain(&error)))
        })?;
        if !response.status().is_success() {
            return Err(self.failure(response, "token").await);
        }
        let body = read_bounded(response, TOKEN_MAX_BYTES).await?;
        let body: TokenBody = serde_json::from_slice(&body).map_err(|error| {
            Error::system(format!("the token of {realm} is not valid: {error}"))
        })?;
        let token = if body.token.is_empty() {
            body.access_token
        } else {
            body.token
        };
        Ok((!token.is_empty()).then(|| format!("Bearer {token}")))
    }

    /// A registry cannot make us send the password in plain text, or to a plain server elsewhere.
    fn check_realm(&self, realm: &str) -> Result<()> {
        let host = realm.split('/').nth(2).unwrap_or("");
        let good = realm.starts_with("https://")
            || (realm.starts_with("http://")
                && self.base.starts_with("http://")
                && is_loopback(host));
        match good {
            true => Ok(()),
            false => Err(Error::system(format!(
                "{}: the token server {realm:?} is not reached over https: no credentials are sent to it",
                self.base
            ))),
        }
    }

    fn basic(&self) -> Option<String> {
        use base64::Engine as _;
        if self.auth.username.is_empty() {
            return (!self.auth.auth.is_empty()).then(|| format!("Basic {}", self.auth.auth));
        }
        let pair = format!("{}:{}", self.auth.username, self.auth.password);
        Some(format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(pair)
        ))
    }
}

const DOCKER_CONTENT_DIGEST: http::header::HeaderName =
    http::header::HeaderName::from_static("docker-content-digest");

async fn speaks_plain_http(http: &Client, domain: &str) -> bool {
    let probe = http.get(format!("http://{domain}/v2/")).send().await;
    match probe {
        // A TLS server answers a plain request with 400.
        Ok(response) => response.status() != StatusCode::BAD_REQUEST,
        Err(error) => error.is_connect() || error.is_timeout(),
    }
}

/// Statuses that may be better the next time.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

fn header_value(text: &str) -> Result<http::HeaderValue> {
    http::HeaderValue::from_str(text)
        .map_err(|_| Error::invalid(format!("{text:?} is no header value")))
}

fn text_header(headers: &HeaderMap, name: &http::header::HeaderName) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
        .to_owned()
}

/// `realm="https://…",service="…"`
fn challenge_parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text.trim();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.push((key.trim().to_ascii_lowercase(), value.to_owned()));
        rest = next.trim_start_matches([',', ' ']);
    }
    parameters
}

async fn read_bounded(mut response: Response, max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let chunk = response
            .chunk()
            .await
            .map_err(|error| Error::system(chain(&error)))?;
        let Some(chunk) = chunk else {
            return Ok(bytes);
        };
        if bytes.len() as u64 + chunk.len() as u64 > max {
            return Err(Error::system(format!(
                "the answer is larger than {max} bytes"
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// The next piece of a download, or why there is none.
pub(crate) async fn next_chunk(response: &mut Response) -> Result<Option<bytes::Bytes>> {
    response
        .chunk()
        .await
        .map_err(|error| Error::system(chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let parameters =
            challenge_parameters(r#"realm="https://auth.x/token",service="x, y",scope=a"#);
        assert_eq!(
            parameters,
            [
                ("realm".to_owned(), "https://auth.x/token".to_owned()),
                ("service".to_owned(), "x, y".to_owned()),
                ("scope".to_owned(), "a".to_owned())
            ]
        );
    }

    #[test]
    fn only_loopback_is_plain() {
        for host in ["localhost:5000", "127.0.0.1", "127.1.2.3:1", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.evil.org",
            "10.0.0.1:5000",
            "docker.io",
            "[::2]:1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
