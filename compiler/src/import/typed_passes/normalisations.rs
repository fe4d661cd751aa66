//! A normalisation over channels, `LayerNormalization` or the operators that it was exported as, becomes layers of the
//! array: the tensor, which is large, crosses no link for statistics that are small.
//!
//! ```text
//! mean     = x * (1/C)              product with one column
//! centred  = x + mean * (-1)        product with one row, and a sum
//! variance = centred^2 * (1/C)      product with one column
//! gate     = 1 / sqrt(variance + e) * (1)
//! y        = centred * gate
//! ```
//!
//! The largest squares of a position decide its variance, and its own rounding drowns what they drown. Where positions
//! differ so much that 16 bits do not hold the variances of all, the compilation finds that out by the calibration, and the
//! operator runs on the host as a whole (`compile::borders`).

use super::broadcasts::{is_layer, is_movement, is_reordering, reached};
use super::channel_sums::reduced_axes;
use super::{HostReasons, is_activation};
use crate::import::Facts;
use crate::import::attributes::Attributes;
use crate::import::nodes::constants::floats;
use crate::normalise::parts::{Parts, node_name, replace_known};
use crate::normalise::proto::{float_tensor, has_operand, is_standard, result};
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass; what the host runs in any case it runs as the model has it.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts, on_host: &HostReasons) -> bool {
    let known = Normalisations::of(graph, facts);
    let found: BTreeMap<String, Normalisation> = graph
        .node
        .iter()
        .filter(|node| !on_host.contains_key(&node_name(node)))
        .filter_map(|node| Some((result(node), known.normalisation(node)?)))
        .collect();
    let of_node = |node: &NodeProto| found.get(node.output.first()?);
    replace_known(graph, of_node, compute)
}

/// What is normalised, and how.
struct Normalisation {
    x: String,
    rank: usize,
    /// The axis that is reduced: the last, or that of channels.
    axis: usize,
    /// Its extent.
    channels: usize,
    epsilon: f32,
    /// Operands of the product and of the sum that follow, if they do.
    scale: Option<String>,
    offset: Option<String>,
}

/// The tensor from which the mean of its channels is subtracted, and that mean.
pub(super) struct Centred<'a> {
    value: &'a String,
    mean: &'a String,
}

impl<'a> Centred<'a> {
    /// The tensor from which the mean is subtracted.
    pub(super) fn value(&self) -> &'a String {
        self.value
    }

    /// Its mean.
    pub(super) fn mean(&self) -> &'a String {
        self.mean
    }
}

/// What is known of a graph.
pub(super) struct Normalisations<'a> {
    facts: &'a Facts,
    made: BTreeMap<&'a str, &'a NodeProto>,
    from_array: BTreeSet<String>,
}

impl<'a> Normalisations<'a> {
    pub(super) fn of(graph: &'a GraphProto, facts: &'a Facts) -> Self {
        let standard = graph.node.iter().filter(|node| is_standard(node));
        let product = |node: &NodeProto| {
            let of_constant = || {
                node.input
                    .get(1)
                    .is_some_and(|b| facts.constant(b).is_some())
            };
            matches!(&*node.op_type, "MatMul" | "Gemm") && of_constant()
        };
        let moves = |operator: &str| {
            let same = is_movement(operator) || is_reordering(operator);
            same || operator == "LayerNormalization"
        };
        let begins = |node: &NodeProto| is_layer(&node.op_type) || product(node);
        Self {
            facts,
            made: standard
                .flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)))
                .collect(),
            from_array: reached(graph, facts, begins, moves),
        }
    }

    fn normalisation(&self, node: &NodeProto) -> Option<Normalisation> {
        if !is_standard(node) {
            return None;
        }
        let found = match node.op_type.as_str() {
            "LayerNormalization" => self.of_operator(node),
            "Div" => self.of_quotient(node),
            _ => None,
        }?;
        self.from_array.contains(&found.x).then_some(found)
    }

    fn of_operator(&self, node: &NodeProto) -> Option<Normalisation> {
        let [x, scale] = [node.input.first()?, node.input.get(1)?];
        let offset = has_operand(node, 2).then(|| &node.input[2]);
        let is_constant = |name: &String| self.facts.constant(name).is_some();
        let statistics_read = node.output.iter().skip(1).any(|name| !name.is_empty());
        if statistics_read || !is_constant(scale) || !offset.is_none_or(is_constant) {
            return None;
        }
        let attributes = Attributes::of(node);
        let plain = self.over(
            x,
            attributes.int("axis", -1),
            attributes.float("epsilon", 1e-5),
        )?;
        (plain.axis + 1 == plain.rank).then(|| Normalisation {
            scale: Some(scale.clone()),
            offset: offset.cloned(),
            ..plain
        })
    }

    /// `(x - mean) / sqrt(mean of squares + e)`.
    fn of_quotient(&self, quotient: &NodeProto) -> Option<Normalisation> {
        let [centred, deviation] = [quotient.input.first()?, quotient.input.get(1)?];
        let (distance, of) = self.normalised_by(deviation)?;
        let (_, axis) = self.mean(of.mean)?;
        let sum = self.made_by(&self.made_by(deviation, "Sqrt")?.input[0], "Add")?;
        let (_, epsilon) = self.plus_constant(sum)?;
        let found = self.over(of.value, axis, epsilon)?;
        (distance == centred).then_some(found)
    }

    /// The distance from a mean of which `deviation` is the root of the mean square and a constant; over one axis, of
    /// channels.
    pub(super) fn normalised_by(&self, deviation: &str) -> Option<(&'a String, Centred<'a>)> {
        let sum = self.made_by(self.made_by(deviation, "Sqrt")?.input.first()?, "Add")?;
        let (variance, epsilon) = self.plus_constant(sum)?;
        let (squares, axis) = self.mean(variance)?;
        let distance = self.made.get(squares.as_str())?.input.first()?;
        let difference = self.made_by(distance, "Sub")?;
        let [value, mean] = [difference.input.first()?, difference.input.get(1)?];
        let (of, over) = self.mean(mean)?;
        self.over(value, axis, epsilon)?;
        let same = of == value && over == axis && self.is_square_of(squares, distance);
        same.then_some((distance, Centred { value, mean }))
    }

    /// Whether a tensor is a constant.
    pub(super) fn is_constant(&self, tensor: &str) -> bool {
        self.facts.constant(tensor).is_some()
    }

    /// Whether the array makes a tensor, or what it only reorders.
    pub(super) fn is_made_on_array(&self, tensor: &str) -> bool {
        self.from_array.contains(tensor)
    }

    /// Whether two tensors are one, but for changes of shape to the shape that they have.
    pub(super) fn same(&self, a: &str, b: &str) -> bool {
        self.unchanged(a) == self.unchanged(b)
    }

    /// The tensor that is given the shape that it has.
    fn unchanged<'b>(&self, tensor: &'b str) -> &'b str
    where
        'a: 'b,
    {
        let mut tensor = tensor;
        while let Some(node) = self.made.get(tensor)
            && matches!(&*node.op_type, "Reshape" | "Identity")
            && let Some(before) = node.input.first()
            && let [Some(from), Some(to)] = [before.as_str(), tensor].map(|of| self.facts.get(of))
            && from.dims == to.dims
        {
            tensor = before;
        }
        tensor
    }

    /// A normalisation of `x` over one axis, if the array has a form of it.
    fn over(&self, x: &str, axis: i64, epsilon: f32) -> Option<Normalisation> {
        let fact = self.facts.get(x).filter(|fact| is_activation(fact))?;
        let rank = fact.dims.len();
        let axis = if axis < 0 { axis + rank as i64 } else { axis };
        let axis = usize::try_from(axis).ok()?;
        let product = axis + 1 == rank && rank >= 2;
        let convolution = axis == 1 && matches!(rank, 3 | 4);
        (product || convolution).then_some(Normalisation {
            x: x.to_owned(),
            rank,
            axis,
            channels: usize::try_from(*fact.dims.get(axis)?).ok()?,
            epsilon,
            scale: None,
            offset: None,
        })
    }

    /// The operator that makes a tensor, if it is this one.
    pub(super) fn made_by(&self, tensor: &str, operator: &str) -> Option<&'a NodeProto> {
        let node = *self.made.get(self.unchanged(tensor))?;
        (node.op_type == operator).then_some(node)
    }

    /// The operand of the mean over one axis that is `tensor`, and the axis.
    fn mean(&self, tensor: &str) -> Option<(&'a String, i64)> {
        let node = self.made_by(tensor, "ReduceMean")?;
        let kept = Attributes::of(node).int("keepdims", 1) != 0;
        match reduced_axes(node, self.facts)?[..] {
            [axis] if kept => Some((&node.input[0], axis)),
            _ => None,
        }
    }

    fn plus_constant(&self, sum: &'a NodeProto) -> Option<(&'a String, f32)> {
        let [a, b] = [sum.input.first()?, sum.input.get(1)?];
        [(a, b), (b, a)].into_iter().find_map(|(of, constant)| {
            let values = floats(self.facts.constant(constant)?).ok()?;
            match values[..] {
                [value] => Some((of, value)),
                _ => None,
            }
        })
    }

    fn is_square_of(&self, tensor: &str, root: &str) -> bool {
        let Some(node) = self.made.get(tensor) else {
            return false;
        };
        let other = node.input.get(1).filter(|_| node.input[0] == root);
        other.is_some_and(|other| match node.op_type.as_str() {
            "Mul" => other == root,
            "Pow" => self
                .facts
                .constant(other)
                .is_some_and(|constant| floats(constant).is_ok_and(|values| values == [2.0])),
            _ => false,
        })
    }
}

fn compute(node: &NodeProto, of: &Normalisation, parts: &mut Parts) {
    let y = result(node);
    // Other passes name parts of a result after it as well.
    let name = |part: &str| format!("{y}.normalised.{part}");
    let pair = |a: &String, b: &String| vec![a.clone(), b.clone()];
    let share = 1.0 / of.channels as f32;
    let mean = linear(parts, of, &of.x, &name("mean"), [1, of.channels], share);
    let negative = linear(parts, of, &mean, &name("negative"), [of.channels, 1], -1.0);
    let centred = parts.node("Add", pair(&negative, &of.x), name("centred"), &[]);
    let squares = parts.node("Mul", pair(&centred, &centred), name("squares"), &[]);
    let variance = linear(
        parts,
        of,
        &squares,
        &name("variance"),
        [1, of.channels],
        share,
    );
    let epsilon = parts.number(name("epsilon"), of.epsilon);
    let sum = parts.node("Add", pair(&variance, &epsilon), name("sum"), &[]);
    let root = parts.node("Sqrt", vec![sum], name("deviation"), &[]);
    let inverse = parts.node("Reciprocal", vec![root], name("inverse"), &[]);
    let gate = linear(parts, of, &inverse, &name("gate"), [of.channels, 1], 1.0);
    // The operators that follow, the last of which has the result's name.
    let follow = [
        ("Mul", Some(&centred)),
        ("Mul", of.scale.as_ref()),
        ("Add", of.offset.as_ref()),
    ];
    let mut follow = follow
        .into_iter()
        .filter_map(|(operator, operand)| Some((operator, operand?)))
        .enumerate()
        .peekable();
    let mut value = gate;
    while let Some((index, (operator, operand))) = follow.next() {
        let to = match follow.peek() {
            Some(_) => name(&format!("stage{index}")),
            None => y.clone(),
        };
        value = parts.node(operator, pair(&value, operand), to, &[]);
    }
}

/// A linear layer along the axis, from and to the channels of `to_from`, all of whose weights are alike.
fn linear(
    parts: &mut Parts,
    of: &Normalisation,
    input: &str,
    to: &str,
    to_from: [usize; 2],
    weight: f32,
) -> String {
    let [outputs, inputs] = to_from;
    let values = vec![weight; inputs * outputs];
    let name = format!("{to}.weights");
    let (operator, dims) = if of.axis + 1 == of.rank {
        ("MatMul", vec![inputs as i64, outputs as i64])
    } else {
        let mut dims = vec![1; of.rank];
        (dims[0], dims[1]) = (outputs as i64, inputs as i64);
        ("Conv", dims)
    };
    parts.initializers.push(float_tensor(&name, &dims, &values));
    parts.node(operator, vec![input.to_owned(), name], to.to_owned(), &[])
}
