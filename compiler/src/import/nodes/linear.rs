//! Linear layers: convolutions of whatever lies on rows and columns.

use super::constants::per_output;
use super::{finish_placed, or_host, shape, weight_units, weights_of};
use crate::graph::placement::{self, Factor, Slot};
use crate::graph::weights::Weights;
use crate::graph::{Affine, Conv, Layer, NodeId};
use crate::import::attributes::{Attributes, outside};
use crate::import::{Importer, Translated};
use scnn_isa::legal;
use scnn_isa::plane::Axis;
use std::collections::BTreeMap;
use std::sync::Arc;
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
    let product = WeightProduct {
        weights: 1,
        transposed: attributes.int("transB", 0) != 0,
        alpha,
        offset: offset.map(|tensor| (tensor, beta)),
    };
    linear(importer, node, &product)
}

pub(crate) fn matmul(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    // A product of two constants is not the machine's.
    let left = importer.constant(node, 0).is_some() && importer.constant(node, 1).is_none();
    let product = WeightProduct {
        weights: usize::from(!left),
        transposed: left,
        alpha: 1.0,
        offset: None,
    };
    linear(importer, node, &product)
}

/// A product of activations and weights.
struct WeightProduct {
    /// Index of the operand that has the weights: 1, or 0 where these multiply activations from the left, `[K, C] x [N, C, L]`.
    weights: usize,
    /// Whether each row of the weights is an output's.
    transposed: bool,
    alpha: f32,
    offset: Option<(Tensor, f32)>,
}

impl WeightProduct {
    /// Extents or factors of the activations' axes, or of the result's, with the one that is summed over, or the outputs, at
    /// the end. It is its own inverse.
    fn seen<T>(&self, mut axes: Vec<T>) -> Vec<T> {
        let last = axes.len().saturating_sub(1);
        if self.weights == 0 && last > 0 {
            axes.swap(last - 1, last);
        }
        axes
    }
}

/// A linear layer over one axis: a convolution whose kernel is what of that axis lies on rows and columns.
fn linear(importer: &mut Importer<'_>, node: &NodeProto, product: &WeightProduct) -> Translated {
    let id = or_host!(importer.floats(node, 1 - product.weights));
    let dims = product.seen(importer.graph.dag[id].dims.clone());
    let Some((&inputs, leading)) = dims.split_last().filter(|_| dims.len() >= 2) else {
        return Translated::Host(format!("its activations {dims:?} are no matrix").into());
    };
    let weights = or_host!(weights_of(importer, (node, product.weights)));
    let (transposed, alpha) = (product.transposed, product.alpha);
    if weights.rank() != 2 {
        return Translated::Host(format!("its weights {:?} are no matrix", weights.shape()).into());
    }
    let (rows, cols) = (weights.shape()[0], weights.shape()[1]);
    let (k, c) = if transposed {
        (rows, cols)
    } else {
        (cols, rows)
    };
    if c as u64 != inputs {
        return Translated::Host(format!(
            "its weights are {:?}, its activations have {inputs} channels: set `transB` as the weights lie",
            weights.shape(),
        ).into());
    }
    let input = or_host!(for_product(importer, id, product));
    let axes = product.seen(or_host!(importer.axes(input)));
    let [_, channels, h, w] = or_host!(shape(importer, input));
    let [over_rows, over_columns] = placement::product_kernel(&axes).unwrap_or_default();
    let places = weight_places(&axes, [over_rows, over_columns]);
    let order = MatrixOrder {
        transposed,
        alpha: alpha.to_bits(),
        places,
    };
    let ordered = or_host!(importer.ordered.of(weights, order));
    let of = (node, product.weights);
    let units = weight_units(importer, of, k as u32, i64::from(!transposed))
        .map(|units| units.into_iter().map(|unit| unit * alpha.abs()).collect());
    let axis = |extent: u32, inside: bool| {
        let identity = Axis::identity(extent);
        if inside { whole(extent) } else { identity }
    };
    let conv = Conv {
        weights: ordered.in_units(units),
        k: k as u32,
        c: channels,
        groups: 1,
        y: axis(h, over_rows),
        x: axis(w, over_columns),
    };
    let affine = match &product.offset {
        None => None,
        Some((tensor, beta)) => {
            let Some(values) = per_output(tensor, k) else {
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
    let mut out = axes;
    out[leading.len()] = vec![Factor {
        extent: k as u32,
        slot: Slot::Channel,
        level: 0,
    }];
    let placement = placement::of_axes(&product.seen(out));
    finish_placed(importer, node, &[input], layer, placement)
}

/// Order in which the weights of a product stand in a matrix, from which they are put in that of the array, output by output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct MatrixOrder {
    /// Whether each row of the tensor is an output's.
    transposed: bool,
    /// The bits of the factor of all weights.
    alpha: u32,
    /// By input in the order of the array, its place in the tensor.
    places: Vec<usize>,
}

impl MatrixOrder {
    /// The weights of a matrix.
    fn ordered(&self, tensor: &Arc<Tensor>) -> Result<Weights, String> {
        let (values, alpha) = (Weights::of(tensor)?, f32::from_bits(self.alpha));
        let (rows, cols) = (tensor.shape()[0], tensor.shape()[1]);
        let (k, c) = if self.transposed {
            (rows, cols)
        } else {
            (cols, rows)
        };
        if self.transposed && alpha == 1.0 && self.places.iter().copied().eq(0..c) {
            return Ok(values);
        }
        let at = |ko, ci| {
            if self.transposed {
                ko * c + ci
            } else {
                ci * k + ko
            }
        };
        let all = (0..k).flat_map(|ko| self.places.iter().map(move |&ci| at(ko, ci)));
        Ok(Weights::from(
            all.map(|place| alpha * values[place]).collect::<Vec<_>>(),
        ))
    }
}

/// The weights of products in the order of the array, one copy for all nodes that put a tensor in the same order.
#[derive(Default)]
pub(crate) struct OrderedWeights {
    /// By the address of the tensor, which the facts of the model hold for as long as nodes are translated.
    known: BTreeMap<(*const Tensor, MatrixOrder), Weights>,
}

impl OrderedWeights {
    fn of(&mut self, tensor: &Arc<Tensor>, order: MatrixOrder) -> Result<Weights, String> {
        let key = (Arc::as_ptr(tensor), order);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let ordered = key.1.ordered(tensor)?;
        self.known.insert(key, ordered.clone());
        Ok(ordered)
    }
}

/// Positions of the largest plane that is a kernel. Each is a residue of its own, and what mapping and simulation do grows
/// with the square of their number.
const MOST_POSITIONS: u32 = 1 << 12;

/// An axis that a kernel covers. Its stride is the kernel: the residues then split the plane into single positions, each of
/// which meets exactly the one tap that it needs. Without this, the values would have to be reordered between the PEs.
fn whole(extent: u32) -> Axis {
    Axis {
        input: extent,
        output: 1,
        kernel: extent,
        stride: extent,
        ..Axis::identity(extent)
    }
}

/// The activations of a matrix product, lying as one can read them.
fn for_product(
    importer: &mut Importer<'_>,
    id: NodeId,
    product: &WeightProduct,
) -> Result<NodeId, String> {
    if let (Ok(axes), Ok([_, _, h, w])) = (importer.axes(id), shape(importer, id))
        && let Some([rows, columns]) = placement::product_kernel(&product.seen(axes))
    {
        let kernel = if rows { h } else { 1 }.saturating_mul(if columns { w } else { 1 });
        if kernel <= MOST_POSITIONS {
            return Ok(id);
        }
    }
    let dims = &importer.graph.dag[id].dims;
    let wanted = placement::of_product(dims, product.weights == 0);
    let wanted = wanted.and_then(|placement| Some((placement.shape()?, placement)));
    let (extents, wanted) = wanted.ok_or("its activations are too large")?;
    legal::tensor(extents)?;
    Ok(importer.graph.placed(id, wanted))
}

/// The place along the last axis of each weight of an output, in the order of the array: channel, row, column.
fn weight_places(axes: &[Vec<Factor>], inside: [bool; 2]) -> Vec<usize> {
    let last = axes.len() - 1;
    let along = |slot: Slot, inside: bool| -> Vec<usize> {
        let places = placement::coordinates(axes, slot).into_iter();
        let places = places.map(|place| place[last] as usize).collect();
        if inside { places } else { vec![0] }
    };
    let channels = along(Slot::Channel, true);
    let (rows, columns) = (along(Slot::Row, inside[0]), along(Slot::Column, inside[1]));
    let mut places = Vec::with_capacity(channels.len() * rows.len() * columns.len());
    for channel in channels {
        for row in &rows {
            places.extend(columns.iter().map(|column| channel + row + column));
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_put_in_an_order_once() {
        let tensor = |values: &[f32]| Arc::new(Tensor::from_shape(&[3, 2], values).unwrap());
        let (matrix, other) = (
            tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 7.0]),
        );
        let order = |alpha: f32, places: [usize; 3]| MatrixOrder {
            transposed: false,
            alpha: alpha.to_bits(),
            places: places.to_vec(),
        };
        let mut known = OrderedWeights::default();
        let mut of = |tensor, order| known.of(tensor, order).unwrap();
        let weights = of(&matrix, order(1.0, [0, 1, 2]));
        assert_eq!(weights[..], [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
        let again = of(&matrix, order(1.0, [0, 1, 2]));
        assert_eq!(weights.as_ptr(), again.as_ptr());
        assert_eq!(of(&matrix, order(1.0, [2, 0, 1]))[..3], [5.0, 1.0, 3.0]);
        assert_eq!(of(&matrix, order(2.0, [0, 1, 2]))[..3], [2.0, 6.0, 10.0]);
        assert_eq!(of(&other, order(1.0, [0, 1, 2]))[..3], [1.0, 3.0, 5.0]);
        let rows = MatrixOrder {
            transposed: true,
            ..order(1.0, [0, 1, 2])
        };
        let as_it_lies = Arc::new(Tensor::from_shape(&[2, 3], &[1f32; 6]).unwrap());
        let shared = of(&as_it_lies, rows);
        let own = Weights::of(&as_it_lies).unwrap();
        assert_eq!(shared.as_ptr(), own.as_ptr());
    }
}
