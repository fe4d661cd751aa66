//! A normalisation over channels that is written as a factor and an offset of every value, as TensorFlow writes it, becomes
//! a distance from the mean that is divided by the deviation.
//!
//! ```text
//! factor = 1 / sqrt(variance + e) * scale
//! y      = value * factor + (bias - mean * factor)   ->   y = (value - mean) / sqrt(variance + e) * scale + bias
//! ```
//!
//! Factor and offset are tensors of the value's size that exist for one use each. Of the other form every pass and the host
//! know what it is ([`super::normalisations`]), and no large values are subtracted from each other.

use super::normalisations::Normalisations;
use crate::import::Facts;
use crate::normalise::parts::{Parts, replace_known};
use crate::normalise::proto::{is_standard, result};
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let known = Normalisations::of(graph, facts);
    let found: Vec<(String, Quotient)> = graph
        .node
        .iter()
        .filter_map(|node| Some((result(node), quotient(&known, node)?)))
        .collect();
    let of_node = |node: &NodeProto| {
        let result = node.output.first()?;
        let of = found.iter().find(|(name, _)| name == result);
        of.map(|(_, quotient)| quotient)
    };
    replace_known(graph, of_node, compute)
}

/// The operands of `distance / deviation * scale + bias`.
struct Quotient {
    distance: String,
    deviation: String,
    scale: Option<String>,
    bias: String,
}

/// What a sum is the same as, if it is a normalisation by factor and offset.
fn quotient(known: &Normalisations<'_>, sum: &NodeProto) -> Option<Quotient> {
    if !is_standard(sum) || sum.op_type != "Add" {
        return None;
    }
    pairs(sum)?.into_iter().find_map(|(scaled, offset)| {
        let scaled = known.made_by(scaled, "Mul")?;
        let mut operands = pairs(scaled)?.into_iter();
        operands.find_map(|(value, factor)| of_factor(known, value, factor, offset))
    })
}

fn of_factor(
    known: &Normalisations<'_>,
    value: &String,
    factor: &String,
    offset: &str,
) -> Option<Quotient> {
    let (inverse, scale) = match known.made_by(factor, "Mul") {
        None => (factor, None),
        Some(product) => {
            let mut operands = pairs(product)?.into_iter();
            let (inverse, scale) = operands.find(|(_, scale)| known.is_constant(scale))?;
            (inverse, Some(scale.clone()))
        }
    };
    let deviation = known.made_by(inverse, "Reciprocal")?.input.first()?;
    let (bias, mean) = offset_of(known, offset, factor)?;
    let (distance, of) = known.normalised_by(deviation)?;
    let same = of.value() == value && known.same(mean, of.mean());
    (same && known.is_made_on_array(value)).then(|| Quotient {
        distance: distance.clone(),
        deviation: deviation.clone(),
        scale,
        bias: bias.clone(),
    })
}

/// The bias and the mean of `bias - mean * factor`, however its sign is written.
fn offset_of<'a>(
    known: &Normalisations<'a>,
    offset: &str,
    factor: &str,
) -> Option<(&'a String, &'a String)> {
    let times_factor = |product: &str| {
        let mut operands = pairs(known.made_by(product, "Mul")?)?.into_iter();
        operands.find_map(|(other, by)| (by == factor).then_some(other))
    };
    if let Some(difference) = known.made_by(offset, "Sub") {
        let [bias, product] = [difference.input.first()?, difference.input.get(1)?];
        return known
            .is_constant(bias)
            .then(|| Some((bias, times_factor(product)?)))?;
    }
    let sum = pairs(known.made_by(offset, "Add")?)?;
    sum.into_iter().find_map(|(product, bias)| {
        let negative = known.made_by(times_factor(product)?, "Neg")?;
        known
            .is_constant(bias)
            .then_some((bias, negative.input.first()?))
    })
}

/// The operands of an operator of two, in both orders.
fn pairs(node: &NodeProto) -> Option<[(&String, &String); 2]> {
    let [a, b] = [node.input.first()?, node.input.get(1)?];
    Some([(a, b), (b, a)])
}

fn compute(node: &NodeProto, of: &Quotient, parts: &mut Parts) {
    let y = result(node);
    let name = |part: &str| format!("{y}.factored.{part}");
    let operands = vec![of.distance.clone(), of.deviation.clone()];
    let mut value = parts.node("Div", operands, name("quotient"), &[]);
    if let Some(scale) = &of.scale {
        let operands = vec![value, scale.clone()];
        value = parts.node("Mul", operands, name("scaled"), &[]);
    }
    parts.node("Add", vec![value, of.bias.clone()], y, &[]);
}
