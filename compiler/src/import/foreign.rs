//! Foreign nodes, which are not given to tract: which they are, why, and the errors where no other runtime has them.

use super::{ImportError, for_tract, host_operators, node_name};
use crate::codes::Code;
use crate::normalise::closure::{has_graphs, reads};
use crate::normalise::proto::tensor_type;
use scnn_host::{Host, Policy, Runtime, reader};
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::Onnx;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::Dimension;
use tract_onnx::pb::tensor_shape_proto::dimension::Value;
use tract_onnx::pb::{ModelProto, NodeProto, ValueInfoProto};
use tract_onnx::tensor::load_tensor;

/// Why nodes are not given to tract, by their position.
pub(super) type Reasons = BTreeMap<usize, String>;

/// The remedy where shapes cannot be inferred.
pub(super) const CHECK: &str = "check the model with onnx.checker and onnx.shape_inference; bind dimensions with `--dim NAME=VALUE`";

/// How a runtime's complaint of a sequence or another thing that is no tensor begins.
const NO_TENSOR: &str = "a result is of type";

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
    let is_known = reader.op_register.0.contains_key(&node.op_type);
    if !is_known && !for_tract::is_always_rewritten(node) {
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

/// Why there is no second runtime, and the remedy.
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
pub(super) fn not_typed(
    model: &ModelProto,
    node: &NodeProto,
    reason: &str,
    host: &Host,
) -> ImportError {
    let message = format!("the shape of its result cannot be inferred: {reason}");
    let (_, second) = no_second(host);
    let remedy = format!(
        "{}; ONNX Runtime may have what tract lacks: {second}",
        remedy(model, node)
    );
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
    if words.contains(NO_TENSOR) {
        let remedy =
            "a program computes tensors: cut the model before it (onnx.utils.extract_model)";
        return ImportError::node(Code::ShapeInference, node, message, remedy);
    }
    ImportError::node(Code::ShapeInference, node, message, remedy(model, node))
}

/// The remedy for a node whose result has no known shape: an input of few numbers that it depends on may decide it.
fn remedy(model: &ModelProto, node: &NodeProto) -> String {
    let inputs = numbers_behind(model, node);
    let Some(first) = inputs.first() else {
        return CHECK.to_owned();
    };
    format!(
        "its shape may depend on the numbers in `{}`: give them with `--input-value {first}=…`, or as an array with `--input`; \
         else {CHECK}",
        inputs.join("`, `")
    )
}

/// The inputs of integers, lists at most, and of one number that a node depends on.
fn numbers_behind(model: &ModelProto, node: &NodeProto) -> Vec<String> {
    let Some(graph) = &model.graph else {
        return Vec::new();
    };
    let mut read: BTreeSet<&str> = reads(node).into_iter().collect();
    for before in graph.node.iter().rev() {
        if before
            .output
            .iter()
            .any(|name| read.contains(name.as_str()))
        {
            read.extend(reads(before));
        }
    }
    let short = |input: &&ValueInfoProto| {
        let tensor = tensor_type(input);
        tensor.is_some_and(|tensor| {
            let dims = tensor.shape.as_ref().map_or(&[][..], |shape| &shape.dim);
            let single = |dim: &Dimension| dim.value == Some(Value::DimValue(1));
            let integers = [DataType::Int64 as i32, DataType::Int32 as i32];
            let counts = integers.contains(&tensor.elem_type);
            dims.len() <= 1 && (counts || dims.iter().all(single))
        })
    };
    let inputs = graph.input.iter().filter(short).map(|input| &input.name);
    inputs
        .filter(|name| read.contains(name.as_str()))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::proto::value_info;
    use scnn_isa::program::Dtype;
    use tract_onnx::pb::GraphProto;

    fn node(operands: &[&str], result: &str) -> NodeProto {
        NodeProto {
            input: operands.iter().map(|&name| name.to_owned()).collect(),
            output: vec![result.to_owned()],
            ..NodeProto::default()
        }
    }

    #[test]
    fn the_remedy_names_the_inputs_that_may_decide_a_shape() {
        let size = node(&["height", "threshold", "row", "x"], "size");
        let resize = node(&["x", "size"], "larger");
        let graph = GraphProto {
            input: vec![
                value_info("x", Dtype::F32, &[1, 3, 8, 8]),
                value_info("height", Dtype::I64, &[1]),
                value_info("threshold", Dtype::F32, &[1]),
                value_info("row", Dtype::F32, &[8]),
                value_info("tokens", Dtype::I64, &[1, 16]),
                value_info("unread", Dtype::I64, &[1]),
            ],
            node: vec![size, resize.clone()],
            ..GraphProto::default()
        };
        let model = ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        };
        assert_eq!(numbers_behind(&model, &resize), ["height", "threshold"]);
        assert!(remedy(&model, &resize).contains("--input-value height="));
        assert_eq!(remedy(&model, &node(&["x"], "y")), CHECK);
    }
}
