//! The plan as a value: nodes, their prerequisites, their causes, and the text of it. How it is
//! made is in `reconcile` and its neighbours, how it is carried out in `apply`.

use std::fmt;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use super::operation::Operation;

/// Index of a node in its plan.
pub(crate) type NodeId = NodeIndex<u32>;

/// Where in the Compose files something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) file: String,
    pub(crate) line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why an operation is in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cause {
    /// One sentence: `not there yet`, `environment changed`, `scale down`.
    pub(crate) text: String,
    /// Path of the field in the project, `services.web.environment.MODE`.
    pub(crate) field: Option<String>,
    pub(crate) location: Option<Location>,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
}

impl Cause {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Cause {
            text: text.into(),
            ..Cause::default()
        }
    }

    pub(crate) fn field(text: impl Into<String>, field: impl Into<String>) -> Self {
        Cause {
            text: text.into(),
            field: Some(field.into()),
            ..Cause::default()
        }
    }

    pub(crate) fn change(mut self, old: impl Into<String>, new: impl Into<String>) -> Self {
        self.old = Some(old.into());
        self.new = Some(new.into());
        self
    }

    pub(crate) fn at(mut self, location: Option<Location>) -> Self {
        self.location = location;
        self
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        match (&self.old, &self.new) {
            (None, None) => Ok(()),
            (old, new) => write!(
                f,
                " ({} → {})",
                old.as_deref().unwrap_or("unset"),
                new.as_deref().unwrap_or("unset")
            ),
        }
    }
}

/// Operations of one group are undone together while the group is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GroupId(pub(crate) u32);

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) operation: Operation,
    pub(crate) cause: Cause,
    pub(crate) group: Option<GroupId>,
}

/// A question that must be answered with yes before the plan may be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Consent {
    pub(crate) question: String,
    /// Key of the volume it is about.
    pub(crate) volume: String,
}

/// Operations as a directed graph without cycles: an edge leads from a prerequisite to what
/// needs it. Nodes are numbered in the order they were planned, which is a valid order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    graph: DiGraph<Node, ()>,
    groups: u32,
    /// What the user should know although nothing is done about it.
    pub(crate) warnings: Vec<String>,
    pub(crate) needs_consent: Vec<Consent>,
    /// Containers that stay as they are, by name.
    pub(crate) unchanged: Vec<String>,
}

impl Plan {
    pub(crate) fn new() -> Self {
        Plan::default()
    }

    /// Adds an operation that waits for `after`.
    pub(crate) fn add(&mut self, operation: Operation, cause: Cause, after: &[NodeId]) -> NodeId {
        self.add_in(None, operation, cause, after)
    }

    pub(crate) fn add_in(
        &mut self,
        group: Option<GroupId>,
        operation: Operation,
        cause: Cause,
        after: &[NodeId],
    ) -> NodeId {
        let id = self.graph.add_node(Node {
            operation,
            cause,
            group,
        });
        for prerequisite in after {
            self.order(*prerequisite, id);
        }
        id
    }

    pub(crate) fn new_group(&mut self) -> GroupId {
        self.groups += 1;
        GroupId(self.groups)
    }

    /// Makes `later` wait for `earlier`.
    pub(crate) fn order(&mut self, earlier: NodeId, later: NodeId) {
        debug_assert!(earlier != later, "a node cannot wait for itself");
        self.graph.update_edge(earlier, later, ());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.graph.node_count() == 0
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.graph[id]
    }

    pub(crate) fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.graph.node_indices()
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.graph.node_indices().map(|id| (id, &self.graph[id]))
    }

    /// What must be done before `id`, ascending.
    pub(crate) fn prerequisites(&self, id: NodeId) -> Vec<NodeId> {
        self.sorted(id, Direction::Incoming)
    }

    /// What waits for `id`, ascending.
    pub(crate) fn dependents(&self, id: NodeId) -> Vec<NodeId> {
        self.sorted(id, Direction::Outgoing)
    }

    fn sorted(&self, id: NodeId, direction: Direction) -> Vec<NodeId> {
        let mut found: Vec<NodeId> = self.graph.neighbors_directed(id, direction).collect();
        found.sort();
        found
    }

    /// Whether carrying it out would change anything.
    pub(crate) fn changes_anything(&self) -> bool {
        self.nodes().any(|(_, node)| !node.operation.is_wait())
    }
}

/// `[1,2] -> #3 create container p-web-1 — not there yet {group 1}`
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.nodes() {
            let before: Vec<String> = self
                .prerequisites(id)
                .iter()
                .map(|p| (p.index() + 1).to_string())
                .collect();
            write!(
                f,
                "[{}] -> #{} {} — {}",
                before.join(","),
                id.index() + 1,
                node.operation,
                node.cause
            )?;
            if let Some(group) = node.group {
                write!(f, " {{group {}}}", group.0)?;
            }
            writeln!(f)?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for consent in &self.needs_consent {
            writeln!(f, "needs consent: {}", consent.question)?;
        }
        Ok(())
    }
}
