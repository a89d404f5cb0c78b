//! The messages between the engine and a shim, both ways. A control connection carries frames of JSON with a length
//! in front; an attach or exec connection starts with one frame each way and is raw from then on: what the client
//! sends is stdin (a half-close ends it), what it receives are Docker's stdcopy frames. No I/O happens here.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use crate::runtime::start_error::{StartError, StartErrorKind};

use crate::oci::runtime_spec::{ConsoleSize, ContainerSpec, ProcessSpec, Resources};

/// Largest frame that either side accepts.
pub(crate) const FRAME_MAX_BYTES: usize = 16 << 20;
/// Largest payload of one output frame.
pub(crate) const OUTPUT_MAX_BYTES: usize = 64 << 10;
/// `[stream, 0, 0, 0, length as four bytes big endian]`, as Docker's stdcopy.
pub(crate) const OUTPUT_HEADER_BYTES: usize = 8;

/// Names of the files in a shim's state directory.
pub(crate) const SOCKET_FILE: &str = "shim.sock";
pub(crate) const RECORD_FILE: &str = "shim.json";
pub(crate) const EXIT_FILE: &str = "exit.json";

/// First frame of a connection, and each later one on a control connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    /// Comes back in the reply.
    pub(crate) id: u64,
    pub(crate) request: Request,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Only on the connection that the shim was born with, and first.
    Create(Box<CreateRequest>),
    /// Makes a later connection a control connection: it gets the state now, and events.
    Subscribe,
    Start,
    Signal {
        signal: i32,
        target: Target,
    },
    Resize {
        target: Target,
        size: ConsoleSize,
    },
    /// Turns the connection into a raw one.
    Attach(AttachRequest),
    /// Turns the connection into a raw one for the new process.
    Exec(Box<ExecRequest>),
    /// New limits; joins controllers that the container did not need before.
    Update(Box<Resources>),
    /// The engine has recorded the exit: clean up and end.
    Release,
}

/// Which process of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    Main,
    /// Every process of the container.
    All,
    Exec(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreateRequest {
    pub(crate) state_dir: PathBuf,
    pub(crate) spec: ContainerSpec,
    pub(crate) log: Option<LogOptions>,
    pub(crate) open_stdin: bool,
    pub(crate) stdin_once: bool,
}

/// The json-file log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogOptions {
    pub(crate) path: PathBuf,
    /// Rotate before a file grows beyond this. `None`: never.
    pub(crate) max_size_bytes: Option<u64>,
    /// How many files, the current one included; at least 1.
    pub(crate) max_files: u32,
    /// Attributes added to each line (`labels`, `env` options of the driver).
    pub(crate) attrs: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttachRequest {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExecRequest {
    pub(crate) exec_id: String,
    pub(crate) process: ProcessSpec,
    pub(crate) attach: AttachRequest,
}

/// What a shim sends on a control connection.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    Reply { id: u64, reply: Reply },
    Exited(Exit),
    ExecExited { exec_id: String, code: i32 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Done,
    State(ShimState),
    Started(Started),
    StartFailed(StartError),
    Failed(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShimState {
    pub(crate) shim_pid: i32,
    pub(crate) cgroup_path: String,
    pub(crate) started: Option<Started>,
    pub(crate) exit: Option<Exit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// In the host's pid namespace.
    pub(crate) pid: i32,
    /// Nanoseconds since the epoch.
    pub(crate) started_at_ns: i64,
}

/// How a container's first process ended. Written to disk before anybody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// The exit code, or 128 and the signal.
    pub(crate) code: i32,
    pub(crate) oom_killed: bool,
    /// Nanoseconds since the epoch.
    pub(crate) exited_at_ns: i64,
}

/// On disk while a shim lives: enough to clean up after one that was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShimRecord {
    pub(crate) shim_pid: i32,
    pub(crate) shim_start_ticks: u64,
    pub(crate) cgroup_path: String,
}

/// One frame: four bytes of length, big endian, and JSON.
pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).expect("messages are plain data with string keys");
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Takes the first whole frame off `buffer`. `Ok(None)`: more bytes are needed.
pub(crate) fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> Result<Option<T>, String> {
    let Some(length) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > FRAME_MAX_BYTES {
        return Err(format!("a frame of {length} bytes is too long"));
    }
    let Some(body) = buffer.get(4..4 + length) else {
        return Ok(None);
    };
    let message = serde_json::from_slice(body).map_err(|error| format!("bad frame: {error}"));
    buffer.drain(..4 + length);
    message.map(Some)
}

/// The header of one output frame.
pub(crate) fn output_header(stream: u8, length: usize) -> [u8; OUTPUT_HEADER_BYTES] {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [stream, 0, 0, 0, length[0], length[1], length[2], length[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_one_by_one() {
        let mut buffer = encode(&Call {
            id: 7,
            request: Request::Start,
        });
        buffer.extend(encode(&Call {
            id: 8,
            request: Request::Release,
        }));
        let rest = buffer.split_off(buffer.len() - 3);
        let first: Call = decode(&mut buffer).unwrap().unwrap();
        assert_eq!(first.id, 7);
        assert!(decode::<Call>(&mut buffer).unwrap().is_none());
        buffer.extend(rest);
        let second: Call = decode(&mut buffer).unwrap().unwrap();
        assert!(matches!(second.request, Request::Release));
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_frame_too_long_or_not_json_is_refused() {
        assert!(decode::<Call>(&mut vec![0xff; 8]).is_err());
        assert!(decode::<Call>(&mut vec![0, 0, 0, 2, b'{', b'x']).is_err());
    }
}
