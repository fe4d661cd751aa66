//! Which nodes are not given to tract, why, and what is said where no other runtime has them.

use super::host_operators;
use super::{ImportError, node_name};
use crate::codes::Code;
use crate::normalise::closure::has_graphs;
use scnn_host::{Host, Policy, Runtime, reader};
use std::collections::BTreeMap;
use tract_onnx::Onnx;
use tract_onnx::pb::{ModelProto, NodeProto};
use tract_onnx::tensor::load_tensor;

/// Why nodes are not given to tract, by their position.
pub(super) type Reasons = BTreeMap<usize, String>;

/// What helps where shapes cannot be inferred.
pub(super) const CHECK: &str = "check the model with onnx.checker and onnx.shape_inference; bind dimensions with `--dim NAME=VALUE`";

/// The nodes of a model that are not given to tract.
pub(super) fn of(model: &ModelProto) -> Reasons {
    let Some(graph) = &model.graph else {
        return Reasons::new();
    };
    let reader = reader();
    // Constants of a type that tract does not have, such as 4-bit integers.
    let strange = graph
        .initializer
        .iter()
        .filter(|tensor| load_tensor(&*reader.provider, tensor, None).is_err());
    let strange: Vec<&String> = strange.map(|tensor| &tensor.name).collect();
    let mut reasons = Reasons::new();
    for (index, node) in graph.node.iter().enumerate() {
        let reads_strange = || node.input.iter().any(|name| strange.contains(&name));
        let reason = match not_for_tract(node, &reader) {
            Some(reason) => reason,
            None if reads_strange() => {
                "it reads a constant of a type that tract does not have".to_owned()
            }
            None => continue,
        };
        reasons.insert(index, reason);
    }
    reasons
}

/// Why a node is not given to tract, if it is not.
fn not_for_tract(node: &NodeProto, reader: &Onnx) -> Option<String> {
    let standard = node.domain.is_empty() || node.domain == "ai.onnx";
    if !standard {
        return Some(format!("tract does not have the domain `{}`", node.domain));
    }
    if has_graphs(node) {
        return Some("tract does not have control flow".to_owned());
    }
    if !reader.op_register.0.contains_key(&node.op_type) {
        return Some("tract does not have it".to_owned());
    }
    host_operators::wrong_in_tract(node)
        .map(|reason| format!("tract computes it otherwise: {reason}"))
}

/// The version of a domain that a model asks for.
pub(super) fn version(model: &ModelProto, domain: &str) -> i64 {
    let standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let mut sets = model.opset_import.iter();
    sets.find(|set| set.domain == domain || (standard(domain) && standard(&set.domain)))
        .map_or(1, |set| set.version)
}

/// An operator with its domain and version, as messages name it.
fn operator(model: &ModelProto, node: &NodeProto) -> String {
    let domain = if node.domain.is_empty() {
        "ai.onnx"
    } else {
        &node.domain
    };
    format!(
        "{} of `{domain}` version {}",
        node.op_type,
        version(model, &node.domain)
    )
}

/// Why there is no second runtime, and what helps.
fn no_second(host: &Host) -> (String, &'static str) {
    match host.onnx_runtime() {
        _ if host.policy() == Policy::Tract => (
            "`--host tract` was asked for".to_owned(),
            "`--host auto`, with `pip install onnxruntime` or `--host-library FILE`",
        ),
        Err(error) => (
            error.to_string(),
            "`pip install onnxruntime` in the active virtual environment, or `--host-library FILE`",
        ),
        Ok(_) => ("it is not wanted".to_owned(), "use `--host auto`"),
    }
}

/// Nodes that tract does not have, where there is no other runtime.
pub(super) fn missing(model: &ModelProto, foreign: &Reasons, host: &Host) -> Vec<ImportError> {
    let (why, remedy) = no_second(host);
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    let nodes: Vec<&NodeProto> = nodes.collect();
    let error = |(&index, reason): (&usize, &String)| {
        let node = nodes[index];
        let message = format!(
            "no runtime of the host has the operator {}: {reason}; {why}",
            operator(model, node)
        );
        ImportError::node(Code::OperatorMissing, node, message, remedy)
    };
    foreign
        .iter()
        .take(crate::normalise::MOST_ERRORS)
        .map(error)
        .collect()
}

/// A node that tract cannot type, where there is no other runtime.
pub(super) fn not_typed(node: &NodeProto, reason: &str, host: &Host) -> ImportError {
    let message = format!("the shape of its result cannot be inferred: {reason}");
    let (_, remedy) = no_second(host);
    let remedy = format!("{CHECK}; ONNX Runtime may have what tract lacks: {remedy}");
    ImportError::node(Code::ShapeInference, node, message, remedy)
}

/// A node that neither runtime has, or can type.
pub(super) fn neither(
    model: &ModelProto,
    node: &NodeProto,
    tract: &str,
    runtime: &dyn Runtime,
    words: &str,
) -> ImportError {
    let unknown = [
        "not a registered function",
        "Could not find an implementation",
        "No Op registered",
        "No opset import",
    ];
    let version = format!("{} {}", runtime.name(), runtime.version());
    if unknown.iter().any(|text| words.contains(text)) {
        let message = format!(
            "no runtime of the host has the operator {}: {tract}; {version}: {words}",
            operator(model, node)
        );
        let remedy = "export the model with operators of the standard, or cut it before this node";
        return ImportError::node(Code::OperatorMissing, node, message, remedy);
    }
    let message = format!(
        "neither runtime of the host can type {}: {tract}; {version}: {words}",
        node_name(node)
    );
    ImportError::node(Code::ShapeInference, node, message, CHECK)
}
