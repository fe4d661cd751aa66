//! Inputs that decide which branch of an `If` is taken: single integers or truths that its condition is computed of, such as
//! a rate in Hz. A program has one branch, so such an input has to have a value when a model is compiled.

use super::needed;
use crate::normalise::Draft;
use crate::normalise::bindings::open_inputs;
use crate::normalise::closure::reads;
use crate::normalise::proto::{attribute, int64_values, tensor_type};
use std::collections::BTreeSet;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// Operators that compare a value with others.
const COMPARISONS: &[&str] = &["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"];

/// The inputs that decide an `If`.
pub(super) struct Condition {
    /// Their names.
    pub inputs: Vec<String>,
    /// A value that the model compares them with, if there is one.
    pub compared: Option<i64>,
}

/// What decides the `If` at `position`, if that is single integers and truths alone.
pub(super) fn choice(draft: &Draft<'_>, position: usize) -> Option<Condition> {
    let graph = draft.model.graph.as_ref()?;
    let condition = graph.node[position].input.first()?.clone();
    let nodes = needed(&graph.node[..position], std::slice::from_ref(&condition));
    let read: BTreeSet<&str> = nodes.iter().flat_map(reads).chain([&*condition]).collect();
    let inputs: Vec<_> = open_inputs(graph)
        .filter(|input| read.contains(input.name.as_str()))
        .collect();
    let single = inputs.iter().all(|input| is_single(input));
    (single && !inputs.is_empty()).then(|| Condition {
        inputs: inputs.iter().map(|input| input.name.clone()).collect(),
        compared: compared(graph, &nodes),
    })
}

/// Whether an input holds one integer or truth.
fn is_single(input: &ValueInfoProto) -> bool {
    let Some(tensor) = tensor_type(input) else {
        return false;
    };
    let kind = DataType::try_from(tensor.elem_type);
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    let mut dims = dims.map(|dim| dim.value == Some(Value::DimValue(1)));
    matches!(kind, Ok(DataType::Int64 | DataType::Int32 | DataType::Bool)) && dims.all(|one| one)
}

/// The first constant that some nodes compare with.
fn compared(graph: &GraphProto, nodes: &[NodeProto]) -> Option<i64> {
    let comparisons = nodes
        .iter()
        .filter(|node| COMPARISONS.contains(&node.op_type.as_str()));
    let mut names = comparisons.flat_map(|node| &node.input);
    names.find_map(
        |name| match int64_values(constant(graph, nodes, name)?)?.as_slice() {
            [value] => Some(*value),
            _ => None,
        },
    )
}

/// The constant of that name: an initializer, or one that a node holds.
fn constant<'a>(
    graph: &'a GraphProto,
    nodes: &'a [NodeProto],
    name: &str,
) -> Option<&'a TensorProto> {
    let mut initializers = graph.initializer.iter();
    let initializer = initializers.find(|tensor| tensor.name == name);
    initializer.or_else(|| {
        let computes = |node: &&NodeProto| node.output.first().is_some_and(|own| own == name);
        let node = nodes.iter().find(computes)?;
        attribute(node, "value")?.t.as_ref()
    })
}

impl Condition {
    /// What a person can do.
    pub(super) fn remedy(&self) -> String {
        let value = self
            .compared
            .map_or_else(|| "VALUE".to_owned(), |value| value.to_string());
        let flags = self.inputs.iter();
        let flags: Vec<String> = flags
            .map(|input| format!("`--input-value {input}={value}`"))
            .collect();
        format!("{} compiles the branch that is taken", flags.join(" "))
    }

    /// What the branch depends on, in words.
    pub(super) fn reason(&self) -> String {
        let inputs: Vec<String> = self.inputs.iter().map(|name| format!("`{name}`")).collect();
        let plural = if inputs.len() == 1 { "" } else { "s" };
        format!(
            "which of its branches is taken depends on the input{plural} {}",
            inputs.join(", ")
        )
    }
}
