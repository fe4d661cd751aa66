//! Time: what the machine does in which cycle, counted from the compressed blocks.
//!
//! A **step** multiplies one vector of F weights by one vector of I activations. `work` is what a layer asks of the
//! machine; [`fast`] counts steps and barriers, [`exact`] simulates every queue and every transfer. A layer begins
//! when the one before it has ended.

mod addresses;
pub mod blocks;
mod dram;
pub mod exact;
pub mod fast;
pub mod nonzeros;
mod queues;
mod table;
mod vectors;
pub mod watch;
mod weights;
mod work;

pub use weights::WeightStream;
pub use work::{
    Drain, LayerWork, Load, LoadedColumn, Multiply, Place, Process, RoundDrain, Store, Task,
};

use crate::schema::described;
use scnn_isa::machine::Machine;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// How time is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    /// Everything: bank queues, FIFOs, drains, halos, DRAM.
    #[default]
    Exact,
    /// Steps, barriers and double buffering; no bank queues, FIFOs, drains or DRAM. A lower bound.
    Fast,
}

impl Timing {
    /// As options and reports call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
        }
    }

    /// Times a layer.
    pub fn of(self, machine: &Machine, work: &LayerWork) -> Timed {
        match self {
            Self::Exact => exact::time(machine, work),
            Self::Fast => fast::time(machine, work),
        }
    }
}

macro_rules! slots {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        described! {
            /// Where cycles x PEs x multipliers went, in multiplier slots; the parts sum to the whole exactly.
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
            pub struct Slots {
                $($(#[doc = $doc])* pub $name: u64,)*
            }
        }

        impl Slots {
            /// Names and values in order.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// Every part times `factor`.
            #[must_use]
            pub fn times(&self, factor: u64) -> Self {
                Self { $($name: self.$name * factor,)* }
            }
        }

        impl AddAssign for Slots {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

slots! {
    /// Non-zero times non-zero, output inside the plane.
    useful,
    /// Lanes left empty by vectors that are not full.
    fragmentation,
    /// Non-zero products whose output is outside the plane, or of another tile.
    out_of_plane,
    /// Pairs with a placeholder, or with a zero stored densely.
    placeholder,
    /// Steps waiting for room before the accumulator banks.
    bank_stall,
    /// PEs waiting for weights.
    fifo,
    /// PEs waiting for slower ones.
    barrier,
    /// PEs waiting for PPUs and halo links.
    drain,
    /// PEs waiting for DRAM.
    dram,
    /// The array waiting for the host link.
    host_link,
    /// PEs without a tile.
    no_tile,
}

impl Slots {
    /// The sum of all parts.
    pub fn total(&self) -> u64 {
        self.entries().iter().map(|(_, slots)| slots).sum()
    }
}

/// What a timing says of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timed {
    /// Cycles from the end of the layer before to the end of this one.
    pub cycles: u64,
    /// Where the multipliers waited; what they did in their steps is counted elsewhere.
    pub waits: Slots,
}
