//! Long answers of the engine: attach, logs, exec, events, stats. Bytes come out demultiplexed; what they
//! mean and where they are shown is not decided here.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{ContainerStatsResponse, EventMessage};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, EventsOptions, LogsOptions, ResizeContainerTTYOptionsBuilder,
    ResizeExecOptionsBuilder, StatsOptionsBuilder, TopOptionsBuilder, WaitContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncWrite;

use crate::client::{Client, ClientError};

/// Which stream of a process a chunk came from. A TTY has only stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StdStream {
    Stdout,
    Stderr,
}

/// Some bytes of a process's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) stream: StdStream,
    pub(crate) bytes: Bytes,
}

pub(crate) type ChunkStream = Pin<Box<dyn Stream<Item = Result<Chunk, ClientError>> + Send>>;

/// A connection to the stdio of a process. Shutting `input` down closes the process's stdin.
pub(crate) struct Attached {
    pub(crate) output: ChunkStream,
    pub(crate) input: Pin<Box<dyn AsyncWrite + Send>>,
}

/// Which streams of a container to attach to.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttachOptions {
    pub(crate) stdin: bool,
    /// What was written before comes first.
    pub(crate) logs: bool,
    pub(crate) detach_keys: Option<String>,
}

/// Which part of a container's log to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogOptions {
    pub(crate) follow: bool,
    /// Seconds since 1970; 0: from the beginning.
    pub(crate) since: i64,
    /// Seconds since 1970; 0: to the end.
    pub(crate) until: i64,
    /// `all`, or a number of lines.
    pub(crate) tail: String,
    pub(crate) timestamps: bool,
}

/// A process to run in a container.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExecOptions {
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) working_dir: Option<String>,
    pub(crate) privileged: bool,
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
    /// Nobody reads its output.
    pub(crate) detached: bool,
}

/// Something that happened on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineEvent {
    /// `container`, `image`, …
    pub(crate) kind: String,
    pub(crate) action: String,
    pub(crate) id: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub(crate) time_nano: i64,
}

/// Which events to hear of.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventFilter {
    /// Labels (`key=value`) that the object must have.
    pub(crate) labels: Vec<String>,
    pub(crate) kinds: Vec<String>,
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
}

/// A moment's resource use of a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Usage {
    /// Share of one CPU in percent.
    pub(crate) cpu_percent: f64,
    pub(crate) memory: u64,
    pub(crate) memory_limit: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) pids: u64,
}

fn chunks(
    output: impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send + 'static,
) -> ChunkStream {
    Box::pin(output.map_err(ClientError::from).map_ok(|output| {
        let stream = match output {
            LogOutput::StdErr { .. } => StdStream::Stderr,
            _ => StdStream::Stdout,
        };
        Chunk {
            stream,
            bytes: output.into_bytes(),
        }
    }))
}

impl Client {
    /// Connects to the stdio of a container, running or not yet started.
    pub(crate) async fn attach(
        &self,
        id: &str,
        options: &AttachOptions,
    ) -> Result<Attached, ClientError> {
        let mut query = AttachContainerOptionsBuilder::new()
            .stdin(options.stdin)
            .stdout(true)
            .stderr(true)
            .stream(true)
            .logs(options.logs);
        if let Some(keys) = &options.detach_keys {
            query = query.detach_keys(keys);
        }
        let attached = self
            .docker()
            .attach_container(id, Some(query.build()))
            .await?;
        Ok(Attached {
            output: chunks(attached.output),
            input: attached.input,
        })
    }

    /// What a container wrote, and with `follow` what it writes.
    pub(crate) fn logs(&self, id: &str, options: &LogOptions) -> ChunkStream {
        let seconds = |time: i64| i32::try_from(time).unwrap_or(i32::MAX);
        let query = LogsOptions {
            follow: options.follow,
            stdout: true,
            stderr: true,
            since: seconds(options.since),
            until: seconds(options.until),
            timestamps: options.timestamps,
            tail: options.tail.clone(),
        };
        let docker = self.docker().clone();
        let id = id.to_owned();
        chunks(docker.logs(&id, Some(query)))
    }

    /// Prepares a process in a running container and returns its id.
    pub(crate) async fn create_exec(
        &self,
        container_id: &str,
        options: &ExecOptions,
    ) -> Result<String, ClientError> {
        let config = CreateExecOptions {
            attach_stdin: Some(options.stdin),
            attach_stdout: Some(!options.detached),
            attach_stderr: Some(!options.detached),
            tty: Some(options.tty),
            env: Some(options.environment.clone()),
            cmd: Some(options.command.clone()),
            privileged: Some(options.privileged),
            user: options.user.clone(),
            working_dir: options.working_dir.clone(),
            ..CreateExecOptions::default()
        };
        Ok(self.docker().create_exec(container_id, config).await?.id)
    }

    /// Starts a prepared process and connects to it.
    pub(crate) async fn start_exec(
        &self,
        exec_id: &str,
        tty: bool,
    ) -> Result<Attached, ClientError> {
        let options = StartExecOptions {
            detach: false,
            tty,
            output_capacity: Some(64 * 1024),
        };
        match self.docker().start_exec(exec_id, Some(options)).await? {
            StartExecResults::Attached { output, input } => Ok(Attached {
                output: chunks(output),
                input,
            }),
            StartExecResults::Detached => Err(ClientError::Protocol(
                "the process was started detached".to_owned(),
            )),
        }
    }

    /// Starts a prepared process and leaves it alone.
    pub(crate) async fn start_exec_detached(
        &self,
        exec_id: &str,
        tty: bool,
    ) -> Result<(), ClientError> {
        let options = StartExecOptions {
            detach: true,
            tty,
            output_capacity: None,
        };
        self.docker().start_exec(exec_id, Some(options)).await?;
        Ok(())
    }

    /// The exit code of a process that has ended.
    pub(crate) async fn exec_exit_code(&self, exec_id: &str) -> Result<i64, ClientError> {
        let inspected = self.docker().inspect_exec(exec_id).await?;
        Ok(inspected.exit_code.unwrap_or(0))
    }

    pub(crate) async fn resize_exec(
        &self,
        exec_id: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), ClientError> {
        let query = ResizeExecOptionsBuilder::new()
            .h(i32::from(rows))
            .w(i32::from(columns))
            .build();
        Ok(self.docker().resize_exec(exec_id, query).await?)
    }

    pub(crate) async fn resize_container(
        &self,
        id: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), ClientError> {
        let query = ResizeContainerTTYOptionsBuilder::new()
            .h(i32::from(rows))
            .w(i32::from(columns))
            .build();
        Ok(self.docker().resize_container_tty(id, query).await?)
    }

    /// Waits until a container is not running and returns its exit code.
    pub(crate) async fn wait_exit(&self, id: &str) -> Result<i64, ClientError> {
        let query = WaitContainerOptionsBuilder::new()
            .condition("not-running")
            .build();
        let mut answers = std::pin::pin!(self.docker().wait_container(id, Some(query)));
        match answers.next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(error.into()),
            None => Err(ClientError::Protocol(
                "the engine ended a wait without an answer".to_owned(),
            )),
        }
    }

    /// What happens on the engine, as it happens; the stream ends with `until`.
    pub(crate) fn events(
        &self,
        filter: &EventFilter,
    ) -> Pin<Box<dyn Stream<Item = Result<EngineEvent, ClientError>> + Send>> {
        let mut filters = HashMap::new();
        if !filter.labels.is_empty() {
            filters.insert("label".to_owned(), filter.labels.clone());
        }
        if !filter.kinds.is_empty() {
            filters.insert("type".to_owned(), filter.kinds.clone());
        }
        let query = EventsOptions {
            since: filter.since.clone(),
            until: filter.until.clone(),
            filters: Some(filters),
        };
        Box::pin(
            self.docker()
                .events(Some(query))
                .map_err(ClientError::from)
                .map_ok(event),
        )
    }

    /// Titles and rows of `ps` inside a container.
    pub(crate) async fn top(
        &self,
        id: &str,
    ) -> Result<(Vec<String>, Vec<Vec<String>>), ClientError> {
        let query = TopOptionsBuilder::new().ps_args("-ef").build();
        let answer = self.docker().top_processes(id, Some(query)).await?;
        Ok((
            answer.titles.unwrap_or_default(),
            answer.processes.unwrap_or_default(),
        ))
    }

    /// The resource use of a container, every second, or once.
    pub(crate) fn stats(
        &self,
        id: &str,
        stream: bool,
    ) -> Pin<Box<dyn Stream<Item = Result<Usage, ClientError>> + Send>> {
        let query = StatsOptionsBuilder::new()
            .stream(stream)
            .one_shot(false)
            .build();
        Box::pin(
            self.docker()
                .stats(id, Some(query))
                .map_err(ClientError::from)
                .map_ok(|answer| usage(&answer)),
        )
    }
}

fn event(message: EventMessage) -> EngineEvent {
    let actor = message.actor.unwrap_or_default();
    EngineEvent {
        kind: message.typ.map(|kind| kind.to_string()).unwrap_or_default(),
        action: message.action.unwrap_or_default(),
        id: actor.id.unwrap_or_default(),
        attributes: actor.attributes.unwrap_or_default().into_iter().collect(),
        time_nano: message.time_nano.unwrap_or_default(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage is shown with two digits"
)]
fn usage(answer: &ContainerStatsResponse) -> Usage {
    let cpu = answer.cpu_stats.clone().unwrap_or_default();
    let before = answer.precpu_stats.clone().unwrap_or_default();
    let total = |stats: &bollard::models::ContainerCpuStats| {
        stats
            .cpu_usage
            .as_ref()
            .and_then(|usage| usage.total_usage)
            .unwrap_or(0)
    };
    let used = total(&cpu).saturating_sub(total(&before));
    let passed = cpu
        .system_cpu_usage
        .unwrap_or(0)
        .saturating_sub(before.system_cpu_usage.unwrap_or(0));
    let cpus = f64::from(cpu.online_cpus.unwrap_or(1).max(1));
    let cpu_percent = if passed > 0 && before.system_cpu_usage.is_some() {
        used as f64 / passed as f64 * cpus * 100.0
    } else {
        0.0
    };
    let memory = answer.memory_stats.clone().unwrap_or_default();
    // The page cache that can be dropped at once is not the container's use.
    let cache = memory.stats.as_ref().map_or(0, |stats| {
        stats
            .get("total_inactive_file")
            .or_else(|| stats.get("inactive_file"))
            .copied()
            .unwrap_or(0)
    });
    let used_memory = memory.usage.unwrap_or(0);
    let networks = answer.networks.clone().unwrap_or_default();
    let blocks = answer
        .blkio_stats
        .clone()
        .unwrap_or_default()
        .io_service_bytes_recursive
        .unwrap_or_default();
    let moved = |wanted: &str| {
        blocks
            .iter()
            .filter(|entry| {
                entry
                    .op
                    .as_deref()
                    .is_some_and(|op| op.eq_ignore_ascii_case(wanted))
            })
            .map(|entry| entry.value.unwrap_or(0))
            .sum()
    };
    Usage {
        cpu_percent,
        memory: if cache < used_memory {
            used_memory - cache
        } else {
            used_memory
        },
        memory_limit: memory.limit.unwrap_or(0),
        received: networks.values().map(|n| n.rx_bytes.unwrap_or(0)).sum(),
        sent: networks.values().map(|n| n.tx_bytes.unwrap_or(0)).sum(),
        read: moved("read"),
        written: moved("write"),
        pids: answer
            .pids_stats
            .as_ref()
            .and_then(|pids| pids.current)
            .unwrap_or(0),
    }
}
