//! Connects the user's terminal to a process in a container: bytes both ways, raw mode, resizes, signals.

use std::future::Future;
use std::io::Read as _;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc;

use crate::cli::error::CliError;
use crate::cli::signals::listen;
use crate::client::streams::{Attached, StdStream};
use crate::ui::{output, terminal};

const CHANNEL_PIECES: usize = 16;
const PIECE_BYTES: usize = 32 * 1024;

/// How to connect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) tty: bool,
    /// Send what is typed or piped.
    pub(crate) stdin: bool,
}

/// Why the connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The process's output is over.
    Output,
    /// The user typed the keys that detach; the process runs on.
    Detached,
}

/// Ctrl-P Ctrl-Q.
const DETACH_KEYS: [u8; 2] = [0x10, 0x11];

/// Pumps until the process's output ends. `resize` is told the terminal's size at first and at each change.
///
/// # Errors
/// The terminal cannot be switched, or the connection breaks.
pub(crate) async fn connect<F>(
    attached: Attached,
    connection: Connection,
    resize: impl Fn(u16, u16) -> F,
) -> Result<Ended, CliError>
where
    F: Future<Output = ()>,
{
    let mut mode = None;
    if connection.tty && connection.stdin && terminal::stdin_is_terminal() {
        mode = Some(terminal::raw().map_err(|error| CliError::new(format!("terminal: {error}")))?);
    }
    let mut resizes = listen(SignalKind::window_change())?;
    if connection.tty
        && let Some((rows, columns)) = terminal::size()
    {
        resize(rows, columns).await;
    }
    let Attached { mut output, input } = attached;
    let mut typed = connection.stdin.then(read_stdin);
    // Without stdin it is kept, unused: closing it would end the connection's other half on some engines.
    let mut input = Some(input);
    let mut last_keys = [0; 2];
    let result = loop {
        tokio::select! {
            chunk = output.next() => match chunk {
                Some(Ok(chunk)) => match chunk.stream {
                    StdStream::Stdout => output::write(&chunk.bytes),
                    StdStream::Stderr => output::write_error(&chunk.bytes),
                },
                Some(Err(error)) => break Err(CliError::new(error)),
                None if connection.tty && last_keys == DETACH_KEYS => break Ok(Ended::Detached),
                None => break Ok(Ended::Output),
            },
            piece = next_piece(&mut typed) => {
                for &key in piece.iter().flatten() {
                    last_keys = [last_keys[1], key];
                }
                if let Some(writer) = input.as_mut() {
                    let sent = match &piece {
                        Some(bytes) => match writer.write_all(bytes).await {
                            Ok(()) => writer.flush().await,
                            Err(error) => Err(error),
                        },
                        None => writer.shutdown().await,
                    };
                    // The process may have closed its input; its output still counts.
                    if sent.is_err() || piece.is_none() {
                        typed = None;
                    }
                }
            },
            _ = resizes.recv() => {
                if connection.tty && let Some((rows, columns)) = terminal::size() {
                    resize(rows, columns).await;
                }
            },
        }
    };
    drop(mode);
    result
}

/// Never ready once there is nothing to read from.
async fn next_piece(typed: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match typed {
        Some(pieces) => pieces.recv().await,
        None => std::future::pending().await,
    }
}

/// Reads stdin on a thread of its own: a read cannot be taken back, and must not hold the process.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (piece_tx, piece_rx) = mpsc::channel(CHANNEL_PIECES);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match std::io::stdin().lock().read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    if piece_tx.blocking_send(buffer[..read].to_vec()).is_err() {
                        break;
                    }
                }
            }
        }
    });
    piece_rx
}
