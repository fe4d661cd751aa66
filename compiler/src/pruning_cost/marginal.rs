//! The marginal value of a layer's next zeros: what some more of them would save.

use super::{CostError, Elements, GivenWeights, Multiplied, PruningCost, WeightTensor, Weighted};
use crate::map::fixed::{FixedMapping, LayerCost};
use crate::names::resolve;
use crate::quantise::nonzeros::NonzeroWeights;
use crate::quantise::nonzeros::bits::Bits;
use std::sync::Arc;

/// Which weights become zero next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The smallest; of equals the first.
    Smallest,
    /// Any, by a seed.
    Random(u64),
}

/// How many weights become zero next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Share of those that are not zero, above 0 and at most 1; of each tensor at least one.
    pub share: f64,
    /// Which.
    pub next: Next,
}

/// What the next zeros of a tensor of weights save.
#[derive(Clone, Debug, PartialEq)]
pub struct Marginal {
    /// ONNX node; the first of those that share the weights.
    pub name: String,
    /// Zeros that were tried; none where all weights are zero.
    pub zeros: usize,
    /// Cycles that each of them saves, of all layers with these weights. It is not more than 0 where something else than
    /// multiplications takes the time, as DRAM or the PE that has most.
    pub cycles_per_zero: f64,
    /// Energy that each of them saves, pJ.
    pub pj_per_zero: f64,
    /// By output channel, products that land for each of its weights on average: those that a zero there saves.
    pub products_per_zero: Vec<f64>,
}

impl PruningCost {
    /// What the next zeros of each tensor alone save, where the tensors have the zeros of `given`.
    ///
    /// # Errors
    /// As of [`PruningCost::cost`], or a share that is none.
    pub fn marginal(
        &mut self,
        given: &[GivenWeights<'_>],
        part: Part,
    ) -> Result<Vec<Marginal>, CostError> {
        if !(part.share > 0.0 && part.share <= 1.0) {
            return Err(CostError::Part(part.share));
        }
        let elements = self.resolved(given)?;
        self.apply(&elements);
        let tensors = self.tensors.iter().zip(elements);
        let marginal = tensors.map(|(tensor, elements)| {
            let values = match elements {
                Some(Elements::Values(values)) => values,
                Some(Elements::Mask(_)) | None => &tensor.values,
            };
            tensor.marginal(values, part, &mut self.fixed)
        });
        Ok(marginal.collect())
    }
}

impl PruningCost {
    /// The tensor of a name; and by weight, in the tensor's order, the products that it takes part in and that land, in
    /// all layers with the tensor together. They are as many for every output channel.
    ///
    /// # Errors
    /// A name that there is not.
    pub fn products(&self, name: &str) -> Result<(&WeightTensor, Vec<u64>), CostError> {
        let tensor = &self.tensors[resolve(name, &self.names())?];
        Ok((&tensor.about, tensor.products(&self.fixed)))
    }
}

impl Weighted {
    /// See [`PruningCost::products`].
    fn products(&self, fixed: &FixedMapping) -> Vec<u64> {
        let mut products = vec![0; self.values.len()];
        for of in &self.operations {
            for at in 0..of.extents.len() {
                let (c, tap) = of.extents.reads(at);
                products[of.order.index(at, &of.extents)] +=
                    fixed.landing(of.operation, c as u32, tap as u32);
            }
        }
        products
    }

    fn marginal(&self, values: &[f32], part: Part, fixed: &mut FixedMapping) -> Marginal {
        let gone = self.next(values, part);
        let pruned = self
            .operations
            .iter()
            .map(|of| (of.operation, of.without(&gone)));
        let pruned = pruned.collect();
        let now: LayerCost = self
            .operations
            .iter()
            .filter_map(|of| fixed.costs()[of.operation])
            .sum();
        let then: LayerCost = fixed.with(pruned).into_iter().map(|(_, cost)| cost).sum();
        let zeros = gone.iter().filter(|gone| **gone).count();
        let of_each = 1.0 / zeros.max(1) as f64;
        Marginal {
            name: self.about.name.clone(),
            zeros,
            cycles_per_zero: (now.cycles as f64 - then.cycles as f64) * of_each,
            pj_per_zero: (now.energy_pj - then.energy_pj) * of_each,
            products_per_zero: self.products_per_zero(fixed),
        }
    }

    /// By element of the tensor, whether it becomes zero next.
    fn next(&self, values: &[f32], part: Part) -> Vec<bool> {
        let mut left = vec![false; values.len()];
        for of in &self.operations {
            for at in of.present.ones() {
                left[of.order.index(at, &of.extents)] = true;
            }
        }
        let key = |at: usize| match part.next {
            // The bits of floats that are not negative are ordered as they are.
            Next::Smallest => u64::from(values[at].abs().to_bits()),
            Next::Random(seed) => mixed(seed ^ mixed(at as u64)),
        };
        let left = left.iter().enumerate().filter(|(_, left)| **left);
        let mut keys: Vec<(u64, usize)> = left.map(|(at, _)| (key(at), at)).collect();
        let count = (keys.len() as f64 * part.share).round() as usize;
        let count = count.clamp(keys.len().min(1), keys.len());
        if count < keys.len() {
            keys.select_nth_unstable(count);
        }
        let mut gone = vec![false; values.len()];
        for &(_, at) in &keys[..count] {
            gone[at] = true;
        }
        gone
    }

    /// By output channel, products that land for each weight that is not zero.
    fn products_per_zero(&self, fixed: &FixedMapping) -> Vec<f64> {
        let first = &self.operations[0].extents;
        let mut counts = vec![(0u64, 0u64); first.groups * first.per_out];
        for of in &self.operations {
            let Some(weights) = &fixed.network().nonzeros[of.operation] else {
                continue;
            };
            let taps = weights.taps();
            for c in 0..(of.extents.groups * of.extents.per_in) as u32 {
                let landing: Vec<u64> = (0..taps)
                    .map(|tap| fixed.landing(of.operation, c, tap))
                    .collect();
                for (output, tap) in weights.of_channel(c) {
                    let (products, weights) = &mut counts[output as usize];
                    *products += landing[tap as usize];
                    *weights += 1;
                }
            }
        }
        // A weight that several layers share is one zero.
        let shared = self.operations.len() as f64;
        let mean =
            |(products, weights): (u64, u64)| products as f64 * shared / weights.max(1) as f64;
        counts.into_iter().map(mean).collect()
    }
}

impl Multiplied {
    /// Its present non-zeros without those of the tensor that are `gone`.
    fn without(&self, gone: &[bool]) -> Arc<NonzeroWeights> {
        let gone = |at| gone[self.order.index(at, &self.extents)];
        let gone = Bits::from_fn(self.extents.len(), gone);
        self.gathered(&self.present.clone().without(&gone))
    }
}

/// A number in which every bit depends on all bits of another (the finalizer of `SplitMix64`).
fn mixed(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
