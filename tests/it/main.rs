//! Scenario tests: the real binary, real containers, a real network, on hoist's own engine and on Docker.
//! What can be told without a container is tested beside the code instead.

#![expect(
    clippy::unwrap_used,
    reason = "a scenario that cannot go on fails, and says where"
)]

mod support;

mod attached;
mod building;
mod crash;
mod depends;
mod drivers;
mod examples;
mod files;
mod hooks;
mod lifecycle;
mod networks;
mod project;
mod reading;
mod recreate;
mod registry;
mod run_exec;
mod settings;
mod takeover;
mod volumes;
mod watch;
