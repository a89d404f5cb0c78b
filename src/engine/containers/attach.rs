//! Copying between a client and a container's streams, for attach and exec: frames or raw bytes out, stdin
//! in, and the keys that detach.

use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::engine::base::{Error, Result};
use crate::shim::client::{Attached, Input};

pub(crate) use crate::shim::client::AttachOptions;

/// The client's side.
pub(crate) type ClientInput = Pin<Box<dyn AsyncRead + Send>>;
pub(crate) type ClientOutput = Pin<Box<dyn AsyncWrite + Send>>;

/// How the copying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyEnd {
    /// The process has no more output.
    Finished,
    /// The client typed the keys.
    Detached,
    /// The client has gone.
    ClientGone,
}

/// Copies until the output ends or the client detaches or goes. `framed` wraps output in stdcopy frames.
pub(crate) async fn copy(
    attached: Attached,
    input: ClientInput,
    output: &mut ClientOutput,
    framed: bool,
    keys: Option<DetachKeys>,
) -> CopyEnd {
    let Attached {
        output: mut from_container,
        input: to_container,
    } = attached;
    let stdin = copy_stdin(input, to_container, keys);
    tokio::pin!(stdin);
    let mut stdin_open = true;
    loop {
        tokio::select! {
            biased;
            piece = from_container.next() => {
                let Some((stream, bytes)) = piece else { return CopyEnd::Finished };
                if !send(output, stream.number(), &bytes, framed).await {
                    return CopyEnd::ClientGone;
                }
            }
            end = &mut stdin, if stdin_open => {
                stdin_open = false;
                match end {
                    StdinEnd::Detached => return CopyEnd::Detached,
                    StdinEnd::Broken => return CopyEnd::ClientGone,
                    StdinEnd::Closed => {}
                }
            }
        }
    }
}

async fn send(output: &mut ClientOutput, stream: u8, bytes: &Bytes, framed: bool) -> bool {
    if framed {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut frame = Vec::with_capacity(8 + bytes.len());
        frame.extend_from_slice(&[stream, 0, 0, 0]);
        frame.extend_from_slice(&length);
        frame.extend_from_slice(bytes);
        return output.write_all(&frame).await.is_ok() && output.flush().await.is_ok();
    }
    output.write_all(bytes).await.is_ok() && output.flush().await.is_ok()
}

enum StdinEnd {
    /// The client's half-close: it still reads.
    Closed,
    Detached,
    Broken,
}

async fn copy_stdin(
    mut input: ClientInput,
    mut to_container: Option<Input>,
    keys: Option<DetachKeys>,
) -> StdinEnd {
    let mut detector = keys.map(DetachDetector::new);
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = match input.read(&mut buffer).await {
            Ok(0) => {
                if let Some(input) = to_container.take()
                    && let Err(error) = input.close().await
                {
                    tracing::debug!(%error, "close a container's stdin");
                }
                return StdinEnd::Closed;
            }
            Ok(count) => count,
            Err(_) => return StdinEnd::Broken,
        };
        let bytes = &buffer[..count];
        let (pass, detached) = match &mut detector {
            Some(detector) => detector.take(bytes),
            None => (bytes.to_vec(), false),
        };
        if let Some(container) = &mut to_container
            && !pass.is_empty()
            && container.write_all(&pass).await.is_err()
        {
            // The process closed its stdin or ended; the client's further input goes nowhere.
            to_container = None;
        }
        if detached {
            return StdinEnd::Detached;
        }
    }
}

/// A sequence of keys, one byte each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

impl DetachKeys {
    /// `ctrl-p,ctrl-q`, single characters, or empty for the default.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(DetachKeys(vec![16, 17]));
        }
        let key = |name: &str| -> Option<u8> {
            if let Some(letter) = name.strip_prefix("ctrl-") {
                return match letter.as_bytes() {
                    [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
                    [b'@'] => Some(0),
                    [b'['] => Some(27),
                    [b'\\'] => Some(28),
                    [b']'] => Some(29),
                    [b'^'] => Some(30),
                    [b'_'] => Some(31),
                    _ => None,
                };
            }
            match name.as_bytes() {
                [one] => Some(*one),
                _ if name == "DEL" => Some(127),
                _ => None,
            }
        };
        text.split(',')
            .map(|name| {
                key(name).ok_or_else(|| {
                    Error::invalid(format!(
                        "Invalid detach keys ({text}) provided: unknown character: '{name}'"
                    ))
                })
            })
            .collect::<Result<Vec<u8>>>()
            .map(DetachKeys)
    }
}

/// Finds the sequence in a stream that may be cut anywhere.
struct DetachDetector {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachDetector {
    fn new(keys: DetachKeys) -> Self {
        DetachDetector {
            keys: keys.0,
            matched: 0,
        }
    }

    /// What goes on to the process, and whether the sequence is complete.
    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut pass = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (pass, true);
                }
                continue;
            }
            pass.extend_from_slice(&self.keys[..self.matched]);
            self.matched = 0;
            if byte == self.keys[0] {
                self.matched = 1;
                if self.keys.len() == 1 {
                    return (pass, true);
                }
            } else {
                pass.push(byte);
            }
        }
        (pass, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_found_across_pieces_and_never_swallowed() {
        let mut detector = DetachDetector::new(DetachKeys::parse("").unwrap());
        assert_eq!(detector.take(&[b'a', 16]), (vec![b'a'], false));
        assert_eq!(detector.take(b"b"), (vec![16, b'b'], false));
        assert_eq!(detector.take(&[16, 16]), (vec![16], false));
        assert_eq!(detector.take(&[17, b'x']), (vec![], true));
    }

    #[test]
    fn keys_are_read() {
        assert_eq!(
            DetachKeys::parse("ctrl-a,a").unwrap(),
            DetachKeys(vec![1, b'a'])
        );
        assert!(DetachKeys::parse("ctrl-aa").is_err());
        assert!(DetachKeys::parse("ab").is_err());
    }
}
