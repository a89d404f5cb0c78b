//! `plan`: what `up` would do and why, as text and as JSON. It changes nothing.

use serde_json::{Value, json};

use crate::ops::up::{self, UpOptions};
use crate::ops::{Context, OpError};
use crate::plan::{Cause, Plan};

/// # Errors
/// When the plan cannot be made, or a check of the whole fails.
pub(crate) async fn run(ctx: &Context, options: &UpOptions) -> Result<Plan, OpError> {
    up::plan(ctx, options).await
}

/// One line an operation, and a sentence that sums it up.
pub(crate) fn text(plan: &Plan) -> String {
    if plan.is_empty() {
        return "Nothing to do: the project is as the files say.\n".to_owned();
    }
    let count = plan
        .nodes()
        .filter(|(_, node)| !node.operation.is_wait())
        .count();
    let unchanged = plan.unchanged.len();
    let operations = if count == 1 {
        "operation"
    } else {
        "operations"
    };
    format!("{plan}{count} {operations}, {unchanged} containers stay as they are\n")
}

/// The same for programs.
pub(crate) fn to_json(plan: &Plan) -> Value {
    let nodes: Vec<Value> = plan
        .nodes()
        .map(|(id, node)| {
            let (kind, name) = node.operation.subject();
            let after: Vec<usize> = plan
                .prerequisites(id)
                .iter()
                .map(|p| p.index() + 1)
                .collect();
            json!({
                "id": id.index() + 1,
                "operation": node.operation.verb(),
                "kind": kind,
                "name": name,
                "text": node.operation.to_string(),
                "after": after,
                "group": node.group.map(|g| g.0),
                "cause": cause(&node.cause),
            })
        })
        .collect();
    json!({
        "changes": plan.changes_anything(),
        "operations": nodes,
        "unchanged": plan.unchanged,
        "warnings": plan.warnings,
        "needs_consent": plan.needs_consent.iter().map(|c| c.question.clone()).collect::<Vec<_>>(),
    })
}

fn cause(cause: &Cause) -> Value {
    json!({
        "text": cause.text,
        "field": cause.field,
        "file": cause.location.as_ref().map(|l| l.file.clone()),
        "line": cause.location.as_ref().map(|l| l.line),
        "old": cause.old,
        "new": cause.new,
    })
}
