//! The end of a run: asked for (stop, restart, kill) or by itself. A stop sends the signal and waits for
//! the grace period, unless the signal cannot arrive: then waiting helps nobody and the kill comes at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::base::{Error, Result};
use crate::engine::containers::Reply;
use crate::engine::containers::actor::{Actor, AfterExit, StopOptions, answer, grace};
use crate::engine::containers::record::rfc3339;
use crate::engine::containers::restart_policy::Ended;
use crate::engine::containers::state::{Happened, Request, State};
use crate::engine::containers::view::NetworkView;
use crate::shim::client::{Exit, Shim, Target};
use crate::sys::cgroup::Cgroup;
use crate::sys::process::ignores_signal;

pub(crate) use crate::sys::process::parse_signal;

const DEFAULT_STOP_SECONDS: i64 = 10;
/// How long the end of a run waits for those who copy its output. Clients take `die` for the end of it all.
const FOLLOWERS_WAIT: Duration = Duration::from_millis(100);
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

impl Actor {
    pub(crate) async fn stop_requested(&mut self, options: StopOptions, reply: Reply<()>) {
        match self.admit(Request::Stop) {
            Err(error) => answer(reply, Err(error)),
            Ok(false) => answer(reply, Err(Error::not_modified("container already stopped"))),
            Ok(true) if self.run.state == State::Restarting => {
                self.cancel_restart();
                self.event("stop", &[]);
                answer(reply, Ok(()));
            }
            Ok(true) => {
                self.stop_replies.push(reply);
                self.begin_stop(options).await;
            }
        }
    }

    pub(crate) async fn restart_requested(&mut self, options: StopOptions, reply: Reply<()>) {
        if let Err(error) = self.admit(Request::Restart) {
            answer(reply, Err(error));
            return;
        }
        if self.run.state == State::Restarting {
            self.cancel_restart();
        }
        if self.run.state.has_process() {
            if let Some(AfterExit::Remove(..)) = self.after_exit {
                let text = "container is marked for removal and cannot be started";
                answer(reply, Err(Error::conflict(text)));
                return;
            }
            self.after_exit = Some(AfterExit::Restart(reply));
            self.begin_stop(options).await;
        } else {
            self.start_again(reply).await;
        }
    }

    async fn start_again(&mut self, reply: Reply<()>) {
        self.run.stopped_by_user = false;
        self.run.restart_count = 0;
        self.back_off.reset();
        match self.start().await {
            Ok(()) => {
                self.event("restart", &[]);
                answer(reply, Ok(()));
            }
            Err(failure) => {
                self.start_failed(&failure).await;
                answer(reply, Err(failure.error));
            }
        }
    }

    fn cancel_restart(&mut self) {
        self.restart_at = None;
        self.run.stopped_by_user = true;
        self.happened(Happened::RestartCancelled);
        self.save_state();
        self.publish();
    }

    async fn begin_stop(&mut self, options: StopOptions) {
        self.run.stopped_by_user = true;
        // Should the engine die now, the next one must not take the end for a crash.
        self.save_state();
        let own = self
            .record
            .config
            .stop_signal
            .as_deref()
            .and_then(parse_signal);
        let signal = options.signal.or(own).unwrap_or(SIGTERM);
        let seconds = options
            .timeout
            .or(self.record.config.stop_timeout)
            .unwrap_or(DEFAULT_STOP_SECONDS);
        if signal != SIGKILL && ignores_signal(self.run.pid, signal) {
            let reason =
                format!("PID 1 of the container neither catches nor blocks signal {signal}");
            tracing::info!(container.id = %self.record.id, reason, "kill at once");
            self.event(
                "kill",
                &[("signal", SIGKILL.to_string()), ("reason", reason)],
            );
            self.kill_process().await;
            return;
        }
        self.event("kill", &[("signal", signal.to_string())]);
        self.send_signal(signal).await;
        if self.run.state == State::Paused && self.unfreeze().is_ok() {
            self.happened(Happened::Unpaused);
            self.publish();
        }
        if signal == SIGKILL {
            return;
        }
        let deadline = grace(seconds).map(|grace| Instant::now() + grace);
        // A second stop may shorten the grace, never lengthen it.
        self.kill_at = match (self.kill_at, deadline) {
            (Some(earlier), Some(later)) => Some(earlier.min(later)),
            (earlier, later) => earlier.or(later),
        };
    }

    /// The grace period is over.
    pub(crate) async fn grace_is_over(&mut self) {
        self.kill_at = None;
        if self.run.state.has_process() {
            self.event("kill", &[("signal", SIGKILL.to_string())]);
            self.kill_process().await;
        }
    }

    pub(crate) async fn kill_process(&mut self) {
        self.send_signal(SIGKILL).await;
        if self.run.state == State::Paused && self.unfreeze().is_ok() {
            self.happened(Happened::Unpaused);
            self.publish();
        }
    }

    async fn send_signal(&self, signal: i32) {
        let Some(shim) = &self.shim else { return };
        // A process that has just ended is no error: its exit is on the way.
        if let Err(error) = shim.signal(signal, Target::Main).await {
            tracing::debug!(container.id = %self.record.id, %error, signal, "signal");
        }
    }

    pub(crate) async fn kill_requested(&mut self, signal: i32, reply: Reply<()>) {
        if let Err(error) = self.admit(Request::Kill) {
            answer(reply, Err(error));
            return;
        }
        // A signal that is not the one to stop with may be meant for reloading: the policy stays.
        let own = self
            .record
            .config
            .stop_signal
            .as_deref()
            .and_then(parse_signal);
        let ends_it = signal == SIGKILL || own.is_none_or(|own| own == signal);
        if ends_it {
            self.run.stopped_by_user = true;
        }
        if self.run.state == State::Restarting {
            if ends_it {
                self.cancel_restart();
            }
            answer(reply, Ok(()));
            return;
        }
        self.event("kill", &[("signal", signal.to_string())]);
        if signal == SIGKILL {
            self.kill_replies.push(reply);
            self.kill_process().await;
        } else {
            self.send_signal(signal).await;
            answer(reply, Ok(()));
        }
    }

    pub(crate) fn pause(&mut self) -> Result<()> {
        self.admit(Request::Pause)?;
        if let Some(shim) = &self.shim {
            Cgroup::at(shim.cgroup_path()).freeze().map_err(|error| {
                Error::system(format!(
                    "cannot pause container {}: {error}",
                    self.record.id
                ))
            })?;
        }
        self.happened(Happened::Paused);
        self.save_state();
        self.publish();
        self.event("pause", &[]);
        Ok(())
    }

    pub(crate) fn unpause(&mut self) -> Result<()> {
        self.admit(Request::Unpause)?;
        self.unfreeze()?;
        self.happened(Happened::Unpaused);
        self.save_state();
        self.publish();
        self.event("unpause", &[]);
        Ok(())
    }

    fn unfreeze(&self) -> Result<()> {
        let Some(shim) = &self.shim else {
            return Ok(());
        };
        Cgroup::at(shim.cgroup_path()).thaw().map_err(|error| {
            Error::system(format!(
                "cannot resume container {}: {error}",
                self.record.id
            ))
        })
    }

    /// The first process has ended. What held the outside world (ports, addresses) is given back before
    /// anybody is told; the shim's own cleaning may follow.
    pub(crate) async fn on_exit(&mut self, exit: Exit) {
        self.kill_at = None;
        if let Some(task) = self.probe_task.take() {
            task.abort();
        }
        let ran_for = self
            .started
            .take()
            .map(|started| started.elapsed())
            .unwrap_or_default();
        let ended = Ended {
            exit_code: exit.code,
            ran_for,
            restart_count: self.run.restart_count,
            stopped_by_user: self.run.stopped_by_user,
        };
        let delay = match self.after_exit {
            Some(_) => None,
            None => self.back_off.next(self.restart_policy(), ended),
        };
        tracing::trace!(container.id = %self.record.id, "ended");
        self.free_networks().await;
        tracing::trace!(container.id = %self.record.id, "networks freed");
        self.run.exit_code = exit.code;
        self.run.oom_killed = exit.oom_killed;
        self.run.pid = 0;
        self.run.finished_at = jiff::Timestamp::from_nanosecond(i128::from(exit.exited_at_ns))
            .map(rfc3339)
            .unwrap_or_else(|_| crate::engine::containers::record::now_rfc3339());
        self.happened(Happened::Exited {
            starts_again: delay.is_some(),
        });
        self.restart_at = delay.map(|delay| Instant::now() + delay);
        self.exits += 1;
        let goes_away = self.goes_away(delay.is_some());
        if !goes_away {
            self.save_state();
        }
        let shim = self.shim.take();
        self.publish();
        self.followers.drained(FOLLOWERS_WAIT).await;
        if exit.oom_killed {
            self.event("oom", &[]);
        }
        self.event(
            "die",
            &[
                ("exitCode", exit.code.to_string()),
                ("execDuration", ran_for.as_secs().to_string()),
            ],
        );
        if let Some(shim) = shim {
            self.release_behind(shim);
        }
        if let Err(error) = self.deps.volumes.unmount(&self.record.id) {
            tracing::warn!(container.id = %self.record.id, %error, "unmount volumes");
        }
        crate::engine::containers::devices::unmount_images(&self.deps.paths, &self.record);
        self.tell_those_who_wait().await;
        if goes_away && !self.removed {
            self.remove_self(true).await;
        }
    }

    fn goes_away(&self, starts_again: bool) -> bool {
        self.record.host.auto_remove && !starts_again && self.after_exit.is_none()
    }

    /// Lets the shim go while others are served: letting go of the rootfs waits for the disk. The next start
    /// and a removal wait for it, where they have to.
    fn release_behind(&mut self, shim: Shim) {
        let id = self.record.id.clone();
        self.releasing = Some(tokio::spawn(async move {
            if let Err(error) = shim.release().await {
                tracing::warn!(container.id = %id, %error, "release the shim");
            }
            tracing::trace!(container.id = %id, "released");
        }));
    }

    async fn free_networks(&mut self) {
        let (deps, id) = (Arc::clone(&self.deps), self.record.id.clone());
        let freed = tokio::task::spawn_blocking(move || deps.networks.remove_sandbox(&id)).await;
        match freed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(container.id = %self.record.id, %error, "remove the sandbox");
            }
            Err(error) => {
                tracing::error!(container.id = %self.record.id, %error, "remove the sandbox")
            }
        }
        self.network = Arc::new(NetworkView::default());
    }

    async fn tell_those_who_wait(&mut self) {
        for reply in std::mem::take(&mut self.kill_replies) {
            answer(reply, Ok(()));
        }
        let stops = std::mem::take(&mut self.stop_replies);
        let after = self.after_exit.take();
        if !stops.is_empty() || matches!(after, Some(AfterExit::Restart(_))) {
            self.event("stop", &[]);
        }
        for reply in stops {
            answer(reply, Ok(()));
        }
        match after {
            None => {}
            Some(AfterExit::Restart(reply)) => self.start_again(reply).await,
            Some(AfterExit::Remove(options, reply)) => {
                let removed = self.remove_now(options.volumes).await;
                answer(reply, removed);
            }
        }
    }
}
