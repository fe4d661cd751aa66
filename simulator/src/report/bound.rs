//! What bounds a layer, and what it loses most to.

use crate::schema::{Definitions, Described};
use crate::timing::Slots;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

macro_rules! bounds {
    ($($(#[doc = $doc:literal])* $name:ident $slot:ident $words:literal;)*) => {
        /// The cause that most of the multipliers' time went to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Bound {
            $($(#[doc = $doc])* $name,)*
        }

        impl Bound {
            /// Every bound, with the share of the slots that it stands for.
            pub const fn all(slots: &Slots) -> [(Self, u64); 11] {
                [$((Self::$name, slots.$slot),)*]
            }

            /// In words.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }
        }
    };
}

bounds! {
    /// The multipliers: most of their time was useful.
    Multipliers useful "multipliers";
    /// Vectors that are not full.
    Fragmentation fragmentation "fragmentation";
    /// Products outside the plane, or of another tile.
    OutOfPlane out_of_plane "out of plane";
    /// Placeholders of long runs, and zeros stored densely.
    Placeholders placeholder "placeholders";
    /// Room before the accumulator banks.
    Banks bank_stall "banks";
    /// Weights in the FIFOs.
    Fifo fifo "FIFO";
    /// The slowest PE.
    Barrier barrier "barrier";
    /// PPUs and halo links.
    Drain drain "drain";
    /// DRAM.
    Dram dram "DRAM";
    /// The host link.
    HostLink host_link "host link";
    /// A plane with fewer positions than there are PEs: some have no tile.
    TileTooSmall no_tile "tile too small";
}

impl Bound {
    /// What bounds the work whose slots these are; the first of equals.
    pub fn of(slots: &Slots) -> Option<Self> {
        let mut largest: Option<(Self, u64)> = None;
        for (bound, share) in Self::all(slots) {
            if share > largest.map_or(0, |(_, share)| share) {
                largest = Some((bound, share));
            }
        }
        largest.map(|(bound, _)| bound)
    }

    /// What most of the slots were lost to that were not useful, the first of equals, and its share of all slots: the
    /// reason why utilisation is not higher.
    pub fn largest_loss(slots: &Slots) -> Option<(Self, f64)> {
        let losses = Slots {
            useful: 0,
            ..*slots
        };
        let loss = Self::of(&losses)?;
        let lost = Self::all(slots)
            .into_iter()
            .find(|(bound, _)| *bound == loss);
        lost.map(|(bound, lost)| (bound, lost as f64 / slots.total() as f64))
    }
}

impl Described for Bound {
    fn schema(_: &mut Definitions) -> Value {
        json!({ "enum": Self::all(&Slots::default()).map(|(bound, _)| bound) })
    }
}

impl fmt::Display for Bound {
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
        let sum: u64 = Bound::all(&slots).iter().map(|(_, share)| share).sum();
        assert_eq!(sum, slots.total());
        assert_eq!(Bound::of(&slots), Some(Bound::Barrier));
        assert_eq!(Bound::of(&Slots::default()), None);
    }

    #[test]
    fn what_is_useful_is_no_loss() {
        let mut slots = Slots {
            useful: 15,
            drain: 1,
            dram: 4,
            ..Slots::default()
        };
        assert_eq!(Bound::of(&slots), Some(Bound::Multipliers));
        assert_eq!(Bound::largest_loss(&slots), Some((Bound::Dram, 0.2)));
        (slots.drain, slots.dram) = (0, 0);
        assert_eq!(Bound::largest_loss(&slots), None);
    }
}
