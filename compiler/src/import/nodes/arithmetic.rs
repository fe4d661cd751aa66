//! Sums, differences, products and quotients with a constant per channel; all others are maps.

use super::constants::per_channel;
use super::elementwise::{has_many_values, map};
use super::{finish, or_host};
use crate::graph::{Affine, Layer};
use crate::import::attributes::Attributes;
use crate::import::{Importer, Translated, movement};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::Tensor;

pub(crate) fn add(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    match many(importer, node) {
        Some((operand, constant)) => affine_with(importer, node, operand, constant, |v| (1.0, v)),
        None => map(importer, node, attributes),
    }
}

pub(crate) fn sum(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    // More operands have been spelled out as additions of two.
    match node.input.len() {
        1 => movement::identity(importer, node, attributes),
        _ => add(importer, node, attributes),
    }
}

pub(crate) fn sub(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    match many(importer, node) {
        Some((0, constant)) => affine_with(importer, node, 0, constant, |v| (1.0, -v)),
        Some((operand, constant)) => affine_with(importer, node, operand, constant, |v| (-1.0, v)),
        None => map(importer, node, attributes),
    }
}

pub(crate) fn mul(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    match many(importer, node) {
        Some((operand, constant)) => affine_with(importer, node, operand, constant, |v| (v, 0.0)),
        None => map(importer, node, attributes),
    }
}

pub(crate) fn div(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    match many(importer, node) {
        Some((0, constant)) => affine_with(importer, node, 0, constant, |v| (1.0 / v, 0.0)),
        Some(_) => Translated::Host("it divides a constant of many values".into()),
        None => map(importer, node, attributes),
    }
}

/// The constant of many values that is one of two operands, and which operand the other is.
fn many<'a>(importer: &Importer<'a>, node: &NodeProto) -> Option<(usize, &'a Tensor)> {
    let constant = |index: usize| {
        let constant = importer.constant(node, index);
        constant.filter(|_| has_many_values(importer, node, index))
    };
    constant(1)
        .map(|constant| (0, constant))
        .or_else(|| constant(0).map(|constant| (1, constant)))
}

fn affine_with(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    operand: usize,
    constant: &Tensor,
    of: impl Fn(f32) -> (f32, f32),
) -> Translated {
    let input = or_host!(importer.activation(node, operand));
    let values = or_host!(per_channel(importer, input, constant));
    let (scale, offset): (Vec<f32>, Vec<f32>) = values.into_iter().map(of).unzip();
    if scale.iter().chain(&offset).any(|v| !v.is_finite()) {
        return Translated::Host("its constant is not finite".into());
    }
    finish(
        importer,
        node,
        &[input],
        Layer {
            affine: Some(Affine { scale, offset }),
            ..Layer::default()
        },
    )
}
