//! Long calls as JSON lines: what fails before the first message is an HTTP error, what fails later is the last
//! line. A client that goes away cancels the call. It knows no call.

use std::future::Future;
use std::io::{self, Write};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::api::respond::{self, ApiError, ApiResult};
use crate::engine::base::{Error, Result};
use crate::engine::images::{ProgressMessage, ProgressSender};

/// Messages on the way to a slow client; then the call waits.
const QUEUED_MESSAGES: usize = 64;
/// Pieces of a download on the way to a slow client.
const QUEUED_PIECES: usize = 16;

#[derive(Serialize)]
struct Failure<'a> {
    #[serde(rename = "errorDetail")]
    detail: FailureDetail<'a>,
    error: &'a str,
}

#[derive(Serialize)]
struct FailureDetail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    message: &'a str,
}

/// The last line of a stream that failed.
pub(crate) fn failure_line(error: &Error, code: Option<i32>) -> Bytes {
    respond::json_line(&Failure {
        detail: FailureDetail {
            code,
            message: &error.message,
        },
        error: &error.message,
    })
}

/// Runs `call` and streams what it reports; `code` finds the exit code an error stands for.
pub(crate) async fn stream_progress<F>(
    call: impl FnOnce(ProgressSender, CancellationToken) -> F,
    code: fn(&Error) -> Option<i32>,
) -> ApiResult
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, mut messages) = mpsc::channel::<ProgressMessage>(QUEUED_MESSAGES);
    let cancel = CancellationToken::new();
    let guard = cancel.clone().drop_guard();
    let task = tokio::spawn(call(sender, cancel));
    let Some(first) = messages.recv().await else {
        join(task).await.map_err(ApiError)?;
        return Ok(respond::stream("application/json", stream::empty()));
    };
    let lines = stream::once(async { first })
        .chain(stream::unfold(messages, |mut messages| async {
            messages.recv().await.map(|message| (message, messages))
        }))
        .map(|message| respond::json_line(&message));
    let end = stream::once(async move {
        match join(task).await {
            Ok(()) => Bytes::new(),
            Err(error) => failure_line(&error, code(&error)),
        }
    });
    let body = lines.chain(end).map(move |bytes| {
        // Dropped with the body: a client that leaves cancels the call.
        let _ = &guard;
        Ok(bytes)
    });
    Ok(respond::stream("application/json", body))
}

pub(crate) fn no_code(_: &Error) -> Option<i32> {
    None
}

async fn join(task: tokio::task::JoinHandle<Result<()>>) -> Result<()> {
    match task.await {
        Ok(result) => result,
        Err(error) => Err(Error::system(format!("the call was interrupted: {error}"))),
    }
}

/// Runs blocking work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::system(format!("the call was interrupted: {error}"))),
    }
}

/// A writer for blocking code whose bytes are an HTTP body.
pub(crate) struct BodyWriter {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

const PIECE_BYTES: usize = 64 << 10;

impl BodyWriter {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        self.pieces
            .blocking_send(Ok(piece.into()))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > PIECE_BYTES {
            self.send()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// What `write` writes, as a stream; an error cuts the stream, so that the client sees it is not whole.
pub(crate) fn stream_writer(
    write: impl FnOnce(&mut BodyWriter) -> Result<()> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (pieces, received) = mpsc::channel(QUEUED_PIECES);
    tokio::task::spawn_blocking(move || {
        let mut writer = BodyWriter {
            pieces: pieces.clone(),
            buffer: Vec::with_capacity(PIECE_BYTES),
        };
        let result = write(&mut writer).and_then(|()| Ok(writer.flush()?));
        if let Err(error) = result {
            tracing::debug!(%error, "a download ended early");
            // The client may be the reason.
            let _ = pieces.blocking_send(Err(io::Error::other(error.message)));
        }
    });
    stream::unfold(received, |mut received| async {
        received.recv().await.map(|piece| (piece, received))
    })
}
