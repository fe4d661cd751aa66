//! How far a figure can be trusted: its parts by the confidence of their sources.
//!
//! Cycles are divided by the causes of their slots, energy and area by the entries of the machine's tables. A share says how
//! much of a figure has which source, not how large its error is.

use crate::area::Area;
use crate::counters::Counters;
use crate::energy::Energy;
use crate::schema::described;
use crate::timing::{Cause, Slots};
use scnn_isa::machine::{Confidence, Dataflow, Machine};
use serde::{Deserialize, Serialize};

described! {
    /// Parts of a figure, in its unit, by how far what they rest on can be trusted (`scnnc --explain published`, and so on).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct Trust {
        /// The paper, or its authors' tools.
        pub published: f64,
        /// The paper, quoted from memory.
        pub recalled: f64,
        /// Computed from published figures.
        pub derived: f64,
        /// Derived, then moved within a factor of two so that the paper's ratios come near.
        pub calibrated: f64,
        /// Without a source.
        pub assumed: f64,
        /// Of the machine file.
        pub stated: f64,
    }
}

impl Trust {
    /// Cycles, in multiplier slots: by the rules behind their causes.
    pub fn of_slots(slots: &Slots) -> Self {
        let mut trust = Self::default();
        for (cause, slots) in Cause::all(slots) {
            *trust.part(cause.confidence()) += slots as f64;
        }
        trust
    }

    /// Energy of `counters` on a machine, pJ: by the entries of its table.
    pub fn of_energy(counters: &Counters, machine: &Machine) -> Self {
        let mut trust = Self::default();
        for level in Confidence::ALL {
            *trust.part(level) = Energy::resting_on(level, counters, machine).total();
        }
        trust
    }

    /// Area of a machine, mm2: by the entries of its table. That of a dense machine is given as a whole.
    pub fn of_area(machine: &Machine) -> Self {
        let (area, table) = (Area::of(machine), &machine.area);
        let mut trust = Self::default();
        match machine.dataflow.kind {
            Dataflow::DotProductDense => {
                *trust.part(table.dense_total.confidence) += area.total();
            }
            Dataflow::CartesianSparse => {
                for (entry, mm2) in [
                    (&table.activation_rams, area.activation_rams),
                    (&table.weight_fifo, area.weight_fifo),
                    (&table.multipliers, area.multipliers),
                    (&table.crossbar, area.crossbar),
                    (&table.accumulators, area.accumulators),
                    (&table.other, area.other),
                ] {
                    *trust.part(entry.confidence) += mm2;
                }
            }
        }
        trust
    }

    /// Adds the parts of another figure.
    pub fn add(&mut self, other: &Self) {
        let mut other = *other;
        for level in Confidence::ALL {
            *self.part(level) += *other.part(level);
        }
    }

    /// The shares, the most trusted first, as `published 71 %, assumed 29 %`; parts below half a percent are left out.
    pub fn shares(&self) -> String {
        let mut parts = *self;
        let parts = Confidence::ALL.map(|level| (level, *parts.part(level)));
        let all: f64 = parts.iter().map(|(_, part)| part).sum();
        let shares = parts
            .iter()
            .map(|(level, part)| (level, 100.0 * part / all.max(f64::MIN_POSITIVE)));
        let shares = shares.filter(|(_, percent)| *percent >= 0.5);
        let words: Vec<String> = shares
            .map(|(level, percent)| format!("{} {percent:.0} %", level.word()))
            .collect();
        words.join(", ")
    }

    fn part(&mut self, level: Confidence) -> &mut f64 {
        match level {
            Confidence::Published => &mut self.published,
            Confidence::Recalled => &mut self.recalled,
            Confidence::Derived => &mut self.derived,
            Confidence::Calibrated => &mut self.calibrated,
            Confidence::Assumed => &mut self.assumed,
            Confidence::Stated => &mut self.stated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(trust: Trust) -> f64 {
        let mut trust = trust;
        Confidence::ALL.map(|level| *trust.part(level)).iter().sum()
    }

    #[test]
    fn the_parts_of_every_figure_are_all_of_it() {
        let counters = Counters {
            multiplies: 7,
            accumulations: 5,
            crossbar_transfers: 3,
            fifo_reads: 11,
            host_bytes: 13,
            ..Counters::default()
        };
        let machines = Machine::presets().map(|(name, _)| Machine::preset(name).unwrap());
        for machine in machines {
            let energy = Energy::of(&counters, &machine).total();
            assert!((sum(Trust::of_energy(&counters, &machine)) / energy - 1.0).abs() < 1e-12);
            let area = Area::of(&machine).total();
            assert!((sum(Trust::of_area(&machine)) / area - 1.0).abs() < 1e-12);
            assert_eq!(
                Trust::of_area(&machine).stated,
                0.0,
                "a preset's numbers have a source"
            );
        }
        let slots = Slots {
            useful: 3,
            bank_stall: 4,
            ..Slots::default()
        };
        let trust = Trust::of_slots(&slots);
        assert_eq!(
            (trust.published, trust.assumed, sum(trust)),
            (3.0, 4.0, 7.0)
        );
        assert_eq!(trust.shares(), "published 43 %, assumed 57 %");
    }

    #[test]
    fn what_a_setting_gives_is_stated() {
        let read = scnn_isa::machine::Read::of(Machine::preset("scnn").unwrap());
        let machine = read
            .with_settings(&["energy.multiply=1".to_owned()])
            .unwrap()
            .machine;
        let counters = Counters {
            multiplies: 2,
            ..Counters::default()
        };
        assert_eq!(Trust::of_energy(&counters, &machine).stated, 2.0);
    }
}
