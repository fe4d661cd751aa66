//! Linear layers: 1 x 1 convolutions of a 1 x 1 plane.

use super::constants::spread;
use super::{add_layer, finish, or_host, output_shape, weight_units, weights_of};
use crate::graph::weights::Weights;
use crate::graph::{Affine, Conv, Layer, NodeId, Op};
use crate::import::attributes::{Attributes, outside};
use crate::import::{Importer, Translated};
use crate::transform::absorb_flatten::MOST_POSITIONS;
use scnn_isa::legal;
use scnn_isa::plane::Axis;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::Tensor;

pub(crate) fn gemm(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    if attributes.int("transA", 0) != 0 {
        return Translated::Host(outside(
            "transA",
            attributes.int("transA", 0),
            "0",
            "give the first operand as [rows, channels]",
        ));
    }
    let (alpha, beta) = (
        attributes.float("alpha", 1.0),
        attributes.float("beta", 1.0),
    );
    let offset = match (importer.constant(node, 2), Importer::has_operand(node, 2)) {
        (Some(tensor), _) => Some(tensor.clone()),
        (None, true) => {
            return Translated::Host(
                "its bias is computed: add it with an Add node, or export it as an initializer"
                    .into(),
            );
        }
        (None, false) => None,
    };
    linear(
        importer,
        node,
        attributes.int("transB", 0) != 0,
        alpha,
        offset.map(|tensor| (tensor, beta)),
    )
}

pub(crate) fn matmul(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    linear(importer, node, false, 1.0, None)
}

/// A linear layer: a 1 x 1 convolution of a 1 x 1 plane.
fn linear(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    transposed: bool,
    alpha: f32,
    offset: Option<(Tensor, f32)>,
) -> Translated {
    let input = or_host!(flattened(importer, node));
    let dims = importer.graph.dag[input].dims.clone();
    if dims.len() != 2 {
        return Translated::Host(format!("its first operand {dims:?} is no matrix").into());
    }
    let weights = or_host!(weights_of(importer, node));
    if weights.rank() != 2 {
        return Translated::Host(format!("its weights {:?} are no matrix", weights.shape()).into());
    }
    let values = or_host!(Weights::of(weights));
    let (rows, cols) = (weights.shape()[0], weights.shape()[1]);
    let (k, c) = if transposed {
        (rows, cols)
    } else {
        (cols, rows)
    };
    if c as u64 != dims[1] {
        return Translated::Host(format!(
            "its weights are {:?}, its first operand has {} channels: set `transB` as the weights lie",
            weights.shape(),
            dims[1]
        ).into());
    }
    let kc = if transposed && alpha == 1.0 {
        values
    } else {
        let value = |ko, ci| values[if transposed { ko * c + ci } else { ci * k + ko }];
        let rows = (0..k).flat_map(|ko| (0..c).map(move |ci| (ko, ci)));
        Weights::from(
            rows.map(|(ko, ci)| alpha * value(ko, ci))
                .collect::<Vec<_>>(),
        )
    };
    let units = weight_units(importer, node, k as u32, i64::from(!transposed))
        .map(|units| units.into_iter().map(|unit| unit * alpha.abs()).collect());
    let axis = Axis::identity(1);
    let conv = Conv {
        weights: kc.in_units(units),
        k: k as u32,
        c: c as u32,
        groups: 1,
        y: axis,
        x: axis,
    };
    let affine = match offset {
        None => None,
        Some((tensor, beta)) => {
            let Some(values) = spread(&tensor, &[dims[0], k as u64], k as u32) else {
                return Translated::Host(format!(
                    "its bias is {:?}, the array takes one value, or one for each of {k} outputs: add it with an Add node",
                    tensor.shape()
                ).into());
            };
            Some(Affine {
                scale: vec![1.0; k],
                offset: values.iter().map(|v| beta * v).collect(),
            })
        }
    };
    let layer = Layer {
        conv: Some(conv),
        affine,
        ..Layer::default()
    };
    if importer.activation(node, 0).is_ok() {
        return finish(importer, node, &[input], layer);
    }
    // More channels than the machine has: those of the plane that they were flattened from are legal.
    or_host!(legal::tensor(or_host!(output_shape(importer, node))));
    add_layer(importer, node, &[input], layer)
}

/// The first operand of a linear layer: it may be a plane that was flattened into more channels than the machine has,
/// because the layer becomes a convolution of the plane (`absorb_flatten`).
fn flattened(importer: &Importer<'_>, node: &NodeProto) -> Result<NodeId, String> {
    let id = importer.value(node, 0)?;
    let mut plane = id;
    while matches!(importer.graph.dag[plane].op, Op::Rename) {
        plane = importer.graph.operands(plane)[0];
    }
    let absorbed = importer.graph.dag[plane].shape().is_some_and(|shape| {
        let positions = shape[2].saturating_mul(shape[3]);
        plane != id && legal::tensor(shape).is_ok() && (2..=MOST_POSITIONS).contains(&positions)
    });
    if absorbed {
        Ok(id)
    } else {
        importer.activation(node, 0)
    }
}
