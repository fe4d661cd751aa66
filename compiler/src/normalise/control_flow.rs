//! An `If` whose condition is constant becomes the branch that is taken, and a `Loop` that runs a constant number of times
//! its body, as many times.
//!
//! A condition may be constant only once shapes are known: `PyTorch`'s `squeeze` asks for an extent, compares it and branches;
//! TensorFlow counts to one. So what stands before a node is evaluated as far as its condition needs it, the nodes that
//! replace it are put in its place, and the search goes on behind it. An input that alone decides a condition gets the value
//! that it has in the arrays that are given, if it has one there. Other control flow stays: a host runtime has it.

mod branches;
mod choices;
mod loops;

use super::closure::reads;
use super::error::ImportError;
use super::names::make_unique;
use super::parts::node_name;
use super::proto::is_standard;
use super::{Draft, Undecided, bindings};
use std::collections::BTreeSet;
use std::sync::Arc;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};
use tract_onnx::prelude::Tensor;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let mut next = 0;
    while let Some(position) = control_flow(&draft.model, next) {
        let Some(graph) = &draft.model.graph else {
            return Ok(());
        };
        let branches = graph.node[position].op_type == "If";
        let replacement = if branches {
            branches::taken(draft, position)
        } else {
            loops::unrolled(draft, position)
        };
        next = position + 1;
        if branches && replacement.is_none() && decide(draft, position)? {
            next = position;
            continue;
        }
        if let (Some(replacement), Some(graph)) = (replacement, &mut draft.model.graph) {
            graph.initializer.extend(replacement.initializer);
            graph.node.splice(position..=position, replacement.node);
            make_unique(graph);
            // The nodes that stand there now may have control flow of their own.
            next = position;
        }
    }
    Ok(())
}

/// Binds the inputs that decide the `If` at `position` to what the given arrays hold; whether it did. Notes which inputs
/// they are where the arrays say nothing of them.
fn decide(draft: &mut Draft<'_>, position: usize) -> Result<bool, Vec<ImportError>> {
    let choice = choices::choice(draft, position);
    let (Some(choice), Some(graph)) = (choice, &mut draft.model.graph) else {
        return Ok(false);
    };
    let node = node_name(&graph.node[position]);
    let arrays = &draft.options.arrays;
    let value = |name: &String| arrays.get(name)?.value.clone();
    let values: Option<Vec<String>> = choice.inputs.iter().map(value).collect();
    let Some(values) = values else {
        let undecided = Undecided {
            reason: choice.reason(),
            remedy: choice.remedy(),
        };
        draft.undecided.insert(node, undecided);
        return Ok(false);
    };
    for (name, value) in choice.inputs.into_iter().zip(values) {
        bindings::bind(graph, &name, &value).map_err(|error| vec![error])?;
        draft.notes.push(format!(
            "`{node}` has a branch for each value of the input `{name}`: compiled for {value}, as in the arrays that are \
             given; `--input-value {name}=VALUE` compiles for another"
        ));
        draft.bound.insert(name, value);
    }
    Ok(true)
}

/// The position of the first node with control flow from `next` on.
fn control_flow(model: &ModelProto, next: usize) -> Option<usize> {
    let branches =
        |node: &NodeProto| is_standard(node) && ["If", "Loop"].contains(&node.op_type.as_str());
    let mut nodes = model.graph.as_ref()?.node.iter().skip(next);
    nodes.position(branches).map(|position| next + position)
}

/// The value of a tensor that the nodes before `position` compute of constants alone, if it has one.
fn value_before(draft: &Draft<'_>, position: usize, name: &str) -> Option<Arc<Tensor>> {
    let graph = draft.model.graph.as_ref()?;
    let nodes = needed(&graph.node[..position], &[name.to_owned()]);
    evaluate(draft, &nodes, &[], name)
}

/// The nodes that some tensors depend on.
fn needed(nodes: &[NodeProto], names: &[String]) -> Vec<NodeProto> {
    let mut wanted: BTreeSet<String> = names.iter().cloned().collect();
    let mut kept = Vec::new();
    for node in nodes.iter().rev() {
        if node.output.iter().any(|output| wanted.contains(output)) {
            wanted.extend(reads(node).into_iter().map(str::to_owned));
            kept.push(node.clone());
        }
    }
    kept.reverse();
    kept
}

/// The value of a tensor that nodes compute of the model's inputs and constants, and of others that it has not.
fn evaluate(
    draft: &Draft<'_>,
    nodes: &[NodeProto],
    others: &[tract_onnx::pb::TensorProto],
    name: &str,
) -> Option<Arc<Tensor>> {
    let graph = draft.model.graph.as_ref()?;
    let read: BTreeSet<&str> = nodes.iter().flat_map(reads).chain([name]).collect();
    let own: BTreeSet<&str> = others.iter().map(|tensor| tensor.name.as_str()).collect();
    let known = |name: &str| read.contains(name) && !own.contains(name);
    let constants = graph
        .initializer
        .iter()
        .filter(|tensor| known(&tensor.name));
    let initializer = constants.cloned().chain(others.iter().cloned()).collect();
    let inputs = graph.input.iter().filter(|input| known(&input.name));
    let model = ModelProto {
        graph: Some(GraphProto {
            input: inputs.cloned().collect(),
            initializer,
            node: nodes.to_vec(),
            ..GraphProto::default()
        }),
        ir_version: draft.model.ir_version,
        opset_import: draft.model.opset_import.clone(),
        ..ModelProto::default()
    };
    (draft.evaluate)(&model, &draft.large, name)
}

/// A truth that is constant.
fn truth(value: &Tensor) -> Option<bool> {
    let value = value.cast_to::<bool>().ok()?;
    let view = value.to_plain_array_view::<bool>().ok()?;
    (view.len() == 1).then(|| view.iter().next().copied())?
}

/// The names of all tensors that the nodes of a graph define or read.
fn names_of(graph: &GraphProto) -> BTreeSet<String> {
    let nodes = graph.node.iter();
    let nodes = nodes.flat_map(|node| node.input.iter().chain(&node.output));
    let inputs = graph.input.iter().map(|input| &input.name);
    let constants = graph.initializer.iter().map(|tensor| &tensor.name);
    nodes.chain(inputs).chain(constants).cloned().collect()
}
