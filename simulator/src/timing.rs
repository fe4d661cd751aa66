//! Time: what the machine does in which cycle, counted from the compressed blocks.
//!
//! A **step** multiplies one vector of F weights by one vector of I activations. [`blocks`] measures the blocks of a
//! pass, [`fast`] turns them into cycles.

pub mod blocks;
pub mod fast;

use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// How time is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    /// Steps, barriers and double buffering; no bank queues, FIFOs, drains or DRAM. A lower bound.
    #[default]
    Fast,
}

/// Where cycles x PEs x multipliers went, in multiplier slots; the parts sum to the whole exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// Non-zero times non-zero, output inside the plane.
    pub useful: u64,
    /// Lanes left empty by vectors that are not full.
    pub fragmentation: u64,
    /// Non-zero products whose output is outside the plane, or of another tile.
    pub out_of_plane: u64,
    /// Pairs with a placeholder, or with a zero stored densely.
    pub placeholder: u64,
    /// PEs waiting for slower ones.
    pub barrier: u64,
    /// PEs without a tile.
    pub no_tile: u64,
}

impl Slots {
    /// Names and values in order.
    pub fn entries(&self) -> [(&'static str, u64); 6] {
        [
            ("useful", self.useful),
            ("fragmentation", self.fragmentation),
            ("out_of_plane", self.out_of_plane),
            ("placeholder", self.placeholder),
            ("barrier", self.barrier),
            ("no_tile", self.no_tile),
        ]
    }

    /// The sum of all parts.
    pub fn total(&self) -> u64 {
        self.entries().iter().map(|(_, slots)| slots).sum()
    }
}

impl AddAssign for Slots {
    fn add_assign(&mut self, other: Self) {
        self.useful += other.useful;
        self.fragmentation += other.fragmentation;
        self.out_of_plane += other.out_of_plane;
        self.placeholder += other.placeholder;
        self.barrier += other.barrier;
        self.no_tile += other.no_tile;
    }
}
