//! A choice by constant indices that are evenly apart becomes a slice, and so do the parts of a plane that is split: the
//! array crops rows and columns and addresses a range of channels, while a list of indices or a plane in parts has no
//! form on it.

use super::broadcasts::Producers;
use super::is_activation;
use super::joints::LEAST;
use super::rows::reshape;
use crate::import::Facts;
use crate::import::attributes::Attributes;
use crate::import::movement::{axis_of, from_begin};
use crate::import::nodes::constants::integers;
use crate::normalise::parts::{Parts, replace_known};
use crate::normalise::proto::{is_standard, result};
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let producers = Producers::of(graph, facts);
    let known = |node: &NodeProto| {
        let source = node.input.first().filter(|_| is_standard(node))?;
        facts.get(source).filter(|fact| is_activation(fact))?;
        match node.op_type.as_str() {
            "Gather" if producers.come_from_array(source) => chosen(node, facts),
            "Split" if producers.are_of_array(source) => split(node, facts),
            _ => None,
        }
    };
    replace_known(graph, known, |node, ranges, parts| {
        for range in ranges {
            range.slice(node, parts);
        }
    })
}

/// Places of an axis that become a tensor.
struct Range {
    to: String,
    axis: usize,
    begin: u64,
    step: u64,
    count: u64,
    /// Extents of the result where the slice has another shape.
    shape: Option<Vec<u64>>,
}

impl Range {
    fn slice(self, node: &NodeProto, parts: &mut Parts) {
        let name = |part: &str| format!("{}.{part}", self.to);
        let end = self.begin + (self.count - 1) * self.step + 1;
        let mut operands = vec![node.input[0].clone()];
        for (part, value) in [
            ("begin", self.begin),
            ("end", end),
            ("axis", self.axis as u64),
            ("step", self.step),
        ] {
            operands.push(parts.integers(name(part), &[value as i64]));
        }
        let whole = self.shape.is_none();
        let to = if whole {
            self.to.clone()
        } else {
            name("range")
        };
        let slice = parts.node("Slice", operands, to, &[]);
        if let Some(shape) = &self.shape {
            reshape(parts, &slice, self.to.clone(), shape);
        }
    }
}

/// The axis that the node's attribute gives, and its extent.
fn along(node: &NodeProto, facts: &Facts) -> Option<(usize, u64)> {
    let dims = &facts.get(&node.input[0])?.dims;
    let axis = axis_of(Attributes::of(node).int("axis", 0), dims.len())?;
    Some((axis, dims[axis]))
}

/// What a `Gather` picks, if its indices are one number, or a list of numbers that are evenly apart.
fn chosen(node: &NodeProto, facts: &Facts) -> Option<Vec<Range>> {
    let (axis, extent) = along(node, facts)?;
    let extent = extent as i64;
    let constant = facts.constant(node.input.get(1)?)?;
    let given = integers(constant).ok()?.into_iter();
    let places: Vec<i64> = given.map(|place| from_begin(place, extent)).collect();
    let begin = *places.first()?;
    let step = places.get(1).map_or(1, |second| second - begin);
    let even = places.windows(2).all(|pair| pair[1] - pair[0] == step);
    let inside = places.iter().all(|place| (0..extent).contains(place));
    let to = result(node);
    let shape = match constant.rank() {
        0 => Some(facts.get(&to)?.dims.clone()),
        1 => None,
        _ => return None,
    };
    let range = Range {
        to,
        axis,
        begin: u64::try_from(begin).ok()?,
        step: u64::try_from(step).ok().filter(|&step| step > 0)?,
        count: places.len() as u64,
        shape,
    };
    (even && inside).then(|| vec![range])
}

/// The parts of a plane that is split along rows or columns.
fn split(node: &NodeProto, facts: &Facts) -> Option<Vec<Range>> {
    let (axis, _) = along(node, facts)?;
    let plane = facts.get(&node.input[0])?.dims.get(2..)?;
    let mut begin = 0;
    let mut ranges = Vec::new();
    for to in &node.output {
        let count = *facts.get(to)?.dims.get(axis)?;
        ranges.push(Range {
            to: to.clone(),
            axis,
            begin,
            step: 1,
            count,
            shape: None,
        });
        begin += count;
    }
    let some = ranges.iter().all(|range| range.count > 0);
    let large = plane.iter().all(|&extent| extent >= LEAST);
    (axis > 1 && large && some).then_some(ranges)
}
