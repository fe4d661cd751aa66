//! The cost of a network under a mapping that stays as it is, while zeros of its weights come and go.
//!
//! The machine, the mapping and what the activations hold do not change, so a layer whose weights are as before keeps its
//! cost, and nothing of the search runs.
//!
//! The energy of a [`Cost`] leaves out the events that no mapping changes. Zeros of weights do change some of these: each product
//! that lands crosses the crossbar and is added to an accumulator. [`LayerCost`] counts these too. It leaves out events that
//! depend on neither: PPUs, written activations, the host link.

use super::Mapped;
use super::bound::Landing;
use super::contents::Contents;
use super::cost::Cost;
use super::occupancy::Occupancy;
use super::search::Search;
use crate::quantise::nonzeros::NonzeroWeights;
use crate::quantise::{Operation, Quantised};
use rayon::prelude::*;
use scnn_isa::machine::Machine;
use std::collections::BTreeMap;
use std::sync::Arc;
use tract_onnx::prelude::Tensor;

/// A network under a fixed mapping, with the cost of its present weights.
#[derive(Debug)]
pub struct FixedMapping {
    network: Quantised,
    machine: Machine,
    occupancy: Occupancy,
    mapped: Mapped,
    contents: Vec<Arc<Contents>>,
    /// By operation, by (channel of the source view, tap): activations whose products with a weight there land.
    landing: Vec<Vec<u64>>,
    costs: Vec<Option<LayerCost>>,
}

/// Cost of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerCost {
    /// Cycles from the layer's begin to its end.
    pub cycles: u64,
    /// Energy of the events that depend on the mapping or on zeros of weights, pJ.
    pub energy_pj: f64,
    /// Products that land: those of two non-zeros that stay inside the plane.
    pub products: u64,
}

impl std::iter::Sum for LayerCost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |sum, cost| Self {
            cycles: sum.cycles + cost.cycles,
            energy_pj: sum.energy_pj + cost.energy_pj,
            products: sum.products + cost.products,
        })
    }
}

impl FixedMapping {
    /// A network under `mapped`, on the activations of `occupancy`.
    pub fn new(network: Quantised, machine: Machine, occupancy: Occupancy, mapped: Mapped) -> Self {
        let mut fixed = Self {
            costs: vec![None; network.operations.len()],
            network,
            machine,
            occupancy,
            mapped,
            contents: Vec::new(),
            landing: Vec::new(),
        };
        fixed.count_activations();
        fixed
    }

    /// Counts the activations of tensors (by ONNX name) anew, where they hold `values`, and predicts all operations.
    pub fn observe(&mut self, values: &BTreeMap<String, Tensor>) {
        self.occupancy.observe(&self.network, values);
        self.count_activations();
    }

    /// Computes everything that depends on the activations: products that land, and predictions.
    fn count_activations(&mut self) {
        let (network, occupancy) = (&self.network, &self.occupancy);
        let search = Search::predicting(network, &self.machine, occupancy);
        self.contents = search.all_contents(&self.mapped.layouts);
        let operations: Vec<usize> = (0..network.operations.len()).collect();
        let landing = operations.par_iter();
        self.landing = landing
            .map(|&operation| landing_of(network, occupancy, operation))
            .collect();
        self.update(&operations);
    }

    /// The network, with its present non-zeros.
    pub fn network(&self) -> &Quantised {
        &self.network
    }

    /// By operation, the cost of its present weights; none where the host has the operation.
    pub fn costs(&self) -> &[Option<LayerCost>] {
        &self.costs
    }

    /// Gives some operations other weights and predicts these alone.
    pub fn set(&mut self, weights: Vec<(usize, Arc<NonzeroWeights>)>) {
        let operations: Vec<usize> = weights.iter().map(|(operation, _)| *operation).collect();
        for (operation, weights) in weights {
            self.network.nonzeros[operation] = Some(weights);
        }
        self.update(&operations);
    }

    /// The costs of some operations with other weights; the network keeps its own.
    pub fn with(&mut self, weights: Vec<(usize, Arc<NonzeroWeights>)>) -> Vec<(usize, LayerCost)> {
        let swap = |network: &mut Quantised, weights: Vec<(usize, Option<Arc<NonzeroWeights>>)>| {
            let swapped = weights.into_iter().map(|(operation, weights)| {
                let before = std::mem::replace(&mut network.nonzeros[operation], weights);
                (operation, before)
            });
            swapped.collect::<Vec<_>>()
        };
        let others = weights
            .into_iter()
            .map(|(operation, of)| (operation, Some(of)));
        let before = swap(&mut self.network, others.collect());
        let operations: Vec<usize> = before.iter().map(|(operation, _)| *operation).collect();
        let costs = self.predict(&operations);
        swap(&mut self.network, before);
        costs
    }

    /// Products that land for a weight of input channel `c` of the source view at `tap`.
    pub fn landing(&self, operation: usize, c: u32, tap: u32) -> u64 {
        let taps = self.network.nonzeros[operation]
            .as_ref()
            .map_or(1, |of| of.taps());
        let at = (c * taps + tap) as usize;
        self.landing[operation].get(at).copied().unwrap_or(0)
    }

    /// Energy of a product that lands beyond that of every pair, pJ.
    fn landed_pj(&self) -> f64 {
        let energy = &self.machine.energy;
        energy.crossbar_transfer.pj + energy.accumulate.pj + energy.add.pj
    }

    fn update(&mut self, operations: &[usize]) {
        for (operation, cost) in self.predict(operations) {
            self.costs[operation] = Some(cost);
        }
    }

    fn predict(&self, operations: &[usize]) -> Vec<(usize, LayerCost)> {
        let search = Search::predicting(&self.network, &self.machine, &self.occupancy);
        let predicted = search.predict_some(&self.mapped, &self.contents, operations);
        let whole = |(operation, cost): (usize, Cost)| {
            let products = self.products(operation);
            let cost = LayerCost {
                cycles: cost.cycles,
                energy_pj: cost.energy_pj + products as f64 * self.landed_pj(),
                products,
            };
            (operation, cost)
        };
        predicted.into_par_iter().map(whole).collect()
    }

    /// Products of an operation that land.
    fn products(&self, operation: usize) -> u64 {
        let Some(weights) = &self.network.nonzeros[operation] else {
            return 0;
        };
        let taps = weights.taps() as usize;
        let by_channel = self.landing[operation]
            .chunks_exact(taps.max(1))
            .enumerate();
        let of_channel = |(c, landing): (usize, &[u64])| -> u64 {
            let nonzeros = weights.per_tap(c as u32);
            nonzeros.iter().zip(landing).map(|(a, b)| a * b).sum()
        };
        by_channel.map(of_channel).sum()
    }
}

/// By (channel, tap) of an operation, the activations whose products with a weight there land.
fn landing_of(network: &Quantised, occupancy: &Occupancy, operation: usize) -> Vec<u64> {
    let Operation::Layer(layer) = &network.operations[operation] else {
        return Vec::new();
    };
    let Some(conv) = &layer.conv else {
        return Vec::new();
    };
    let [n, _, h, w] = network.tensor(layer.source.tensor).shape;
    let landing = Landing::new(layer, conv, [n, h, w]);
    let taps = (conv.y.kernel * conv.x.kernel) as usize;
    let of_channel = |c| {
        let landing = &landing;
        (0..taps).map(move |tap| landing.count(occupancy, c, tap))
    };
    let channels = 0..layer.source.channels.len();
    channels.flat_map(of_channel).collect()
}
