//! Planes that are joined along rows or columns become a sum of planes of the result's extents, each with zeros where the
//! others lie. Padding is a layer of the array and the sum is its PPU's; a concatenation in the plane it has no form for.
//! The zeros are neither stored nor multiplied, while over the host link each value would go twice.

use super::broadcasts::Producers;
use super::is_activation;
use crate::import::Facts;
use crate::import::attributes::Attributes;
use crate::import::movement::axis_of;
use crate::normalise::parts::{Parts, replace_known};
use crate::normalise::proto::{is_standard, result};
use tract_onnx::pb::{GraphProto, NodeProto};

/// Most planes that are joined: the sum is drained anew for each.
const MOST: usize = 4;

/// Least rows and columns of a plane that is joined or split. A row alone keeps few PEs busy: joined along it, twice 64
/// channels of 200 values take 15.7 k cycles, and 13.2 k over the host link; twice 32 of 32 x 32 take 4.9 k and 18.4 k.
pub(super) const LEAST: u64 = 4;

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let producers = Producers::of(graph, facts);
    let known = |node: &NodeProto| {
        let of_array = node.input.iter().all(|name| producers.are_of_array(name));
        of_array.then(|| joint(node, facts)).flatten()
    };
    replace_known(graph, known, join)
}

/// The zeros that each plane has in front of it and behind it along an axis.
struct Joint {
    axis: usize,
    rank: usize,
    zeros: Vec<[u64; 2]>,
}

fn joint(node: &NodeProto, facts: &Facts) -> Option<Joint> {
    let few = (2..=MOST).contains(&node.input.len());
    if !is_standard(node) || node.op_type != "Concat" || !few {
        return None;
    }
    let result = &facts.get(node.output.first()?)?.dims;
    let rank = result.len();
    let axis = axis_of(Attributes::of(node).int("axis", 1), rank)?;
    let extent = |name: &String| {
        let fact = facts.get(name).filter(|fact| is_activation(fact))?;
        fact.dims.get(axis).copied()
    };
    let extents: Vec<u64> = node.input.iter().map(extent).collect::<Option<_>>()?;
    let total: u64 = extents.iter().sum();
    let mut before = 0;
    let around = |extent: &u64| {
        let zeros = [before, total - before - extent];
        before += extent;
        zeros
    };
    let zeros = extents.iter().map(around).collect();
    let in_plane = rank == 4 && axis > 1 && result[2..].iter().all(|&extent| extent >= LEAST);
    in_plane.then_some(Joint { axis, rank, zeros })
}

fn join(node: &NodeProto, joint: Joint, parts: &mut Parts) {
    let Joint { axis, rank, zeros } = joint;
    let y = result(node);
    let last = node.input.len() - 1;
    let mut sum: Option<String> = None;
    for (index, (plane, zeros)) in node.input.iter().zip(zeros).enumerate() {
        let mut pads = vec![0; 2 * rank];
        [pads[axis], pads[rank + axis]] = zeros.map(|zeros| zeros as i64);
        let pads = parts.integers(format!("{y}.pads{index}"), &pads);
        let operands = vec![plane.clone(), pads];
        let padded = parts.node("Pad", operands, format!("{y}.plane{index}"), &[]);
        let to = if index < last {
            format!("{y}.of{index}")
        } else {
            y.clone()
        };
        sum = Some(match sum {
            None => padded,
            Some(before) => parts.node("Add", vec![before, padded], to, &[]),
        });
    }
}
