//! `hoist cp`: the command line of it.

use std::io::Read as _;

use bytes::Bytes;
use futures_util::stream;

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::client::files::TarStream;
use crate::ops::cp::{self, CpOptions, Pipes, parse_place};
use crate::ui::output;

/// Copy files/folders between a service container and the local filesystem
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Include containers created by the run command
    #[arg(long)]
    pub(crate) all: bool,
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    pub(crate) archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    pub(crate) follow_link: bool,
    /// Index of the container if service has multiple replicas
    #[arg(long, default_value = "0")]
    pub(crate) index: u32,
    /// SERVICE:SRC_PATH DEST_PATH|-, or SRC_PATH|- SERVICE:DEST_PATH
    #[arg(value_name = "SRC DEST", allow_hyphen_values = false)]
    pub(crate) arguments: Vec<String>,
}

const PIECE_BYTES: usize = 64 * 1024;

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let [source, destination] = args.arguments.as_slice() else {
        return Err(CliError::arguments(2, args.arguments.len()));
    };
    let ctx = session
        .context(Need::ProjectOrName, Display::default())
        .await?;
    let options = CpOptions {
        source: parse_place(source),
        destination: parse_place(destination),
        index: args.index,
        all: args.all,
        keep_owners: args.archive,
        follow_link: args.follow_link,
    };
    Ok(cp::run(&ctx, &options, &session.working_dir, &StandardPipes).await?)
}

/// stdin and stdout of this process.
struct StandardPipes;

impl Pipes for StandardPipes {
    fn stdin(&self) -> TarStream {
        Box::pin(stream::unfold((), |()| async {
            let piece = tokio::task::spawn_blocking(|| {
                let mut buffer = vec![0; PIECE_BYTES];
                std::io::stdin().lock().read(&mut buffer).map(|read| {
                    buffer.truncate(read);
                    Bytes::from(buffer)
                })
            })
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)));
            match piece {
                Ok(bytes) if bytes.is_empty() => None,
                piece => Some((piece, ())),
            }
        }))
    }

    fn stdout(&self, piece: &[u8]) {
        output::write(piece);
    }
}
