//! Which layers count, and sums over them.

use scnn_simulator::baseline::{Baselines, DenseEnergy};
use scnn_simulator::counters::Counters;
use scnn_simulator::energy::Energy;
use scnn_simulator::report::{Layer, Report};
use scnn_simulator::timing::Slots;
use serde::Serialize;

/// Whether the paper counts a layer: convolutions, of `GoogLeNet` those of the inception modules.
pub fn counted(network: &str, layer: &Layer) -> bool {
    let inception = network != "googlenet" || layer.name.starts_with("inception_");
    layer.costs.baselines.macs > 0 && inception && !fully_connected(layer)
}

/// Whether a layer is fully connected: its kernel covers its whole input.
pub fn fully_connected(layer: &Layer) -> bool {
    layer.costs.baselines.macs > 0
        && layer
            .shape
            .is_some_and(|s| (s.out_h, s.out_w) == (1, 1) && (s.h, s.w) == (s.r, s.s))
}

/// The layers of a report that the paper counts.
pub fn counted_layers<'a>(
    network: &'a str,
    report: &'a Report,
) -> impl Iterator<Item = &'a Layer> + Clone {
    report
        .layers
        .iter()
        .filter(move |layer| counted(network, layer))
}

/// Sums over layers.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sums {
    /// Layers.
    pub layers: u64,
    /// Cycles.
    pub cycles: u64,
    /// Slots by cause.
    pub slots: Slots,
    /// Events.
    pub counters: Counters,
    /// Energy by component, pJ, without the host link's, which no dense machine is charged with.
    pub energy_pj: Energy,
    /// Energy of the host link, pJ.
    pub host_link_pj: f64,
    /// Dense machines.
    pub baselines: Baselines,
}

impl Sums {
    /// The sums over `layers`.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Self {
        let mut sums = Self::default();
        for layer in layers {
            sums.layers += 1;
            sums.cycles += layer.costs.cycles.total;
            sums.slots += layer.costs.cycles.slots;
            sums.counters += layer.costs.counters;
            sums.energy_pj.add(&layer.costs.energy_pj.components);
            sums.host_link_pj += std::mem::take(&mut sums.energy_pj.host_link);
            sums.baselines.add(&layer.costs.baselines);
        }
        sums
    }

    /// Times faster than DCNN with the same tiles.
    pub fn speed(&self) -> f64 {
        ratio(self.baselines.dcnn, self.cycles)
    }

    /// Times faster than a dense machine without tiles.
    pub fn speed_over_ideal(&self) -> f64 {
        ratio(self.baselines.dcnn_ideal, self.cycles)
    }

    /// Times faster than DCNN if every multiplier always did useful work.
    pub fn oracle(&self) -> f64 {
        ratio(self.baselines.dcnn, self.baselines.oracle)
    }

    /// Useful multiplications over all slots, 0..=1.
    pub fn utilisation(&self) -> f64 {
        ratio(self.slots.useful, self.slots.total())
    }

    /// Filled lanes over the lanes of all steps, 0..=1.
    pub fn lanes_filled(&self) -> f64 {
        let s = &self.slots;
        let issued = s.useful + s.out_of_plane + s.placeholder;
        ratio(issued, issued + s.fragmentation)
    }

    /// DCNN's energy over this.
    pub fn energy_gain(&self) -> f64 {
        self.dcnn_pj().total() / self.energy_pj.total()
    }

    /// DCNN's energy over DCNN-opt's.
    pub fn opt_gain(&self) -> f64 {
        self.dcnn_pj().total() / self.baselines.dcnn_opt_pj.total()
    }

    fn dcnn_pj(&self) -> &DenseEnergy {
        &self.baselines.dcnn_pj
    }
}

/// `a` over `b`.
pub fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

/// The arithmetic mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
