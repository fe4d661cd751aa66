//! Multiplier slots, and the causes that they are divided among.
//!
//! A slot is one multiplier in one cycle. One table names every cause: the field of [`Slots`], the variant of [`Cause`],
//! the words of tables, legends and texts, and how far the rules behind it can be trusted (the letters of `isa/RULES.md`: those
//! of lanes, runs, tiles and the barrier are published; queues, bus, PPU and the order on DRAM are assumptions). Each is explained
//! in [`scnn_isa::glossary`].

use crate::schema::{Definitions, Described, described};
use scnn_isa::machine::Confidence;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::ops::AddAssign;

macro_rules! slots {
    ($($(#[doc = $doc:literal])* $slot:ident $cause:ident $words:literal $confidence:ident;)*) => {
        described! {
            /// Where cycles x PEs x multipliers went, in multiplier slots; the parts sum to the whole exactly.
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
            pub struct Slots {
                $($(#[doc = $doc])* pub $slot: u64,)*
            }
        }

        impl Slots {
            /// Names and values in order.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($slot), self.$slot),)*]
            }

            /// Every part times `factor`.
            #[must_use]
            pub fn times(&self, factor: u64) -> Self {
                Self { $($slot: self.$slot * factor,)* }
            }
        }

        impl AddAssign for Slots {
            fn add_assign(&mut self, other: Self) {
                $(self.$slot += other.$slot;)*
            }
        }

        /// A cause that slots are spent on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Cause {
            $($(#[doc = $doc])* $cause,)*
        }

        impl Cause {
            /// Every cause, with its slots.
            pub const fn all(slots: &Slots) -> [(Self, u64); [$($words,)*].len()] {
                [$((Self::$cause, slots.$slot),)*]
            }

            /// Its name in tables, legends and texts.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$cause => $words,)* }
            }

            /// How far the rules that decide its share can be trusted.
            pub const fn confidence(self) -> Confidence {
                match self { $(Self::$cause => Confidence::$confidence,)* }
            }
        }
    };
}

slots! {
    /// Non-zero times non-zero, output inside the plane.
    useful Useful "useful" Published;
    /// Lanes left empty by vectors that are not full.
    fragmentation Fragmentation "fragmentation" Published;
    /// Non-zero products whose output is outside the plane, or of another tile.
    out_of_plane OutOfPlane "out of plane" Derived;
    /// Pairs with a placeholder, or with a zero stored densely.
    placeholder Placeholder "placeholder" Published;
    /// Steps waiting for room before the accumulator banks.
    bank_stall BankStall "bank stall" Assumed;
    /// PEs waiting for weights.
    fifo Fifo "FIFO" Assumed;
    /// PEs waiting for slower ones.
    barrier Barrier "barrier" Published;
    /// PEs waiting for PPUs and halo links.
    drain Drain "drain" Assumed;
    /// PEs waiting for DRAM.
    dram Dram "DRAM" Assumed;
    /// The array waiting for the host link.
    host_link HostLink "host link" Assumed;
    /// PEs without a tile: the plane has fewer positions than there are PEs.
    no_tile NoTile "no tile" Published;
}

impl Slots {
    /// The sum of all parts.
    pub fn total(&self) -> u64 {
        self.entries().iter().map(|(_, slots)| slots).sum()
    }
}

impl Cause {
    /// The cause of most of these slots; the first of equals.
    pub fn of(slots: &Slots) -> Option<Self> {
        let mut largest: Option<(Self, u64)> = None;
        for (cause, share) in Self::all(slots) {
            if share > largest.map_or(0, |(_, share)| share) {
                largest = Some((cause, share));
            }
        }
        largest.map(|(cause, _)| cause)
    }

    /// The cause of most slots that were not useful, the first of equals, and its share of all slots: the reason why
    /// utilisation is not higher.
    pub fn largest_loss(slots: &Slots) -> Option<(Self, f64)> {
        let losses = Slots {
            useful: 0,
            ..*slots
        };
        let loss = Self::of(&losses)?;
        let lost = Self::all(slots)
            .into_iter()
            .find(|(cause, _)| *cause == loss);
        lost.map(|(cause, lost)| (cause, lost as f64 / slots.total() as f64))
    }
}

impl Described for Cause {
    fn schema(_: &mut Definitions) -> Value {
        json!({ "enum": Self::all(&Slots::default()).map(|(cause, _)| cause) })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_bound_and_the_largest_wins() {
        let slots = Slots {
            useful: 3,
            barrier: 7,
            no_tile: 7,
            ..Slots::default()
        };
        let sum: u64 = Cause::all(&slots).iter().map(|(_, share)| share).sum();
        assert_eq!(sum, slots.total());
        assert_eq!(Cause::of(&slots), Some(Cause::Barrier));
        assert_eq!(Cause::of(&Slots::default()), None);
    }

    #[test]
    fn every_cause_is_a_term_of_the_glossary() {
        for (cause, _) in Cause::all(&Slots::default()) {
            let words = cause.words();
            let mut entries = scnn_isa::glossary::find(words);
            assert!(
                entries.any(|entry| entry.section.contains("time went") && entry.term == words),
                "{words}"
            );
        }
    }

    #[test]
    fn what_is_useful_is_no_loss() {
        let mut slots = Slots {
            useful: 15,
            drain: 1,
            dram: 4,
            ..Slots::default()
        };
        assert_eq!(Cause::of(&slots), Some(Cause::Useful));
        assert_eq!(Cause::largest_loss(&slots), Some((Cause::Dram, 0.2)));
        (slots.drain, slots.dram) = (0, 0);
        assert_eq!(Cause::largest_loss(&slots), None);
    }
}
