//! Sessions of BuildKit clients: connections on which the engine calls the client, for the files of a context, for
//! secrets. A session is known by the id its client chose and lives as long as its connection.

use std::collections::HashMap;
use std::sync::Mutex;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};

use crate::engine::api::grpc::proto::{Message, Writer};
use crate::engine::api::grpc::wire::{self, Messages, framed};
use crate::engine::base::sync::lock;
use crate::engine::base::{Error, ErrorKind, Result};

const WAIT: std::time::Duration = std::time::Duration::from_secs(10);
const QUEUED_FRAMES: usize = 64;

/// A client that can be called.
#[derive(Clone)]
pub(crate) struct Session {
    sender: SendRequest<Body>,
}

/// All open sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Session>>,
    changed: Notify,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    /// Serves a session's connection until it ends.
    pub(crate) async fn serve(
        &self,
        id: String,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) {
        let connected = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await;
        let (sender, connection) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                tracing::debug!(%error, "a build session did not begin");
                return;
            }
        };
        lock(&self.open).insert(id.clone(), Session { sender });
        self.changed.notify_waiters();
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a build session ended");
        }
        lock(&self.open).remove(&id);
    }

    /// The session of an id; it may be a moment late.
    pub(crate) async fn get(&self, id: &str) -> Result<Session> {
        let find = async {
            loop {
                let changed = self.changed.notified();
                if let Some(session) = lock(&self.open).get(id) {
                    return session.clone();
                }
                changed.await;
            }
        };
        tokio::time::timeout(WAIT, find).await.map_err(|_| {
            Error::not_found(format!(
                "no active session for {id}: context deadline exceeded"
            ))
        })
    }
}

impl Session {
    /// Begins a call; frames go in through the sender, messages come out.
    pub(crate) async fn call(
        &self,
        path: &str,
        metadata: HeaderMap,
    ) -> Result<(mpsc::Sender<Bytes>, Messages<Incoming>)> {
        let (frames, receiver) = mpsc::channel(QUEUED_FRAMES);
        let messages = self.request(path, metadata, receiver).await?;
        Ok((frames, messages))
    }

    /// Sends the head and the frames of a call; the answer's messages come out.
    async fn request(
        &self,
        path: &str,
        metadata: HeaderMap,
        frames: mpsc::Receiver<Bytes>,
    ) -> Result<Messages<Incoming>> {
        let mut request = Request::post(format!("http://session{path}"))
            .body(wire::body_of(frames))
            .map_err(|error| Error::system(error.to_string()))?;
        *request.headers_mut() = metadata;
        let headers = request.headers_mut();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
        let mut sender = self.sender.clone();
        let gone = |error: hyper::Error| Error::system(format!("call the build's client: {error}"));
        sender.ready().await.map_err(gone)?;
        let response = sender.send_request(request).await.map_err(gone)?;
        wire::check_status(response.headers())?;
        Ok(Messages::new(response.into_body()))
    }

    async fn unary(&self, path: &str, message: &[u8]) -> Result<Bytes> {
        // The body has to be there before the answer is waited for.
        let (frames, receiver) = mpsc::channel(1);
        let _ = frames.send(framed(message)).await;
        drop(frames);
        let mut messages = self.request(path, HeaderMap::new(), receiver).await?;
        let first = messages.next().await?.unwrap_or_default();
        // The status comes after the message.
        while messages.next().await?.is_some() {}
        Ok(first)
    }

    /// A secret the client has; `None` when it has none of that id.
    pub(crate) async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>> {
        let request = Writer::new().text(1, id).done();
        match self
            .unary("/moby.buildkit.secrets.v1.Secrets/GetSecret", &request)
            .await
        {
            Ok(answer) => Ok(Some(
                Message::parse(&answer)?
                    .bytes(1)
                    .unwrap_or_default()
                    .to_vec(),
            )),
            Err(error)
                if error.kind == ErrorKind::NotFound || error.message.contains("not found") =>
            {
                Ok(None)
            }
            Err(error) if error.message.contains("unknown service") => Ok(None),
            Err(error) => Err(error),
        }
    }
}
