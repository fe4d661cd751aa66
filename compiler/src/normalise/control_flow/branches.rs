//! The branch of an `If` that is taken.

use super::{names_of, truth, value_before};
use crate::normalise::Draft;
use crate::normalise::proto::attribute;
use crate::normalise::rename::{Names, fresh, rename, rename_in};
use std::collections::BTreeSet;
use tract_onnx::pb::{GraphProto, NodeProto};

/// What replaces the `If` at `position`, if its condition is constant.
pub(super) fn taken(draft: &Draft<'_>, position: usize) -> Option<GraphProto> {
    let graph = draft.model.graph.as_ref()?;
    let node = &graph.node[position];
    let condition = truth(&*value_before(draft, position, node.input.first()?)?)?;
    let name = if condition {
        "then_branch"
    } else {
        "else_branch"
    };
    let branch = attribute(node, name)?.g.clone()?;
    let fits = branch.output.len() == node.output.len();
    fits.then(|| splice(branch, &node.output, &names_of(graph)))
}

/// A branch whose results have the names `results`, and whose own names are none of `taken`.
fn splice(mut branch: GraphProto, results: &[String], taken: &BTreeSet<String>) -> GraphProto {
    let computed = branch.node.iter().flat_map(|node| node.output.clone());
    let computed: BTreeSet<String> = computed.filter(|name| !name.is_empty()).collect();
    let constants = branch.initializer.iter().map(|tensor| tensor.name.clone());
    let own: BTreeSet<String> = constants.chain(computed.iter().cloned()).collect();
    let mut names = Names::new();
    let mut identities = Vec::new();
    for (output, result) in branch.output.iter().zip(results) {
        // What is computed gets the name of the result; what comes from outside, or is a result already, an identity.
        if computed.contains(&output.name) && !names.contains_key(&output.name) {
            names.insert(output.name.clone(), result.clone());
        } else {
            identities.push((output.name.clone(), result.clone()));
        }
    }
    let mut used: BTreeSet<String> = taken.union(&own).cloned().collect();
    for name in own.intersection(taken) {
        if !names.contains_key(name) {
            names.insert(name.clone(), fresh(format!("{name}.branch"), &mut used));
        }
    }
    for tensor in &mut branch.initializer {
        rename(&names, &mut tensor.name);
    }
    let nodes = branch.node.iter_mut();
    nodes.for_each(|node| rename_in(&names, node));
    for (mut from, result) in identities {
        rename(&names, &mut from);
        branch.node.push(NodeProto {
            name: format!("{result}:Identity"),
            op_type: "Identity".to_owned(),
            input: vec![from],
            output: vec![result],
            ..NodeProto::default()
        });
    }
    branch
}
