//! An `If` whose condition is constant becomes the branch that is taken.
//!
//! A condition may be constant only once shapes are known: `PyTorch`'s `squeeze` asks for an extent, compares it and branches.
//! So what stands before an `If` is evaluated as far as its condition needs it, the branch is put in its place, and the
//! search goes on behind it. Other `If`s stay, and so do `Loop` and `Scan`: a host runtime has them.

use super::Draft;
use super::closure::reads;
use super::error::ImportError;
use super::proto::{attribute, is_standard, subgraphs_mut};
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

/// Runs the pass.
#[expect(clippy::unnecessary_wraps)] // A pass may refuse.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let mut next = 0;
    while let Some(position) = conditional(&draft.model, next) {
        match condition(draft, position) {
            // The nodes of the branch stand there now, and may have `If`s of their own.
            Some(taken) if take(&mut draft.model, position, taken) => next = position,
            _ => next = position + 1,
        }
    }
    Ok(())
}

/// The position of the first `If` from `next` on.
fn conditional(model: &ModelProto, next: usize) -> Option<usize> {
    let nodes = &model.graph.as_ref()?.node;
    let found = nodes
        .iter()
        .skip(next)
        .position(|n| is_standard(n) && n.op_type == "If");
    found.map(|position| next + position)
}

/// The value of the condition of the `If` at `position`, if it is constant.
fn condition(draft: &Draft<'_>, position: usize) -> Option<bool> {
    let name = draft.model.graph.as_ref()?.node[position].input.first()?;
    let value = (draft.evaluate)(&needed(&draft.model, position, name)?, &draft.large, name)?;
    let value = value.cast_to::<bool>().ok()?;
    let view = value.to_plain_array_view::<bool>().ok()?;
    (view.len() == 1).then(|| view.iter().next().copied())?
}

/// The nodes before `position` that `name` depends on, with all inputs and constants.
fn needed(model: &ModelProto, position: usize, name: &str) -> Option<ModelProto> {
    let graph = model.graph.as_ref()?;
    let mut wanted: BTreeSet<String> = BTreeSet::from([name.to_owned()]);
    let mut nodes = Vec::new();
    for node in graph.node[..position].iter().rev() {
        if node.output.iter().any(|output| wanted.contains(output)) {
            wanted.extend(reads(node).into_iter().map(str::to_owned));
            nodes.push(node.clone());
        }
    }
    nodes.reverse();
    let initializers = graph.initializer.iter();
    Some(ModelProto {
        graph: Some(GraphProto {
            node: nodes,
            initializer: initializers
                .filter(|t| wanted.contains(&t.name))
                .cloned()
                .collect(),
            input: graph.input.clone(),
            ..GraphProto::default()
        }),
        ir_version: model.ir_version,
        opset_import: model.opset_import.clone(),
        ..ModelProto::default()
    })
}

/// Puts a branch in the place of the `If` at `position`; false if it has none.
fn take(model: &mut ModelProto, position: usize, taken: bool) -> bool {
    let Some(graph) = &mut model.graph else {
        return false;
    };
    let name = if taken { "then_branch" } else { "else_branch" };
    let branch = attribute(&graph.node[position], name).and_then(|a| a.g.clone());
    let Some(branch) = branch.filter(|b| b.output.len() == graph.node[position].output.len())
    else {
        return false;
    };
    let taken: BTreeSet<String> = names_of(graph);
    let results = graph.node[position].output.clone();
    let mut spliced = splice(branch, &results, &taken);
    graph.initializer.append(&mut spliced.initializer);
    graph.node.splice(position..=position, spliced.node);
    true
}

/// The names of all tensors that the nodes of a graph define or read.
fn names_of(graph: &GraphProto) -> BTreeSet<String> {
    let nodes = graph
        .node
        .iter()
        .flat_map(|node| node.input.iter().chain(&node.output));
    let inputs = graph.input.iter().map(|input| &input.name);
    let constants = graph.initializer.iter().map(|tensor| &tensor.name);
    nodes.chain(inputs).chain(constants).cloned().collect()
}

/// A branch whose results have the names `results`, and whose own names are none of `taken`.
fn splice(mut branch: GraphProto, results: &[String], taken: &BTreeSet<String>) -> GraphProto {
    let own = branch.node.iter().flat_map(|node| &node.output);
    let own = own.chain(branch.initializer.iter().map(|tensor| &tensor.name));
    let own: BTreeSet<String> = own.filter(|name| !name.is_empty()).cloned().collect();
    let computed: BTreeSet<String> = branch
        .node
        .iter()
        .flat_map(|node| node.output.clone())
        .collect();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut identities = Vec::new();
    for (output, result) in branch.output.iter().zip(results) {
        // What is computed gets the name of the result; what comes from outside, or is a result already, an identity.
        if computed.contains(&output.name) && !names.contains_key(&output.name) {
            names.insert(output.name.clone(), result.clone());
        } else {
            identities.push((output.name.clone(), result.clone()));
        }
    }
    let mut used: BTreeSet<String> = taken.iter().chain(&own).cloned().collect();
    for name in &own {
        if taken.contains(name) && !names.contains_key(name) {
            let mut new = format!("{name}.branch");
            while !used.insert(new.clone()) {
                new.push('\'');
            }
            names.insert(name.clone(), new);
        }
    }
    for tensor in &mut branch.initializer {
        rename(&names, &mut tensor.name);
    }
    branch
        .node
        .iter_mut()
        .for_each(|node| rename_in(&names, node));
    for (from, result) in identities {
        let mut from = from;
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

fn rename(names: &BTreeMap<String, String>, name: &mut String) {
    if let Some(new) = names.get(name) {
        name.clone_from(new);
    }
}

/// Renames what a node and the graphs in it read or define.
fn rename_in(names: &BTreeMap<String, String>, node: &mut NodeProto) {
    for name in node.input.iter_mut().chain(&mut node.output) {
        rename(names, name);
    }
    for inner in subgraphs_mut(node) {
        // A name that the inner graph defines itself is another tensor; ONNX allows no such name, files have it.
        let mut outer = names.clone();
        for input in &inner.input {
            outer.remove(&input.name);
        }
        for name in inner.node.iter().flat_map(|node| &node.output) {
            outer.remove(name);
        }
        for tensor in &inner.initializer {
            outer.remove(&tensor.name);
        }
        inner
            .node
            .iter_mut()
            .for_each(|node| rename_in(&outer, node));
        for output in &mut inner.output {
            rename(&outer, &mut output.name);
        }
    }
}
