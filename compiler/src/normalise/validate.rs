//! What must hold before tract sees a model: every name defined once and before its use, no cycles, operands and attributes
//! that the standard allows, branches that fit their node, constants with as much data as they have elements, external data
//! that exists. All problems are found in one go, in branches, bodies and functions too.

mod attributes;
mod axes;
mod names;
mod operands;
mod tensors;

use super::decode::Decoded;
use super::error::ImportError;
use super::limits::MOST_ERRORS;
use super::proto::{is_standard, subgraphs};
use super::standard;
use crate::codes::Code;
use std::collections::BTreeSet;
use std::path::Path;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};

/// Oldest operator set that is read.
const OLDEST_OPSET: i64 = 6;

/// All problems of the model.
pub(super) fn validate(decoded: &Decoded, folder: &Path) -> Vec<ImportError> {
    let Some(graph) = &decoded.model.graph else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    opset(&decoded.model, &mut errors);
    nodes(
        &graph.node,
        &decoded.model.opset_import,
        folder,
        &mut errors,
    );
    for function in &decoded.model.functions {
        nodes(&function.node, &function.opset_import, folder, &mut errors);
    }
    let version = standard::operator_set(&decoded.model);
    axes::check(graph, version, &mut errors);
    names::check(graph, &BTreeSet::new(), &mut errors);
    if graph.output.is_empty() {
        errors.push(ImportError::model(
            Code::MissingTensor,
            "the graph has no output",
            "export the model again",
        ));
    }
    for (number, tensor) in graph.initializer.iter().enumerate() {
        errors.extend(tensors::problem(tensor, decoded.data.get(&number), folder));
    }
    errors.truncate(MOST_ERRORS);
    errors
}

/// The problems of nodes and of the graphs in them.
fn nodes(
    nodes: &[NodeProto],
    imports: &[OperatorSetIdProto],
    folder: &Path,
    errors: &mut Vec<ImportError>,
) {
    operands::check(nodes, imports, errors);
    attributes::check(nodes, imports, errors);
    for node in nodes {
        branches(node, errors);
        let attributes = node.attribute.iter();
        for tensor in attributes.flat_map(|a| a.t.iter().chain(&a.tensors)) {
            errors.extend(tensors::problem(tensor, None, folder));
        }
        for inner in subgraphs(node) {
            self::nodes(&inner.node, imports, folder, errors);
            for tensor in &inner.initializer {
                errors.extend(tensors::problem(tensor, None, folder));
            }
        }
    }
}

/// The branches of an `If` compute as many results as it has.
fn branches(node: &NodeProto, errors: &mut Vec<ImportError>) {
    let wrong = |graph: &&GraphProto| graph.output.len() != node.output.len();
    if is_standard(node)
        && node.op_type == "If"
        && let Some(branch) = subgraphs(node).find(wrong)
    {
        let (branch, wanted) = (branch.output.len(), node.output.len());
        errors.push(ImportError::node(
            Code::OperandCount,
            node,
            format!("a branch of it computes {branch} results, it has {wanted}"),
            "both branches compute all results; export the model again",
        ));
    }
}

fn opset(model: &ModelProto, errors: &mut Vec<ImportError>) {
    let version = model
        .opset_import
        .iter()
        .find(|o| o.domain.is_empty() || o.domain == "ai.onnx")
        .map(|o| o.version);
    if let Some(version) = version.filter(|&version| version < OLDEST_OPSET) {
        errors.push(ImportError::model(
            Code::Opset,
            format!(
                "the model uses operator set {version}; {OLDEST_OPSET} is the oldest that is read"
            ),
            "convert it with onnx.version_converter, or export it again",
        ));
    }
    let own = |graph: &GraphProto| graph.node.iter().any(is_standard);
    if version.is_none() && model.graph.as_ref().is_some_and(own) {
        errors.push(ImportError::model(
            Code::Opset,
            "the model does not say which operator set its operators are of",
            "say it, as in `model.opset_import.append(onnx.helper.make_opsetid(\"\", 17))` with the number that the exporter \
             had, and save the model again",
        ));
    }
}

fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    scnn_isa::yaml::nearest(name, names).map_or_else(
        || "export the model again".to_owned(),
        |nearest| format!("did you mean `{nearest}`?"),
    )
}
