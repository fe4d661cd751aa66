//! Sums, differences, products and quotients: of two activations, or with a constant per channel.

use super::constants::per_channel;
use super::{finish, or_host, shape};
use crate::graph::{Affine, Function, Layer};
use crate::import::attributes::Attributes;
use crate::import::{Importer, Translated, movement, node_name};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::Tensor;

pub(crate) fn add(importer: &mut Importer<'_>, node: &NodeProto, _: &Attributes<'_>) -> Translated {
    match (importer.constant(node, 0), importer.constant(node, 1)) {
        (None, None) => residual(importer, node),
        (None, Some(constant)) => affine_with(importer, node, 0, constant, |v| (1.0, v)),
        (Some(constant), _) => affine_with(importer, node, 1, constant, |v| (1.0, v)),
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
        2 => add(importer, node, attributes),
        more => Translated::Host(format!("it adds {more} tensors")),
    }
}

pub(crate) fn sub(importer: &mut Importer<'_>, node: &NodeProto, _: &Attributes<'_>) -> Translated {
    match (importer.constant(node, 0), importer.constant(node, 1)) {
        (None, Some(constant)) => affine_with(importer, node, 0, constant, |v| (1.0, -v)),
        (Some(constant), None) => affine_with(importer, node, 1, constant, |v| (-1.0, v)),
        _ => Translated::Host(
            "it subtracts two activations of different shapes, or in more than four dimensions"
                .into(),
        ),
    }
}

pub(crate) fn neg(importer: &mut Importer<'_>, node: &NodeProto, _: &Attributes<'_>) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let [_, channels, ..] = or_host!(shape(importer, input));
    let affine = Affine {
        scale: vec![-1.0; channels as usize],
        offset: vec![0.0; channels as usize],
    };
    let layer = Layer {
        affine: Some(affine),
        ..Layer::default()
    };
    finish(importer, node, &[input], layer)
}

pub(crate) fn mul(importer: &mut Importer<'_>, node: &NodeProto, _: &Attributes<'_>) -> Translated {
    match (importer.constant(node, 0), importer.constant(node, 1)) {
        (None, Some(constant)) => affine_with(importer, node, 0, constant, |v| (v, 0.0)),
        (Some(constant), None) => affine_with(importer, node, 1, constant, |v| (v, 0.0)),
        (None, None) => gated(importer, node),
        _ => Translated::Host("it multiplies two constants".into()),
    }
}

/// `x * sigmoid(x)` and `x * hard_sigmoid(x)` are one function of the PPU; any other product of two activations is none.
fn gated(importer: &mut Importer<'_>, node: &NodeProto) -> Translated {
    for (x, gate) in [(0, 1), (1, 0)] {
        let Some(&producer) = importer.producers.get(node.input[gate].as_str()) else {
            continue;
        };
        if producer.input.first() != Some(&node.input[x]) {
            continue;
        }
        let attributes = Attributes::of(producer);
        let sixth = (attributes.float("alpha", 0.2) - 1.0 / 6.0).abs() < 1e-6;
        let function = match producer.op_type.as_str() {
            "Sigmoid" => Function::Swish { alpha: 1.0 },
            "HardSigmoid" if sixth && attributes.float("beta", 0.5) == 0.5 => Function::HardSwish,
            _ => continue,
        };
        let input = or_host!(importer.activation(node, x));
        let layer = Layer {
            function: Some(function),
            ..Layer::default()
        };
        let result = finish(importer, node, &[input], layer);
        if let Translated::Node(id) = result
            && importer.readers(&node.input[gate]) == 1
        {
            importer.graph.dag[id]
                .onnx_nodes
                .insert(0, node_name(producer));
        }
        return result;
    }
    Translated::Host("it multiplies two activations".into())
}

pub(crate) fn div(importer: &mut Importer<'_>, node: &NodeProto, _: &Attributes<'_>) -> Translated {
    match importer.constant(node, 1) {
        Some(constant) => affine_with(importer, node, 0, constant, |v| (1.0 / v, 0.0)),
        None => Translated::Host("it divides by an activation".into()),
    }
}

fn residual(importer: &mut Importer<'_>, node: &NodeProto) -> Translated {
    let (a, b) = (
        or_host!(importer.activation(node, 0)),
        or_host!(importer.activation(node, 1)),
    );
    let (left, right) = (&importer.graph.dag[a].dims, &importer.graph.dag[b].dims);
    if left != right {
        return Translated::Host(format!("its operands {left:?} and {right:?} are broadcast"));
    }
    finish(
        importer,
        node,
        &[a, b],
        Layer {
            operand: true,
            ..Layer::default()
        },
    )
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
