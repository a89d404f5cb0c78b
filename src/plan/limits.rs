//! What of a container can be changed while it runs: its restart policy and its limits. Taken
//! from a service, compared with what an engine reports. The request bodies are `client`'s.

use crate::compose::model::Service;

/// Restart policy and limits, in the engine's units. Zero and empty mean not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `no`, `always`, `on-failure`, `unless-stopped`.
    pub(crate) restart: String,
    pub(crate) restart_attempts: i64,
    /// Bytes.
    pub(crate) memory: i64,
    /// Bytes of memory and swap; −1 for no limit.
    pub(crate) memory_swap: i64,
    /// Bytes.
    pub(crate) memory_reservation: i64,
    /// Billionths of a CPU.
    pub(crate) nano_cpus: i64,
    pub(crate) cpu_shares: i64,
    /// Microseconds.
    pub(crate) cpu_period: i64,
    /// Microseconds.
    pub(crate) cpu_quota: i64,
    pub(crate) cpuset: String,
    pub(crate) pids: i64,
}

impl Limits {
    /// What a service asks for; `deploy` is stronger than the keys of the service.
    pub(crate) fn of(service: &Service) -> Limits {
        let (restart, restart_attempts) = restart_policy(service);
        let mut limits = Limits {
            restart,
            restart_attempts,
            memory: service.mem_limit,
            memory_swap: service.memswap_limit,
            memory_reservation: service.mem_reservation,
            nano_cpus: nano_cpus(service.cpus),
            cpu_shares: service.cpu_shares,
            cpu_period: service.cpu_period,
            cpu_quota: service.cpu_quota,
            cpuset: service.cpuset.clone(),
            pids: service.pids_limit,
        };
        let Some(deploy) = &service.deploy else {
            return limits;
        };
        if let Some(wanted) = &deploy.resources.limits {
            if wanted.memory != 0 {
                limits.memory = wanted.memory;
            }
            if wanted.cpus != 0.0 {
                limits.nano_cpus = nano_cpus(wanted.cpus);
            }
            if wanted.pids > 0 {
                limits.pids = wanted.pids;
            }
        }
        if let Some(wanted) = &deploy.resources.reservations
            && wanted.memory != 0
        {
            limits.memory_reservation = wanted.memory;
        }
        limits
    }

    /// Whether an engine that reports `actual` does already what is wanted here. A limit that is
    /// not wanted but set counts as a difference; swap is compared only where it was asked for.
    pub(crate) fn is_met_by(&self, actual: &Limits) -> bool {
        let swap = self.memory_swap == 0 || self.memory_swap == actual.memory_swap;
        let mut actual = actual.clone();
        actual.memory_swap = self.memory_swap;
        let normal = |limits: &Limits| {
            let mut limits = limits.clone();
            if limits.restart.is_empty() {
                limits.restart = "no".to_owned();
            }
            limits.pids = limits.pids.max(0);
            limits
        };
        swap && normal(self) == normal(&actual)
    }

    /// Whether `self` can be reached from `old` without a new container: an engine takes a zero in
    /// an update as "leave it", so a limit cannot be lifted, but for the number of processes.
    pub(crate) fn reachable_from(&self, old: &Limits) -> bool {
        let kept = |new: i64, old: i64| new != 0 || old == 0;
        kept(self.memory, old.memory)
            && kept(self.memory_reservation, old.memory_reservation)
            && kept(self.nano_cpus, old.nano_cpus)
            && kept(self.cpu_shares, old.cpu_shares)
            && kept(self.cpu_period, old.cpu_period)
            && kept(self.cpu_quota, old.cpu_quota)
            && (!self.cpuset.is_empty() || old.cpuset.is_empty())
            && (self.memory_swap != 0 || old.memory_swap == 0 || self.memory != 0)
    }
}

/// In single precision, as docker compose computes it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the number of CPUs of a machine is small"
)]
fn nano_cpus(cpus: f32) -> i64 {
    (cpus * 1e9_f32) as i64
}

fn restart_policy(service: &Service) -> (String, i64) {
    if let Some(policy) = service
        .deploy
        .as_ref()
        .and_then(|d| d.restart_policy.as_ref())
    {
        let attempts = policy
            .max_attempts
            .and_then(|n| i64::try_from(n).ok())
            .unwrap_or(0);
        return (restart_name(&policy.condition), attempts);
    }
    match service.restart.split_once(':') {
        Some((name, attempts)) => (restart_name(name), attempts.parse().unwrap_or(0)),
        None => (restart_name(&service.restart), 0),
    }
}

fn restart_name(condition: &str) -> String {
    match condition {
        "none" => "no",
        "any" => "always",
        other => other,
    }
    .to_owned()
}
