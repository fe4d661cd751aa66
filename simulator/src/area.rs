//! Static area: the machine's parameters times its table of areas.
//!
//! The table (`area:` in the machine file) holds the areas of one PE of the paper's machine. Each component grows with
//! what it is made of, from the paper's sizes (`PAPER`) on:
//!
//! | component | grows with |
//! |---|---|
//! | activation RAMs | their bytes |
//! | weight FIFO | its bits: vectors x F x (operand + index) |
//! | multipliers | F x I x operand bits squared |
//! | crossbar | its cross points and width: F x I x banks x accumulator bits |
//! | accumulators | their bits, both halves: banks x entries x accumulator bits |
//! | other (coordinates, PPU, control) | F x I |
//!
//! A dense machine is given as a whole. Of that, the multipliers and the activation SRAM are what the table's densities
//! say of them, and grow likewise; the rest (operand delivery, sums, control) grows with the multipliers.

use crate::schema::described;
use scnn_isa::machine::{Dataflow, Machine};
use serde::{Deserialize, Serialize};

/// Sizes that the areas of the table belong to: the paper's.
struct Sizes {
    pes: f64,
    ram_bytes: f64,
    fifo_bits: f64,
    multipliers: f64,
    operand_bits: f64,
    banks: f64,
    entries: f64,
    accumulator_bits: f64,
    sram_bytes: f64,
}

/// SCNN table 2 and section 4.
const PAPER: Sizes = Sizes {
    pes: 64.0,
    ram_bytes: 20480.0,
    fifo_bits: 50.0 * 4.0 * 20.0,
    multipliers: 16.0,
    operand_bits: 16.0,
    banks: 32.0,
    entries: 32.0,
    accumulator_bits: 24.0,
    sram_bytes: 2_097_152.0,
};

described! {
    /// Area by component over all PEs, mm2.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct Area {
        /// Activation RAMs, or the SRAM of a dense machine.
        pub activation_rams: f64,
        /// Weight FIFOs.
        pub weight_fifo: f64,
        /// Multipliers.
        pub multipliers: f64,
        /// Crossbars.
        pub crossbar: f64,
        /// Accumulator banks.
        pub accumulators: f64,
        /// Coordinates, PPUs and control; of a dense machine, all that is not named.
        pub other: f64,
    }
}

impl Area {
    /// The area of a machine.
    pub fn of(machine: &Machine) -> Self {
        match machine.dataflow.kind {
            Dataflow::CartesianSparse => Self::sparse(machine),
            Dataflow::DotProductDense => Self::dense(machine),
        }
    }

    fn sparse(machine: &Machine) -> Self {
        let (table, pe) = (&machine.area, &machine.pe);
        let element_bits = pe.operand_bits + machine.encoding.index_bits;
        let ram_bytes =
            f64::from(machine.activation_ram.a_bytes) + f64::from(machine.activation_ram.b_bytes);
        let fifo_bits = f64::from(machine.fifo_elements()) * f64::from(element_bits);
        let products = f64::from(machine.multipliers_per_pe()) / PAPER.multipliers;
        let banks = f64::from(pe.banks) / PAPER.banks;
        let width = f64::from(pe.accumulator_bits) / PAPER.accumulator_bits;
        let entries = f64::from(pe.entries_per_bank) / PAPER.entries;
        let pes = f64::from(machine.pe_count());
        Self {
            activation_rams: pes * table.activation_rams.mm2 * ram_bytes / PAPER.ram_bytes,
            weight_fifo: pes * table.weight_fifo.mm2 * fifo_bits / PAPER.fifo_bits,
            multipliers: pes * table.multipliers.mm2 * products * operand_factor(machine),
            crossbar: pes * table.crossbar.mm2 * products * banks * width,
            accumulators: pes * table.accumulators.mm2 * banks * entries * width,
            other: pes * table.other.mm2 * products,
        }
    }

    fn dense(machine: &Machine) -> Self {
        let table = &machine.area;
        let multipliers = PAPER.pes * table.multipliers.mm2;
        let sram = table.activation_rams.mm2 * PAPER.sram_bytes / PAPER.ram_bytes;
        let rest = (table.dense_total.mm2 - multipliers - sram).max(0.0);
        let products = f64::from(machine.pe_count()) * f64::from(machine.multipliers_per_pe())
            / (PAPER.pes * PAPER.multipliers);
        Self {
            activation_rams: sram * f64::from(machine.dataflow.sram_bytes) / PAPER.sram_bytes,
            multipliers: multipliers * products * operand_factor(machine),
            other: rest * products,
            ..Self::default()
        }
    }

    /// Components in a fixed order.
    pub fn components(&self) -> [(&'static str, f64); 6] {
        [
            ("activation_rams", self.activation_rams),
            ("weight_fifo", self.weight_fifo),
            ("multipliers", self.multipliers),
            ("crossbar", self.crossbar),
            ("accumulators", self.accumulators),
            ("other", self.other),
        ]
    }

    /// The sum of all components.
    pub fn total(&self) -> f64 {
        self.components().iter().map(|(_, mm2)| mm2).sum()
    }
}

/// A multiplier grows with the square of its operands' width.
fn operand_factor(machine: &Machine) -> f64 {
    (f64::from(machine.pe.operand_bits) / PAPER.operand_bits).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(name: &str) -> Area {
        Area::of(&Machine::preset(name).unwrap())
    }

    #[test]
    fn the_published_machines_have_their_published_areas() {
        let rounded = |name| (area(name).total() * 10.0).round() / 10.0;
        assert_eq!(rounded("scnn"), 7.9);
        assert_eq!(rounded("dcnn"), 5.9);
        assert_eq!(rounded("dcnn-opt"), 5.9);
    }

    #[test]
    fn fewer_and_larger_pes_pay_for_their_crossbars() {
        let (many, few) = (area("scnn"), area("scnn-4pe"));
        assert!((few.multipliers - many.multipliers).abs() < 1e-9);
        assert!((few.accumulators - many.accumulators).abs() < 1e-9);
        assert!((few.crossbar / many.crossbar - 16.0).abs() < 1e-9);
    }

    #[test]
    fn a_dense_machine_with_half_the_multipliers_keeps_its_sram() {
        let mut half = Machine::preset("dcnn").unwrap();
        half.array.rows /= 2;
        let (whole, half) = (area("dcnn"), Area::of(&half));
        assert_eq!(half.activation_rams, whole.activation_rams);
        assert!((half.multipliers * 2.0 - whole.multipliers).abs() < 1e-9);
    }
}
