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
use crate::graph::placement::{self, Placement};
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

/// Adds the layer as the node's result, if it is legal on the machine. Without convolution and pooling the result lies as
/// the operand does, else as a plane.
pub(super) fn finish(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    operands: &[NodeId],
    layer: Layer,
) -> Translated {
    let dims = or_host!(output_dims(importer, node));
    let Some(&first) = operands.first() else {
        return Translated::Host("it has no operands".into());
    };
    let source = &importer.graph.dag[first];
    let keeps = layer.conv.is_none() && layer.pool.is_none();
    if keeps && source.dims != *dims {
        return Translated::Host(
            format!("its result is {dims:?}, its operand is {:?}", source.dims).into(),
        );
    }
    let placement = if keeps {
        source.placement.clone()
    } else {
        placement::positional(dims)
    };
    let no_form = || format!("its result {dims:?} has no form [N, C, H, W]");
    let placement = or_host!(placement.ok_or_else(no_form));
    finish_placed(importer, node, operands, layer, placement)
}

/// Adds the layer as the node's result, which lies so, if it is legal on the machine.
pub(super) fn finish_placed(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    operands: &[NodeId],
    layer: Layer,
    placement: Placement,
) -> Translated {
    let out = or_host!(placement.shape().ok_or("its result is too large"));
    let mut shapes = Vec::new();
    for &operand in operands {
        shapes.push(or_host!(shape(importer, operand)));
    }
    let form = layer.form(shapes[0], shapes.get(1).copied(), out);
    or_host!(legal::layer(&form));
    Translated::Node(importer.add_placed(
        &node.output[0],
        operands,
        Op::Layer(Box::new(layer)),
        vec![node_name(node)],
        Some(placement),
    ))
}

/// Extents of a node's result.
pub(super) fn output_dims<'a>(
    importer: &Importer<'a>,
    node: &NodeProto,
) -> Result<&'a Vec<u64>, String> {
    let name = node.output.first().ok_or("it has no result")?;
    let fact = importer.facts.get(name);
    Ok(&fact.ok_or("the shape of its result is not known")?.dims)
}

/// `[N, C, H, W]` of a node's result, a plane.
pub(super) fn output_shape(importer: &Importer<'_>, node: &NodeProto) -> Result<[u32; 4], String> {
    let dims = output_dims(importer, node)?;
    let placement = placement::positional(dims);
    placement
        .and_then(|placement| placement.shape())
        .ok_or_else(|| format!("its result {dims:?} has no form [N, C, H, W]"))
}

pub(super) fn shape(importer: &Importer<'_>, id: NodeId) -> Result<[u32; 4], String> {
    importer.graph.dag[id]
        .shape()
        .ok_or_else(|| "its operand has no form [N, C, H, W]".to_owned())
}

/// Real value of one unit of the weights of each of `k` output channels, where they are a `DequantizeLinear` of
/// integers with one scale, or one for each output channel; those lie along `axis`. They are operand `index`.
fn weight_units(
    importer: &Importer<'_>,
    (node, index): (&NodeProto, usize),
    k: u32,
    axis: i64,
) -> Option<Vec<f32>> {
    let weights = node.input.get(index)?;
    let behind = importer.dequantised.get(weights.as_str())?;
    if behind.attribute.iter().any(|a| a.name == "block_size") {
        return None;
    }
    let rank = importer.facts.get(weights)?.dims.len() as i64;
    let scales = constants::floats(importer.constant(behind, 1)?).ok()?;
    let along = Attributes::of(behind).int("axis", 1);
    match scales[..] {
        [scale] => Some(vec![scale; k as usize]),
        _ if along.rem_euclid(rank) == axis && scales.len() == k as usize => Some(scales),
        _ => None,
    }
}

/// The weights of a node, its operand `index`.
fn weights_of<'a>(
    importer: &Importer<'a>,
    (node, index): (&NodeProto, usize),
) -> Result<&'a Arc<Tensor>, String> {
    let name = node.input.get(index);
    let weights = name.and_then(|name| importer.facts.shared(name));
    let weights = weights.ok_or_else(|| {
        let inputs = importer.model.graph.iter().flat_map(|graph| &graph.input);
        let is_input = inputs.into_iter().any(|input| Some(&input.name) == name);
        let message = if is_input {
            "its weights are an input of the model: export them as an initializer"
        } else {
            "it multiplies by what the network computes, where the array has constant weights"
        };
        message.to_owned()
    })?;
    constants::finite(weights)?;
    Ok(weights)
}
