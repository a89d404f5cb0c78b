//! Decides what has to be done: (Project, Observed, Options) → Plan. Pure and deterministic; it
//! calls nothing, waits for nothing and asks nobody.
//!
//! ```text
//! compose::model::Project ─┐
//! Observed (one look)     ─┼─ reconcile ─→ Plan: a graph of operations, each with its cause
//! Options                 ─┘
//! ```

pub(crate) mod observed;
pub(crate) mod operation;
#[expect(
    clippy::module_inception,
    reason = "the plan is what this folder is about"
)]
pub(crate) mod plan;

pub(crate) use observed::{
    ContainerState, Health, Observed, ObservedContainer, ObservedImage, ObservedMount,
    ObservedNetwork, ObservedVolume,
};
pub(crate) use operation::{Condition, ContainerRef, InheritedMount, Operation};
pub(crate) use plan::{Cause, Location, Node, NodeId, Plan};
