//! Passes that bring a model nearer to its canonical form once its shapes are known; they add nodes to the model,
//! so that tract computes them too and calibration knows each by a name of its own.

mod broadcasts;
mod casts;
mod channel_sums;
mod contractions;
mod differences;
mod empty;
mod extrema;
mod factors;
mod joints;
mod minima;
mod normalisations;
mod one_hot;
mod ranges;
mod row_functions;
mod rows;
mod stacks;

use super::Facts;
use super::facts::TensorFact;
use crate::normalise::leave_out_unread;
use scnn_isa::program::Dtype;
use std::collections::BTreeMap;
use tract_onnx::pb::{GraphProto, ModelProto};

/// A pass: its name, what it does, and the function, which returns whether it changed anything.
pub(super) struct TypedPass {
    /// Name, as in `--dump-ir`.
    pub(super) name: &'static str,
    /// Its effect, in a sentence.
    #[allow(dead_code)] // Documentation of the table.
    about: &'static str,
    run: fn(&mut GraphProto, &Facts, &HostReasons) -> bool,
}

#[rustfmt::skip] // One pass a line.
/// The passes in their order.
pub(super) const TYPED_PASSES: &[TypedPass] = &[
    TypedPass { name: "casts", about: "a cast to the type that a tensor has becomes an identity", run: |graph, facts, _| casts::run(graph, facts) },
    TypedPass { name: "empty", about: "operands of a concatenation that have no elements go", run: |graph, facts, _| empty::run(graph, facts) },
    TypedPass { name: "ranges", about: "a choice by constant indices evenly apart and the parts of a plane become slices", run: |graph, facts, _| ranges::run(graph, facts) },
    TypedPass { name: "joints", about: "planes joined along rows or columns become a sum of padded planes", run: |graph, facts, _| joints::run(graph, facts) },
    TypedPass { name: "stacks", about: "a reduction over an axis that activations were stacked along becomes an operator of those", run: |graph, facts, _| stacks::run(graph, facts) },
    TypedPass { name: "factors", about: "a normalisation over channels by a factor and an offset becomes a quotient", run: |graph, facts, _| factors::run(graph, facts) },
    TypedPass { name: "normalisations", about: "a normalisation over channels becomes products, sums and a gate", run: normalisations::run },
    TypedPass { name: "one-hot", about: "a product of one-hot rows becomes a choice of the weights' rows", run: |graph, facts, _| one_hot::run(graph, facts) },
    TypedPass { name: "contractions", about: "a sum over indices of activations and constants becomes a product", run: |graph, facts, _| contractions::run(graph, facts) },
    TypedPass { name: "rows", about: "a product of many dimensions becomes one of rows", run: |graph, facts, _| rows::run(graph, facts) },
    TypedPass { name: "row-functions", about: "elementwise operators behind a product of rows are computed on the rows", run: |graph, facts, _| row_functions::run(graph, facts) },
    TypedPass { name: "channel-sums", about: "a sum over channels of what the array computes becomes a convolution", run: |graph, facts, _| channel_sums::run(graph, facts) },
    TypedPass { name: "broadcasts", about: "an operand that is broadcast along channels, rows or columns is repeated by the array", run: |graph, facts, _| broadcasts::run(graph, facts) },
    TypedPass { name: "minima", about: "a smallest value becomes the negative of a largest", run: |graph, facts, _| minima::run(graph, facts) },
    TypedPass { name: "differences", about: "a difference of two activations becomes a sum", run: |graph, facts, _| differences::run(graph, facts) },
    TypedPass { name: "extrema", about: "the larger or smaller of two activations becomes a sum", run: |graph, facts, _| extrema::run(graph, facts) },
];

/// The names of nodes that the host runs in any case, and why.
pub(super) type HostReasons = BTreeMap<String, String>;

/// Runs all passes; whether any changed anything.
pub(super) fn run_all(
    model: &mut ModelProto,
    facts: &Facts,
    on_host: &HostReasons,
    observe: &mut dyn FnMut(&str, &ModelProto),
) -> bool {
    let mut changed = false;
    for pass in TYPED_PASSES {
        let Some(graph) = &mut model.graph else {
            return false;
        };
        if (pass.run)(graph, facts, on_host) {
            changed = true;
            leave_out_unread(model);
            observe(pass.name, model);
        }
    }
    changed
}

/// Whether a tensor is computed, and of floats.
fn is_activation(fact: &TensorFact) -> bool {
    fact.constant.is_none() && fact.dtype == Dtype::F32
}
