//! Files in and out of containers, as tar archives. What goes into an archive is the caller's business.

use std::io::{self, Write};
use std::pin::Pin;

use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{Client, ClientError};

/// A tar archive, piece by piece.
pub(crate) type TarStream = Pin<Box<dyn Stream<Item = Result<Bytes, std::io::Error>> + Send>>;

/// Pieces on their way to the engine.
const CHANNEL_PIECES: usize = 16;
const PIECE_BYTES: usize = 64 * 1024;

/// Streams the archive that `write` writes, on a thread where it may block.
pub(crate) fn stream_archive(
    write: impl FnOnce(&mut Pieces) -> io::Result<()> + Send + 'static,
) -> TarStream {
    let (piece_tx, piece_rx) = mpsc::channel(CHANNEL_PIECES);
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces {
            piece_tx: piece_tx.clone(),
            buffer: Vec::with_capacity(PIECE_BYTES),
        };
        let written = write(&mut pieces).and_then(|()| pieces.flush());
        if let Err(error) = written {
            // The receiver is gone when the request failed already.
            let _ = piece_tx.blocking_send(Err(error));
        }
    });
    Box::pin(ReceiverStream::new(piece_rx))
}

/// Hands what is written over in pieces; blocks when the engine reads slowly.
pub(crate) struct Pieces {
    piece_tx: mpsc::Sender<Result<Bytes, io::Error>>,
    buffer: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        self.piece_tx
            .blocking_send(Ok(Bytes::from(piece)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// What stands at a path in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathStat {
    pub(crate) name: String,
    pub(crate) size: i64,
    pub(crate) is_dir: bool,
    pub(crate) is_symlink: bool,
    /// Where a symbolic link leads, absolute in the container.
    pub(crate) link_target: String,
}

/// Go's mode bits, as the header has them.
const GO_MODE_DIR: u32 = 1 << 31;
const GO_MODE_SYMLINK: u32 = 1 << 27;

impl Client {
    /// Extracts an archive into a folder of a container.
    pub(crate) async fn put_archive(
        &self,
        id: &str,
        folder: &str,
        keep_owners: bool,
        archive: TarStream,
    ) -> Result<(), ClientError> {
        let mut query = UploadToContainerOptionsBuilder::new().path(folder);
        if keep_owners {
            query = query.copy_uidgid("true");
        }
        self.docker()
            .upload_to_container(id, Some(query.build()), bollard::body_try_stream(archive))
            .await?;
        Ok(())
    }

    /// The same for an archive that is in memory already.
    pub(crate) async fn put_archive_bytes(
        &self,
        id: &str,
        folder: &str,
        keep_owners: bool,
        archive: Bytes,
    ) -> Result<(), ClientError> {
        let mut query = UploadToContainerOptionsBuilder::new().path(folder);
        if keep_owners {
            query = query.copy_uidgid("true");
        }
        self.docker()
            .upload_to_container(id, Some(query.build()), bollard::body_full(archive))
            .await?;
        Ok(())
    }

    /// A path of a container as an archive; its top entry has the path's last name.
    pub(crate) fn get_archive(
        &self,
        id: &str,
        path: &str,
    ) -> Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send>> {
        let query = DownloadFromContainerOptionsBuilder::new()
            .path(path)
            .build();
        Box::pin(
            self.docker()
                .download_from_container(id, Some(query))
                .map_err(ClientError::from),
        )
    }

    /// What stands at `path`, or `None` when nothing does.
    pub(crate) async fn stat_path(
        &self,
        id: &str,
        path: &str,
    ) -> Result<Option<PathStat>, ClientError> {
        let query = ContainerArchiveInfoOptionsBuilder::new().path(path).build();
        match self
            .docker()
            .get_container_archive_info(id, Some(query))
            .await
        {
            Ok(answer) => Ok(Some(PathStat {
                name: answer.name,
                size: answer.size,
                is_dir: answer.file_mode & GO_MODE_DIR != 0,
                is_symlink: answer.file_mode & GO_MODE_SYMLINK != 0,
                link_target: answer.link_target,
            })),
            Err(error) => {
                let error = ClientError::from(error);
                if error.is_not_found() {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// The whole filesystem of a container as an archive.
    pub(crate) fn export_container(
        &self,
        id: &str,
    ) -> Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send + '_>> {
        Box::pin(
            self.docker()
                .export_container(id)
                .map_err(ClientError::from),
        )
    }
}
