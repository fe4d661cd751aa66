//! Pooling by windows and over the whole plane.

use super::constants::integers;
use super::{finish, finish_placed, or_host, output_dims, output_shape, shape};
use crate::graph::placement::{self, Factor, Placement, Slot};
use crate::graph::{Affine, Layer, NodeId, Pool};
use crate::import::attributes::{Attributes, outside};
use crate::import::window::{Window, pair};
use crate::import::{Importer, Translated};
use scnn_isa::layer::PoolKind;
use scnn_isa::plane::Axis;
use tract_onnx::pb::NodeProto;

pub(crate) fn pool(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    if node.output.get(1).is_some_and(|o| !o.is_empty()) {
        return Translated::Host(
            "its second result, the indices, is used; the PPU gives none: export without MaxUnpool"
                .into(),
        );
    }
    let input = or_host!(importer.plane(node, 0));
    let [_, _, h, w] = or_host!(shape(importer, input));
    let rank = importer.graph.dag[input].dims.len();
    let Some(kernel) = attributes.ints("kernel_shape") else {
        return Translated::Host("it has no `kernel_shape`: export the model again".into());
    };
    if rank < 3 || kernel.len() != rank - 2 {
        let taken = format!("one number for each axis behind channels, and the operand has {rank}");
        return Translated::Host(outside(
            "kernel_shape",
            kernel,
            &taken,
            "export the model again",
        ));
    }
    let kernel = or_host!(pair("kernel_shape", kernel));
    let window = or_host!(Window::of(attributes, rank - 2, kernel));
    let [y, x] = or_host!(window.axes([h, w], attributes.int("ceil_mode", 0) != 0));
    let kind = match (
        node.op_type.as_str(),
        attributes.int("count_include_pad", 0),
    ) {
        ("MaxPool", _) => PoolKind::Max,
        (_, 0) => PoolKind::Average,
        _ => PoolKind::AverageWithPadding,
    };
    let out = or_host!(output_shape(importer, node));
    let (y, x) = (
        Axis {
            output: out[2],
            ..y
        },
        Axis {
            output: out[3],
            ..x
        },
    );
    finish(
        importer,
        node,
        &[input],
        Layer {
            pool: Some(Pool { kind, y, x }),
            ..Layer::default()
        },
    )
}

pub(crate) fn global_pool(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.plane(node, 0));
    let kind = if node.op_type == "GlobalMaxPool" {
        PoolKind::Max
    } else {
        PoolKind::Average
    };
    let lies = or_host!(output_dims(importer, node).map(|dims| placement::positional(dims)));
    let lies = or_host!(lies.ok_or("its result has no form [N, C, H, W]"));
    whole_plane(importer, node, input, kind, lies)
}

/// A mean, a sum or a maximum over rows, columns or both.
pub(crate) fn reduce(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let rank = importer.graph.dag[input].dims.len() as i64;
    let axes: Vec<i64> = match (attributes.ints("axes"), importer.constant(node, 1)) {
        (Some(axes), _) => axes.to_vec(),
        (None, Some(tensor)) => or_host!(integers(tensor)),
        (None, None) => {
            return Translated::Host(
                "its `axes` are computed: export them as an initializer".into(),
            );
        }
    };
    let from_first = |axis: &i64| if *axis < 0 { axis + rank } else { *axis };
    let axes: Vec<i64> = axes.iter().map(from_first).collect();
    let factors = or_host!(importer.axes(input));
    let Some([rows, columns]) = reduced_slots(&factors, &axes).filter(|_| rank > 2) else {
        return Translated::Host(outside(
            "axes",
            axes,
            "some of the plane's, those behind channels",
            "the PPU reduces rows and columns",
        ));
    };
    let kind = match node.op_type.as_str() {
        "ReduceMax" => PoolKind::Max,
        _ => PoolKind::Average,
    };
    let [_, channels, h, w] = or_host!(shape(importer, input));
    let mut layer = over(kind, rows.then_some(h), columns.then_some(w), [h, w]);
    if node.op_type == "ReduceSum" {
        // A sum is a mean of as many times the values.
        let count = if rows { h } else { 1 } * if columns { w } else { 1 };
        layer.affine = Some(Affine {
            scale: vec![count as f32; channels as usize],
            offset: vec![0.0; channels as usize],
        });
    }
    let left = (0..factors.len()).filter(|&axis| !axes.contains(&(axis as i64)));
    let left: Vec<Vec<Factor>> = left.map(|axis| factors[axis].clone()).collect();
    finish_placed(importer, node, &[input], layer, placement::of_axes(&left))
}

/// Which of rows and columns a reduction over `axes` reduces, if it reduces those alone, and each of them whole.
fn reduced_slots(factors: &[Vec<Factor>], axes: &[i64]) -> Option<[bool; 2]> {
    let inside = |axis: usize| axes.contains(&(axis as i64));
    let has = |slot: Slot, reduced: bool| {
        let mut sides = factors.iter().enumerate();
        sides.any(|(axis, factors)| {
            inside(axis) == reduced && factors.iter().any(|factor| factor.slot == slot)
        })
    };
    let others = has(Slot::Image, true) || has(Slot::Channel, true);
    let plane = [Slot::Row, Slot::Column];
    let cut = plane
        .iter()
        .any(|&slot| has(slot, true) && has(slot, false));
    let known = axes
        .iter()
        .all(|axis| (0..factors.len() as i64).contains(axis));
    (known && !axes.is_empty() && !others && !cut).then(|| plane.map(|slot| has(slot, true)))
}

/// The pooling of all rows, all columns or both of a plane of `h` x `w`.
fn over(kind: PoolKind, rows: Option<u32>, columns: Option<u32>, [h, w]: [u32; 2]) -> Layer {
    let axis = |reduced: Option<u32>, extent| match reduced {
        Some(kernel) => Axis {
            kernel,
            output: 1,
            ..Axis::identity(extent)
        },
        None => Axis::identity(extent),
    };
    Layer {
        pool: Some(Pool {
            kind,
            y: axis(rows, h),
            x: axis(columns, w),
        }),
        ..Layer::default()
    }
}

fn whole_plane(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    input: NodeId,
    kind: PoolKind,
    lies: Placement,
) -> Translated {
    let [_, _, h, w] = or_host!(shape(importer, input));
    let layer = over(kind, Some(h), Some(w), [h, w]);
    finish_placed(importer, node, &[input], layer, lies)
}
