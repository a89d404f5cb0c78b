//! The streams of an attached client, on the engine's side: frames of output to read, stdin to write and end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::Stream;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::shim::protocol::{OUTPUT_HEADER_BYTES, OUTPUT_MAX_BYTES};

/// Which of a process's outputs. A tty has one only, which counts as stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StdStream {
    Stdout,
    Stderr,
}

impl StdStream {
    /// Its number in Docker's stdcopy frames.
    pub(crate) fn number(self) -> u8 {
        match self {
            StdStream::Stdout => 1,
            StdStream::Stderr => 2,
        }
    }
}

/// A client's connection to a process. Dropping it detaches.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) output: Output,
    /// There when stdin was asked for.
    pub(crate) input: Option<Input>,
}

/// What the process writes, as a `Stream`. It ends when the process has, or when the shim is gone.
#[derive(Debug)]
pub(crate) struct Output {
    reader: OwnedReadHalf,
    buffer: BytesMut,
}

impl Output {
    pub(crate) fn new(reader: OwnedReadHalf, already_read: Vec<u8>) -> Self {
        Output {
            reader,
            buffer: BytesMut::from(already_read.as_slice()),
        }
    }

    /// The next piece, `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(StdStream, Bytes)> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn take_frame(&mut self) -> Option<(StdStream, Bytes)> {
        let header = self.buffer.first_chunk::<OUTPUT_HEADER_BYTES>()?;
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let stream = match header[0] {
            2 => StdStream::Stderr,
            _ => StdStream::Stdout,
        };
        if self.buffer.len() < OUTPUT_HEADER_BYTES + length {
            return None;
        }
        self.buffer.advance(OUTPUT_HEADER_BYTES);
        Some((stream, self.buffer.split_to(length).freeze()))
    }
}

impl Stream for Output {
    type Item = (StdStream, Bytes);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Poll::Ready(Some(frame));
            }
            let mut chunk = [0; 8 << 10];
            let mut chunk = ReadBuf::new(&mut chunk);
            let read = ready!(Pin::new(&mut self.reader).poll_read(context, &mut chunk));
            if read.is_err() || chunk.filled().is_empty() {
                return Poll::Ready(None);
            }
            self.buffer
                .reserve(chunk.filled().len().min(OUTPUT_MAX_BYTES));
            self.buffer.extend_from_slice(chunk.filled());
        }
    }
}

/// The process's stdin.
#[derive(Debug)]
pub(crate) struct Input {
    writer: OwnedWriteHalf,
}

impl Input {
    pub(crate) fn new(writer: OwnedWriteHalf) -> Self {
        Input { writer }
    }

    /// Returns when the shim has taken it; a process that does not read holds it back.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await
    }

    /// No more will come; output goes on.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.writer.shutdown().await
    }
}
