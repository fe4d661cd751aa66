//! Energy: counters times the machine's table, by component.

use crate::counters::Counters;
use crate::schema::described;
use scnn_isa::machine::Machine;
use serde::{Deserialize, Serialize};

described! {
    /// Energy by component, pJ.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct Energy {
        /// Multiplications.
        pub multipliers: f64,
        /// Coordinates of products, computed from run lengths.
        pub coordinates: f64,
        /// Products through the crossbar.
        pub crossbar: f64,
        /// Additions, with reading and writing the accumulator banks.
        pub accumulators: f64,
        /// Weight vectors into and out of the FIFOs.
        pub weight_fifo: f64,
        /// Activation vectors out of and into the activation RAMs.
        pub activation_rams: f64,
        /// Values through the PPUs.
        pub ppu: f64,
        /// Partial sums over the halo links.
        pub halo: f64,
        /// Bits to and from DRAM.
        pub dram: f64,
        /// Bits over the host link.
        pub host_link: f64,
    }
}

impl Energy {
    /// The energy of `counters` on `machine`.
    pub fn of(counters: &Counters, machine: &Machine) -> Self {
        let table = &machine.energy;
        let times = |count: u64, pj: f64| count as f64 * pj;
        Self {
            multipliers: times(counters.multiplies, table.multiply.pj),
            coordinates: times(counters.coordinates, table.coordinate.pj),
            crossbar: times(counters.crossbar_transfers, table.crossbar_transfer.pj),
            accumulators: times(counters.accumulations, table.accumulate.pj + table.add.pj),
            weight_fifo: times(counters.fifo_reads, table.fifo_read_vector.pj)
                + times(counters.fifo_writes, table.fifo_write_vector.pj),
            activation_rams: times(counters.iaram_reads, table.iaram_read_vector.pj)
                + times(counters.oaram_writes, table.oaram_write_vector.pj),
            ppu: times(counters.ppu_elements, table.ppu_element.pj),
            halo: times(counters.halo_hops, table.halo_sum.pj),
            dram: times(counters.dram_bytes() * 8, table.dram_bit.pj),
            host_link: times(counters.host_bytes * 8, table.host_bit.pj),
        }
    }

    /// Components in a fixed order.
    pub fn components(&self) -> [(&'static str, f64); 10] {
        [
            ("multipliers", self.multipliers),
            ("coordinates", self.coordinates),
            ("crossbar", self.crossbar),
            ("accumulators", self.accumulators),
            ("weight_fifo", self.weight_fifo),
            ("activation_rams", self.activation_rams),
            ("ppu", self.ppu),
            ("halo", self.halo),
            ("dram", self.dram),
            ("host_link", self.host_link),
        ]
    }

    /// The sum of all components.
    pub fn total(&self) -> f64 {
        self.components().iter().map(|(_, pj)| pj).sum()
    }
}

impl Energy {
    /// Adds another energy, component by component.
    pub fn add(&mut self, other: &Self) {
        self.multipliers += other.multipliers;
        self.coordinates += other.coordinates;
        self.crossbar += other.crossbar;
        self.accumulators += other.accumulators;
        self.weight_fifo += other.weight_fifo;
        self.activation_rams += other.activation_rams;
        self.ppu += other.ppu;
        self.halo += other.halo;
        self.dram += other.dram;
        self.host_link += other.host_link;
    }
}
