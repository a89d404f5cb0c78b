//! Decides what has to be done: (Project, Observed, Options) → Plan. Pure and deterministic; it
//! calls nothing, waits for nothing and asks nobody.
//!
//! ```text
//! compose::model::Project ─┐
//! Observed (one look)     ─┼─ reconcile ─→ Plan: a graph of operations, each with its cause
//! Options                 ─┘
//! ```

pub(crate) mod changes;
pub(crate) mod config_hash;
mod containers;
pub(crate) mod desired;
pub(crate) mod limits;
mod networks;
pub(crate) mod observed;
pub(crate) mod operation;
#[expect(
    clippy::module_inception,
    reason = "the plan is what this folder is about"
)]
pub(crate) mod plan;
pub(crate) mod pseudo;
pub(crate) mod reconcile;
mod start;
pub(crate) mod teardown;
mod volumes;

pub(crate) use desired::Desired;
pub(crate) use limits::Limits;
pub(crate) use observed::{ContainerState, Health, Observed, ObservedContainer};
pub(crate) use operation::{Condition, ContainerRef, InheritedMount, Operation};
pub(crate) use plan::{Cause, Location, NodeId, Plan};
pub(crate) use reconcile::{Goal, PlanError, ReconcileOptions, Recreate, reconcile};
