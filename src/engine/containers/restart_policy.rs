//! Whether and when an ended container starts again. Pure: time comes in as durations.

use std::time::Duration;

use crate::engine::base::{Error, Result};
use crate::engine::containers::config::RestartPolicy as Asked;

/// The first wait; each further one is twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A run this long was a success: the wait starts over.
const RESET_AFTER: Duration = Duration::from_secs(10);

/// A restart policy that cannot be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    No,
    Always,
    UnlessStopped,
    /// With the number of restarts after which it gives up; 0 never gives up.
    OnFailure(u32),
}

/// Reads and checks what was asked.
pub(crate) fn parse(asked: &Asked) -> Result<RestartPolicy> {
    let count = asked.maximum_retry_count;
    let policy = match asked.name.as_str() {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => {
            let count = u32::try_from(count).map_err(|_| {
                Error::invalid("invalid restart policy: maximum retry count cannot be negative")
            })?;
            return Ok(RestartPolicy::OnFailure(count));
        }
        other => {
            return Err(Error::invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', \
                 'on-failure', or 'unless-stopped'"
            )));
        }
    };
    if count > 0 {
        return Err(Error::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ));
    }
    if count < 0 {
        return Err(Error::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and \
             cannot be negative",
        ));
    }
    Ok(policy)
}

/// The waits between restarts of one container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BackOff {
    last: Option<Duration>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) exit_code: i32,
    pub(crate) ran_for: Duration,
    /// Restarts made since the user last started it.
    pub(crate) restart_count: u32,
    /// The user stopped it: no policy overrides that.
    pub(crate) stopped_by_user: bool,
}

impl BackOff {
    /// The wait before the next start, or `None` when there is none.
    pub(crate) fn next(&mut self, policy: RestartPolicy, ended: Ended) -> Option<Duration> {
        let again = match policy {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure(limit) => {
                ended.exit_code != 0 && (limit == 0 || ended.restart_count < limit)
            }
        };
        if !again || ended.stopped_by_user {
            self.last = None;
            return None;
        }
        let delay = match self.last {
            Some(last) if ended.ran_for < RESET_AFTER => (last * 2).min(LONGEST_DELAY),
            _ => FIRST_DELAY,
        };
        self.last = Some(delay);
        Some(delay)
    }

    /// The user started the container: the first wait is short again.
    pub(crate) fn reset(&mut self) {
        self.last = None;
    }
}

/// Whether a container whose run ended while no engine looked starts again with the next one.
pub(crate) fn starts_with_engine(
    policy: RestartPolicy,
    exit_code: i32,
    stopped_by_user: bool,
) -> bool {
    let again = match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure(_) => exit_code != 0,
    };
    again && !stopped_by_user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit_code: i32, seconds: u64, restart_count: u32) -> Ended {
        Ended {
            exit_code,
            ran_for: Duration::from_secs(seconds),
            restart_count,
            stopped_by_user: false,
        }
    }

    #[test]
    fn waits_double_to_a_minute_and_start_over_after_a_good_run() {
        let mut back_off = BackOff::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            let wait = back_off
                .next(RestartPolicy::Always, ended(0, 0, 0))
                .unwrap();
            waits.push(u64::try_from(wait.as_millis()).unwrap());
        }
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[11], 60_000);
        let wait = back_off
            .next(RestartPolicy::Always, ended(0, 10, 0))
            .unwrap();
        assert_eq!(wait, FIRST_DELAY);
    }

    #[test]
    fn on_failure_counts_and_the_user_wins() {
        let mut back_off = BackOff::default();
        let policy = RestartPolicy::OnFailure(2);
        assert!(back_off.next(policy, ended(1, 0, 1)).is_some());
        assert!(back_off.next(policy, ended(1, 0, 2)).is_none());
        assert!(back_off.next(policy, ended(0, 0, 0)).is_none());
        let stopped = Ended {
            stopped_by_user: true,
            ..ended(1, 0, 0)
        };
        assert!(back_off.next(RestartPolicy::Always, stopped).is_none());
        assert!(starts_with_engine(RestartPolicy::Always, 0, false));
        assert!(!starts_with_engine(RestartPolicy::UnlessStopped, 0, true));
        assert!(!starts_with_engine(RestartPolicy::OnFailure(0), 0, false));
    }

    #[test]
    fn nonsense_is_named() {
        let asked = |name: &str, count| Asked {
            name: name.to_owned(),
            maximum_retry_count: count,
        };
        assert!(
            parse(&asked("sometimes", 0))
                .unwrap_err()
                .message
                .contains("sometimes")
        );
        assert!(parse(&asked("always", 3)).is_err());
        assert!(parse(&asked("on-failure", -1)).is_err());
        assert_eq!(
            parse(&asked("on-failure", 3)).unwrap(),
            RestartPolicy::OnFailure(3)
        );
    }
}
