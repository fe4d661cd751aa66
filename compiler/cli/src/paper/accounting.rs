//! Accountings: choices about energy that the paper leaves open, and under which its figures are counted.
//!
//! An accounting prices events that were counted anyway, so nothing runs again. It chooses which activations are charged
//! with DRAM, and the energy of each event.

use super::lab::{Measured, Need};
use scnn_isa::machine::{Energy as Prices, Machine, Picojoules};
use scnn_isa::program::Memory;
use scnn_simulator::baseline::DenseEnergy;
use scnn_simulator::energy::Energy;
use scnn_simulator::report::Report;

/// Choices about energy.
#[derive(Clone, Copy, Debug)]
pub struct Accounting {
    /// Name.
    pub name: &'static str,
    /// Its assumptions.
    pub about: &'static str,
    /// Whether activations cross DRAM only in layers whose activations exceed the RAMs.
    on_chip: bool,
    /// Entries of the energy table that differ from the machine file, pJ.
    prices: &'static [(&'static str, f64)],
}

/// The machine file as it is.
pub const EVERY_BYTE: Accounting = Accounting {
    name: "every byte",
    about: "whatever the program moves, also activations that found no room beside others; the table of `scnn`",
    on_chip: false,
    prices: &[],
};

/// The accounting of the headlines: the paper finds 9 layers whose activations exceed the RAMs, all of them of VGG-16 (6.5), so
/// those of the other 63 stay on the chip. Its on-chip entries were fitted to the five headlines of energy, each within a factor
/// of two of its source; whatever else it gives is a prediction.
pub const HEADLINE: Accounting = Accounting {
    name: "activations on chip",
    about: "activations cross DRAM in the layers alone whose activations exceed the RAMs, on all machines (none where densities are swept; all that the \
            program moves where they are stored densely); on-chip entries fitted to the five headlines, inside the bands of their sources",
    on_chip: true,
    prices: &[
        ("multiply", 0.14),
        ("accumulate", 0.25),
        ("crossbar_transfer", 0.40),
        ("coordinate", 0.032),
        ("fifo_write_vector", 0.90),
        ("fifo_read_vector", 0.365),
        ("iaram_read_vector", 0.94),
        ("dense_operand_vector_read", 1.67),
    ],
};

/// All of them, the headlines' first.
pub const ACCOUNTINGS: [&Accounting; 2] = [&HEADLINE, &EVERY_BYTE];

/// Bits of an operand of the dense machines.
const OPERAND_BITS: u64 = 16;

/// An entry of the energy table, to be changed.
pub type Entry = (&'static str, fn(&mut Prices) -> &mut Picojoules);

/// The entries that the compared machines are charged with.
pub const ENTRIES: [Entry; 15] = [
    ("multiply", |e| &mut e.multiply),
    ("add", |e| &mut e.add),
    ("accumulate", |e| &mut e.accumulate),
    ("crossbar_transfer", |e| &mut e.crossbar_transfer),
    ("coordinate", |e| &mut e.coordinate),
    ("fifo_read_vector", |e| &mut e.fifo_read_vector),
    ("fifo_write_vector", |e| &mut e.fifo_write_vector),
    ("iaram_read_vector", |e| &mut e.iaram_read_vector),
    ("oaram_write_vector", |e| &mut e.oaram_write_vector),
    ("ppu_element", |e| &mut e.ppu_element),
    ("halo_sum", |e| &mut e.halo_sum),
    ("dram_bit", |e| &mut e.dram_bit),
    ("dense_operand_vector_read", |e| {
        &mut e.dense_operand_vector_read
    }),
    ("dense_add", |e| &mut e.dense_add),
    ("dense_sram_write_vector", |e| {
        &mut e.dense_sram_write_vector
    }),
];

impl Accounting {
    /// `machine` with this table of energies.
    pub fn priced(&self, machine: &Machine) -> Machine {
        let mut priced = machine.clone();
        for (name, entry) in ENTRIES {
            if let Some((_, pj)) = self.prices.iter().find(|(other, _)| *other == name) {
                entry(&mut priced.energy).pj = *pj;
            }
        }
        priced
    }

    /// The report of a measurement in this accounting.
    pub fn report(&self, need: &Need, measured: &Measured) -> Report {
        let machine = Machine::preset(need.preset).expect("sections name presets");
        let priced = self.priced(&machine);
        let capacity = machine
            .ram_elements(Memory::A)
            .min(machine.ram_elements(Memory::B));
        let mut report = measured.report.clone();
        for (layer, fullest) in report.layers.iter_mut().zip(&measured.fullest) {
            let exceeds = fullest.iter().any(|&held| held > capacity);
            let crosses = if machine.encoding.compress_activations {
                need.workload.tenths.is_none() && exceeds
            } else {
                true
            };
            let costs = &mut layer.costs;
            if self.on_chip && !crosses {
                costs.counters.dram_read_bytes = 0;
                costs.counters.dram_write_bytes = 0;
                costs.counters.dram_spill_bytes = 0;
                // The dense machines neither: their images and results come and go on the chip as well.
                let positions = layer.shape.map_or(1, |s| {
                    u64::from(s.n) * u64::from(s.out_h) * u64::from(s.out_w)
                });
                let weights = costs.baselines.macs / positions.max(1);
                let pj = (weights * OPERAND_BITS) as f64 * machine.energy.dram_bit.pj;
                costs.baselines.dcnn_pj.dram = pj;
                costs.baselines.dcnn_opt_pj.dram = pj;
            }
            costs.energy_pj.components = Energy::of(&costs.counters, &priced);
            for dense in [
                &mut costs.baselines.dcnn_pj,
                &mut costs.baselines.dcnn_opt_pj,
            ] {
                *dense = dense_energy(dense, &machine, &priced);
            }
        }
        report
    }
}

/// The energy of a dense machine, which was counted at the prices of `machine`, at others.
pub fn dense_energy(energy: &DenseEnergy, machine: &Machine, priced: &Machine) -> DenseEnergy {
    let times = |of: fn(&Prices) -> f64| of(&priced.energy) / of(&machine.energy);
    DenseEnergy {
        multipliers: energy.multipliers * times(|e| e.multiply.pj + e.dense_add.pj),
        operands: energy.operands
            * times(|e| e.dense_operand_vector_read.pj + e.fifo_read_vector.pj),
        results: energy.results * times(|e| e.dense_sram_write_vector.pj),
        dram: energy.dram * times(|e| e.dram_bit.pj),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_name_entries_and_stay_in_the_band_of_their_sources() {
        let machine = Machine::preset("scnn").unwrap();
        for accounting in ACCOUNTINGS {
            let priced = accounting.priced(&machine);
            let mut changed = 0;
            for (name, entry) in ENTRIES {
                let [was, is] = [&machine, &priced].map(|m| entry(&mut m.energy.clone()).pj);
                changed += usize::from(was != is);
                assert!(is >= was / 2.0 && is <= was * 2.0, "{name}: {was} and {is}");
            }
            assert_eq!(changed, accounting.prices.len(), "{}", accounting.name);
        }
    }
}
