//! An `Einsum` of activations and constant weights becomes a matrix product between changes of order and shape.
//!
//! ```text
//! btgi,gih->btgh      [b, t, g i] x [g i, g h], whose weights are zero but between values of one group      grouped linear layers
//! bchw,cd->bdhw       [b, h, w, c] x [c, d], transposed back
//! ```
//!
//! An index of the activations is left as it is, is summed over, or is a group: one that weights and result have too. The
//! machine skips the zeros of the weights, so that groups cost what their products cost. A product of few rows leaves PEs
//! idle and waits for its weights, longer than its values take over the host link: it stays an `Einsum`, as do those of the
//! few frames between two recurrences that the host computes.

use super::is_activation;
use super::rows::reshape;
use crate::import::Facts;
use crate::import::nodes::constants::floats;
use crate::normalise::parts::{Parts, replace_known};
use crate::normalise::proto::{float_tensor, ints, is_standard, result, text_of};
use std::collections::BTreeMap;
use tract_onnx::pb::{GraphProto, NodeProto};

/// Most weights of the product, zeros included.
const MOST_WEIGHTS: u64 = 1 << 22;

/// Fewest rows of the product.
const LEAST_ROWS: u64 = 64;

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    replace_known(
        graph,
        |node| contraction(node, facts),
        |node, contraction, parts| replace(node, &contraction, parts),
    )
}

/// A letter of an equation.
type Index = char;

/// What an `Einsum` computes.
struct Contraction {
    activations: String,
    /// Indices of the activations, and of the result.
    read: Vec<Index>,
    made: Vec<Index>,
    kept: Vec<Index>,
    groups: Vec<Index>,
    summed: Vec<Index>,
    outputs: Vec<Index>,
    extents: BTreeMap<Index, u64>,
    /// Values of the weights, by groups, summed indices and outputs.
    weights: Vec<f32>,
}

impl Contraction {
    fn size(&self, indices: &[Index]) -> u64 {
        let extents = indices.iter().map(|index| self.extents[index]);
        extents.fold(1, u64::saturating_mul)
    }

    fn dims(&self, indices: &[Index]) -> Vec<u64> {
        indices.iter().map(|index| self.extents[index]).collect()
    }

    /// The weights of a product that has all groups beside each other.
    fn matrix(&self) -> Vec<f32> {
        let [groups, rows, columns] =
            [&self.groups, &self.summed, &self.outputs].map(|indices| self.size(indices) as usize);
        let mut matrix = vec![0.0; groups * rows * groups * columns];
        for (row, weights) in self.weights.chunks(columns).enumerate() {
            let begin = (row * groups + row / rows) * columns;
            matrix[begin..begin + columns].copy_from_slice(weights);
        }
        matrix
    }
}

fn contraction(node: &NodeProto, facts: &Facts) -> Option<Contraction> {
    if !is_standard(node) || node.op_type != "Einsum" || node.input.len() != 2 {
        return None;
    }
    let equation: String = text_of(node, "equation")?.split_whitespace().collect();
    let (terms, made) = equation.split_once("->")?;
    let (first, second) = terms.split_once(',')?;
    let constant = (0..2).find(|&index| facts.constant(&node.input[index]).is_some())?;
    let activations = node.input[1 - constant].clone();
    let (read, of_weights) = if constant == 1 {
        (first, second)
    } else {
        (second, first)
    };
    let [read, of_weights, made] = [read, of_weights, made].map(indices);
    let (read, of_weights, made) = (read?, of_weights?, made?);
    let fact = facts.get(&activations).filter(|fact| is_activation(fact))?;
    let weights = facts.constant(&node.input[constant])?;
    if fact.dims.len() != read.len() || weights.rank() != of_weights.len() {
        return None;
    }
    let sizes = weights.shape().iter().map(|&extent| extent as u64);
    let extents: BTreeMap<Index, u64> = read.iter().copied().zip(fact.dims.clone()).collect();
    let of_both: BTreeMap<Index, u64> = of_weights.iter().copied().zip(sizes).collect();
    // Extents of one are broadcast: then they differ.
    if of_both
        .iter()
        .any(|(index, extent)| extents.get(index).is_some_and(|read| read != extent))
    {
        return None;
    }
    let chosen = |from: &[Index], other: bool, result: bool, others: &[Index]| -> Vec<Index> {
        let wanted =
            |index: &&Index| others.contains(index) == other && made.contains(index) == result;
        from.iter().filter(wanted).copied().collect()
    };
    let kept = chosen(&read, false, true, &of_weights);
    let groups = chosen(&read, true, true, &of_weights);
    let summed = chosen(&read, true, false, &of_weights);
    let outputs = chosen(&of_weights, false, true, &read);
    let all_used = kept.len() + groups.len() + summed.len() == read.len()
        && groups.len() + summed.len() + outputs.len() == of_weights.len()
        && kept.len() + groups.len() + outputs.len() == made.len();
    if !all_used || summed.is_empty() {
        return None;
    }
    let order = [&groups[..], &summed, &outputs].concat();
    let values = transposed(&floats(weights).ok()?, &of_weights, &of_both, &order);
    let found = Contraction {
        activations,
        read,
        made,
        kept,
        groups,
        summed,
        outputs,
        extents: of_both.into_iter().chain(extents).collect(),
        weights: values,
    };

    let weights = found.weights.len() as u64 * found.size(&found.groups);
    let pays = found.size(&found.kept) >= LEAST_ROWS && weights <= MOST_WEIGHTS;
    pays.then_some(found)
}

/// The indices of a term, each of which it has once.
fn indices(term: &str) -> Option<Vec<Index>> {
    let indices: Vec<Index> = term.chars().collect();
    let once = |(place, index): (usize, &Index)| {
        index.is_ascii_alphabetic() && !indices[..place].contains(index)
    };
    indices
        .iter()
        .enumerate()
        .all(once)
        .then(|| indices.clone())
}

/// Values with these indices in another order of them.
fn transposed(
    values: &[f32],
    from: &[Index],
    extents: &BTreeMap<Index, u64>,
    order: &[Index],
) -> Vec<f32> {
    let stride = |index: &Index| -> usize {
        let faster = from.iter().skip_while(|other| *other != index).skip(1);
        faster.map(|other| extents[other] as usize).product()
    };
    let mut places = vec![0];
    for index in order {
        let (extent, stride) = (extents[index] as usize, stride(index));
        let steps = |place: usize| (0..extent).map(move |step| place + step * stride);
        places = places.into_iter().flat_map(steps).collect();
    }
    places.into_iter().map(|place| values[place]).collect()
}

fn replace(node: &NodeProto, contraction: &Contraction, parts: &mut Parts) {
    let y = result(node);
    let Contraction {
        kept,
        groups,
        summed,
        outputs,
        ..
    } = contraction;
    let columns = contraction.size(groups) * contraction.size(summed);
    let results = contraction.size(groups) * contraction.size(outputs);
    // A product has one axis before that which it sums over, at least.
    let mut leading = contraction.dims(kept);
    if leading.is_empty() {
        leading.push(1);
    }
    let with = |last: u64| [&leading[..], &[last]].concat();
    let order = [&kept[..], groups, summed].concat();
    let x = contraction.activations.clone();
    let x = reordered(parts, x, (&contraction.read, &order), || {
        format!("{y}.ordered")
    });
    let x = reshape(parts, &x, format!("{y}.rows"), &with(columns));
    let weights = format!("{y}.weights");
    let dims = [columns as i64, results as i64];
    parts
        .initializers
        .push(float_tensor(&weights, &dims, &contraction.matrix()));
    let product = parts.node("MatMul", vec![x, weights], format!("{y}.product"), &[]);
    let given = [&kept[..], groups, outputs].concat();
    let dims = contraction.dims(&given);
    if given == contraction.made {
        reshape(parts, &product, y, &dims);
        return;
    }
    let shaped = reshape(parts, &product, format!("{y}.shaped"), &dims);
    reordered(parts, shaped, (&given, &contraction.made), || y.clone());
}

/// A tensor with its indices in another order, which is called as `name` says if it is another.
fn reordered(
    parts: &mut Parts,
    tensor: String,
    (from, to): (&[Index], &[Index]),
    name: impl Fn() -> String,
) -> String {
    if from == to {
        return tensor;
    }
    let place = |index: &Index| from.iter().position(|other| other == index);
    let order: Vec<i64> = to.iter().filter_map(place).map(|at| at as i64).collect();
    parts.node("Transpose", vec![tensor], name(), &[ints("perm", &order)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_letters_that_occur_once() {
        assert_eq!(indices("bti"), Some(vec!['b', 't', 'i']));
        assert_eq!(indices(""), Some(vec![]));
        assert_eq!(indices("bb"), None);
        assert_eq!(indices("...i"), None);
    }

    #[test]
    fn weights_of_groups_lie_beside_each_other() {
        let extents = BTreeMap::from([('g', 2), ('i', 2), ('h', 1)]);
        let contraction = Contraction {
            activations: "x".to_owned(),
            read: vec!['g', 'i'],
            made: vec!['g', 'h'],
            kept: Vec::new(),
            groups: vec!['g'],
            summed: vec!['i'],
            outputs: vec!['h'],
            extents: extents.clone(),
            weights: vec![1.0, 2.0, 3.0, 4.0],
        };
        let wanted = [1.0, 0.0, 2.0, 0.0, 0.0, 3.0, 0.0, 4.0];
        assert_eq!(contraction.matrix(), wanted);
        let by_inputs = transposed(&[1.0, 2.0, 3.0, 4.0], &['g', 'i'], &extents, &['i', 'g']);
        assert_eq!(by_inputs, [1.0, 3.0, 2.0, 4.0]);
    }
}
