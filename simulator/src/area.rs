//! Static area: the machine's parameters times its table of areas.
//!
//! A PE's area by component is [`Machine::pe_area`]; the sparse machine has as much of each in every PE.
//!
//! A dense machine is given as a whole. Of that, the multipliers and the activation SRAM are what the table's densities
//! say of them, and grow likewise; the rest (operand delivery, sums, control) grows with the multipliers.

use crate::schema::described;
use scnn_isa::machine::{Dataflow, Machine, Sizes};
use serde::{Deserialize, Serialize};

/// PEs of the paper's machine, and bytes of its dense baselines' SRAM (SCNN section 4).
const PAPER_PES: f64 = 64.0;
const PAPER_SRAM_BYTES: f64 = 2_097_152.0;

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
        let (of_pe, pes) = (machine.pe_area(), f64::from(machine.pe_count()));
        Self {
            activation_rams: pes * of_pe.activation_rams,
            weight_fifo: pes * of_pe.weight_fifo,
            multipliers: pes * of_pe.multipliers,
            crossbar: pes * of_pe.crossbar,
            accumulators: pes * of_pe.accumulators,
            other: pes * of_pe.other,
        }
    }

    fn dense(machine: &Machine) -> Self {
        let (table, here) = (&machine.area, Sizes::of(machine));
        let multipliers = PAPER_PES * table.multipliers.mm2;
        let sram = table.activation_rams.mm2 * PAPER_SRAM_BYTES / Sizes::PAPER.ram_bytes;
        let rest = (table.dense_total.mm2 - multipliers - sram).max(0.0);
        let pes = f64::from(machine.pe_count()) / PAPER_PES;
        Self {
            activation_rams: sram * f64::from(machine.dataflow.sram_bytes) / PAPER_SRAM_BYTES,
            multipliers: multipliers * pes * here.multiplier_growth(),
            other: rest * pes * here.multipliers / Sizes::PAPER.multipliers,
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
