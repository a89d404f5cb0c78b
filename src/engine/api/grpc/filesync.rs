//! Files of a client over its session (fsutil's DiffCopy): the client walks, the engine asks for every file and hands
//! them to the writer of contexts.

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;

use crate::engine::api::grpc::proto::{Message, Writer};
use crate::engine::api::grpc::session::Session;
use crate::engine::api::grpc::wire::framed;
use crate::engine::base::{Error, Result};
use crate::engine::build::context_writer::{ContextEntry, ContextWriter, EntryKind};

const STAT: u64 = 0;
const REQUEST: u64 = 1;
const DATA: u64 = 2;
const FIN: u64 = 3;
const FAILURE: u64 = 4;
/// Modes of Go's `os.FileMode`.
const GO_DIR: u64 = 1 << 31;
const GO_SYMLINK: u64 = 1 << 27;
const GO_DEVICE: u64 = 1 << 26;
const GO_FIFO: u64 = 1 << 25;
const GO_SOCKET: u64 = 1 << 24;
const GO_SETUID: u64 = 1 << 23;
const GO_SETGID: u64 = 1 << 22;
const GO_CHAR: u64 = 1 << 21;
const GO_STICKY: u64 = 1 << 20;

/// What of a client's directory is wanted.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// `context`, `dockerfile`, or a named context.
    pub(crate) name: &'a str,
    pub(crate) follow: &'a [String],
    pub(crate) exclude: &'a [String],
}

/// Copies a directory of the client into `folder`.
pub(crate) async fn receive(session: &Session, wanted: &Wanted<'_>, folder: &Path) -> Result<()> {
    let mut metadata = HeaderMap::new();
    let mut add = |name: &'static str, value: &str| -> Result<()> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| Error::invalid(format!("{value:?} cannot be asked for")))?;
        metadata.append(HeaderName::from_static(name), value);
        Ok(())
    };
    add("dir-name", wanted.name)?;
    for path in wanted.follow {
        add("followpaths", path)?;
    }
    for pattern in wanted.exclude {
        add("exclude-patterns", pattern)?;
    }
    let (frames, mut messages) = session
        .call("/moby.filesync.v1.FileSync/DiffCopy", metadata)
        .await?;
    let (packets, received) = mpsc::channel::<bytes::Bytes>(64);
    let (answers, mut replies) = mpsc::unbounded_channel::<Vec<u8>>();
    let receiver = Receiver {
        writer: ContextWriter::new(folder)?,
        answers,
        all_known: false,
    };
    let writer = tokio::task::spawn_blocking(move || receiver.run(received));
    let sending = async {
        while let Some(reply) = replies.recv().await {
            if frames.send(framed(&reply)).await.is_err() {
                break;
            }
        }
    };
    let reading = async {
        while let Some(message) = messages.next().await? {
            if packets.send(message).await.is_err() {
                break;
            }
        }
        drop(packets);
        Ok::<(), Error>(())
    };
    let (read, ()) = tokio::join!(reading, sending);
    let written = writer
        .await
        .map_err(|error| Error::system(error.to_string()))?;
    written
        .and(read)
        .map_err(|error| error.context(format!("transfer of {}", wanted.name)))
}

struct Receiver {
    writer: ContextWriter,
    answers: mpsc::UnboundedSender<Vec<u8>>,
    all_known: bool,
}

/// Go's mode bits as the kernel's; `None` for a socket, which no context has.
fn entry_of(stat: &Message<'_>) -> Option<ContextEntry> {
    let go = stat.number(2);
    let device = (stat.number(8) as u32, stat.number(9) as u32);
    let kind = match go {
        go if go & GO_DIR != 0 => EntryKind::Directory,
        go if go & GO_SYMLINK != 0 => EntryKind::Symlink,
        go if go & GO_FIFO != 0 => EntryKind::Fifo,
        go if go & GO_SOCKET != 0 => return None,
        go if go & GO_CHAR != 0 => EntryKind::CharDevice {
            major: device.0,
            minor: device.1,
        },
        go if go & GO_DEVICE != 0 => EntryKind::BlockDevice {
            major: device.0,
            minor: device.1,
        },
        _ => EntryKind::File,
    };
    let special = [
        (GO_SETUID, 0o4000),
        (GO_SETGID, 0o2000),
        (GO_STICKY, 0o1000),
    ];
    let mode = special
        .iter()
        .filter(|(bit, _)| go & bit != 0)
        .fold((go & 0o777) as u32, |mode, (_, unix)| mode | unix);
    Some(ContextEntry {
        path: stat.bytes(1).unwrap_or_default().to_vec(),
        kind,
        link: stat.bytes(7).unwrap_or_default().to_vec(),
        mode,
        modified: stat.number(6).cast_signed(),
    })
}

impl Receiver {
    fn run(mut self, mut packets: mpsc::Receiver<bytes::Bytes>) -> Result<()> {
        let mut finished = false;
        while let Some(packet) = packets.blocking_recv() {
            let packet = Message::parse(&packet)?;
            match packet.number(1) {
                STAT => match packet.bytes(2) {
                    None | Some([]) => self.all_known = true,
                    Some(stat) => self.stat(&Message::parse(stat)?)?,
                },
                DATA => {
                    let data = packet.bytes(4).unwrap_or_default();
                    self.writer.data(packet.number(3), data)?;
                }
                FIN => break,
                FAILURE => return Err(Error::invalid(packet.text(4))),
                _ => {}
            }
            if self.all_known && self.writer.is_complete() && !finished {
                finished = true;
                self.writer.finish()?;
                self.send(Writer::new().number(1, FIN));
            }
        }
        match finished {
            true => Ok(()),
            false => Err(Error::system("the client ended the transfer early")),
        }
    }

    fn send(&self, packet: Writer) {
        // A client that is gone is found out by reading.
        let _ = self.answers.send(packet.done());
    }

    fn stat(&mut self, stat: &Message<'_>) -> Result<()> {
        let Some(entry) = entry_of(stat) else {
            self.writer.skip();
            return Ok(());
        };
        if let Some(number) = self.writer.entry(entry)? {
            self.send(Writer::new().number(1, REQUEST).number(3, number));
        }
        Ok(())
    }
}
