//! The gain by sparsity, in one sentence.

use super::Report;
use crate::timing::{Cause, Slots};
use std::fmt::Write;

/// Shares of non-zeros over all dense multiplications of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Operands {
    /// Of their weights, 0..=1.
    pub weights: f64,
    /// Of their activations, 0..=1.
    pub activations: f64,
}

impl Report {
    /// How dense the operands of the network's multiplications are: each layer counts by its dense multiplications.
    pub fn operands(&self) -> Operands {
        let mut sum = Operands::default();
        for layer in self.array_layers() {
            let dense = layer.costs.multiplies.dense as f64;
            sum.weights += dense * layer.density.weights;
            sum.activations += dense * layer.density.input;
        }
        let all = (self.totals.multiplies.dense as f64).max(1.0);
        Operands {
            weights: sum.weights / all,
            activations: sum.activations / all,
        }
    }

    /// Products saved, cycles saved, and where the rest was lost, in one sentence.
    pub fn headline(&self) -> String {
        let dense = self.totals.multiplies.dense;
        if dense == 0 {
            return "nothing of this model ran on the array".to_owned();
        }
        let operands = self.operands();
        let products = dense as f64 / self.totals.multiplies.issued.max(1) as f64;
        let (cycles, slots) = self.array_cost();
        let faster = self.totals.baselines.dcnn as f64 / cycles.max(1) as f64;
        let mut text = format!(
            "weights {:.0} % dense, activations {:.0} %: {products:.1}x fewer products, ",
            100.0 * operands.weights,
            100.0 * operands.activations,
        );
        // Writing to a string does not fail.
        let _ = if faster >= 1.0 {
            write!(text, "{faster:.2}x fewer cycles than DCNN")
        } else {
            write!(
                text,
                "but {:.2}x the cycles of DCNN: here sparsity buys nothing",
                1.0 / faster
            )
        };
        let lost = losses(&slots);
        if !lost.is_empty() {
            let _ = write!(text, "; the rest is lost to {}", lost.join(", "));
        }
        text
    }

    /// How far each figure can be trusted, in one line.
    pub fn trust(&self) -> String {
        let (cycles, energy) = (&self.totals.cycles.trust, &self.totals.energy_pj.trust);
        let figures = [
            ("cycles", cycles),
            ("energy", energy),
            ("area", &self.area_trust),
        ];
        let words = figures.map(|(figure, trust)| format!("{figure} {}", trust.shares()));
        words.join("; ")
    }

    /// Cycles from one inference to the next, all samples together. The inputs of the next one and the outputs of the one
    /// before cross the host link while the array works on this one, so they take no cycles of its own; they bound the
    /// rate where the link needs longer for all that crosses it.
    pub fn period_cycles(&self) -> u64 {
        let bytes_per_cycle = self.host_link_gigabytes_per_second / self.clock_gigahertz;
        let link = self.totals.counters.host_bytes as f64 / bytes_per_cycle;
        self.totals.cycles.total.max(link.ceil() as u64)
    }

    /// Cycles of the layers that the dense machines have, too: neither the PPU's own nor the host's.
    pub fn array_cycles(&self) -> u64 {
        self.array_cost().0
    }

    /// Cycles and slots of the layers that DCNN has, too.
    fn array_cost(&self) -> (u64, Slots) {
        let (mut cycles, mut slots) = (0, Slots::default());
        for layer in self.array_layers() {
            cycles += layer.costs.cycles.total;
            slots += layer.costs.cycles.slots;
        }
        (cycles, slots)
    }
}

/// Causes that took at least one slot of a hundred, the largest first.
fn losses(slots: &Slots) -> Vec<String> {
    let all = slots.total().max(1) as f64;
    let mut lost: Vec<(Cause, f64)> = Cause::all(slots)
        .into_iter()
        .filter(|(cause, _)| *cause != Cause::Useful)
        .map(|(bound, share)| (bound, 100.0 * share as f64 / all))
        .filter(|(_, percent)| *percent >= 1.0)
        .collect();
    lost.sort_by(|a, b| b.1.total_cmp(&a.1));
    lost.iter()
        .map(|(bound, percent)| format!("{bound} {percent:.0} %"))
        .collect()
}
