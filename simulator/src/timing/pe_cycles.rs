//! The cycles of a layer, divided by cause for every PE.
//!
//! In a cycle a PE either issues a step or waits for one cause, so the parts of each PE sum to the cycles of the layer. Summed
//! over the PEs and times the multipliers of one, waits are the slots of [`Slots`], and steps are the slots that are useful or
//! lost inside of steps: fragmentation, out of plane, placeholder.

use super::Slots;
use crate::schema::described;
use serde::{Deserialize, Serialize};

macro_rules! pe_cycles {
    (
        issued: #[doc = $steps_doc:literal] $steps:ident;
        waits: $(#[doc = $doc:literal] $wait:ident;)*
    ) => {
        described! {
            /// Cycles of every PE by cause, in the order of the array's rows; those of a PE sum to the cycles of the layer. A
            /// cause that concerns no PE has an empty list.
            #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
            pub struct PeCycles {
                #[doc = $steps_doc]
                pub $steps: Vec<u64>,
                $(#[doc = $doc] pub $wait: Vec<u64>,)*
            }
        }

        impl PeCycles {
            /// Of PEs that issue so many `steps` each, and wait for so many cycles.
            pub fn of(steps: &[u64], waits: &[Slots]) -> Self {
                Self {
                    $steps: shortened(steps.to_vec()),
                    $($wait: shortened(waits.iter().map(|of_pe| of_pe.$wait).collect()),)*
                }
            }

            /// Names and lists in order.
            pub fn entries(&self) -> Vec<(&'static str, &[u64])> {
                vec![
                    (stringify!($steps), &self.$steps[..]),
                    $((stringify!($wait), &self.$wait[..]),)*
                ]
            }

            /// Adds the cycles of another inference.
            pub fn add(&mut self, other: &Self) {
                add(&mut self.$steps, &other.$steps);
                $(add(&mut self.$wait, &other.$wait);)*
            }
        }
    };
}

pe_cycles! {
    issued:
    /// Steps issued.
    steps;
    waits:
    /// Waiting for room before the accumulator banks.
    bank_stall;
    /// Waiting for weights.
    fifo;
    /// Waiting for slower PEs.
    barrier;
    /// Waiting for PPUs and halo links.
    drain;
    /// Waiting for DRAM.
    dram;
    /// Waiting for the host link.
    host_link;
    /// Without a tile.
    no_tile;
}

impl PeCycles {
    /// All cycles of a PE.
    pub fn of_pe(&self, pe: usize) -> u64 {
        let parts = self.entries().into_iter();
        parts.filter_map(|(_, cycles)| cycles.get(pe)).sum()
    }
}

fn shortened(cycles: Vec<u64>) -> Vec<u64> {
    if cycles.iter().all(|&cycles| cycles == 0) {
        Vec::new()
    } else {
        cycles
    }
}

fn add(ours: &mut Vec<u64>, theirs: &[u64]) {
    if ours.is_empty() {
        ours.extend(theirs);
    } else {
        for (ours, theirs) in ours.iter_mut().zip(theirs) {
            *ours += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_add_up_pe_by_pe_and_a_cause_of_neither_stays_empty() {
        let waits = |barrier| {
            [barrier, 0].map(|barrier| Slots {
                barrier,
                ..Slots::default()
            })
        };
        let mut sum = PeCycles::of(&[3, 5], &waits(2));
        assert_eq!((sum.of_pe(0), sum.of_pe(1)), (5, 5));
        sum.add(&PeCycles::of(&[0, 0], &waits(0)));
        sum.add(&PeCycles::of(&[1, 2], &waits(1)));
        assert_eq!((sum.of_pe(0), sum.of_pe(1)), (7, 7));
        assert!(sum.drain.is_empty());
    }
}
