//! Results that an operator may leave out and nothing reads are left out: the mask of `Dropout`, the indices of `MaxPool`,
//! the statistics of `BatchNormalization`. Nodes of which nothing is read go altogether.

use super::Draft;
use super::error::ImportError;
use super::proto::subgraphs;
use super::standard::{definition, version_of};
use std::collections::BTreeSet;
use tract_onnx::pb::{GraphProto, ModelProto, OperatorSetIdProto};

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let imports = draft.model.opset_import.clone();
    draft.each_graph(|graph| {
        leave_out(graph, &imports);
        Ok(())
    })
}

/// Removes what nothing reads from the main graph of a model.
pub(crate) fn leave_out_unread(model: &mut ModelProto) {
    if let Some(graph) = &mut model.graph {
        leave_out(graph, &model.opset_import);
    }
}

/// Goes from the outputs to what they need; what reads a node stands behind it.
fn leave_out(graph: &mut GraphProto, imports: &[OperatorSetIdProto]) {
    let mut read: BTreeSet<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    let mut kept = Vec::new();
    for mut node in std::mem::take(&mut graph.node).into_iter().rev() {
        let is_read = |name: &String| !name.is_empty() && read.contains(name);
        if !node.output.iter().any(is_read) {
            continue;
        }
        let version = version_of(imports, &node.domain).unwrap_or(1);
        if let Some(definition) = definition(&node, version) {
            let (least, most) = (*definition.results.start(), *definition.results.end());
            let last = node.output.iter().rposition(is_read);
            if most < usize::MAX {
                let wanted = last.map_or(0, |last| last + 1).max(least);
                node.output.truncate(wanted);
            }
        }
        read.extend(node.input.iter().cloned());
        for inner in subgraphs(&node) {
            read_in(inner, &mut read);
        }
        kept.push(node);
    }
    kept.reverse();
    graph.node = kept;
}

/// Notes every name that a graph in a node reads; its own are among them, and do no harm.
fn read_in(graph: &GraphProto, read: &mut BTreeSet<String>) {
    read.extend(graph.output.iter().map(|output| output.name.clone()));
    for node in &graph.node {
        read.extend(node.input.iter().cloned());
        for inner in subgraphs(node) {
            read_in(inner, read);
        }
    }
}
