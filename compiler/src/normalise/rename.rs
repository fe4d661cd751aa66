//! New names for the tensors of nodes that are put elsewhere.

use super::proto::subgraphs_mut;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::NodeProto;

/// New names of tensors.
pub(super) type Names = BTreeMap<String, String>;

/// The new name of a tensor, if it gets one.
pub(super) fn rename(names: &Names, name: &mut String) {
    if let Some(new) = names.get(name) {
        name.clone_from(new);
    }
}

/// Renames what a node and the graphs in it read or define.
pub(super) fn rename_in(names: &Names, node: &mut NodeProto) {
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
        let nodes = inner.node.iter_mut();
        nodes.for_each(|node| rename_in(&outer, node));
        for output in &mut inner.output {
            rename(&outer, &mut output.name);
        }
    }
}

/// A name that is not taken yet, made of `wanted`; it is taken from now on.
pub(super) fn fresh(wanted: String, taken: &mut BTreeSet<String>) -> String {
    let mut name = wanted;
    while !taken.insert(name.clone()) {
        name.push('\'');
    }
    name
}
