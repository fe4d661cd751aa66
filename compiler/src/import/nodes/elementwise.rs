//! Elementwise operators as expressions of their operands: constants of one value become part of them.
//!
//! An operator with a constant for each channel is a layer's affine stage ([`super::arithmetic`]) or its slopes; any other
//! is a [`Map`], which `compose-functions` joins with its neighbours and `lower-functions` takes to the machine or
//! leaves to the host.

use super::constants::floats;
use super::{or_host, output_dims, output_shape, shape};
use crate::graph::expression::{Binary, Expression, Unary, library};
use crate::graph::{HostOp, Map, NodeId, Op};
use crate::import::attributes::{Attributes, outside};
use crate::import::{Importer, Translated, facts, node_name};
use scnn_host::RuntimeName;
use scnn_isa::legal;
use scnn_isa::program::Dtype;
use tract_onnx::pb::NodeProto;

/// An operator all of whose constants have one value.
pub(crate) fn map(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let operands = or_host!(Operands::of(importer, node));
    let expression = or_host!(expression(node, attributes, &operands.expressions));
    let dims = or_host!(output_dims(importer, node));
    let alike = operands
        .nodes
        .iter()
        .find(|&&id| importer.graph.dag[id].dims == *dims);
    let out = match alike {
        Some(&operand) => or_host!(shape(importer, operand)),
        None => or_host!(output_shape(importer, node)),
    };
    or_host!(legal::tensor(out));
    let result = importer.facts.get(&node.output[0]);
    let dtype = result.map_or(Dtype::F32, |fact| fact.dtype);
    if !matches!(dtype, Dtype::F32 | Dtype::Bool) {
        return Translated::Host(
            format!("its result is of type {dtype:?}; the array takes 32-bit floats").into(),
        );
    }
    let dims = result.map_or(Vec::new(), |fact| fact.dims.clone());
    let host = HostOp {
        nodes: vec![node.clone()],
        initializers: operands.initializers,
        inputs: operands.names,
        outputs: vec![(node.output[0].clone(), dtype, dims)],
        reasons: Vec::new(),
        multiplications: 0,
        runtime: RuntimeName::Tract,
    };
    Translated::Node(importer.add(
        &node.output[0],
        &operands.nodes,
        Op::Map(Box::new(Map { expression, host })),
        vec![node_name(node)],
    ))
}

/// Whether operand `index` is a constant of more than one value.
pub(super) fn has_many_values(importer: &Importer<'_>, node: &NodeProto, index: usize) -> bool {
    importer
        .constant(node, index)
        .is_some_and(|constant| constant.len() != 1)
}

/// The operands of a node as expressions, and the nodes that compute those that vary.
struct Operands {
    /// In the node's order; none for one that is left out.
    expressions: Vec<Option<Expression>>,
    /// Those that vary, each once.
    nodes: Vec<NodeId>,
    /// Their names.
    names: Vec<String>,
    initializers: Vec<tract_onnx::pb::TensorProto>,
}

impl Operands {
    fn of(importer: &Importer<'_>, node: &NodeProto) -> Result<Self, String> {
        let mut operands = Self {
            expressions: Vec::new(),
            nodes: Vec::new(),
            names: Vec::new(),
            initializers: Vec::new(),
        };
        for (index, name) in node.input.iter().enumerate() {
            let expression = if name.is_empty() {
                None
            } else if let Some(constant) = importer.constant(node, index) {
                let values = floats(constant)?;
                let &[value] = values.as_slice() else {
                    return Err(format!(
                        "its constant is {:?}; a function of the PPU takes one value",
                        constant.shape()
                    ));
                };
                let known = operands.initializers.iter().any(|t| t.name == *name);
                if !known {
                    operands
                        .initializers
                        .extend(facts::to_proto(name, constant));
                }
                Some(Expression::Constant(value.into()))
            } else {
                let position =
                    if let Some(position) = operands.names.iter().position(|known| known == name) {
                        position
                    } else {
                        operands.nodes.push(importer.activation(node, index)?);
                        operands.names.push(name.clone());
                        operands.names.len() - 1
                    };
                Some(Expression::Operand(position as u32))
            };
            operands.expressions.push(expression);
        }
        if operands.nodes.is_empty() {
            return Err("all of its operands are constants".to_owned());
        }
        let result = importer.facts.get(&node.output[0]);
        let grows = |&id: &NodeId| {
            result.is_some_and(|fact| fact.dims.len() > importer.graph.dag[id].dims.len())
        };
        if operands.nodes.iter().all(grows) {
            return Err("a constant gives its result more dimensions".to_owned());
        }
        Ok(operands)
    }
}

/// Whether a node computes every value of its result from the values of its operands at that position.
pub(crate) fn is_elementwise(node: &NodeProto) -> bool {
    let operand = |index: usize| match index {
        0 => Expression::X,
        _ => Expression::Constant(0.0),
    };
    let operands: Vec<_> = (0..node.input.len())
        .map(|index| Some(operand(index)))
        .collect();
    expression(node, &Attributes::of(node), &operands).is_ok()
}

/// The function that a node computes of its operands.
fn expression(
    node: &NodeProto,
    attributes: &Attributes<'_>,
    operands: &[Option<Expression>],
) -> Result<Expression, String> {
    let operand = |index: usize| operands.get(index).cloned().flatten();
    let first = operand(0).ok_or("it lacks an operand")?;
    let operator = node.op_type.as_str();
    if let Some(unary) = Unary::of_onnx(operator) {
        return Ok(Expression::unary(unary, first));
    }
    if let Some(binary) = Binary::of_onnx(operator).or((operator == "Sum").then_some(Binary::Add)) {
        let others = operands.iter().skip(1).flatten().cloned();
        return Ok(others.fold(first, |a, b| Expression::binary(binary, a, b)));
    }
    match operator {
        "Clip" => return clip(node, attributes, first, &[operand(1), operand(2)]),
        "Where" => {
            let (a, b) = operand(1).zip(operand(2)).ok_or("it lacks an operand")?;
            return Ok(Expression::select(first, a, b));
        }
        "PRelu" => {
            let Some(Expression::Constant(slope)) = operand(1) else {
                return Err("its `slope` is computed: export it as an initializer".to_owned());
            };
            return Ok(library::leaky(slope as f32).compose(&[first]));
        }
        _ => {}
    }
    let function = activation(operator, attributes)
        .ok_or_else(|| format!("the PPU has no function {operator}"))?;
    Ok(function.compose(&[first]))
}

/// The function of an activation operator with its attributes.
fn activation(operator: &str, attributes: &Attributes<'_>) -> Option<Expression> {
    let float = |name: &str, default: f32| attributes.float(name, default);
    Some(match operator {
        "Celu" => library::celu(float("alpha", 1.0)),
        "Elu" => library::elu(float("alpha", 1.0)),
        "Gelu"
            if attributes
                .text("approximate")
                .is_some_and(|way| way == "tanh") =>
        {
            library::gelu_tanh()
        }
        "Gelu" => library::gelu(),
        "HardSigmoid" => library::hard_sigmoid(float("alpha", 0.2), float("beta", 0.5)),
        "HardSwish" => library::hard_swish(),
        "LeakyRelu" => library::leaky(float("alpha", 0.01)),
        "Mish" => library::mish(),
        "Relu" => library::clip(Expression::X, 0.0, f32::INFINITY),
        "Selu" => library::selu(float("alpha", 1.673_263_2), float("gamma", 1.050_701)),
        "Shrink" => library::shrink(float("lambd", 0.5), float("bias", 0.0)),
        "Softsign" => library::softsign(),
        "Swish" => library::swish(float("alpha", 1.0)),
        "ThresholdedRelu" => library::threshold(float("alpha", 1.0)),
        _ => return None,
    })
}

fn clip(
    node: &NodeProto,
    attributes: &Attributes<'_>,
    x: Expression,
    bounds: &[Option<Expression>; 2],
) -> Result<Expression, String> {
    let bound = |name: &str, bound: &Option<Expression>, default: f32| match bound {
        _ if attributes.optional_float(name).is_some() => Ok(attributes.float(name, default)),
        Some(Expression::Constant(value)) => Ok(*value as f32),
        Some(_) => Err(format!(
            "its bound `{name}` is computed: export it as an initializer"
        )),
        None => Ok(default),
    };
    debug_assert_eq!(node.op_type, "Clip");
    let low = bound("min", &bounds[0], f32::NEG_INFINITY)?;
    let high = bound("max", &bounds[1], f32::INFINITY)?;
    if low.is_nan() || high.is_nan() || low > high {
        let taken = "`min` up to `max`";
        return Err(outside("min", low, taken, &format!("`max` is {high}")).to_string());
    }
    Ok(library::clip(x, low, high))
}
