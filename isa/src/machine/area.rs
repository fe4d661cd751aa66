//! Area of a PE by component, as a function of the machine's structure.
//!
//! The table (`area:` in the machine file) holds the areas of one PE of the paper's machine. Each component grows with
//! what it is made of, from the paper's sizes (`Sizes::PAPER`) on:
//!
//! | component | grows with |
//! |---|---|
//! | activation RAMs | their bytes |
//! | weight FIFO | its bits: vectors x F x (operand + index) |
//! | multipliers | F x I x operand bits squared |
//! | crossbar | its cross points and width: F x I x banks x accumulator bits |
//! | accumulators | their bits, both halves: banks x entries x accumulator bits |
//! | other (coordinates, PPU, control) | F x I |

use super::Machine;

/// Sizes that areas grow with.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of both activation RAMs of a PE.
    pub ram_bytes: f64,
    /// Bits of a weight FIFO.
    pub fifo_bits: f64,
    /// Multipliers of a PE.
    pub multipliers: f64,
    /// Width of an operand.
    pub operand_bits: f64,
    /// Accumulator banks.
    pub banks: f64,
    /// Entries of a bank.
    pub entries: f64,
    /// Width of an accumulator.
    pub accumulator_bits: f64,
}

impl Sizes {
    /// Sizes of the paper's machine, to which the areas of the table belong (SCNN table 2 and section 4).
    pub const PAPER: Self = Self {
        ram_bytes: 20480.0,
        fifo_bits: 50.0 * 4.0 * 20.0,
        multipliers: 16.0,
        operand_bits: 16.0,
        banks: 32.0,
        entries: 32.0,
        accumulator_bits: 24.0,
    };

    /// Sizes of a machine.
    pub fn of(machine: &Machine) -> Self {
        let (pe, rams) = (&machine.pe, &machine.activation_ram);
        let element_bits = pe.operand_bits + machine.encoding.index_bits;
        Self {
            ram_bytes: f64::from(rams.a_bytes) + f64::from(rams.b_bytes),
            fifo_bits: f64::from(machine.fifo_elements()) * f64::from(element_bits),
            multipliers: f64::from(machine.multipliers_per_pe()),
            operand_bits: f64::from(pe.operand_bits),
            banks: f64::from(pe.banks),
            entries: f64::from(pe.entries_per_bank),
            accumulator_bits: f64::from(pe.accumulator_bits),
        }
    }

    /// Area of the multipliers over that at the paper's sizes: one grows with the square of its operands' width.
    pub fn multiplier_growth(&self) -> f64 {
        let paper = Self::PAPER;
        let width = self.operand_bits / paper.operand_bits;
        self.multipliers / paper.multipliers * width * width
    }
}

/// Area of a PE by component, mm2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeArea {
    /// Both activation RAMs.
    pub activation_rams: f64,
    /// Weight FIFO.
    pub weight_fifo: f64,
    /// Multipliers.
    pub multipliers: f64,
    /// Crossbar.
    pub crossbar: f64,
    /// Accumulator banks.
    pub accumulators: f64,
    /// Coordinates, PPU and control.
    pub other: f64,
}

impl PeArea {
    /// The paper's table of areas.
    pub const PAPER: Self = Self {
        activation_rams: 0.031,
        weight_fifo: 0.004,
        multipliers: 0.008,
        crossbar: 0.026,
        accumulators: 0.036,
        other: 0.019,
    };

    /// The sum of all components.
    pub fn total(&self) -> f64 {
        self.activation_rams
            + self.weight_fifo
            + self.multipliers
            + self.crossbar
            + self.accumulators
            + self.other
    }
}

impl Machine {
    /// Area of one PE of the sparse machine.
    pub fn pe_area(&self) -> PeArea {
        let (table, here, paper) = (&self.area, Sizes::of(self), Sizes::PAPER);
        let products = here.multipliers / paper.multipliers;
        let banks = here.banks / paper.banks;
        let width = here.accumulator_bits / paper.accumulator_bits;
        let entries = here.entries / paper.entries;
        PeArea {
            activation_rams: table.activation_rams.mm2 * (here.ram_bytes / paper.ram_bytes),
            weight_fifo: table.weight_fifo.mm2 * (here.fifo_bits / paper.fifo_bits),
            multipliers: table.multipliers.mm2 * here.multiplier_growth(),
            crossbar: table.crossbar.mm2 * products * banks * width,
            accumulators: table.accumulators.mm2 * banks * entries * width,
            other: table.other.mm2 * products,
        }
    }
}
