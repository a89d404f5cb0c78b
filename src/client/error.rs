//! What can go wrong between this process and the engine. The engine's own words are kept; a
//! kind is added so that callers need not read them.

use std::path::PathBuf;
use std::sync::OnceLock;

/// The address this process talks to: for messages only.
static ADDRESS: OnceLock<String> = OnceLock::new();

/// Remembers the address for messages. A process talks to one engine.
pub(super) fn note_address(address: String) {
    ADDRESS.get_or_init(|| address);
}

/// Why a call of the engine failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The engine answered with an error status.
    #[error("Error response from daemon: {message}")]
    Engine { status: u16, message: String },
    /// Nobody answers at the engine's address.
    #[error("Cannot connect to the engine at {address}: {reason}")]
    Unreachable { address: String, reason: String },
    /// The engine went away in the middle of a call.
    #[error(
        "the connection to the engine broke: {0} (run the command again: it goes on where it stopped)"
    )]
    Broken(String),
    /// The bundled engine could not be started.
    #[error("the bundled engine could not be started: {reason}\n(its log is {})", .log.display())]
    EngineStart { reason: String, log: PathBuf },
    /// The way the engine was chosen is wrong.
    #[error("{0}")]
    Choice(String),
    /// The engine sent something that is no answer to the question.
    #[error("unexpected answer of the engine: {0}")]
    Protocol(String),
    /// The engine cannot do it.
    #[error("{0}")]
    Unsupported(String),
    /// Something in the request cannot be expressed to the engine.
    #[error("{0}")]
    Invalid(String),
    /// A local file could not be read or written.
    #[error("{context}: {source}")]
    Io {
        context: String,
        source: std::io::Error,
    },
}

/// What callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    NotModified,
    NotFound,
    Conflict,
    Forbidden,
    Invalid,
    Unreachable,
    Other,
}

impl ClientError {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            ClientError::Engine { status, .. } => match status {
                304 => Kind::NotModified,
                404 => Kind::NotFound,
                409 => Kind::Conflict,
                403 => Kind::Forbidden,
                400 => Kind::Invalid,
                _ => Kind::Other,
            },
            ClientError::Unreachable { .. }
            | ClientError::Broken(_)
            | ClientError::EngineStart { .. } => Kind::Unreachable,
            _ => Kind::Other,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.kind() == Kind::NotFound
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.kind() == Kind::Conflict
    }

    /// The engine's message alone, without the prefix the CLI puts before it.
    pub(crate) fn message(&self) -> String {
        match self {
            ClientError::Engine { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }

    pub(crate) fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        ClientError::Io {
            context: context.into(),
            source,
        }
    }
}

impl From<bollard::errors::Error> for ClientError {
    fn from(error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => ClientError::Engine {
                status: status_code,
                message,
            },
            Error::DockerStreamError { error } => ClientError::Engine {
                status: 500,
                message: error,
            },
            Error::SocketNotFoundError(address) => ClientError::Unreachable {
                address,
                reason: "no such socket".to_owned(),
            },
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => {
                ClientError::Protocol(error.to_string())
            }
            other => {
                let reason = deepest(&other);
                if reason.contains("refused") || reason.contains("No such file") {
                    let address = ADDRESS.get().map_or("its address", String::as_str);
                    ClientError::Unreachable {
                        address: address.to_owned(),
                        reason: format!("{reason}. Is the docker daemon running?"),
                    }
                } else {
                    ClientError::Broken(reason)
                }
            }
        }
    }
}

/// The innermost cause says what happened; the outer ones only that something did.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
