//! Energy: counters times the machine's table, by component.

use crate::counters::Counters;
use crate::schema::{add_fields, described};
use scnn_isa::machine::{Confidence, Machine, Picojoules};
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
        Self::priced(counters, machine, |entry| entry.pj)
    }

    /// The least and the most energy, as far as the table has bands; equal where it has none.
    pub fn band(counters: &Counters, machine: &Machine) -> [f64; 2] {
        [0, 1].map(|end| {
            let price = |entry: &Picojoules| entry.band.map_or(entry.pj, |band| band[end]);
            Self::priced(counters, machine, price).total()
        })
    }

    /// The part of the energy whose prices have this confidence.
    pub fn resting_on(level: Confidence, counters: &Counters, machine: &Machine) -> Self {
        let price = |entry: &Picojoules| {
            if entry.confidence == level {
                entry.pj
            } else {
                0.0
            }
        };
        Self::priced(counters, machine, price)
    }

    fn priced(counters: &Counters, machine: &Machine, price: impl Fn(&Picojoules) -> f64) -> Self {
        let table = &machine.energy;
        let times = |count: u64, entry: &Picojoules| count as f64 * price(entry);
        let accumulation = price(&table.accumulate) + price(&table.add);
        Self {
            multipliers: times(counters.multiplies, &table.multiply),
            coordinates: times(counters.coordinates, &table.coordinate),
            crossbar: times(counters.crossbar_transfers, &table.crossbar_transfer),
            accumulators: counters.accumulations as f64 * accumulation,
            weight_fifo: times(counters.fifo_reads, &table.fifo_read_vector)
                + times(counters.fifo_writes, &table.fifo_write_vector),
            activation_rams: times(counters.iaram_reads, &table.iaram_read_vector)
                + times(counters.oaram_writes, &table.oaram_write_vector),
            ppu: times(counters.ppu_elements, &table.ppu_element),
            halo: times(counters.halo_hops, &table.halo_sum),
            dram: times(counters.dram_bytes() * 8, &table.dram_bit),
            host_link: times(counters.host_bytes * 8, &table.host_bit),
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
        add_fields!(
            self,
            *other,
            Self {
                multipliers,
                coordinates,
                crossbar,
                accumulators,
                weight_fifo,
                activation_rams,
                ppu,
                halo,
                dram,
                host_link,
            }
        );
    }
}
