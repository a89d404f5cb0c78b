//! Healthchecks. The first probe runs at once and failures before the first success come back quickly, from
//! milliseconds up to the interval, so that who waits for a healthy container waits for the program and not
//! for a timer. Those early probes never count against `retries`: a failure counts only when Docker would
//! have probed as well.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::engine::containers::Deps;
use crate::engine::containers::actor::{Actor, Message};
use crate::engine::containers::exec::{ExecConfig, process_spec};
use crate::engine::containers::names::new_id;
use crate::engine::containers::record::{Record, now_rfc3339};
use crate::engine::containers::state::State;
use crate::engine::containers::view::View;
use crate::oci::Healthcheck;
use crate::shim::client::{AttachOptions, ExecSpec, Shim};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_START_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_RETRIES: u32 = 3;
/// The wait after the first failure; it doubles.
const FIRST_BACK_OFF: Duration = Duration::from_millis(10);
/// What is kept of a probe's output.
const MAX_OUTPUT_BYTES: usize = 4096;
/// Probes that inspect shows.
const LOG_ENTRIES: usize = 5;
const SIGKILL: i32 = 9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HealthStatus {
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

/// The health of a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) status: HealthStatus,
    pub(crate) failing_streak: u32,
    pub(crate) log: VecDeque<ProbeResult>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbeResult {
    /// RFC 3339.
    pub(crate) start: String,
    pub(crate) end: String,
    /// -1 when the probe did not end by itself.
    pub(crate) exit_code: i32,
    pub(crate) output: String,
    /// Whether a failure counts against `retries`.
    pub(crate) counts: bool,
}

impl Health {
    pub(crate) fn starting() -> Self {
        Health {
            status: HealthStatus::Starting,
            failing_streak: 0,
            log: VecDeque::new(),
        }
    }

    /// Takes a result in; the new status if it changed.
    fn record(&mut self, result: ProbeResult, retries: u32) -> Option<HealthStatus> {
        let before = self.status;
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if result.counts {
            self.failing_streak += 1;
            if self.failing_streak >= retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.log.len() == LOG_ENTRIES {
            self.log.pop_front();
        }
        self.log.push_back(result);
        (self.status != before).then_some(self.status)
    }
}

/// When probes run, with Docker's defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Timing {
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Timing {
    fn of(healthcheck: &Healthcheck) -> Self {
        let duration = |nanoseconds: i64, default: Duration| match u64::try_from(nanoseconds) {
            Ok(0) | Err(_) => default,
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
        };
        Timing {
            interval: duration(healthcheck.interval, DEFAULT_INTERVAL),
            timeout: duration(healthcheck.timeout, DEFAULT_TIMEOUT),
            start_period: duration(healthcheck.start_period, Duration::ZERO),
            start_interval: duration(healthcheck.start_interval, DEFAULT_START_INTERVAL),
            retries: match u32::try_from(healthcheck.retries) {
                Ok(0) | Err(_) => DEFAULT_RETRIES,
                Ok(retries) => retries,
            },
        }
    }
}

/// Decides after each probe whether it counts and when the next one runs. Pure.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    timing: Timing,
    ever_healthy: bool,
    back_off: Duration,
    /// Since the start: a failure from here on counts.
    counts_from: Duration,
}

impl Schedule {
    fn new(timing: Timing) -> Self {
        Schedule {
            timing,
            ever_healthy: false,
            back_off: FIRST_BACK_OFF,
            counts_from: timing.start_period.max(timing.interval),
        }
    }

    /// `at`: since the container's start. Whether a failure counts, and the wait until the next probe.
    fn after(&mut self, at: Duration, healthy: bool) -> (bool, Duration) {
        let timing = &self.timing;
        if healthy {
            self.ever_healthy = true;
            return (false, timing.interval);
        }
        if self.ever_healthy {
            return (true, timing.interval);
        }
        let longest = if at < timing.start_period {
            timing.start_interval.min(timing.interval)
        } else {
            timing.interval
        };
        let wait = self.back_off.min(longest);
        self.back_off = (self.back_off * 2).min(timing.interval);
        let counts = at >= self.counts_from;
        if counts {
            self.counts_from = at + timing.interval;
        }
        (counts, wait)
    }
}

/// A healthcheck ready to run.
pub(crate) struct Probe {
    deps: Arc<Deps>,
    record: Arc<Record>,
    command: Vec<String>,
    timing: Timing,
}

impl Probe {
    /// `None` when the container has no healthcheck.
    pub(crate) fn of(deps: &Arc<Deps>, record: &Arc<Record>) -> Option<Self> {
        let healthcheck = record.config.healthcheck.as_ref()?;
        let (kind, rest) = healthcheck.test.split_first()?;
        let command = match kind.as_str() {
            "CMD" if !rest.is_empty() => rest.to_vec(),
            "CMD-SHELL" => {
                let mut shell = match &record.config.shell {
                    Some(shell) if !shell.is_empty() => shell.clone(),
                    _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
                };
                shell.push(rest.join(" "));
                shell
            }
            _ => return None,
        };
        Some(Probe {
            deps: Arc::clone(deps),
            record: Arc::clone(record),
            command,
            timing: Timing::of(healthcheck),
        })
    }

    async fn run_once(&self, shim: &Shim) -> ProbeResult {
        let start = now_rfc3339();
        let (exit_code, output) = match self.execute(shim).await {
            Ok(ended) => ended,
            Err(message) => (-1, message),
        };
        ProbeResult {
            start,
            end: now_rfc3339(),
            exit_code,
            output,
            counts: false,
        }
    }

    async fn execute(&self, shim: &Shim) -> Result<(i32, String), String> {
        let config = ExecConfig {
            command: self.command.clone(),
            ..ExecConfig::default()
        };
        let pid = shim.pid().ok_or("the container has ended")?;
        let process =
            process_spec(&self.deps, &self.record, pid, &config).map_err(|error| error.message)?;
        let spec = ExecSpec {
            exec_id: new_id().map_err(|error| error.message)?,
            process,
            attach: AttachOptions {
                stdin: false,
                stdout: true,
                stderr: true,
            },
        };
        let mut process = shim.exec(spec).await.map_err(|error| error.message)?;
        let mut output: Vec<u8> = Vec::new();
        let attached = process.attached.take();
        let finished = tokio::time::timeout(self.timing.timeout, async {
            if let Some(mut attached) = attached {
                while let Some((_, bytes)) = attached.output.next().await {
                    let room = MAX_OUTPUT_BYTES.saturating_sub(output.len());
                    output.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
            }
            process.wait().await
        })
        .await;
        let mut text = String::from_utf8_lossy(&output).into_owned();
        match finished {
            Ok(code) => Ok((code, text)),
            Err(_) => {
                if let Err(error) = process.signal(SIGKILL).await {
                    tracing::debug!(%error, "kill a probe that took too long");
                }
                let seconds = self.timing.timeout.as_secs_f64();
                text.insert_str(0, &format!("Health check exceeded timeout ({seconds}s): "));
                Ok((-1, text))
            }
        }
    }
}

/// Probes until it is aborted at the end of the run.
pub(crate) async fn run(
    probe: Probe,
    shim: Shim,
    run_number: u64,
    messages: mpsc::UnboundedSender<Message>,
    mut view: watch::Receiver<Arc<View>>,
) {
    let started = Instant::now();
    let mut schedule = Schedule::new(probe.timing);
    loop {
        // In a frozen container a probe would hang and be counted as failed.
        if view
            .wait_for(|view| view.run.state != State::Paused)
            .await
            .is_err()
        {
            return;
        }
        let at = started.elapsed();
        let mut result = probe.run_once(&shim).await;
        let (counts, wait) = schedule.after(at, result.exit_code == 0);
        result.counts = counts;
        if messages.send(Message::Probed(run_number, result)).is_err() {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

impl Actor {
    pub(crate) fn on_probe(&mut self, result: ProbeResult) {
        let retries = self
            .record
            .config
            .healthcheck
            .as_ref()
            .map_or(DEFAULT_RETRIES, |healthcheck| {
                Timing::of(healthcheck).retries
            });
        let health = self.health.get_or_insert_with(Health::starting);
        let changed = health.record(result, retries);
        self.publish();
        if let Some(status) = changed {
            self.event(format!("health_status: {}", status.name()), &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn timing() -> Timing {
        Timing::of(&Healthcheck {
            interval: SECOND,
            start_period: 3 * SECOND,
            start_interval: SECOND / 2,
            ..Healthcheck::default()
        })
    }

    #[test]
    fn early_failures_come_quickly_and_do_not_count() {
        let mut schedule = Schedule::new(timing());
        let mut at = Duration::ZERO;
        let mut waits = Vec::new();
        while at < Duration::from_secs(3) {
            let (counts, wait) = schedule.after(at, false);
            assert!(!counts, "{at:?}");
            waits.push(wait.as_millis());
            at += wait;
        }
        assert_eq!(waits[..4], [10, 20, 40, 80]);
        assert_eq!(waits.iter().max(), Some(&500));
        let (counts, wait) = schedule.after(at, false);
        assert!(counts);
        assert_eq!(wait, Duration::from_secs(1));
        // Within one interval only one failure counts.
        assert!(!schedule.after(at + Duration::from_millis(100), false).0);
        assert!(schedule.after(at + Duration::from_secs(1), false).0);
    }

    #[test]
    fn after_the_first_success_every_failure_counts() {
        let mut schedule = Schedule::new(timing());
        assert_eq!(
            schedule.after(Duration::ZERO, true),
            (false, Duration::from_secs(1))
        );
        assert_eq!(
            schedule.after(Duration::from_secs(1), false),
            (true, Duration::from_secs(1))
        );
    }

    #[test]
    fn the_status_follows_the_streak() {
        let result = |exit_code, counts| ProbeResult {
            start: String::new(),
            end: String::new(),
            exit_code,
            output: String::new(),
            counts,
        };
        let mut health = Health::starting();
        assert_eq!(health.record(result(1, false), 2), None);
        assert_eq!(
            health.record(result(0, false), 2),
            Some(HealthStatus::Healthy)
        );
        assert_eq!(health.record(result(1, true), 2), None);
        assert_eq!(
            health.record(result(1, true), 2),
            Some(HealthStatus::Unhealthy)
        );
        assert_eq!(
            health.record(result(0, true), 2),
            Some(HealthStatus::Healthy)
        );
        for _ in 0..10 {
            health.record(result(0, true), 2);
        }
        assert_eq!(health.log.len(), LOG_ENTRIES);
    }
}
