//! Translation of each operator that computes: a file for each kind, and here what they share.
//!
//! A function returns [`Translated::Host`] with the reason where the machine's form does not cover the node. What only
//! moves values is in [`super::movement`].

pub(crate) mod activation;
pub(crate) mod arithmetic;
pub(crate) mod batch_norm;
pub(super) mod constants;
pub(crate) mod convolution;
pub(crate) mod elementwise;
pub(crate) mod linear;
pub(crate) mod pooling;

use super::attributes::Attributes;
use super::{Importer, Translated, node_name};
use crate::graph::{Layer, NodeId, Op};
use scnn_isa::legal;
use std::sync::Arc;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::Tensor;

/// A translation of one operator.
pub(crate) type Translate = fn(&mut Importer<'_>, &NodeProto, &Attributes<'_>) -> Translated;

/// Leaves with the host for a reason, or goes on with the value.
macro_rules! or_host {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(reason) => return Translated::Host(reason.into()),
        }
    };
}
pub(crate) use or_host;

/// Adds the layer as the node's result, if it is legal on the machine.
pub(super) fn finish(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    operands: &[NodeId],
    layer: Layer,
) -> Translated {
    let out = or_host!(output_shape(importer, node));
    let source = match operands {
        [] => return Translated::Host("it has no operands".into()),
        [first, ..] => or_host!(shape(importer, *first)),
    };
    let operand = match operands.get(1) {
        Some(&second) => Some(or_host!(shape(importer, second))),
        None => None,
    };
    or_host!(legal::layer(&layer.form(source, operand, out)));
    add_layer(importer, node, operands, layer)
}

/// Adds a layer that is legal as the node's result.
fn add_layer(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    operands: &[NodeId],
    layer: Layer,
) -> Translated {
    Translated::Node(importer.add(
        &node.output[0],
        operands,
        Op::Layer(Box::new(layer)),
        vec![node_name(node)],
    ))
}

pub(super) fn output_shape(importer: &Importer<'_>, node: &NodeProto) -> Result<[u32; 4], String> {
    let name = node.output.first().ok_or("it has no result")?;
    let fact = importer
        .facts
        .get(name)
        .ok_or("the shape of its result is not known")?;
    let dim =
        |i: usize| u32::try_from(fact.dims[i]).map_err(|_| "its result is too large".to_owned());
    match fact.dims.len() {
        2 => Ok([dim(0)?, dim(1)?, 1, 1]),
        3 => Ok([dim(0)?, dim(1)?, 1, dim(2)?]),
        4 => Ok([dim(0)?, dim(1)?, dim(2)?, dim(3)?]),
        _ => Err(format!(
            "its result {:?} has no form [N, C, H, W]",
            fact.dims
        )),
    }
}

pub(super) fn shape(importer: &Importer<'_>, id: NodeId) -> Result<[u32; 4], String> {
    importer.graph.dag[id]
        .shape()
        .ok_or_else(|| "its operand has no form [N, C, H, W]".to_owned())
}

/// What one unit of the weights of each of `k` output channels stands for, where they are a `DequantizeLinear` of
/// integers with one scale, or one for each output channel; those lie along `axis`.
fn weight_units(importer: &Importer<'_>, node: &NodeProto, k: u32, axis: i64) -> Option<Vec<f32>> {
    let behind = importer.dequantised.get(node.input.get(1)?.as_str())?;
    if behind.attribute.iter().any(|a| a.name == "block_size") {
        return None;
    }
    let rank = importer.facts.get(&node.input[1])?.dims.len() as i64;
    let scales = constants::floats(importer.constant(behind, 1)?).ok()?;
    let along = Attributes::of(behind).int("axis", 1);
    match scales[..] {
        [scale] => Some(vec![scale; k as usize]),
        _ if along.rem_euclid(rank) == axis && scales.len() == k as usize => Some(scales),
        _ => None,
    }
}

fn weights_of<'a>(importer: &Importer<'a>, node: &NodeProto) -> Result<&'a Arc<Tensor>, String> {
    let name = node.input.get(1);
    let weights = name.and_then(|name| importer.facts.shared(name));
    let weights = weights.ok_or("its weights are computed: export them as an initializer")?;
    constants::finite(weights)?;
    Ok(weights)
}
