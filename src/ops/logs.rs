//! `logs`: what containers wrote. Without `follow` the lines of all containers come in the order of their
//! times; with it, as they arrive, new and restarted containers included.

use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::client::reads::ContainerRow;
use crate::client::streams::{Chunk, ChunkStream, LogOptions, StdStream};
use crate::ops::monitor::{self, MonitorEvent, Shown};
use crate::ops::{Context, OpError, replicas, timestamps};

/// Which lines of which containers.
#[derive(Debug, Clone)]
pub(crate) struct LogsOptions {
    pub(crate) services: Vec<String>,
    pub(crate) follow: bool,
    /// 0: every replica.
    pub(crate) index: u32,
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
    /// `all`, or a number.
    pub(crate) tail: String,
    /// Keep the engine's time in front of each line.
    pub(crate) timestamps: bool,
}

/// What there is to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogEvent {
    /// A container that will be heard of.
    Container(String),
    Output {
        container: String,
        stream: StdStream,
        bytes: Bytes,
    },
    /// A container has said its last.
    Ended(String),
    /// Something about a container that its log cannot tell.
    Warning(String),
}

/// Calls `show` for everything there is to show; `false` from it ends the command.
///
/// # Errors
/// The engine, an unknown service, a time that is none.
pub(crate) async fn run(
    ctx: &Context,
    options: &LogsOptions,
    mut show: impl FnMut(LogEvent) -> bool,
) -> Result<(), OpError> {
    if options.index > 0 && options.services.len() != 1 {
        return Err(OpError::failed(
            "--index requires one service to be selected",
        ));
    }
    check_tail(&options.tail)?;
    let request = LogOptions {
        follow: false,
        since: seconds(options.since.as_deref())?,
        until: seconds(options.until.as_deref())?,
        tail: options.tail.clone(),
        timestamps: true,
    };
    let rows = containers(ctx, options).await?;
    for row in &rows {
        if !show(LogEvent::Container(row.short_name())) {
            return Ok(());
        }
    }
    if options.follow {
        follow(ctx, options, rows, &request, show).await
    } else {
        merge(ctx, options, rows, &request, show).await
    }
}

fn check_tail(tail: &str) -> Result<(), OpError> {
    if tail == "all" || tail.parse::<i64>().is_ok() {
        return Ok(());
    }
    Err(OpError::failed(format!(
        "invalid value for tail: {tail:?}: must be a number or \"all\""
    )))
}

fn seconds(time: Option<&str>) -> Result<i64, OpError> {
    match time {
        None | Some("") => Ok(0),
        Some(text) => {
            let seconds = timestamps::parse(text)?.div_euclid(1_000_000_000);
            Ok(i64::try_from(seconds).unwrap_or(i64::MAX))
        }
    }
}

/// Services with `attach: false` and undeclared ones are shown only when they are named.
async fn containers(ctx: &Context, options: &LogsOptions) -> Result<Vec<ContainerRow>, OpError> {
    let mut rows = replicas::of_services(ctx, &options.services, true, false).await?;
    rows.retain(|row| is_shown(ctx, options, row.service()));
    if options.index > 0 {
        rows.retain(|row| row.number() == options.index);
        if rows.is_empty() {
            return Err(OpError::failed(format!(
                "service \"{}\" is not running container #{}",
                options.services[0], options.index
            )));
        }
    }
    Ok(rows)
}

fn is_shown(ctx: &Context, options: &LogsOptions, service: &str) -> bool {
    if !options.services.is_empty() {
        return options.services.iter().any(|name| name == service);
    }
    match replicas::loaded(ctx) {
        Some(project) => project
            .service(service)
            .is_some_and(|service| service.attach != Some(false)),
        None => true,
    }
}

/// One container's log and its next message, which begins with the engine's time.
struct Source {
    container: String,
    chunks: ChunkStream,
    next: Option<(Bytes, Chunk)>,
}

impl Source {
    async fn advance(&mut self) -> Result<(), OpError> {
        self.next = match self.chunks.next().await {
            Some(chunk) => {
                let chunk = chunk?;
                Some(split_time(chunk))
            }
            None => None,
        };
        Ok(())
    }
}

/// `2026-01-01T00:00:00.000000000Z text` → the time, and the rest.
pub(crate) fn split_time(chunk: Chunk) -> (Bytes, Chunk) {
    let Some(blank) = chunk.bytes.iter().position(|&byte| byte == b' ') else {
        return (Bytes::new(), chunk);
    };
    let mut bytes = chunk.bytes;
    let time = bytes.split_to(blank);
    let is_time = time.len() >= 20 && time[4] == b'-' && time[10] == b'T';
    if !is_time {
        let mut whole = time.to_vec();
        whole.extend_from_slice(&bytes);
        let stream = chunk.stream;
        return (
            Bytes::new(),
            Chunk {
                stream,
                bytes: Bytes::from(whole),
            },
        );
    }
    let _blank = bytes.split_to(1);
    (
        time,
        Chunk {
            stream: chunk.stream,
            bytes,
        },
    )
}

async fn merge(
    ctx: &Context,
    options: &LogsOptions,
    rows: Vec<ContainerRow>,
    request: &LogOptions,
    mut show: impl FnMut(LogEvent) -> bool,
) -> Result<(), OpError> {
    let mut sources: Vec<Source> = rows
        .into_iter()
        .map(|row| Source {
            container: row.short_name(),
            chunks: ctx.client.logs(&row.id, request),
            next: None,
        })
        .collect();
    let firsts = sources.iter_mut().map(Source::advance);
    let mut unreadable = Vec::new();
    for (at, first) in futures_util::future::join_all(firsts)
        .await
        .into_iter()
        .enumerate()
    {
        if let Err(error) = first {
            unreadable.push((at, error));
        }
    }
    for (at, error) in unreadable {
        // A log driver that cannot be read must not hide the others' logs.
        let text = format!("{}: {error}", sources[at].container);
        if !show(LogEvent::Warning(text)) {
            return Ok(());
        }
    }
    loop {
        let earliest = sources
            .iter()
            .enumerate()
            .filter_map(|(at, source)| source.next.as_ref().map(|(time, _)| (time.clone(), at)))
            .min();
        let Some((_, at)) = earliest else {
            break;
        };
        let source = &mut sources[at];
        if let Some((time, chunk)) = source.next.take() {
            let event = LogEvent::Output {
                container: source.container.clone(),
                stream: chunk.stream,
                bytes: stamped(&time, chunk.bytes, options.timestamps),
            };
            if !show(event) {
                return Ok(());
            }
        }
        source.advance().await?;
    }
    for source in sources {
        if !show(LogEvent::Ended(source.container)) {
            break;
        }
    }
    Ok(())
}

fn stamped(time: &Bytes, bytes: Bytes, keep: bool) -> Bytes {
    if !keep || time.is_empty() {
        return bytes;
    }
    let mut stamped = time.to_vec();
    stamped.push(b' ');
    stamped.extend_from_slice(&bytes);
    Bytes::from(stamped)
}

async fn follow(
    ctx: &Context,
    options: &LogsOptions,
    rows: Vec<ContainerRow>,
    request: &LogOptions,
    mut show: impl FnMut(LogEvent) -> bool,
) -> Result<(), OpError> {
    let services = options.services.clone();
    let (index, shown_ctx, shown_options) = (options.index, ctx.clone(), options.clone());
    let shown = Shown::new(move |row| {
        (services.is_empty() || services.iter().any(|name| name == row.service()))
            && (index == 0 || row.number() == index)
            && is_shown(&shown_ctx, &shown_options, row.service())
    });
    let request = LogOptions {
        follow: true,
        ..request.clone()
    };
    let mut monitor = monitor::follow_logs(ctx, rows, request, options.timestamps, shown);
    while let Some(event) = monitor.next().await {
        let event = match event {
            MonitorEvent::Started { container } => LogEvent::Container(container),
            MonitorEvent::Output {
                container,
                stream,
                bytes,
            } => LogEvent::Output {
                container,
                stream,
                bytes,
            },
            MonitorEvent::Exited { container, .. } => LogEvent::Ended(container),
            MonitorEvent::Warning(text) => LogEvent::Warning(text),
        };
        if !show(event) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str) -> Chunk {
        Chunk {
            stream: StdStream::Stdout,
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    #[test]
    fn the_engines_time_is_split_off_and_nothing_else() {
        let (time, rest) = split_time(chunk("2026-11-30T20:12:35.615474189Z a b\n"));
        assert_eq!(time, "2026-11-30T20:12:35.615474189Z");
        assert_eq!(rest.bytes, "a b\n");
        let (time, rest) = split_time(chunk("hello world\n"));
        assert!(time.is_empty());
        assert_eq!(rest.bytes, "hello world\n");
    }
}
